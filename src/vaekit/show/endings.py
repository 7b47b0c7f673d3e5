"""What files can be written, by their endings: known before anything is imported that writes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import unknown

ENDINGS = (".npy", ".npz", ".csv", ".parquet", ".png")
TABLES = (".csv", ".parquet", ".npz")
FRAMES = (".csv", ".parquet", ".xlsx")
FIGURES = (".png", ".svg", ".pdf")
PAGES = (".html", *FIGURES)
CELLS = ".h5ad"


def check_ending(path: Path, endings: Sequence[str] = ENDINGS) -> None:
    """Raise `ValueError` for a path that could not be written as one of `endings`, before any work is done for it."""
    if path.suffix.lower() not in endings:
        raise ValueError(f"{path}: {unknown('ending', path.suffix, endings)}")
    if not path.parent.is_dir():
        raise ValueError(f"{path}: there is no folder {path.parent}; make it, or name another")
    if path.suffix.lower() == ".parquet":
        with_pyarrow()
    if path.suffix.lower() == CELLS:
        try:
            import anndata  # noqa: F401
        except ImportError:
            raise ValueError(f"a {CELLS} file needs anndata: pip install 'vaekit[anndata]'; or write .csv") from None


def with_pyarrow():  # type: ignore[no-untyped-def]
    """pyarrow, and what of it is of files; `ValueError`, one line, where it is not there."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ValueError("a .parquet file needs pyarrow: pip install 'vaekit[tables]'; or write .csv or .npy") from None
    return pyarrow, parquet
