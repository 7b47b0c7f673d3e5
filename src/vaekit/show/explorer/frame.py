"""The page within a notebook: a frame that holds all of it, and so works wherever the notebook is opened."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from pathlib import Path

HEIGHT = 760
"""Pixels that a frame is high."""


@dataclass(frozen=True)
class Explored:
    """What `explore` has made: the page within a notebook, or a file; and what it can't do, a line each.

    A notebook shows it as a frame whose page decodes in the browser, also from the notebook's file, without Python.
    """

    notes: tuple[str, ...] = ()
    """What is left out, that a page which is served can do, a line each."""
    page: str = field(default="", repr=False)
    """The whole page; nothing of one that was served."""
    path: Path | None = None
    """The file, if one was written."""

    def __repr__(self) -> str:
        what = "the page has ended" if not self.page else f"a page of {_size(self.page)}, shown by a notebook"
        return "\n".join([what if self.path is None else f"{self.path}: {_size(self.page)}", *self.notes])

    def _repr_html_(self) -> str | None:
        if not self.page:
            return None
        frame = framed(self.page)
        size = f"{_size(frame)} of this notebook, which works in its file too"
        more = "vaekit.explore(run, port=0) serves all of it" if self.path is None else f"also in {self.path}"
        below = "".join(f"<p>{escape(each)}</p>" for each in (f"{size}; {more}", *self.notes))
        return f"<div>{frame}{below}</div>"


def framed(page: str, height: int = HEIGHT) -> str:
    """A page as a frame of another, which it knows nothing of: it can't read it, nor be read by it.

    >>> framed('<p title="a">', height=9)
    '<iframe srcdoc="&lt;p title=&quot;a&quot;&gt;" sandbox=...height:9px...></iframe>'
    """
    rules = f"width:100%;height:{height}px;border:1px solid #8886;border-radius:8px"
    told = 'title="The latent space of a run"'
    return f'<iframe srcdoc="{escape(page)}" sandbox="allow-scripts allow-downloads" {told} style="{rules}"></iframe>'


def _size(text: str) -> str:
    return f"{len(text.encode()) / 1e6:.1f} MB"
