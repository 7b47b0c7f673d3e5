"""The commands that ask something of a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import number_of
from ..show.endings import CELLS, ENDINGS, FIGURES, TABLES
from ..show.terminal import print_course, print_json, print_scores, print_table, say
from . import judging
from .options import (
    Anew,
    AnySplit,
    Device,
    File,
    Given,
    Json,
    Out,
    Overwrite,
    RunPath,
    Seed,
    all_of,
    asked_of,
    check_out,
    loaded_run,
    note,
    write_rows,
)

if TYPE_CHECKING:
    import pandas as pd

    from ..evaluation.scores import Evaluation


def evaluate(  # noqa: PLR0913 - as many as the command has options
    context: typer.Context,
    run: RunPath,
    file: File = None,
    samples: Annotated[int, typer.Option(min=1, help="Importance samples K for each datum.")] = 1000,
    data: Given = None,
    sets: Anew = None,
    split: AnySplit = None,
    path: Annotated[
        Path | None,
        typer.Option("--out", help="Write the scores of each datum too: .csv, .parquet, .npz, .npy or .h5ad."),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="With commas between: ais (log p(x) by annealed importance sampling); inference-gap (what of the "
            "gap of the bound is the family's, and what the encoder's); mutual-information, total-correlation, "
            "marginal-kl (what the KL is made of); of data made of factors mig, dci, sap, modularity, factor-vae, "
            "beta-vae; of topic models topics (words, coherence, diversity); active-units (at several thresholds); "
            "overfitting (training data beside others); of samples prdc-FEATURES (precision, recall, density, "
            "coverage) and memorised-FEATURES (distances to training data), FEATURES being inputs, codes, pixels, "
            "classes or inception; of images psnr, ssim, lpips, fid, kid, frechet-pixels, kernel-pixels, "
            "frechet-classes, kernel-classes.",
        ),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FILE", help="Weights that metrics need: lpips=FILE, inception=FILE; repeatable."),
    ] = None,
    n: Annotated[
        int | None,
        typer.Option(
            "-n",
            min=1,
            help="Data that metrics are of, at most: 100 of ais and inference-gap, 1,000 of overfitting, 10,000 of "
            "others (4 at least, of samples and factors 50).",
        ),
    ] = None,
    report: Annotated[
        bool, typer.Option("--report", help="Write the run's report.html again, with these scores and metrics.")
    ] = False,
    as_json: Json = False,
    overwrite: Overwrite = False,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Score a run: ELBO, its parts, and the importance-weighted likelihood with its errors; or new data by a run. With
    --metrics log p(x) by chains, why the bound is below it, what the KL is made of, how codes stand for known factors,
    how samples lie beside data and what is learned by heart, and how good its images are: reconstructions beside data,
    samples as a set beside a set of data.
    """
    check_out(path, overwrite, (*TABLES, ".npy", CELLS), file or data)

    from ..models.remarks import remarks
    from ..runs import rows
    from ..runs.given import NEW

    asked = asked_of(run, device, context, data, split, file, sets)
    for remark in remarks(asked.run.model):
        note(remark)
    judges = judging.judges(asked.run, metrics, weights or [], n, samples, seed, asked.splits)
    if report and list(asked.splits) not in ([each] for each in asked.run.dataset.splits):
        raise ValueError("--report shows one split of the run's own data: leave FILE, --data and --split all out")
    every: list[list[Any]] = [[] for _ in asked.splits]
    found = []
    for (name, each), parts in zip(asked.splits.items(), every, strict=True):
        told = each if name == NEW else name
        found.append(asked.run.evaluate(told, samples, seed=seed, on_scores=parts.append))
    if path is not None:
        scored, source = rows.scores(asked.splits, every, asked.run), file or data if NEW in asked.splits else None
        write_rows(path, asked.run, scored, quiet=as_json, dialect=asked.dialect, source=source)
    judged = [
        _judged(scores, judges, each if name == NEW else name, quiet=as_json)
        for (name, each), scores in zip(asked.splits.items(), found, strict=True)
    ]
    if as_json:
        values = [
            asdict(scores) | {judge.key: asdict(value) for judge, value in own.items()}
            for scores, own in zip(found, judged, strict=True)
        ]
        print_json(values[0] if len(values) == 1 else values)
    else:
        print_course(asked.run)
    if report:
        from ..show.report import write_report

        said = write_report(asked.run, found[0], [judge.table(value) for judge, value in judged[0].items()])
        note(f"{said}") if as_json else say(f"{said}")


def _judged(scores: Evaluation, judges: list[judging.Judge], of: Any, quiet: bool) -> dict[judging.Judge, Any]:
    """What each of the judges finds of a split. It is said at once, unless it is to be `quiet`, beneath the scores:
    these are not lost where a metric can't be had of the data.
    """
    if not quiet:
        print_scores(scores)
    found = {}
    for judge in judges:
        found[judge] = judge.of(of)
        if not quiet:
            judge.say(found[judge])
    return found


def sample(  # noqa: PLR0913 - as many as the command has options
    context: typer.Context,
    run: RunPath,
    path: Out,
    n: Annotated[int, typer.Option("-n", min=1, help="How many.")] = 64,
    label: Annotated[str | None, typer.Option(help="The class to draw, by name or number (conditional runs).")] = None,
    mean: Annotated[bool, typer.Option("--mean", help="Means of p(x given z), not draws from it.")] = False,
    data: Annotated[str | None, typer.Option(help="Where the run's data lie now, whose covariates it takes.")] = None,
    sets: Anew = None,
    overwrite: Overwrite = False,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Draw from the model: z from its prior, then x; of a conditional one a table has the class of each."""
    check_out(path, overwrite)

    from ..runs import rows

    loaded = loaded_run(run, device, context, data, sets)
    name = "y" if path.suffix.lower() == ".npz" else None  # as they are read again
    write_rows(path, loaded, rows.samples(loaded, n, label, not mean, seed, name))


def reconstruct(  # noqa: PLR0913 - as many as the command has options
    context: typer.Context,
    run: RunPath,
    path: Out,
    n: Annotated[int, typer.Option("-n", min=1, help="How many of the split's data, chosen by the seed.")] = 16,
    from_start: Annotated[bool, typer.Option("--first", help="The first of them, not chosen ones.")] = False,
    samples: Annotated[int | None, typer.Option(min=1, help="Draws of z for each datum; default: its mean.")] = None,
    draw: Annotated[bool, typer.Option("--draw", help="Draws from p(x given z), not its means.")] = False,
    data: Given = None,
    sets: Anew = None,
    split: AnySplit = None,
    overwrite: Overwrite = False,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Write data and their reconstructions: for each datum itself, then what it is decoded to. Which data, the seed
    chooses, since files are often sorted by class.
    """
    check_out(path, overwrite, data=data)

    from ..runs import rows

    asked = asked_of(run, device, context, data, split, sets=sets)
    made = rows.pairs(asked.run, asked.splits, n, samples, draw=draw, first=from_start, seed=seed)
    write_rows(path, asked.run, made, 2 if samples is None else 1 + samples, dialect=asked.dialect)
    for name, each in asked.splits.items():
        if len(each) < n:
            say(f"-n is {n:,}, but {name} has {number_of(len(each), 'datum', 'data')}: that is all")


def encode(  # noqa: PLR0913 - as many as the command has options
    context: typer.Context,
    run: RunPath,
    path: Annotated[
        Path,
        typer.Option("--out", help="File to write: .csv, .parquet, .npz, .npy, or of cells .h5ad (obsm X_vaekit)."),
    ],
    file: File = None,
    data: Given = None,
    sets: Anew = None,
    split: AnySplit = None,
    draw: Annotated[bool, typer.Option("--draw", help="A draw from each posterior, not its mean.")] = False,
    indices: Annotated[bool, typer.Option("--indices", help="The numbers of its codes (quantised latents).")] = False,
    overwrite: Overwrite = False,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Write latent codes: posterior means, or draws, or of quantised latents which codes they are; a table has beside
    them where each datum is from in its file, its class, and the one that a model which classifies or clusters takes it
    for.
    """
    check_out(path, overwrite, (*ENDINGS, CELLS), file or data)

    from ..data.tabular import impossible_rows
    from ..runs import rows
    from ..runs.given import NEW
    from ..show.outputs import write_frames

    if (long := all_of(file, data, split)) is not None:
        loaded = loaded_run(run, device, context, sets=sets)
        impossible = 0

        def frames() -> Iterator[pd.DataFrame]:
            nonlocal impossible
            for each in parts:
                impossible += each.impossible
                yield each.frame

        parts = rows.codes_by_blocks(loaded, long, indices=indices, draw=draw, seed=seed)
        if path.suffix.lower() == ".parquet":
            say(f"{path}: {(total := write_frames(path, frames())):,} rows")
        else:
            every = rows.joined(parts)
            write_rows(path, loaded, every)
            total, impossible = len(every.array), every.impossible
        if said := impossible_rows(impossible, total):
            note(said)
        return
    asked = asked_of(run, device, context, data, split, file, sets)
    if indices:
        found = rows.tokens(asked.run, asked.splits)
    else:
        found = rows.codes(asked.run, asked.splits, draw=draw, seed=seed)
    source = file or data if NEW in asked.splits else None
    write_rows(path, asked.run, found, dialect=asked.dialect, source=source)


def plot(  # noqa: PLR0913 - as many as the command has options
    context: typer.Context,
    run: RunPath,
    what: Annotated[str | None, typer.Option(help="The picture to draw; without it, all are listed.")] = None,
    path: Annotated[
        Path | None,
        typer.Option("--out", help="File to write: .png, .svg or .pdf (default: RUN/pictures/WHAT.png, drawn anew)."),
    ] = None,
    n: Annotated[int | None, typer.Option("-n", min=1, help="How many it shows; same as --set n=N.")] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="A=B", help="Change an option of the picture, or data.layer, … of the data; repeatable."
        ),
    ] = None,
    split: Annotated[str | None, typer.Option(help="train, valid or test (default: the data held out).")] = None,
    data: Annotated[str | None, typer.Option(help="Where the run's data lie now.")] = None,
    overwrite: Overwrite = False,
    seed: Seed = 0,
    dark: Annotated[bool, typer.Option("--dark", help="For dark pages, by default in WHAT-dark.png.")] = False,
    device: Device = "auto",
) -> None:
    """Draw a picture of a run by its name; without --what, list those there are and whether the run can have them."""
    from ..runs.folder import subfolder
    from ..show.outputs import write_figure
    from ..show.pictures.drawing import FOLDER, draw, offers
    from ..show.plots import DARK, LIGHT
    from ..spec.parsing import options_from

    check_out(path, overwrite, FIGURES)
    own = [each for each in sets or () if not each.startswith("data.")]
    loaded = loaded_run(run, device, context, data, [each for each in sets or () if each not in own])
    if what is None:
        rows = [(o.name, o.summary, "no, it needs " + o.lacks if o.lacks else "yes") for o in offers(loaded)]
        print_table(("picture", "what", "of this run"), rows)
        return
    options = options_from([*own, *([f"n={n}"] if n is not None else [])])
    figure = draw(loaded, what, split=split, seed=seed, theme=DARK if dark else LIGHT, **options)
    if path is None:
        path = subfolder(run, FOLDER) / f"{what}{'-dark' if dark else ''}.png"
    write_figure(path, figure)
    say(f"{path}")
