"""Tables as a notebook shows them: plain HTML in the colours of the page, light or dark; all text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

LEFT = ' style="text-align:left"'


def markup(title: str, rows: Iterable[Sequence[str]], heads: Sequence[str] = (), notes: Iterable[str] = ()) -> str:
    """A title above rows, with the heads of their columns if they have any, and notes below them.

    >>> markup("a < b", [("x", "1")])
    '<div><b>a &lt; b</b><table><tbody><tr><td style="text-align:left">x</td>...</tr></tbody></table></div>'
    """
    head = f"<thead>{_row(heads, 'th')}</thead>" if heads else ""
    body = "".join(_row(row, "td") for row in rows)
    below = "".join(f"<p>{escape(note)}</p>" for note in notes)
    return f"<div><b>{escape(title)}</b><table>{head}<tbody>{body}</tbody></table>{below}</div>"


def _row(cells: Sequence[str], kind: str) -> str:
    return "<tr>" + "".join(f"<{kind}{LEFT}>{escape(each)}</{kind}>" for each in cells) + "</tr>"
