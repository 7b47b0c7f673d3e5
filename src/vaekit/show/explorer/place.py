"""Where a page can be, a file or a port of this machine, and what its map can be laid out by: known before anything is
imported that makes pages.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from ...errors import unknown
from ...settings import option
from ...system.extras import check_importable, needing
from ..endings import check_output

LOOPBACK = "127.0.0.1"
LAYOUTS = {"t-sne": "t-SNE", "umap": "UMAP"}
"""What lays codes out, and what the page calls it."""


def check_place(path: Path | None, port: int = 0, *, overwrite: bool = False) -> None:
    """Raise `ValueError`, one line, where a page can't be written at `path`, or is there already and is not to be
    replaced; or without one can't be served at a port: that is taken, or what serves pages is not there.
    """
    check_output(path, (".html",), overwrite=overwrite)
    if path is not None:
        return
    check_libraries()
    bound(port).close()


def check_layout(name: str) -> None:
    """Raise `ValueError`, one line, for a layout that there is not, or whose library is not there."""
    if name not in LAYOUTS:
        raise ValueError(unknown("layout", name, LAYOUTS))
    if name == "umap":
        with needing(option("layout", "umap"), "umap-learn", "umap", "t-sne, the default, needs nothing"):
            check_importable("umap")


def check_libraries() -> None:
    """Raise `ValueError`, one line, where what serves pages is not there."""
    one_file = f"or have it written as one file, {option('out', 'page.html')}"
    with needing("a page that is served", "Starlette and Uvicorn", "explore", one_file):
        check_importable("starlette", "uvicorn")


def bound(port: int = 0) -> socket.socket:
    """A socket of this machine alone, at a port; 0 is a free one. Raises `ValueError` for one that is taken."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if sys.platform != "win32":  # where it would let another program listen on the same port
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((LOOPBACK, port))
        listening.listen()  # who comes from here on waits until it answers
    except (OSError, OverflowError) as error:
        listening.close()
        why = getattr(error, "strerror", None) or error
        raise ValueError(f"port {port}: {why}; {option('port', 0)} takes a free one") from None
    return listening
