"""The command that writes a run for other programs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..show.terminal import say
from .options import Device, RunPath, Seed, loaded_run, note


class To(StrEnum):
    """What a run can be written for."""

    DIFFUSERS = "diffusers"


def export(
    context: typer.Context,
    run: RunPath,
    folder: Annotated[Path, typer.Option("--out", help="The folder to write.")],
    to: Annotated[To, typer.Option(help="The program: diffusers, as its AutoencoderKL reads it.")] = To.DIFFUSERS,
) -> None:
    """Write a run's model for another program: one of resnet networks with a latent of maps for diffusers."""
    from ..interop.diffusers import to_diffusers

    loaded = loaded_run(run, "cpu", context)
    say(f"{to_diffusers(loaded, folder)}: diffusers.AutoencoderKL.from_pretrained reads it")


def explore(  # noqa: PLR0913 - as many as the command has options
    context: typer.Context,
    run: RunPath,
    path: Annotated[
        Path | None, typer.Option("--out", help="Write one file, .html, that works without a server, and end.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="train, valid or test (default: the data held out).")] = None,
    points: Annotated[
        int | None, typer.Option(min=1, help="Data that it shows, at most (default: 10,000; of a file 2,000).")
    ] = None,
    data: Annotated[str | None, typer.Option(help="Where the run's data lie now.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of this machine; 0 is a free one.")] = 0,
    browser: Annotated[
        bool | None, typer.Option("--open/--no-open", help="Open a browser (default: where there is a display).")
    ] = None,
    seed: Seed = 0,
    device: Device = "cpu",
) -> None:
    """Look at a run's latent space in a browser: a page served on this machine until Ctrl-C, or one file."""
    from ..show.explorer.exploring import explore as explored

    loaded = loaded_run(run, device, context, data)
    for each in explored(loaded, path, split=split, points=points, port=port, browser=browser, seed=seed):
        note(each)
    if path is not None:
        say(f"{path}")
