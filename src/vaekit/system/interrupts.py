"""Ctrl-C, `kill` and a terminal that closes wait until what is under way is whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = tuple(getattr(signal, each) for each in ("SIGTERM", "SIGHUP") if hasattr(signal, each))
"""The signals, beside SIGINT, that end a process that takes no notice of them; Windows has but the first."""


class Interrupt:
    """Whether somebody has `asked` to end, by which signal."""

    def __init__(self) -> None:
        self.asked: int | None = None
        self._before: dict[int, object] = {}

    def end(self) -> None:
        """Let the signal do what it would have done, a `KeyboardInterrupt` for the most part."""
        self._put_back()
        if self.asked is None:  # another process was asked
            raise KeyboardInterrupt
        signal.raise_signal(self.asked)
        raise KeyboardInterrupt  # where whoever handles it did not

    def _put_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before = {}


@contextmanager
def postponed(insisting: bool = True) -> Iterator[Interrupt]:
    """Inside, SIGINT, SIGTERM and SIGHUP do nothing but be noted; where somebody is `insisting`, a second one comes
    through.

    Whoever is inside looks at `asked` where all is whole, and calls `end`. Signals that are ignored stay so, and so
    does everything where this is not the main thread, which alone is told of signals.
    """
    found = Interrupt()

    def note(number: int, frame: FrameType | None) -> None:
        again, found.asked = found.asked is not None, number
        if again and insisting:
            found.end()

    if threading.current_thread() is threading.main_thread():
        for each in (signal.SIGINT, *ENDING):
            handler = signal.getsignal(each)
            # SIGINT is left alone where Python has no handler for it, or none that was set by Python.
            if callable(handler) or (each != signal.SIGINT and handler == signal.SIG_DFL):
                found._before[each] = signal.signal(each, note)
    try:
        yield found
        if found.asked is not None:  # since whoever is inside has last looked
            found.end()
    finally:
        found._put_back()
