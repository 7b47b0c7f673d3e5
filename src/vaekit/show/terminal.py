"""What the command line prints: lines, tables, scores, and the progress of a training."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..errors import number_of
from ..system.disk import finite
from ..system.progress import DELAY, Step, amount, shown

if TYPE_CHECKING:
    from pathlib import Path

    from rich.progress import Progress as Live

    from ..data import Dataset
    from ..evaluation.scores import Evaluation
    from ..runs.keeping import Callbacks
    from ..runs.run import Run
    from ..spec.keys import Spec
    from ..training.records import Epoch, Progress

LINE_SECONDS = 5.0
WORK_SECONDS = 30.0
"""Seconds between lines of a training's epochs, and of what takes longer, where there is no terminal."""
QUIET_SECONDS = 10.0
"""Seconds after which a first line says there what is going on."""
WIDEST = 100_000
BESIDE_TERMS = 48
"""Columns of a terminal that a bar takes beside the terms of the objective."""
out = Console()
err = Console(stderr=True)


def plain(text: str) -> str:
    """`text` in which a name from a file or a run, whatever it is, can't steer the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def say(text: str) -> None:
    """Print a line of text as it is."""
    out.print(plain(text), highlight=False, markup=False, soft_wrap=True)


CTRL_C = "Ctrl-C"


def ended_by() -> str:
    """What ends this program: Ctrl-C, or kill where a shell has started it in the background."""
    ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN  # as a script starts its jobs
    return f"kill {os.getpid()}" if ignored or _in_background() else CTRL_C


def _in_background() -> bool:
    """Whether the terminal, if there is one, sends its Ctrl-C to other programs."""
    try:
        return os.isatty(0) and os.tcgetpgrp(0) != os.getpgrp()
    except (AttributeError, OSError):  # on Windows, or without a terminal of its own
        return False


def has_display() -> bool:
    """Whether a browser can be opened on this machine's screen."""
    if sys.platform in ("win32", "darwin"):
        return "SSH_CONNECTION" not in os.environ
    return bool({"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys())


def cell(value: Any) -> str:
    """A value as a cell of a table shows it."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {cell(each)}" for key, each in value.items())
    if isinstance(value, (list, tuple)):
        return "×".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    return f"{value:,}" if isinstance(value, int) else str(value)


def settings_cell(values: dict[str, Any]) -> str:
    """Options with their defaults as a cell of a table shows them: in the form in which they are set."""
    return ", ".join(f"{name}={_as_set(value)}" for name, value in values.items())


def _as_set(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(_as_set, value))}]"
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under their header."""
    table = Table(*header, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*map(escape, row))
    _print_lines(table)


def _print_lines(table: Table) -> None:
    """Print a table, wrapped to a terminal; elsewhere each row is one line, for what reads lines."""
    (out if out.is_terminal else Console(width=WIDEST)).print(table, highlight=False)


def print_rows(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    """Print the given columns of rows that are tables of names and values."""
    print_table(columns, [[cell(row[column]) for column in columns] for row in rows])


def print_json(value: Any) -> None:
    """Print JSON, in which what is no finite number is null: an error, say, that one sample can't tell."""
    print(json.dumps(finite(value), indent=2, allow_nan=False))


def print_scores(scores: Evaluation) -> None:
    """Print the scores of one evaluation, with what each means."""
    from ..evaluation.scores import heading, notes, score_rows

    say(heading(scores))
    table = Table(box=None, show_header=False)
    for name, value, what in score_rows(scores):
        table.add_row(name, value, what)
    _print_lines(table)
    for note in notes(scores):
        say(note)


def print_course(run: Run) -> None:
    """Print how the training of a run went, and of what its loss was, if there is anything to say of it."""
    from ..runs.course import beside_the_bound, course_of

    course = course_of(run)
    for said in (course.said() if course else "", beside_the_bound(run)):
        if said:
            say(said)


def _likelihood(spec: Spec, dataset: Dataset) -> str:
    """Which likelihood a run has, why, and which it could have instead."""
    from ..likelihoods import LIKELIHOODS

    name = spec.model.likelihood.name if spec.model.likelihood else ""
    domain = spec.data.preprocessing.domain(dataset.domain)
    others = [
        each for each, part in LIKELIHOODS.items() if each != name and domain.kind in getattr(part, "domains", ())
    ]
    instead = f" (as are {', '.join(others)})" if others else ""
    return f"likelihood: {name}, a density of {domain}{instead}"


def print_beginning(path: Path, spec: Spec, dataset: Dataset) -> None:
    """Print what is to be trained, where, and on what: of a table, what each column is taken for."""
    sizes = ", ".join(f"{len(rows):,} {name}" for name, rows in dataset.splits.items())
    what = f"{sizes}; {dataset.domain}" + (
        f", {number_of(len(dataset.classes), 'class', 'classes')}" if dataset.classes else ""
    )
    say(f"{spec.title or dataset.name}\n{dataset.name}: {what}")
    if dataset.table:
        from ..data.tabular import described

        print_table(("column", "kind", "why", "missing"), described(dataset))
    for note in dataset.notes:
        say(f"  {note}")
    say(f"run folder: {path}")
    say(_likelihood(spec, dataset))


def print_log(name: str, place: str) -> None:
    """Print where a log goes."""
    say(f"log: {name}, {place}")


class Works:
    """Shows work that takes a while: a bar on a terminal while it lasts, else a line soon, and then now and then; both
    on stderr.

    `bar` is one that is shown already, which it then joins.
    """

    def __init__(self, bar: Live | None = None) -> None:
        self.bar, self.joins, self.lock, self.shown = bar, bar is not None, threading.RLock(), 0
        self.live = (bar is not None and not bar.disable) or err.is_terminal

    def __call__(self, what: str, total: int | None = None) -> AbstractContextManager[Step]:
        return self._in_a_bar(what, total) if self.live else _in_lines(what, total)

    @contextmanager
    def _in_a_bar(self, what: str, total: int | None) -> Iterator[Step]:
        done, task = 0, None
        bar = self.bar or _bar(err, transient=True)

        def show() -> None:
            nonlocal task
            with self.lock:
                if task is None:
                    if not self.joins and not self.shown:
                        bar.start()
                    self.shown += 1
                    task = bar.add_task(what, total=total, completed=done, terms="")

        def step(number: int) -> None:
            nonlocal done
            done = number
            if task is not None:
                bar.update(task, completed=done)

        outer, self.bar = self.bar, bar  # what is done within joins it
        try:
            with _after(DELAY, show):
                yield step
        finally:
            with self.lock:
                self.bar = outer
                if task is not None:
                    self.shown -= 1
                    bar.remove_task(task)
                    if not self.joins and not self.shown:
                        bar.stop()


@contextmanager
def _in_lines(what: str, total: int | None) -> Iterator[Step]:
    began = said = time.monotonic()
    done, told = 0, False

    def tell(text: str) -> None:
        err.print(f"{what}: {text}", highlight=False, markup=False, soft_wrap=True)

    def show() -> None:
        nonlocal said, told
        said, told = time.monotonic(), True
        tell(amount(done, total, said - began))

    def step(number: int) -> None:
        nonlocal done
        done = number
        if time.monotonic() - said > WORK_SECONDS:
            show()

    with _after(QUIET_SECONDS, show):
        yield step
    if told:  # whoever reads the lines later sees that it came to its end
        tell(f"done, {time.monotonic() - began:.0f} s")


@contextmanager
def _after(seconds: float, show: Callable[[], None]) -> Iterator[None]:
    """Inside, `show` is called once so many seconds are over."""
    timer = threading.Timer(seconds, show)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _bar(console: Console, transient: bool = False) -> Live:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        MofNCompleteColumn(),
        BarColumn(bar_width=10),
        TextColumn("{task.fields[terms]}"),
        TimeRemainingColumn(),  # all of it within 80 columns
        console=console,
        transient=transient,
        disable=not console.is_terminal,
    )


class Bar:
    """Progress of a training: what it waits for until the first step is taken, then a live bar on a terminal, else a
    line now and then.
    """

    def __init__(self) -> None:
        self.bar = _bar(out)
        self.works = Works(self.bar)
        self.first_step = ExitStack()
        self.trained = False
        """Whether any epoch was taken."""
        self.task = self.bar.add_task("epoch", total=None, terms="")
        self.rate = 0.0
        self.printed = time.monotonic()
        self.folders: list[Path] = []
        self.epochs = 0

    @property
    def callbacks(self) -> Callbacks:
        """What a training is to call."""
        from ..runs.keeping import Callbacks

        return Callbacks(self._started, self._epoch, self._progress, on_log=print_log, on_note=say)

    def __enter__(self) -> Bar:
        self.open = ExitStack()
        self.open.enter_context(self.bar)
        self.open.enter_context(shown(self.works))
        self.open.enter_context(self.first_step)
        return self

    def __exit__(self, *error: Any) -> None:
        self.open.__exit__(*error)

    def _started(self, path: Path, spec: Spec, dataset: Dataset) -> None:
        self.folders.append(path)
        print_beginning(path, spec, dataset)
        if ended_by() != CTRL_C and len(self.folders) == 1:
            say(f"Ctrl-C does nothing here, this was started in the background; to stop: {ended_by()}")
        self.epochs = spec.training.epochs
        self.bar.update(self.task, total=self.epochs)
        self.first_step.close()  # of the run whose codes this one is on
        self.first_step.enter_context(self.works("getting ready for the first step"))

    def _progress(self, progress: Progress) -> None:
        self.first_step.close()
        self.rate = progress.rows_per_second
        done, terms = progress.epoch + progress.step / progress.steps, self._terms(progress.terms)
        self.bar.update(self.task, completed=done, terms=terms)
        if not out.is_terminal and time.monotonic() - self.printed > WORK_SECONDS:
            self.printed = time.monotonic()
            say(f"epoch {progress.epoch + 1}, step {progress.step:,} of {progress.steps:,}: {terms}")

    def _epoch(self, records: list[Epoch]) -> None:
        self.first_step.close()
        train, self.trained = records[0], True
        self.rate = train.rows / max(train.seconds, 1e-9)
        terms = f"{self._terms(train.terms)} · {records[-1].split} loss {records[-1].terms['loss']:.2f}"
        self.bar.update(self.task, completed=train.epoch, terms=self._terms(train.terms))
        due = train.epoch == self.epochs or time.monotonic() - self.printed > LINE_SECONDS
        if not out.is_terminal and due:
            self.printed = time.monotonic()
            say(f"epoch {train.epoch}: {terms}")

    def _terms(self, terms: dict[str, float]) -> str:
        rate = f"{self.rate / 1000:.1f}k" if self.rate >= 1000 else f"{self.rate:.0f}"
        room = out.width - BESIDE_TERMS - len(rate) if out.is_terminal else WIDEST
        return f"{terms_in_words(terms, room)} {rate} rows/s"


def terms_in_words(terms: dict[str, float], room: int = WIDEST) -> str:
    """The terms of an objective, the parts of a bound first; the last are left out where there is no `room`. The loss
    is not among them, which they make up, nor the KL of each of several latents, nor the usual weight of the KL, 1.

    >>> terms_in_words({"loss": 9.0, "elbo": -8.0, "reconstruction": -7.0, "kl": 1.0, "beta": 1, "discrepancy": 0.0123})
    'ELBO -8.0 rec -7.0 KL 1.0 discrepancy 0.0123'
    """
    names = {"elbo": "ELBO", "reconstruction": "rec", "kl": "KL"}
    text = " ".join(f"{name} {terms[key]:.1f}" for key, name in names.items() if key in terms)
    for key in terms:
        usual = key == "loss" or (key == "beta" and terms[key] == 1)
        if key not in names and not usual and "/" not in key:
            more = f"{text} {key.replace('_', ' ')} {terms[key]:.3g}".strip()
            if len(more) > room:
                break
            text = more
    return text
