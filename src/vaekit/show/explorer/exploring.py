"""A run looked at in a browser: a page that is served, or one file."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

from ...seeding import plain_tensors
from ...system.progress import in_a_notebook
from ..terminal import ended_by, has_display, say
from .answers import Answers
from .frame import Explored
from .page import whole_page, write_page
from .place import bound, check_layout, check_libraries, check_place
from .scene import ROOM, points_within, scene_of
from .server import serve
from .values import as_json

if TYPE_CHECKING:
    from ...runs.run import Run

POINTS = 10_000
"""Points of a page that is served, at most, and so many that they take no more than 64 MB, unless told otherwise."""
FRAMED = 1000
"""Points of a page within a notebook."""


@plain_tensors()
def explore(  # noqa: PLR0913 - as many as the command has options
    run: Run,
    out: str | Path | None = None,
    *,
    split: str | None = None,
    points: int | None = None,
    port: int | None = None,
    browser: bool | None = None,
    seed: int = 0,
    layout: str = "t-sne",
    overwrite: bool = False,
) -> Explored:
    """Look at the latent space of a run in a browser: where data lie in it, what its dimensions do, what lies between.

    With `out`, a file .html is written that needs nothing but itself, in the place of one that is there if `overwrite`
    says so; `notes` are what it can't do, a line each. In a notebook, unless `port` or `browser` is given, what is
    given shows such a page in a frame, and the notebook's file has all of it. Else the page is served on this machine
    alone, at a `port` or one that is free, until it is told to end there or by Ctrl-C; its address is said, and opened
    if `browser` is true or, by default, where there is a display. It shows at most so many `points` of a `split`, by
    default of the one held out: 10,000 or as many as take 64 MB, of a file 2,000, of a frame 1,000, or as many as keep
    these below 10 MB. Codes of more than two dimensions are laid out by `layout`, "t-sne" or "umap" (umap-learn), once:
    the run's folder keeps it. Raises `ValueError`, one line, where there is no such split or layout, a port is taken,
    or a file's ending is another.

    >>> import tempfile
    >>> from vaekit import train
    >>> run = train("digits", Path(tempfile.mkdtemp()) / "run", epochs=1)
    >>> explore(run, run.path / "page.html", points=100).notes
    ()
    """
    if out is not None:
        check_place(Path(out), overwrite=overwrite)
        page, notes = write_page(run, Path(out), split=split, points=points, seed=seed, layout=layout)
        return Explored(notes, page, Path(out))
    if port is None and browser is None and in_a_notebook():
        page, notes = whole_page(run, split, points, seed, layout, FRAMED)
        return Explored(notes, page)
    check_libraries()
    check_layout(layout)
    with bound(port or 0) as listening:  # before what takes long
        shown = points_within(run, POINTS, ROOM) if points is None else points
        scene = as_json(scene_of(run, split=split, points=shown, seed=seed, layout=layout))

        def announce(address: str) -> None:
            say(address)
            say(f"{ended_by()} ends it")
            if has_display() if browser is None else browser:
                webbrowser.open(address)

        serve(Answers(run), scene, listening, announce)
    return Explored()
