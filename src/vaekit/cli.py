"""The command line: each command calls public functions of the library and holds no logic of its own.

Nothing of the library is imported until a command needs it: `vaekit --help` does not wait for torch.
"""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from .evaluation import Evaluation
    from .parts import Parts
    from .runs import Run
    from .training import Epoch, Progress

app = typer.Typer(
    name="vaekit",
    help="Variational autoencoders: train, score, sample, encode.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
LINE_SECONDS = 5.0
WIDEST = 100_000
out = Console()
err = Console(stderr=True)

RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:N, mps or auto.")]
Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of whatever is drawn.")]
Split = Annotated[str, typer.Option(help="train, valid or test.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Out = Annotated[
    Path, typer.Option("--out", help="File to write; its ending says how: .png (images), .npy, .csv, .parquet.")
]


@app.command()
def train(
    context: typer.Context,
    target: Annotated[str | None, typer.Argument(help="A recipe, a dataset by name or path, or a .toml file.")] = None,
    folder: Annotated[Path | None, typer.Option("--out", help="Run folder (default: runs/NAME).")] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="A.B=C", help="Change the spec; repeatable.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Same as --set training.epochs=N.")] = None,
    samples: Annotated[int, typer.Option(min=1, help="Importance samples of the final likelihood.")] = 200,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out, exactly where it was.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in --out.")] = False,
) -> None:
    """Train a model; ends with its scores and the path of report.html."""
    from . import evaluation, report, runs

    started: list[Path] = []
    bar = _Bar()

    def on_start(path: Path, spec: Any, dataset: Any) -> None:
        started.append(path)
        sizes = ", ".join(f"{len(rows):,} {name}" for name, rows in dataset.splits.items())
        _say(f"{spec.title or dataset.name}\n{dataset.name}: {sizes}\nrun folder: {path}")
        bar.started(spec.training.epochs)

    try:
        with bar.bar:
            run = runs.train(
                "digits" if target is None and not resume else target,
                folder,
                sets=sets or (),
                epochs=epochs,
                resume=resume,
                overwrite=overwrite,
                parts=_parts(context),
                on_start=on_start,
                on_epoch=bar.epoch,
                on_progress=bar.progress,
            )
    except KeyboardInterrupt:
        if started:
            raise _InterruptedError(
                f"interrupted; go on with: vaekit train --resume --out {shlex.quote(str(started[0]))}"
            ) from None
        raise
    scores = evaluation.evaluate(run.model, run.data(run.held_out), samples, split=run.held_out)
    _print_scores(scores)
    _say(f"report: {report.write_report(run, scores)}")


@app.command()
def evaluate(
    context: typer.Context,
    run: RunPath,
    samples: Annotated[int, typer.Option(min=1, help="Importance samples K for each datum.")] = 1000,
    split: Split = "test",
    as_json: Json = False,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Score a run: ELBO, its parts, and the importance-weighted likelihood with its errors."""
    from . import evaluation

    loaded = _load(run, device, context)
    scores = evaluation.evaluate(loaded.model, loaded.data(split), samples, split=split, seed=seed)
    if as_json:
        # JSON has no NaN, which an error that one sample or one datum can't tell is.
        values = {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in asdict(scores).items()}
        print(json.dumps(values, indent=2, allow_nan=False))
    else:
        _print_scores(scores)


@app.command()
def sample(
    context: typer.Context,
    run: RunPath,
    path: Out,
    n: Annotated[int, typer.Option("-n", min=1, help="How many.")] = 64,
    label: Annotated[str | None, typer.Option(help="The class to draw, by name or number (conditional runs).")] = None,
    mean: Annotated[bool, typer.Option("--mean", help="Means of p(x given z), not draws from it.")] = False,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Draw from the model: z from its prior, then x."""
    from .outputs import check_ending

    check_ending(path)
    loaded = _load(run, device, context)
    _write(path, loaded, loaded.sample(n, label, draw=not mean, seed=seed))


@app.command()
def reconstruct(
    context: typer.Context,
    run: RunPath,
    path: Out,
    n: Annotated[int, typer.Option("-n", min=1, help="How many of the split's data, from its start.")] = 16,
    samples: Annotated[int | None, typer.Option(min=1, help="Draws of z for each datum; default: its mean.")] = None,
    draw: Annotated[bool, typer.Option("--draw", help="Draws from p(x given z), not its means.")] = False,
    split: Split = "test",
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Write data and their reconstructions: for each datum itself, then what it is decoded to."""
    from .outputs import check_ending

    check_ending(path)
    loaded = _load(run, device, context)
    pairs = loaded.reconstructions(split, n, samples=samples, draw=draw, seed=seed)
    _write(path, loaded, pairs.flatten(0, 1), columns=pairs.shape[1])


@app.command()
def encode(
    context: typer.Context,
    run: RunPath,
    path: Out,
    split: Split = "test",
    draw: Annotated[bool, typer.Option("--draw", help="A draw from each posterior, not its mean.")] = False,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Write the latent codes of a split: posterior means, or draws; a table has the labels beside them."""
    import numpy as np

    from .outputs import check_ending, write_array

    check_ending(path)
    loaded = _load(run, device, context)
    codes, labels = loaded.encode(split, draw=draw, seed=seed)
    # No latent's name has a dot, so that no two columns have one name, whatever latents are called.
    names = [f"{name}.{i}" for name, size in loaded.model.sizes.items() for i in range(size)]
    beside = {}
    if labels is not None and labels.ndim == 1:
        beside["label"] = np.array(loaded.dataset.classes)[labels]
    elif labels is not None:
        beside = {f"y{i}": y for i, y in enumerate(labels.T)}
    write_array(path, codes, names, beside)
    _say(f"{path}: {' x '.join(map(str, codes.shape))}")


@app.command()
def recipes(
    show: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Print this recipe as TOML, to edit.")] = None,
    as_json: Json = False,
) -> None:
    """List the recipes, or print one as TOML to edit and train from."""
    import tomllib

    from .errors import unknown
    from .recipes import RECIPES

    if show is not None and show not in RECIPES:
        raise ValueError(unknown("recipe", show, RECIPES))
    if show is not None:
        values = tomllib.loads(RECIPES[show])
        print(json.dumps(values, indent=2) if as_json else RECIPES[show].strip())
        return
    tables = {name: tomllib.loads(text) for name, text in RECIPES.items()}
    if as_json:
        print(json.dumps(tables, indent=2))
    else:
        rows = [(name, values["title"], values["source"]) for name, values in tables.items()]
        _print_table(("recipe", "what", "source"), rows)


@app.command()
def datasets(
    show: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Show this dataset alone.")] = None,
    as_json: Json = False,
) -> None:
    """List the named datasets: shape, sizes, values, licence, and whether they are on this machine."""
    from .datasets import catalogue

    rows = [asdict(row) for row in catalogue(show)]
    if as_json:
        print(json.dumps(rows, indent=2))
    elif show:
        _print_table(("", ""), [(key, _cell(value)) for key, value in rows[0].items()])
    else:
        _print_rows(rows, ("name", "title", "sizes", "shape", "values", "here"))


@app.command()
def parts(
    context: typer.Context,
    show: Annotated[str | None, typer.Argument(metavar="[FAMILY]", help="Show this family alone.")] = None,
    as_json: Json = False,
) -> None:
    """List the parts that models are made of, with their options and defaults."""
    from .parts import catalogue

    rows = [asdict(row) for row in catalogue(_parts(context), show)]
    if as_json:
        print(json.dumps(rows, indent=2, default=str))  # a default may be any object
    else:
        _print_rows(rows, ("family", "name", "summary", "options"))


def main(argv: Sequence[str] | None = None, parts: Parts | None = None) -> int:
    """Run a command and return its exit status. `parts` are the named parts, for a program that brings some of its own.

    0: done. 2: an error of the user's, in one line on standard error. 130: interrupted. With VAEKIT_DEBUG set, errors
    keep their traceback.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    try:
        status = app(given or ["--help"], prog_name="vaekit", standalone_mode=False, obj=parts)
        sys.stdout.flush()  # a full disk shows here, not at exit
        # typer makes an interrupt a status, and leaves it to us to say so.
        return _fail("interrupted", 130) if status == 130 else status or 0
    except _InterruptedError as error:
        return _fail(str(error), 130)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except (SystemExit, BrokenPipeError):
        # The reader of our output has had enough (typer's exit, or ours); nothing more may be written, at exit neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (typer.TyperException, ValueError, ArithmeticError, OSError) as error:
        if os.environ.get("VAEKIT_DEBUG"):
            raise
        return _fail(_message(error), 2)
    except (MemoryError, RuntimeError, TypeError) as error:
        if os.environ.get("VAEKIT_DEBUG") or not _is_out_of_memory(error):
            raise
        return _fail(
            "not enough memory for this model and batch; lower training.batch_size or the sizes of its layers", 2
        )


class _InterruptedError(Exception):
    """Ctrl-C in a training; not a `KeyboardInterrupt`, whose message typer drops."""


def _fail(message: str, status: int) -> int:
    err.print(f"vaekit: {_plain(' '.join(message.split()))}", highlight=False, markup=False, soft_wrap=True)
    return status


def _message(error: Exception) -> str:
    if isinstance(error, typer.TyperException):
        return f"{error.format_message().rstrip('.')}; see vaekit --help"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'file'}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError):
        return True
    from torch import OutOfMemoryError

    # Where torch has no type for it: the allocators of CPU, MPS and a CUDA device that is full at the start, and sizes
    # beyond any memory.
    words = (
        "DefaultCPUAllocator: |MPS backend out of memory|CUDA error: out of memory|"
        "Storage size calculation overflowed|Overflow when unpacking long"
    )
    return isinstance(error, OutOfMemoryError) or re.search(words, str(error)) is not None


def _plain(text: str) -> str:
    """`text` in which a name from a file or a run, whatever it is, can't steer the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def _say(text: str) -> None:
    out.print(_plain(text), highlight=False, markup=False, soft_wrap=True)


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_cell(each)}" for key, each in value.items())
    if isinstance(value, (list, tuple)):
        return "×".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _parts(context: typer.Context) -> Parts:
    from .parts import PARTS

    return context.obj or PARTS


def _load(path: Path, device: str, context: typer.Context) -> Run:
    from .runs import load_run

    return load_run(path, device, _parts(context))


def _write(path: Path, run: Run, x: Any, columns: int = 8) -> None:
    from .outputs import write_array

    write_array(path, x.cpu().numpy(), run.schema.columns, limits=run.schema.domain.limits, per_row=columns)
    _say(f"{path}: {' x '.join(map(str, x.shape))}")


def _print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(*header, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*map(escape, row))
    _print_lines(table)


def _print_lines(table: Table) -> None:
    """Print a table, wrapped to a terminal; elsewhere each row is one line, for what reads lines."""
    (out if out.is_terminal else Console(width=WIDEST)).print(table, highlight=False)


def _print_rows(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    _print_table(columns, [[_cell(row[column]) for column in columns] for row in rows])


def _print_scores(scores: Evaluation) -> None:
    _say(f"{scores.split}, {scores.n:,} data, nats per datum")
    table = Table(box=None, show_header=False)
    rows = [
        ("ELBO", f"{scores.elbo:.2f} ± {scores.elbo_stderr:.2f}"),
        ("reconstruction", f"{scores.reconstruction:.2f}"),
        ("KL", f"{scores.kl:.2f}"),
        (f"NLL, {scores.samples:,} samples", f"{scores.nll:.2f} ± {scores.nll_stderr:.2f}"),
        ("bits per dimension", f"{scores.bits_per_dim:.4f}"),
        ("active units", f"{scores.active_units} of {scores.latent_size}"),
    ]
    for name, value in rows:
        table.add_row(name, value)
    _print_lines(table)
    if not scores.is_likelihood:
        _say("grey pixels were scored as Bernoulli probabilities: these numbers are no likelihood")


class _Bar:
    """Progress of a training: a live bar on a terminal, else a line now and then."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self.bar = Bar(
            TextColumn("epoch"),
            MofNCompleteColumn(),
            BarColumn(bar_width=10),
            TextColumn("{task.fields[terms]}"),
            TimeRemainingColumn(),  # all of it within 80 columns
            console=out,
            disable=not out.is_terminal,
        )
        self.task = self.bar.add_task("", total=None, terms="")
        self.rate = 0.0
        self.printed = time.monotonic()

    def started(self, epochs: int) -> None:
        self.bar.update(self.task, total=epochs)

    def progress(self, progress: Progress) -> None:
        self.rate = progress.rows_per_second
        done = progress.epoch + progress.step / progress.steps
        self.bar.update(self.task, completed=done, terms=self._terms(progress.terms))

    def epoch(self, records: list[Epoch]) -> None:
        train = records[0]
        self.rate = train.rows / max(train.seconds, 1e-9)
        terms = f"{self._terms(train.terms)} · {records[-1].split} loss {records[-1].terms['loss']:.2f}"
        self.bar.update(self.task, completed=train.epoch, terms=self._terms(train.terms))
        if not out.is_terminal and time.monotonic() - self.printed > LINE_SECONDS:
            self.printed = time.monotonic()
            _say(f"epoch {train.epoch}: {terms}")

    def _terms(self, terms: dict[str, float]) -> str:
        names = {"elbo": "ELBO", "reconstruction": "rec", "kl": "KL"}
        parts = [f"{name} {terms[key]:.1f}" for key, name in names.items() if key in terms]
        return f"{' '.join(parts)} {self.rate / 1000:.1f}k rows/s"
