"""The commands that write a run for other programs, and that show it in a browser."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ..show.endings import check_folder
from ..show.terminal import say
from .options import Anew, Device, Overwrite, RunPath, Seed, loaded_run, note


class To(StrEnum):
    """What a run can be written for."""

    DIFFUSERS = "diffusers"
    ONNX = "onnx"
    TORCH = "torch"
    SAFETENSORS = "safetensors"


def export(
    context: typer.Context,
    run: RunPath,
    folder: Annotated[Path, typer.Option("--out", help="The folder to write.")],
    to: Annotated[
        To | None,
        typer.Option(
            help="diffusers (where nothing is said), as its AutoencoderKL reads it; onnx, files for onnxruntime and "
            "others; torch, files for torch.export.load without vaekit; safetensors, weights by name."
        ),
    ] = None,
    what: Annotated[
        str | None,
        typer.Option(
            help="Of onnx, torch and safetensors: which of encode, decode, sample and score, with commas between "
            "(default: all that the model has)."
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a run's model for another program.

    diffusers takes one of resnet networks with a latent of maps. To onnx and torch any model goes, as programs from raw
    data to codes (encode) and back (decode), from noise to data (sample), from data and noise to the ELBO (score).
    """
    check_folder(folder, overwrite=overwrite)
    from ..interop.exported import drop_others, exported

    before = exported(folder) if overwrite else {}
    loaded = loaded_run(run, "cpu", context)
    if to is None or to is To.DIFFUSERS:
        if what is not None:
            raise ValueError(f"--what {what} is of --to onnx, torch and safetensors; leave it out")
        from ..interop.diffusers import to_diffusers

        try:
            written = to_diffusers(loaded, folder)
        except ValueError as error:
            if to is not None:
                raise
            raise ValueError(f"{error}; any model goes --to onnx, torch or safetensors") from None
        drop_others(before, exported(folder))
        say(f"{written}: diffusers.AutoencoderKL.from_pretrained reads it")
        return
    from ..interop.export import export as write

    names = None if what is None else [each.strip() for each in what.split(",")]
    done = write(loaded, folder, to.value, names)
    drop_others(before, exported(folder))
    for each in done.written:
        say(str(each))
    for name, why in done.left_out.items():
        note(f"without {name}: {why}")


def explore(  # noqa: PLR0913 - as many as the command has options
    context: typer.Context,
    run: RunPath,
    path: Annotated[
        Path | None, typer.Option("--out", help="Write one file, .html, that works without a server, and end.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="train, valid or test (default: the data held out).")] = None,
    points: Annotated[
        int | None,
        typer.Option(
            min=1, help="Data that it shows, at most (default: 10,000, or as many as take 64 MB; of a file 2,000)."
        ),
    ] = None,
    data: Annotated[str | None, typer.Option(help="Where the run's data lie now.")] = None,
    sets: Anew = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of this machine; 0 is a free one.")] = 0,
    browser: Annotated[
        bool | None, typer.Option("--open/--no-open", help="Open a browser (default: where there is a display).")
    ] = None,
    layout: Annotated[str, typer.Option(help="What lays codes out: t-sne, or umap (umap-learn).")] = "t-sne",
    overwrite: Overwrite = False,
    seed: Seed = 0,
    device: Device = "cpu",
) -> None:
    """Look at a run's latent space in a browser: a page served on this machine until Ctrl-C, or one file."""
    from ..show.explorer.place import check_layout, check_place

    check_place(path, port, overwrite=overwrite)
    check_layout(layout)

    from ..show.explorer.exploring import explore as explored

    loaded = loaded_run(run, device, context, data, sets)
    asked: dict[str, Any] = {"split": split, "points": points, "port": port, "browser": browser, "layout": layout}
    found = explored(loaded, path, seed=seed, overwrite=overwrite, **asked)
    for each in found.notes:
        note(each)
    if path is not None:
        say(f"{path}")
