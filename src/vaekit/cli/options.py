"""The options that commands share, and how they find a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..show.endings import CELLS, ENDINGS, FRAMES, check_output
from ..show.terminal import err, plain, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..data.sniffing import Dialect
    from ..runs.asked import Asked
    from ..runs.rows import Rows
    from ..runs.run import Run
    from ..spec.parts import Parts


RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:N, mps or auto.")]
Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of whatever is drawn.")]
Split = Annotated[str, typer.Option(help="train, valid or test.")]
AnySplit = Annotated[
    str | None, typer.Option("--split", help="train, valid, test or all (default: test; of new data all).")
]
Given = Annotated[
    str | None, typer.Option("--data", help="Where the run's data lie now, or new data of the kind, by name or path.")
]
File = Annotated[str | None, typer.Argument(metavar="FILE", help="All rows of this file, new to the run or not.")]
Anew = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="data.KEY=NAME",
        help="Of data in which these stand elsewhere than in the run's own: data.layer, data.label, data.exposure, "
        "data.sheet, data.encoding; none takes one back; repeatable.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Out = Annotated[
    Path, typer.Option("--out", help="File to write; its ending says how: .png (images), .npy, .npz, .csv, .parquet.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there in --out.")]


def named_parts(context: typer.Context) -> Parts:
    """The named parts: those of whoever calls `main`, or of `--parts`, else vaekit's."""
    from ..spec.own import parts_from
    from ..spec.parts import PARTS

    given: Parts | str | None = context.obj
    return parts_from(given) if isinstance(given, str) else given or PARTS


def loaded_run(
    path: Path, device: str, context: typer.Context, data: str | None = None, sets: list[str] | None = None
) -> Run:
    """The run in a folder, whose data are read as `sets` say; that it has not finished is said."""
    from ..runs.reading import options_of
    from ..runs.run import load_run

    run = load_run(path, device, named_parts(context), data=data)
    if run.unfinished:
        note(f"as it stands, {run.unfinished}")
    return run.reading(**options_of(sets)) if sets else run


def asked_of(
    path: Path,
    device: str,
    context: typer.Context,
    data: str | None,
    split: str | None,
    file: str | None = None,
    sets: list[str] | None = None,
) -> Asked:
    """What a command is about, as `runs.asked.asked` finds it; what is to be said of new data is said."""
    from ..runs.asked import asked

    if file is not None and data is not None:
        raise ValueError(f"{file} and --data {data} are both given; choose one")
    found = asked(loaded_run(path, device, context, sets=sets), data, split, file)
    for each in found.notes:
        note(each)
    return found


def all_of(file: str | None, data: str | None, split: str | None) -> Path | None:
    """The file of new rows, where a command is about all of it, and memory does not hold it."""
    from ..runs.pieces import is_long

    return Path(file) if file is not None and data is None and split is None and is_long(Path(file)) else None


def check_out(path: Path | None, overwrite: bool, endings: Sequence[str] = ENDINGS, data: str | None = None) -> None:
    """`ValueError` where no file may be written at `path`: of another ending, over the `data` that it is made of, or in
    the place of another, unless it is to `overwrite` that.
    """
    if path is not None and data is not None and path.exists() and Path(data).exists() and path.samefile(data):
        raise ValueError(f"--out {path} is the file that is read; name another")
    check_output(path, endings, overwrite=overwrite)


def note(text: str) -> None:
    """Say something beside what was asked for, which may be JSON."""
    err.print(plain(text), highlight=False, markup=False, soft_wrap=True)


def write_rows(
    path: Path,
    run: Run,
    rows: Rows,
    per_row: int = 8,
    quiet: bool = False,
    dialect: Dialect | None = None,
    source: str | None = None,
) -> None:
    """Write rows to a file of the kind that its name says, text in a dialect or the run's, and say what was written:
    an .h5ad file with all that their `source` has, where that is one.
    """
    from ..show.outputs import write_array, write_frame

    if path.suffix.lower() == CELLS:
        from ..interop.anndata import write_cells

        said = write_cells(path, rows, Path(source) if source and source.lower().endswith(CELLS) else None)
        if not quiet:
            say(f"{path}: {said}")
        return
    dialect = dialect or run.schema.dialect
    if rows.table and path.suffix.lower() in FRAMES:
        write_frame(path, rows.frame, dialect=dialect)
        if not quiet:
            say(f"{path}")
        return
    beside = {"before": rows.before, "limits": run.schema.domain.limits, "per_row": per_row, "dialect": dialect}
    write_array(path, rows.array, rows.columns, rows.after, **beside)  # type: ignore[arg-type]
    if not quiet:
        left = [*rows.before, *rows.after] if path.suffix.lower() in (".npy", ".png") else []
        without = f", without {', '.join(left)}: a .csv, .parquet or .npz has them" if left else ""
        say(f"{path}: {' x '.join(map(str, rows.array.shape))}{without}")
