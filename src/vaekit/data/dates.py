"""Dates of a table's columns as numbers: days or seconds since 1970, and back as they were written."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

_TIMES = ("", "%H:%M", "%H:%M:%S", "%H:%M:%S.%f")
_ZONES = ("", "Z", "%z")
FORMATS = (
    *(f"%Y-%m-%d{'T' * bool(time)}{time}{zone}" for time in _TIMES for zone in (_ZONES if time else ("",))),
    *(f"%Y-%m-%d {time}{zone}" for time in _TIMES[1:] for zone in _ZONES),
    *(f"{day} {time}".strip() for day in ("%Y/%m/%d", "%d.%m.%Y") for time in _TIMES),
    *(f"{day} {time}".strip() for day in ("%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y") for time in _TIMES[:3]),
    "%d %b %Y",
    "%d-%b-%Y",
)
SECONDS = {"D": 86_400.0, "h": 3600.0, "min": 60.0, "s": 1.0}
"""Of each unit of dates, from the coarsest."""
UNITS = {"D": "days", "h": "hours", "min": "minutes", "s": "seconds"}
"""What they are called."""
FIRST_SECOND, LAST_SECOND = -62_135_596_800, 253_402_300_799
"""Of the years 1 to 9999, which are those that can be written."""
FEW = 50


def formats_of(texts: Sequence[str]) -> list[str]:
    """The formats in which all of the texts are dates: of 03/04/2024 and no day above 12, two.

    >>> formats_of(["2024-01-31", "2024-02-01"]), formats_of(["03/04/2024", "31/01/2024"]), formats_of(["3", "may"])
    (['%Y-%m-%d'], ['%d/%m/%Y'], [])
    >>> formats_of(["03/04/2024"])
    ['%d/%m/%Y', '%m/%d/%Y']
    """
    if not texts or not all(any(mark in text for mark in "-/. ") and text[:1].isdigit() for text in texts[:FEW]):
        return []
    few = [each for each in FORMATS if _parses(texts[:FEW], each)]
    found = [each for each in few if len(texts) <= FEW or _parses(texts, each)]
    utc = [each for each in found if each.endswith("Z")]  # which a zone of any name is read as, too
    return utc or found


def parsed(texts: Sequence[str], format: str) -> pd.Series:
    """Dates of universal time, without a zone, NaT where a text is none."""
    dates = pd.to_datetime(pd.Series(list(texts), dtype="object"), format=format, errors="coerce", utc=True)
    return dates.dt.tz_localize(None).astype("datetime64[us]")


def seconds_of(dates: pd.Series) -> np.ndarray:
    """Seconds since 1970 (N,), to the microsecond, of datetime64 with or without a zone, NaN where missing."""
    if getattr(dates.dt, "tz", None) is not None:
        dates = dates.dt.tz_convert("UTC").dt.tz_localize(None)
    values = dates.to_numpy("datetime64[us]")
    return np.where(np.isnat(values), np.nan, values.astype(np.int64) / 1e6)


def dates_of(seconds: np.ndarray, dtype: str) -> pd.Series:
    """Dates of a datetime64 type, NaT where a number is NaN; the first or last there is for what lies beyond."""
    kind = pd.api.types.pandas_dtype(dtype)
    ends = (FIRST_SECOND, LAST_SECOND)
    if "ns" in dtype:
        ends = (int(pd.Timestamp.min.timestamp()) + 1, int(pd.Timestamp.max.timestamp()))
    micros = np.rint(np.clip(np.nan_to_num(seconds), *ends) * 1e6).astype(np.int64).astype("datetime64[us]")
    dates: pd.Series = pd.Series(np.where(np.isnan(seconds), np.datetime64("NaT", "us"), micros))
    zone = getattr(kind, "tz", None)
    if zone is not None:
        dates = dates.dt.tz_localize("UTC").dt.tz_convert(zone)
    return dates.astype(kind)


def written(dates: pd.Series, format: str) -> pd.Series:
    """Texts of dates, each distinct one written once."""
    codes, distinct = pd.factorize(dates)
    zoned = pd.Series(distinct).dt.tz_localize("UTC") if "%z" in format else pd.Series(distinct)
    texts = zoned.dt.strftime(format).astype("str").array
    return pd.Series(pd.api.extensions.take(texts, codes, allow_fill=True))


def _parses(texts: Sequence[str], format: str) -> bool:
    return not parsed(texts, format).isna().any()
