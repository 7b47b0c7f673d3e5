"""Tables as pandas has them: from files of any usual kind, and from other libraries' data frames."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import pandas as pd

from .cells import replaced
from .delimited import read_delimited
from .documents import Documents
from .headers import AS_IT_IS, Reading, check_names, without_row_numbers
from .sniffing import PLAIN, Dialect
from .texts import PACKED
from .workbooks import nullable, of_arrow, read_excel, read_parquet

TEXTS = (".csv", ".tsv", ".tab", ".data", ".txt")
ENDINGS = (*TEXTS, ".parquet", ".xlsx")
"""Of tables; those of text may be packed as well, as in .csv.gz."""


@dataclass(frozen=True, eq=False)
class Frame:
    """A table, its columns called by unique names, and notes, a line each, of what its file was taken for."""

    table: pd.DataFrame
    notes: tuple[str, ...] = ()
    dialect: Dialect = PLAIN
    """How its text is written."""


def ending(path: Path) -> str | None:
    """Which of `ENDINGS` a file has, packed or not; None where it has none of them.

    >>> ending(Path("a/table.CSV.gz")), ending(Path("photo.png")), ending(Path("x.parquet.gz"))
    ('.csv', None, None)
    """
    last, inner = path.suffix.lower(), Path(path.stem).suffix.lower()
    if last in PACKED:
        return inner if inner in TEXTS else None
    return last if last in ENDINGS else None


def read_frame(path: Path, reading: Reading = AS_IT_IS) -> Frame:
    """The table of a file, with rows numbered from 0.

    Of text, what separates cells and marks decimals is found out, as is whether the first line names the columns,
    unless `reading` says so. Empty cells, ?, NA, NaN, null, none are missing. The column of labels is text exactly as
    it is written, missing only where it is empty or ?. Whole numbers with leading zeros are text.

    Raises `ValueError`, one line, for what is no table, uneven, damaged, or has no such column.
    """
    label = reading.label
    kind = ending(path)
    if kind is None:
        packed = f"; text also packed: {', '.join(PACKED)}"
        raise ValueError(f"{path} has the ending {path.suffix!r}; accepted: {', '.join(ENDINGS)}{packed}")
    dialect = PLAIN
    if kind == ".parquet":
        table, notes = read_parquet(path)
        table = named_columns(str(path), table, label)
    elif kind == ".xlsx":
        table, notes = read_excel(path, reading)
    else:
        table, notes, dialect = read_delimited(path, reading)
    if not len(table):
        raise ValueError(f"{path} has no rows")
    if label is not None and kind in (".parquet", ".xlsx"):
        table = replaced(table, {label: as_text(table[label])})
    table, more = (table, ()) if reading.older else without_row_numbers(str(path), table)
    return Frame(table, (*notes, *more), dialect)


def is_frame(data: object) -> bool:
    """Whether it is a data frame, of whatever library.

    >>> is_frame(pd.DataFrame()), is_frame("table.csv"), is_frame([1, 2])
    (True, False, False)
    """
    return type(data).__name__ in ("DataFrame", "Table") and hasattr(data, "columns")


def is_annotated(data: object) -> bool:
    """Whether it is an AnnData object: a matrix of cells by genes, with tables of both.

    >>> is_annotated(pd.DataFrame())
    False
    """
    return type(data).__name__ == "AnnData" and hasattr(data, "obs") and hasattr(data, "var_names")


def is_documents(data: object) -> TypeGuard[Documents]:
    """Whether it is `Documents`: counts of words."""
    return isinstance(data, Documents)


def is_in_memory(data: object) -> bool:
    """Whether it is data themselves, no name or path of them: a data frame, an AnnData object, or documents."""
    return is_frame(data) or is_annotated(data) or is_documents(data)


def check_data(data: object, called: str = "data") -> None:
    """`TypeError` for what is given as data, as the argument `called` so, but is neither in memory as `is_in_memory`
    says nor a name or a path; None is none.

    >>> check_data("digits"), check_data(None)
    (None, None)
    """
    if data is None or isinstance(data, (str, Path)) or is_in_memory(data):
        return
    instead = "an array as a .npy or .npz file, or to vaekit.fit with a model"
    if hasattr(data, "tocsr"):
        instead = "counts of words as vaekit.data.Documents(counts, words), of genes as an AnnData object"
    elif isinstance(data, (list, tuple)) and data and all(isinstance(each, str) for each in data):
        instead = "texts as vaekit.data.Documents.from_texts(texts)"
    known = "a name or a path, a data frame, an AnnData object, vaekit.data.Documents"
    raise TypeError(f"{called} is a {type(data).__name__}; accepted: {known}; give {instead}")


def frame_among(*given: object) -> Any:
    """The first of what is given that is data in memory; None where none is."""
    return next((each for each in given if is_in_memory(each)), None)


def as_frame(data: Any) -> Frame:
    """A data frame of pandas, polars, pyarrow or another library as one of pandas, with its types and index.

    Raises `TypeError` for what is no data frame, `ValueError` for names that are blank or not unique, and no rows.

    >>> as_frame(pd.DataFrame({"a": [1, 2]}, index=["r", "s"])).table.loc["s", "a"].item()
    2
    """
    table = pandas_frame(data)
    if not table.shape[1]:
        raise ValueError("the table has no columns")
    if not len(table):
        raise ValueError("the table has no rows")
    return Frame(*without_row_numbers("the table", table))


def pandas_frame(data: Any) -> pd.DataFrame:
    """A data frame of whatever library as one of pandas, all of its columns, by unique names that are texts.

    Raises `TypeError` for what is no data frame, `ValueError` for names that are blank or not unique.
    """
    if not isinstance(data, pd.DataFrame):
        data = _to_pandas(data)
    if data.columns.nlevels > 1:
        raise ValueError(f"the table has names of {data.columns.nlevels} levels; join them to one each")
    return named_columns("the table", data)


def _to_pandas(data: Any) -> pd.DataFrame:
    import narwhals

    wanted = "a data frame is needed, of pandas, polars or pyarrow"
    try:
        frame = narwhals.from_native(data, eager_only=True)
    except TypeError as error:
        lazy = "; collect() it first" if hasattr(data, "collect") else ""
        raise TypeError(f"got a {type(data).__name__}; {wanted}{lazy}") from error
    except ValueError:  # of names that are twice, on several lines
        names = getattr(data, "column_names", None) or data.columns  # of pyarrow, or of others
        check_names("the table", [str(name) for name in names])
        raise
    return nullable(frame.to_pandas(), [name for name, kind in frame.schema.items() if kind.is_integer()])


def named_columns(what: str, data: pd.DataFrame, label: str | None = None) -> pd.DataFrame:
    """A table whose columns have unique names, texts, and types of pandas; `ValueError` where they can't have."""
    names = [str(name) for name in data.columns]
    check_names(what, names, label)
    table = data.copy(deep=False)
    table.columns = pd.Index(names, dtype="str")
    others = (pd.ArrowDtype, pd.SparseDtype)
    odd = {name: table[name] for name, dtype in table.dtypes.items() if isinstance(dtype, others)}
    return replaced(table, {name: plain for name, each in odd.items() if (plain := _plain(each)) is not None})


def _plain(column: pd.Series) -> pd.Series | None:
    """A sparse column, or one of Arrow's decimals, dates or categories, as one of pandas' plain types; None of what is
    read as it is.
    """
    dtype: Any = column.dtype
    if isinstance(dtype, pd.SparseDtype):
        return column.astype(dtype.subtype)
    kind = dtype.type
    if kind is Decimal:
        return column.astype("float64").round(dtype.pyarrow_dtype.scale)
    if str(dtype.pyarrow_dtype).startswith("dictionary<"):
        return of_arrow(column)
    return column.astype("datetime64[s]") if kind is date else None


def as_text(column: pd.Series) -> pd.Series:
    """Each value as it is written, missing where there is none."""
    codes, distinct = pd.factorize(column)
    cells = [str(each).strip() for each in distinct]
    texts = pd.array([None if cell in ("", "?") else cell for cell in cells], dtype="str")
    return pd.Series(pd.api.extensions.take(texts, np.asarray(codes), allow_fill=True), index=column.index)
