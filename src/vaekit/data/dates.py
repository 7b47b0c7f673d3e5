"""Dates and times of a table's columns as numbers: days or seconds since 1970, seconds since midnight; and back."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from .sniffing import is_mark

_TIMES = ("", "%H:%M", "%H:%M:%S", "%H:%M:%S.%f")
_ZONES = ("", "Z", "%z")
_OF_TWELVE = ("%I:%M %p", "%I:%M:%S %p")
_DAYS = ("%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y")
FORMATS = (
    *(f"%Y-%m-%d{'T' * bool(time)}{time}{zone}" for time in _TIMES for zone in (_ZONES if time else ("",))),
    *(f"%Y-%m-%d {time}{zone}" for time in _TIMES[1:] for zone in _ZONES),
    *(f"{day} {time}".strip() for day in ("%Y/%m/%d", "%d.%m.%Y") for time in _TIMES),
    *(f"{day} {time}".strip() for day in _DAYS for time in (*_TIMES[:3], *_OF_TWELVE)),
    *("%d %b %Y", "%d-%b-%Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y"),
    *("%Y-%m", "%Y/%m", "%m/%Y", "%b %Y", "%b-%Y", "%B %Y"),
)
COMPACT = "%Y%m%d"
"""Of whole numbers that are dates."""
OBJECTS = ("date", "time")
"""Types of Python's own, which pandas has no type for."""
TIMES: tuple[str, ...] = (*_TIMES[1:], *_OF_TWELVE)
"""Of times of day, which are counted from midnight."""
MAY_BE = re.compile(r"(?i:\d.*[-/. :]|(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec).*\d)")
TIME = re.compile(r"\d{1,2}:\d\d(:\d\d(\.\d+)?)?( ?[AaPp][Mm])?")
ZONE = re.compile(r"[+-]\d\d:?\d\d$")
SECONDS = {"D": 86_400.0, "h": 3600.0, "min": 60.0, "s": 1.0}
"""Of each unit of dates, from the coarsest."""
UNITS = {"D": "days", "h": "hours", "min": "minutes", "s": "seconds"}
"""What they are called."""
FIRST_SECOND, LAST_SECOND = -62_135_596_800, 253_402_300_799
"""Of the years 1 to 9999, which are those that can be written."""
LOOKS = re.compile(r"(\d{4}([-./])\d{1,2}\2\d{1,2}|\d{1,2}([-./])\d{1,2}\3(\d\d|\d{4}))([ T].*)?")
"""What dates in figures look like, in whatever format."""
NEARLY = 0.95
"""The part of such texts that are dates, for the others to be what is wrong."""
FEW = 50
_YEAR_1900 = pd.Timestamp(1900, 1, 1)
"""What pandas gives a time of day for its day."""


def formats_of(texts: Sequence[str]) -> list[str]:
    """The formats in which all of the texts are dates: of 03/04/2024 and no day above 12, two.

    >>> formats_of(["2024-01-31", "2024-02-01"]), formats_of(["03/04/2024", "31/01/2024"]), formats_of(["3", "may"])
    (['%Y-%m-%d'], ['%d/%m/%Y'], [])
    >>> formats_of(["03/04/2024"])
    ['%d/%m/%Y', '%m/%d/%Y']
    """
    few = texts[:FEW]
    if not few or not all(map(MAY_BE.match, few)):
        return []
    formats = TIMES if all(map(TIME.fullmatch, few)) else FORMATS
    found = [each for each in formats if _parses(few, each) and (len(texts) <= FEW or _parses(texts, each))]
    utc = [each for each in found if each.endswith("Z")]  # which a zone of any name is read as, too
    return utc or found


def nearly_dates(texts: Sequence[str]) -> str:
    """What keeps texts that look like dates from being some, where they are in no one format; else nothing.

    >>> nearly_dates([*(f"2024-01-{i:02d}" for i in range(1, 32)), "2024-02-30"])
    "'2024-02-30' is no date, as the other 31 values are"
    >>> nearly_dates(["1/31/24", "2/28/24"]), nearly_dates(["1.10.2", "1.11.0"])
    ("dates in no one format that is read, such as '1/31/24'; write all as 2024-01-31", '')
    """
    left = [each.strip() for each in texts if not is_mark(each)]
    few = (1 - NEARLY) * len(left)
    if not left or sum(LOOKS.fullmatch(each) is None for each in left) > few:
        return ""
    for format in FORMATS:
        odd = parsed(left[:FEW], format).isna().sum() <= few and parsed(left, format).isna().to_numpy()
        if np.any(odd) and np.sum(odd) <= few:
            first, more = left[int(np.argmax(odd))], int(np.sum(odd)) - 1
            which = f"{first!r} and {more} more" if more else repr(first)
            return f"{which} is no date, as the other {len(left) - more - 1:,} values are"
    return f"dates in no one format that is read, such as {left[0]!r}; write all as 2024-01-31"


def may_be_compact(low: float, high: float) -> bool:
    """Whether whole numbers between these may be dates such as 20240131, of the years 1900 to 2100."""
    return low >= 19_000_101 and high <= 21_001_231


def are_compact(values: pd.Series) -> bool:
    """Whether all numbers of a column are such dates.

    >>> are_compact(pd.Series([20240131, None, 19991231])), are_compact(pd.Series([20240131, 20240132]))
    (True, False)
    """
    x = values.dropna()
    whole = len(x) > 0 and bool((x == np.floor(x)).all())
    return whole and may_be_compact(x.min(), x.max()) and _parses(whole_texts(x.drop_duplicates()), COMPACT)


def whole_texts(values: pd.Series) -> list[str | None]:
    """Whole numbers as texts, None where they are missing."""
    return [None if pd.isna(each) else str(int(each)) for each in values]


def zone_of(texts: Sequence[str], format: str) -> str:
    """The zone of texts in a `format` with one, as it is written: UTC's where they have several; "" without.

    >>> zone_of(["2024-01-31T12:00+02:00"], "%Y-%m-%dT%H:%M%z")
    '+02:00'
    """
    if not format.endswith("%z"):
        return ""
    zones = {found.group() for found in map(ZONE.search, texts) if found}
    colon = any(":" in zone for zone in zones)
    return zones.pop() if len(zones) == 1 else "+00:00" if colon or not zones else "+0000"


def understood(texts: Sequence[str | None], format: str) -> pd.Series:
    """Dates of texts in a `format`, or else as 2024-01-31; times of day with seconds or without.

    >>> understood(["31/01/2024", "2024-01-31", "3"], "%d/%m/%Y").dt.day.tolist()
    [31.0, 31.0, nan]
    """
    dates = parsed(texts, format or "ISO8601")
    for other in TIMES if format in TIMES else ("ISO8601",):
        if dates.isna().any():
            dates = dates.fillna(parsed(texts, other))
    return dates


def parsed(texts: Sequence[str | None], format: str) -> pd.Series:
    """Dates of universal time, without a zone, NaT where a text is none; times of day are those of 1 January 1970."""
    dates = pd.to_datetime(pd.Series(list(texts), dtype="object"), format=format, errors="coerce", utc=True)
    dates = dates.dt.tz_localize(None).astype("datetime64[us]")
    return dates - (_YEAR_1900 - pd.Timestamp(0)) if format in TIMES else dates


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


def written(dates: pd.Series, format: str, zone: str = "") -> pd.Series:
    """Texts of dates of universal time, in a `zone` such as +02:00; each distinct one is written once."""
    codes, distinct = pd.factorize(dates)
    local = pd.Series(distinct)
    if zone:
        sign, hours, minutes = -1 if zone[0] == "-" else 1, int(zone[1:3]), int(zone[-2:])
        local = local + sign * pd.Timedelta(hours=hours, minutes=minutes)
    texts = local.dt.strftime(format.replace("%z", zone or "+0000")).astype("str").array
    return pd.Series(pd.api.extensions.take(texts, codes, allow_fill=True))


def _parses(texts: Sequence[str | None], format: str) -> bool:
    return not parsed(texts, format).isna().any()
