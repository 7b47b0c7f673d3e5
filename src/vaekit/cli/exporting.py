"""The command that writes a run for other programs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..show.terminal import say
from .options import RunPath, loaded_run


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
