"""The commands for tables: fill holes, find odd rows, make others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import number_of
from ..show.endings import FRAMES
from ..show.terminal import print_json, say
from . import judging
from .options import (
    Anew,
    AnySplit,
    Device,
    File,
    Given,
    Json,
    Overwrite,
    RunPath,
    Seed,
    all_of,
    asked_of,
    check_out,
    loaded_run,
    note,
)

Table = Annotated[Path, typer.Option("--out", help="Table to write: .csv, .parquet or .xlsx.")]


def impute(  # noqa: PLR0913 - as many as the command has options
    context: typer.Context,
    run: RunPath,
    path: Table,
    file: File = None,
    data: Given = None,
    sets: Anew = None,
    split: AnySplit = None,
    n: Annotated[int, typer.Option("-n", min=0, help="Draws for multiple imputation; 0: one best value a cell.")] = 0,
    samples: Annotated[int, typer.Option(min=1, help="Importance samples for each row.")] = 1000,
    spread: Annotated[
        Path | None, typer.Option(help="Write beside it how sure each filled cell is: deviation, or entropy in nats.")
    ] = None,
    overwrite: Overwrite = False,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Fill the holes of a table: means of numbers, the likeliest of all else, given what is observed of each row."""
    import pandas as pd

    from ..show.outputs import write_frame

    for each in (path, *([] if spread is None else [spread])):
        check_out(each, overwrite, FRAMES, file or data)
    asked = asked_of(run, device, context, data, split, file, sets)
    found = asked.run.impute(_one(asked, file or data), samples=samples, n=n, seed=seed)
    named = not isinstance(found.table.index, pd.RangeIndex)
    write_frame(path, found.table, index=named and n == 0, dialect=asked.dialect)
    say(f"{path}: {number_of(int(found.spread.notna().to_numpy().sum()), 'cell')} filled")
    if spread is not None:
        write_frame(spread, found.spread, index=True, dialect=asked.dialect)
        say(f"{spread}")
    if found.caution:
        note(found.caution)


def detect(  # noqa: PLR0913 - as many as the command has options
    context: typer.Context,
    run: RunPath,
    path: Table,
    file: File = None,
    data: Given = None,
    sets: Anew = None,
    split: AnySplit = None,
    samples: Annotated[int, typer.Option(min=1, help="Importance samples for each row.")] = 100,
    contamination: Annotated[
        float, typer.Option(help="The part of usual rows that is taken for outliers: where the threshold is.")
    ] = 0.1,
    per_column: Annotated[
        bool,
        typer.Option(
            "--per-column", help="Write what each column adds to the score, and as latent what the code adds."
        ),
    ] = False,
    overwrite: Overwrite = False,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Score how odd rows are, -log p in nats, with what makes them so: the oddest first."""
    check_out(path, overwrite, FRAMES, file or data)

    import numpy as np

    from ..data.tabular import impossible_rows
    from ..show.outputs import write_frame

    given: Any = all_of(file, data, split)
    if given is not None:
        loaded = loaded_run(run, device, context, sets=sets)
        dialect = loaded.schema.dialect
    else:
        asked = asked_of(run, device, context, data, split, file, sets)
        loaded, given, dialect = asked.run, _one(asked, file or data), asked.dialect
    found = loaded.detect(given, samples=samples, contamination=contamination, seed=seed, per_column=per_column)
    write_frame(path, found.sort_values("score", ascending=False), index=True, dialect=dialect)
    above, threshold = int(found["outlier"].sum()), found.attrs["threshold"]
    say(f"{path}: {above:,} of {len(found):,} rows score more than {threshold:.2f} nats")
    if never := impossible_rows(int(np.isposinf(found["score"]).sum()), len(found)):
        note(never)
    if not found.attrs["by_training_rows"]:
        note("the data of the run are not there: what is usual is told by these rows themselves")


def synthesize(  # noqa: PLR0913 - as many as the command has options
    context: typer.Context,
    run: RunPath,
    path: Table,
    n: Annotated[int, typer.Option("-n", min=1, help="How many rows.")] = 1000,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=VALUE", help="What all rows have, also age>=40, age=30..40, city!=X; repeatable."),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Importance samples of a condition.")] = 10_000,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="Say how good they are, and whether training rows are known by heart.")
    ] = False,
    target: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="With --metrics: how well they teach this column, beside real rows."),
    ] = None,
    data: Annotated[str | None, typer.Option(help="Where the run's data lie now, for --metrics.")] = None,
    sets: Anew = None,
    as_json: Json = False,
    overwrite: Overwrite = False,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Make up rows of a table, each column of its own type; with --where such as have these cells, with --metrics
    beside the rows that the model was trained on and those held out.
    """
    check_out(path, overwrite, FRAMES)

    from ..runs.judging import check
    from ..show.outputs import write_frame

    loaded = loaded_run(run, device, context, data, sets)
    if metrics:
        if where:
            raise ValueError("--metrics compares with all rows of the data: leave --where out")
        check(loaded, target)
    elif target is not None:
        raise ValueError(f"--target {target} is for --metrics; give that too")
    made = loaded.synthesize(n, where, samples=samples, seed=seed)
    write_frame(path, made.table, dialect=loaded.schema.dialect)
    if not as_json:
        say(f"{path}: {number_of(n, 'row')}")
    if made.caution:
        note(made.caution)
    found = judging.metrics(loaded, made.table, target, seed, as_json) if metrics else {}
    if as_json:
        print_json({"file": str(path), "rows": n, **found})


def _one(asked: Any, data: str | None) -> Any:
    """What a command is about: a split by name, or the file of new rows."""
    from ..runs.given import NEW

    if len(asked.splits) > 1:
        raise ValueError(f"--split is all; accepted: one of {', '.join(asked.splits)}, or a file of them all")
    name = next(iter(asked.splits))
    return Path(str(data)) if name == NEW else name
