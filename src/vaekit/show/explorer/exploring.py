"""A run looked at in a browser: a page that is served, or one file."""

from __future__ import annotations

import os
import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

from ..terminal import say
from .answers import Answers
from .page import write_page
from .scene import scene_of
from .server import check_libraries, serve
from .values import as_json

if TYPE_CHECKING:
    from ...runs.run import Run

POINTS = 10_000
"""Points of a page that is served, at most, unless told otherwise."""


def explore(
    run: Run,
    out: str | Path | None = None,
    *,
    split: str | None = None,
    points: int | None = None,
    port: int = 0,
    browser: bool | None = None,
    seed: int = 0,
) -> tuple[str, ...]:
    """Look at the latent space of a run in a browser: where data lie in it, what its dimensions do, what lies between.

    With `out`, a file .html is written that needs nothing but itself; what it can't do is given, a line each. Without,
    the page is served on this machine alone, at a `port` or one that is free, until it is told to end there or by
    Ctrl-C; its address is said, and opened if `browser` is true or, by default, where there is a display. It shows at
    most so many `points` of a `split`, by default of the one held out: 10,000, or in a file 2,000 or as many as keep
    it below 10 MB. Raises `ValueError`, one line, where there is no such split, a port is taken, or a file's ending
    is another.

    >>> import tempfile
    >>> from vaekit import train
    >>> run = train("digits", Path(tempfile.mkdtemp()) / "run", epochs=1)
    >>> explore(run, run.path / "page.html", points=100)
    ()
    """
    if out is not None:
        return write_page(run, Path(out), split=split, points=points, seed=seed)
    check_libraries()
    scene = as_json(scene_of(run, split=split, points=POINTS if points is None else points, seed=seed))

    def announce(address: str) -> None:
        say(address)
        say("Ctrl-C ends it")
        if has_display() if browser is None else browser:
            webbrowser.open(address)

    serve(Answers(run), scene, port, announce)
    return ()


def has_display() -> bool:
    """Whether a browser can be opened on this machine's screen."""
    if sys.platform in ("win32", "darwin"):
        return "SSH_CONNECTION" not in os.environ
    return bool({"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys())
