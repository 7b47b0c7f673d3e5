"""The command line: each command calls public functions of the library and holds no logic of its own.

Nothing of the library is imported until a command needs it: `vaekit --help` does not wait for torch.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .ending import InterruptedTrainingError, calm_threads, fail, is_out_of_memory, message, out_of_memory, termination
from .errors import LeftOutWarning
from .settings import standing
from .show.terminal import (
    Bar,
    Works,
    cell,
    err,
    plain,
    print_course,
    print_json,
    print_rows,
    print_scores,
    print_table,
    say,
    settings_cell,
)
from .system.progress import shown

if TYPE_CHECKING:
    from .runs.given import Asked
    from .runs.rows import Rows
    from .runs.run import Run
    from .spec.parts import Parts

app = typer.Typer(
    name="vaekit",
    help="Variational autoencoders: train, score, sample, encode.",
    add_completion=False,
    pretty_exceptions_enable=False,
)

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
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Out = Annotated[
    Path, typer.Option("--out", help="File to write; its ending says how: .png (images), .npy, .npz, .csv, .parquet.")
]


@app.command()
def train(
    context: typer.Context,
    target: Annotated[str | None, typer.Argument(help="A recipe, a dataset by name or path, or a .toml file.")] = None,
    data: Annotated[
        str | None, typer.Option(help="Other data for it, by name or path; with --resume where its own lie now.")
    ] = None,
    folder: Annotated[Path | None, typer.Option("--out", help="Run folder (default: runs/NAME).")] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="A.B=C", help="Change the spec; repeatable.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Same as --set training.epochs=N.")] = None,
    labels: Annotated[int | None, typer.Option(min=1, help="Same as --set data.labels=N: how many are seen.")] = None,
    samples: Annotated[int, typer.Option(min=1, help="Importance samples of the final likelihood.")] = 200,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out, exactly where it was.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in --out.")] = False,
) -> None:
    """Train a model; ends with its scores and the path of report.html."""
    from . import composed
    from .show import report

    with _training() as bar:
        run = composed.train(
            "digits" if target is None and data is None and not resume else target,
            folder,
            data=data,
            sets=[*(sets or ()), *([] if labels is None else [f"data.labels={labels}"])],
            resume=resume,
            overwrite=overwrite,
            parts=_parts(context),
            callbacks=bar.callbacks,
            epochs=epochs,
        )
    scores = run.evaluate(run.held_out, samples)
    print_scores(scores)
    print_course(run)
    say(f"report: {report.write_report(run, scores)}")


@app.command()
def evaluate(
    context: typer.Context,
    run: RunPath,
    samples: Annotated[int, typer.Option(min=1, help="Importance samples K for each datum.")] = 1000,
    data: Given = None,
    split: AnySplit = None,
    path: Annotated[
        Path | None, typer.Option("--out", help="Write the scores of each datum too: .csv, .parquet, .npz or .npy.")
    ] = None,
    as_json: Json = False,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Score a run: ELBO, its parts, and the importance-weighted likelihood with its errors; or new data by a run."""
    from .runs import rows
    from .runs.given import NEW
    from .show.outputs import TABLES, check_ending

    if path is not None:
        check_ending(path, (*TABLES, ".npy"))
    asked = _asked(run, device, context, data, split)
    every: list[list[Any]] = [[] for _ in asked.splits]
    found = []
    for (name, each), parts in zip(asked.splits.items(), every, strict=True):
        told = each if name == NEW else name
        found.append(asked.run.evaluate(told, samples, seed=seed, on_scores=parts.append))
    if path is not None:
        _write(path, asked.run, rows.scores(asked.splits, every, asked.run), quiet=as_json)
    if as_json:
        values = [asdict(scores) for scores in found]
        print_json(values[0] if len(values) == 1 else values)
        return
    for scores in found:
        print_scores(scores)
    print_course(asked.run)


@app.command()
def sample(
    context: typer.Context,
    run: RunPath,
    path: Out,
    n: Annotated[int, typer.Option("-n", min=1, help="How many.")] = 64,
    label: Annotated[str | None, typer.Option(help="The class to draw, by name or number (conditional runs).")] = None,
    mean: Annotated[bool, typer.Option("--mean", help="Means of p(x given z), not draws from it.")] = False,
    data: Annotated[str | None, typer.Option(help="Where the run's data lie now, whose covariates it takes.")] = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Draw from the model: z from its prior, then x; of a conditional one a table has the class of each."""
    from .runs import rows
    from .show.outputs import check_ending

    check_ending(path)
    loaded = _load(run, device, context, data)
    name = "y" if path.suffix.lower() == ".npz" else None  # as they are read again
    _write(path, loaded, rows.samples(loaded, n, label, not mean, seed, name))


@app.command()
def reconstruct(
    context: typer.Context,
    run: RunPath,
    path: Out,
    n: Annotated[int, typer.Option("-n", min=1, help="How many of the split's data, from its start.")] = 16,
    samples: Annotated[int | None, typer.Option(min=1, help="Draws of z for each datum; default: its mean.")] = None,
    draw: Annotated[bool, typer.Option("--draw", help="Draws from p(x given z), not its means.")] = False,
    data: Given = None,
    split: AnySplit = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Write data and their reconstructions: for each datum itself, then what it is decoded to."""
    from .runs import rows
    from .show.outputs import check_ending

    check_ending(path)
    asked = _asked(run, device, context, data, split)
    made = rows.pairs(asked.run, asked.splits, n, samples, draw, seed)
    _write(path, asked.run, made, per_row=2 if samples is None else 1 + samples)
    for name, each in asked.splits.items():
        if len(each) < n:
            say(f"-n is {n:,}, but {name} has {len(each):,} data: these are all of them")


@app.command()
def encode(
    context: typer.Context,
    run: RunPath,
    path: Out,
    data: Given = None,
    split: AnySplit = None,
    draw: Annotated[bool, typer.Option("--draw", help="A draw from each posterior, not its mean.")] = False,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Write latent codes: posterior means, or draws; a table has beside them where each datum is from in its file, its
    class, and the one that a model which classifies or clusters takes it for.
    """
    from .runs import rows
    from .show.outputs import check_ending

    check_ending(path)
    asked = _asked(run, device, context, data, split)
    _write(path, asked.run, rows.codes(asked.run, asked.splits, draw=draw, seed=seed))


@app.command()
def plot(
    context: typer.Context,
    run: RunPath,
    what: Annotated[str | None, typer.Option(help="The picture to draw; without it, all are listed.")] = None,
    path: Annotated[
        Path | None, typer.Option("--out", help="File to write: .png, .svg or .pdf (default: RUN/pictures/WHAT.png).")
    ] = None,
    n: Annotated[int | None, typer.Option("-n", min=1, help="How many it shows; same as --set n=N.")] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="A=B", help="Change an option of the picture; repeatable.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="train, valid or test (default: the data held out).")] = None,
    data: Annotated[str | None, typer.Option(help="Where the run's data lie now.")] = None,
    seed: Seed = 0,
    dark: Annotated[bool, typer.Option("--dark", help="For dark pages.")] = False,
    device: Device = "auto",
) -> None:
    """Draw a picture of a run by its name; without --what, list those there are and whether the run can have them."""
    from .runs.folder import subfolder
    from .show.outputs import FIGURES, check_ending, write_figure
    from .show.pictures.drawing import FOLDER, draw, offers
    from .show.plots import DARK, LIGHT
    from .spec.parsing import options_from

    loaded = _load(run, device, context, data)
    if what is None:
        rows = [(o.name, o.summary, "no, it needs " + o.lacks if o.lacks else "yes") for o in offers(loaded)]
        print_table(("picture", "what", "of this run"), rows)
        return
    if path is not None:
        check_ending(path, FIGURES)
    options = options_from([*(sets or ()), *([f"n={n}"] if n is not None else [])])
    figure = draw(loaded, what, split=split, seed=seed, theme=DARK if dark else LIGHT, **options)
    if path is None:
        path = subfolder(run, FOLDER) / f"{what}.png"
    write_figure(path, figure)
    say(f"{path}")


@app.command()
def compare(
    context: typer.Context,
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN RUN...", help="Folders of runs on the same data, or recipes."),
    ],
    path: Annotated[
        Path | None, typer.Option("--out", help="Write a page, .html, or the curves: .png, .svg or .pdf.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="Other data for recipes; of runs where theirs lie now.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs of recipes.")] = None,
    samples: Annotated[int, typer.Option(min=1, help="Importance samples K for each datum.")] = 200,
    split: Split = "test",
    as_json: Json = False,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Score runs on the same data, the first as the baseline; say what differs between them; show them side by side.

    A recipe stands for its run in runs/NAME, which is trained, or gone on with, unless it is finished.
    """
    from .runs import comparison
    from .show import report
    from .show.outputs import PAGES, check_ending

    if path is not None:
        check_ending(path, PAGES)
    loaded = [_load_or_train(each, data, epochs, device, context) for each in runs]
    found = comparison.compare(loaded, samples, split=split, seed=seed)
    if path is not None:
        report.write_comparison(found, path)
    if as_json:
        rows = [asdict(row) for row in found.rows]
        print_json({"dataset": found.dataset, "split": found.split, "runs": rows, "differences": found.differences})
        return
    say(report.about(found))
    for table in report.tables(found):
        say(f"\n{table.title}")
        print_table(table.heads, table.rows)
    if path is not None:
        say(f"{path}")


@app.command()
def recipes(
    show: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Print this recipe as TOML, to edit.")] = None,
    as_json: Json = False,
) -> None:
    """List the recipes, or print one as TOML to edit and train from."""
    from .errors import unknown
    from .spec.recipes import RECIPES, recipe

    if show is not None and show not in RECIPES:
        raise ValueError(unknown("recipe", show, RECIPES))
    if show is not None:
        print(json.dumps(recipe(show), indent=2) if as_json else RECIPES[show].strip())
        return
    tables = {name: recipe(name) for name in RECIPES}
    if as_json:
        print(json.dumps(tables, indent=2))
    else:
        rows = [(name, values["title"], values["source"]) for name, values in tables.items()]
        print_table(("recipe", "what", "source"), rows)


@app.command()
def datasets(
    show: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Show this dataset alone.")] = None,
    as_json: Json = False,
) -> None:
    """List the named datasets: shape, sizes, values, licence, and whether they are on this machine."""
    from .data import catalogue

    rows = [asdict(row) for row in catalogue(show)]
    if as_json:
        print(json.dumps(rows, indent=2))
    elif show:
        print_table(("", ""), [(key, cell(value)) for key, value in rows[0].items()])
    else:
        print_rows(rows, ("name", "title", "sizes", "shape", "values", "here"))


@app.command()
def parts(
    context: typer.Context,
    show: Annotated[str | None, typer.Argument(metavar="[FAMILY]", help="Show this family alone.")] = None,
    as_json: Json = False,
) -> None:
    """List the parts that models are made of, with their options and defaults."""
    from .show.pictures.drawing import with_pictures
    from .spec.parts import catalogue

    rows = [asdict(row) for row in catalogue(with_pictures(_parts(context)), show)]
    if as_json:
        print(json.dumps(rows, indent=2, default=str))  # a default may be any object
    else:
        rows = [row | {"options": settings_cell(row["options"])} for row in rows]
        print_rows(rows, ("family", "name", "summary", "options"))


def main(argv: Sequence[str] | None = None, parts: Parts | None = None) -> int:
    """Run a command and return its exit status. `parts` are the named parts, for a program that brings some of its own.

    0: done. 2: an error of the user's, in one line on standard error. 130: interrupted (Ctrl-C). 143: terminated
    (kill), which a training takes as it takes Ctrl-C. With VAEKIT_DEBUG set, errors keep their traceback.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    calm_threads()
    with termination() as ends, standing("command"), shown(Works()), warnings.catch_warnings():
        warnings.simplefilter("ignore", LeftOutWarning)  # `train` prints it among what it says of the data
        return _status(given, parts, ends)


def _status(given: list[str], parts: Parts | None, ends: list[tuple[str, int]]) -> int:
    try:
        status = app(given or ["--help"], prog_name="vaekit", standalone_mode=False, obj=parts)
        sys.stdout.flush()  # a full disk shows here, not at exit
        # typer makes an interrupt a status, and leaves it to us to say so.
        return fail(*ends[-1]) if status == 130 else status or 0
    except InterruptedTrainingError as error:
        word, status = ends[-1]
        return fail(f"{word}; go on with: {shlex.join(error.go_on or ['vaekit', *given])}", status)
    except KeyboardInterrupt:
        return fail(*ends[-1])
    except (SystemExit, BrokenPipeError):
        # The reader of our output has had enough (typer's exit, or ours); nothing more may be written, at exit neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (typer.TyperException, ValueError, ArithmeticError, OSError) as error:
        if os.environ.get("VAEKIT_DEBUG"):
            raise
        return fail(message(error, _help(given)), 2)
    except (MemoryError, RuntimeError, TypeError) as error:
        if os.environ.get("VAEKIT_DEBUG") or not is_out_of_memory(error):
            raise
        return fail(out_of_memory(given), 2)


def _help(given: Sequence[str]) -> str:
    """The help of the command that was given, if one was."""
    commands = {each.callback.__name__ for each in app.registered_commands if each.callback}
    return f"vaekit {given[0]} --help" if given and given[0] in commands else "vaekit --help"


def _parts(context: typer.Context) -> Parts:
    from .spec.parts import PARTS

    return context.obj or PARTS


@contextmanager
def _training() -> Iterator[Bar]:
    """Inside, a bar shows the progress of a training, and an interrupt says how to go on."""
    from .errors import NotBegunError

    bar = Bar()
    try:
        with bar:
            yield bar
    except KeyboardInterrupt as error:
        if not bar.folders:
            raise
        resume = ["vaekit", "train", "--resume", "--out", str(bar.folders[-1])]
        raise InterruptedTrainingError(None if isinstance(error, NotBegunError) else resume) from None


def _load_or_train(name: str, data: str | None, epochs: int | None, device: str, context: typer.Context) -> Run:
    from .composed import ensure
    from .spec.recipes import RECIPES

    if name not in RECIPES or Path(name).exists():
        return _load(Path(name), device, context, data)
    with _training() as bar:
        given: dict[str, Any] = {"data": data, "epochs": epochs, "parts": _parts(context), "callbacks": bar.callbacks}
        path = ensure(name, Path("runs") / name, **given).path
    return _load(path, device, context)


def _load(path: Path, device: str, context: typer.Context, data: str | None = None) -> Run:
    from .runs.run import load_run

    run = load_run(path, device, _parts(context), data=data)
    if run.unfinished:
        _note(run.unfinished)
    return run


def _asked(path: Path, device: str, context: typer.Context, data: str | None, split: str | None) -> Asked:
    from .runs.given import asked

    found = asked(_load(path, device, context), data, split)
    for note in found.notes:
        _note(note)
    return found


def _note(text: str) -> None:
    """Say something beside what was asked for, which may be JSON."""
    err.print(plain(text), highlight=False, markup=False, soft_wrap=True)


def _write(path: Path, run: Run, rows: Rows, per_row: int = 8, quiet: bool = False) -> None:
    from .show.outputs import write_array

    beside = {"before": rows.before, "limits": run.schema.domain.limits, "per_row": per_row}
    write_array(path, rows.array, rows.columns, rows.after, **beside)  # type: ignore[arg-type]
    if not quiet:
        left = [*rows.before, *rows.after] if path.suffix.lower() in (".npy", ".png") else []
        without = f", without {', '.join(left)}: a .csv, .parquet or .npz has them" if left else ""
        say(f"{path}: {' x '.join(map(str, rows.array.shape))}{without}")
