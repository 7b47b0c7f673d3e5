"""Work that takes a while says how far it is, to whoever shows it: the command line, a notebook, or nobody.

Nothing is shown of what takes less than `DELAY` seconds, and nothing at all of a plain program.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from html import escape
from typing import Any

DELAY = 2.0
"""Seconds after which work is shown."""
EVERY = 0.5
"""Seconds between what a notebook shows."""

Step = Callable[[int], None]
"""Told how many are done, of all."""
Display = Callable[[str, int | None], AbstractContextManager[Step]]

_display: ContextVar[Display | None] = ContextVar("_display", default=None)


@contextmanager
def working(what: str, total: int | None = None) -> Iterator[Step]:
    """Inside, `what` is being done; what it gives is told how many of `total` are done.

    >>> with working("scoring", 3) as step:
    ...     step(2)
    """
    display = _display.get() or (Notebook if in_a_notebook() else None)
    if display is None:
        yield _silent
    else:
        with display(what, total) as step:
            yield step


@contextmanager
def shown(display: Display) -> Iterator[None]:
    """Inside, work is shown by `display`."""
    token = _display.set(display)
    try:
        yield
    finally:
        _display.reset(token)


def in_a_notebook() -> bool:
    """Whether this runs in a notebook's kernel, which shows what is displayed."""
    # Without IPython being imported there is none; a terminal's has another class.
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return type(shell).__name__ in ("ZMQInteractiveShell", "Shell")  # the second is Colab's


def amount(done: int, total: int | None, seconds: float) -> str:
    """How far work is, and how long it will take.

    >>> amount(250, 1000, 10.0), amount(0, None, 4.2)
    ('250 of 1,000, 30 s left', '4 s')
    """
    if not total or not done:
        return f"{seconds:.0f} s"
    return f"{done:,} of {total:,}, {seconds * max(0, total - done) / done:.0f} s left"


class Notebook:
    """A bar below a notebook's cell, renewed while work lasts, then taken away; a line where there is no HTML."""

    def __init__(self, what: str, total: int | None) -> None:
        self.what, self.total, self.done = what, total, 0
        self.began = self.at = time.monotonic()
        self.line: Any = None
        self.lock = threading.Lock()
        # What says nothing of its steps is shown by a clock.
        self.timer = threading.Timer(DELAY, self._show)
        self.timer.daemon = True

    def __enter__(self) -> Step:
        self.timer.start()
        return self._step

    def __exit__(self, *error: object) -> None:
        self.timer.cancel()
        with self.lock:
            if self.line is not None:
                self.line.update({"text/plain": "", "text/html": ""}, raw=True)

    def _step(self, done: int) -> None:
        self.done = done
        if self.line is not None and time.monotonic() - self.at > EVERY:
            self._show()

    def _show(self) -> None:
        from IPython.display import display

        self.at = time.monotonic()
        said = f"{self.what}: {amount(self.done, self.total, self.at - self.began)}"
        done = f' value="{self.done}" max="{self.total}"' if self.total else ""  # without an end it moves to and fro
        text = {"text/plain": said, "text/html": f"<progress{done}></progress> {escape(said)}"}
        with self.lock:
            if self.line is None:
                self.line = display(text, raw=True, display_id=True)
            else:
                self.line.update(text, raw=True)


def _silent(done: int) -> None:
    pass


@contextmanager
def following(on_progress: Callable[[Any], None] | None, steps: int) -> Iterator[Callable[[Any], None] | None]:
    """What a training of so many steps is to report to: `on_progress`, else whoever shows work, if anybody does."""
    if on_progress is not None or not (_display.get() or in_a_notebook()):
        yield on_progress
        return
    with working("training, step", steps) as step:
        yield lambda where: step(where.epoch * where.steps + where.step)
