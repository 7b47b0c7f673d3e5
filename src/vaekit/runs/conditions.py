"""What users want made-up rows to have: a column's value, or that it lies between two, as numbers of a model."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from ..data.cells import category_text, number_in
from ..data.columns import Column
from ..data.dates import SECONDS, TIMES
from ..data.domains import Domain
from ..errors import shown, unknown
from ..settings import option

Where = Mapping[str, Any] | Sequence[str]
"""Conditions: cells by column, or (low, high) between which they are, None for no end; or texts, "age>=40"."""
SIGN = re.compile(r"\s*(>=|<=|!=|==|=|>|<)\s*")
RANGE = ".."
TRUTH = (("false", "true"), ("no", "yes"), ("0", "1"), ("n", "y"), ("f", "t"), ("off", "on"))
TESTS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "=": np.equal,
    "!=": np.not_equal,
    ">=": np.greater_equal,
    "<=": np.less_equal,
    ">": np.greater,
    "<": np.less,
}
SUCH = "such as 'city=Rome', 'city!=Rome', 'age>=40' or 'age=30..40'"


@dataclass(frozen=True)
class Condition:
    """That a column's cells are =, !=, >=, <=, > or < a number: of categories the place, or where all are numbers and
    are compared by size, themselves, which `levels` are.
    """

    place: int
    column: Column
    sign: str
    number: float
    levels: tuple[float, ...] = ()

    def holds(self, x: np.ndarray) -> np.ndarray:
        """For which of the numbers x (N,) of the column it holds, rounded as the user will see them."""
        if self.levels:
            x = np.array(self.levels)[x.astype(int)]
        elif self.column.decimals is not None and not self.column.categories:
            x = np.round(x, self.column.decimals)
        return TESTS[self.sign](x, self.number)


def conditions_of(columns: Sequence[Column], where: Where) -> list[Condition]:
    """The conditions that are asked for. Raises `ValueError`, one line, for what is none, or leaves no value."""
    found: list[Condition] = []
    if isinstance(where, Mapping):
        for name, value in where.items():
            given, at = option("where", name), _place(columns, name, option("where", name))
            ends = value if isinstance(value, tuple) else None
            if ends is not None and (len(ends) != 2 or all(end is None for end in ends)):
                raise ValueError(f"{given} is {value!r}; accepted: a value, or (low, high), None for no end")
            wanted = zip((">=", "<="), ends, strict=True) if ends is not None else [("=", value)]
            found += [
                _condition(columns, at, sign, end, given) for sign, end in wanted if sign == "=" or end is not None
            ]
    else:
        for text in [where] if isinstance(where, str) else where:
            found += _read(columns, text)
    _refuse_contradictions(found)
    return found


def with_ends(found: Sequence[Condition], domains: Sequence[Domain]) -> list[Condition]:
    """Conditions, with those that made-up numbers lie where training rows do: at least of columns of which some of
    these numbers are as asked. A time of day is one of the day.
    """
    more: list[Condition] = []
    for place in dict.fromkeys(each.place for each in found if each.sign != "="):
        own = [each for each in found if each.place == place]
        column, ends = own[0].column, domains[place].ends
        if column.categories:
            continue
        if ends and _some_hold(own, np.linspace(*ends[0], 101), np.array([each.number for each in own])):
            low, high = ends[0]
        elif column.format in TIMES:
            low, high = 0.0, SECONDS["D"] / SECONDS[column.unit] - 1
        else:
            continue
        more += [Condition(place, column, ">=", low), Condition(place, column, "<=", high)]
    return [*found, *more]


def _some_hold(own: Sequence[Condition], within: np.ndarray, beside: np.ndarray) -> bool:
    tried = np.concatenate([within, beside[(beside >= within[0]) & (beside <= within[-1])]])
    return bool(np.logical_and.reduce([each.holds(tried) for each in own]).any())


def _read(columns: Sequence[Column], text: str) -> list[Condition]:
    """The conditions of a text; a column's own name may have signs in it."""
    given = option("where", text)
    signs = {each.name: SIGN.match(text, len(each.name)) for each in columns if text.startswith(each.name)}
    known = {name: match for name, match in signs.items() if match}
    name = max(known, key=len, default="")
    match = known.get(name) or SIGN.search(text)
    if match is None:
        raise ValueError(f"{given} is not COLUMN=VALUE, {SUCH}")
    at = _place(columns, name or text[: match.start()].strip(), given)
    sign, value = match[1].replace("==", "="), text[match.end() :].strip()
    column = columns[at]
    if sign == "=" and RANGE in value and value not in column.categories:
        low, high = value.split(RANGE, 1)
        ends = [(">=", low.strip()), ("<=", high.strip())]
        return [_condition(columns, at, sign, end, given) for sign, end in ends if end]
    return [_condition(columns, at, sign, value, given)]


def _place(columns: Sequence[Column], name: str, given: str) -> int:
    names = [each.name for each in columns]
    if name not in names:
        raise ValueError(f"{given}: {unknown('column', name, names)}")
    return names.index(name)


def _condition(columns: Sequence[Column], at: int, sign: str, value: Any, given: str) -> Condition:
    column = columns[at]
    if not pd.api.types.is_scalar(value):
        raise ValueError(f"{given} is {shown(value)}; accepted: a value, or (low, high), None for no end")
    if value == "" or pd.isna(value):
        raise ValueError(f"{given} has no value; give one that all rows are to have")
    cell = pd.Series([meant(column, value)])
    if sign in ("=", "!="):
        if sign == "!=" and not column.categories:
            raise ValueError(f"{given}: {column.name!r} has numbers or dates; accepted of such: =, >=, <=, >, <")
        return Condition(at, column, sign, _number(column, cell, given))
    levels = tuple(number for each in column.categories if (number := number_in(each)) is not None)
    if column.categories and len(levels) == len(column.categories):
        return Condition(at, column, sign, _number(column, cell, given, any_number=True), levels)
    if column.categories and column.kind != "ordinal":
        raise ValueError(f"{given}: the categories of {column.name!r} have no order; accepted: = and !=")
    any_number = not column.categories and column.kind != "date"
    return Condition(at, column, sign, _number(column, cell, given, any_number))


def _number(column: Column, cell: pd.Series, given: str, any_number: bool = False) -> float:
    """The number of a cell of a column; `any_number` does to compare those of a column with."""
    if any_number:
        column = replace(column, kind="real", categories=())
    try:
        if not np.isnan(number := float(column.numbers(cell, given)[0])):
            return number
    except ValueError:
        pass
    what = f"{given}: {shown(cell[0])} is none that column {column.name!r} has"
    raise ValueError(f"{what}; accepted: {'numbers' if any_number else column.accepted}")


def meant(column: Column, value: Any) -> Any:
    """The category of a column that a user means by a value: itself, or the only one that differs by case alone, or
    by another word for true or false; else the value as it is.

    >>> flag = Column("flag", "binary", ("False", "True"), dtype="bool")
    >>> [meant(flag, each) for each in ("true", "YES", 0, "maybe")]
    ['True', 'True', 'False', 'maybe']
    """
    if not column.categories or (text := category_text(value)) in column.categories:
        return value
    plain = {each.casefold(): each for each in column.categories}
    if len(plain) == len(column.categories) and text.casefold() in plain:
        return plain[text.casefold()]
    own = next((pair for pair in TRUTH if set(pair) == set(plain)), None)
    said = {word: place for pair in TRUTH for place, word in enumerate(pair)}
    return value if own is None or text.casefold() not in said else plain[own[said[text.casefold()]]]


def _refuse_contradictions(found: Sequence[Condition]) -> None:
    """`ValueError` where no value of a column is left: none of its categories, or of numbers at, between and beyond
    those that are given.
    """
    for place in {each.place for each in found}:
        own = [each for each in found if each.place == place]
        column, given = own[0].column, np.array([each.number for each in own])
        tried = np.arange(len(column.categories), dtype=float)
        if not column.categories:
            ends = [end for end in (column.low, column.high) if end is not None]
            beyond = [given.min() - 1 - abs(given.min()), given.max() + 1 + abs(given.max())]
            tried = np.r_[given, (given[:, None] + given).ravel() / 2, given / 2, ends, beyond, 0.0]
            tried = tried[column.accepts(tried)]
        if not np.logical_and.reduce([each.holds(tried) for each in own]).any():
            what = f"the conditions on column {column.name!r} leave none of its values"
            raise ValueError(f"{what}; accepted: {column.accepted}")
