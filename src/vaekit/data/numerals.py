"""Numbers as people write them, with a unit or marks of thousands: how a column has them, or what is in the way."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

import numpy as np

from .cells import number_in
from .sniffing import BLANKS, LEADING_ZERO, MONEY, NUMERAL, is_mark, is_missing

FEW = 0.05
"""The part of texts that may be no numbers where the others are, for these to be what is wrong."""
THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})*")
"""Numbers whose commas, if they have any, may mark thousands."""
UNITS = 3
"""Different units at most, for these to be what is wrong."""
EITHER = "numbers whose {} may mark thousands or decimals"
MARK_NAMES = {",": "commas", ".": "points"}
Match = re.Match[str]


@dataclass(frozen=True)
class Numeral:
    """How all numbers of a column are written: what stands `before` and `after` them, blanks included, what marks
    thousands (`group`) and the `decimal`s, of which all have so many `places`, None where it varies. Numbers below 0
    have their `minus` before all, `inside` after what stands before the number, or are in brackets, "()". After 1 and
    -1 stands `one`, where that is another unit (1 day, 2 days).

    >>> price = Numeral("$", group=",", places=2)
    >>> price.number("$1,234.50"), price.number("-$3.00"), price.number("12"), price.number("£3")
    (1234.5, -3.0, 12.0, None)
    >>> price.written(-1234.5)
    '-$1,234.50'
    """

    before: str = ""
    after: str = ""
    group: str = ""
    decimal: str = "."
    places: int | None = None
    minus: str = "-"
    inside: bool = False
    one: str = ""

    @property
    def unit(self) -> str:
        """What its numbers are of, by what stands beside them.

        >>> Numeral("$").unit, Numeral(after=" cm").unit
        ('$', 'cm')
        """
        return f"{self.before}{self.after}".strip()

    def number(self, text: str) -> float | None:
        """The number that a text is, written so, or without what stands before and after; None where it is none."""
        found = _parts(text)
        if found is None:
            return None
        before, after = _bare(found["before"]), _bare(found["after"])
        if (before or after) and (before != _bare(self.before) or after not in (_bare(self.after), _bare(self.one))):
            return None
        group, decimal = found["group"], found["decimal"]
        if not _is_decimal(found, self.decimal):
            # A mark of thousands that training rows had none of is one only where it can be nothing else.
            known = group in (None, self.group) or group in BLANKS + "'’" or (not self.group and decimal is not None)
            if not known or decimal not in (None, self.decimal):
                return None
        return _value(found, self.decimal)

    def written(self, number: float) -> str:
        """The text of a number."""
        size = abs(number)
        plain = np.format_float_positional(size, trim="-") if self.places is None else f"{size:.{self.places}f}"
        whole, _, rest = plain.partition(".")
        if self.group:
            whole = f"{int(whole):,}".replace(",", self.group)
        after = self.one if self.one and size == 1 else self.after
        text = whole + (self.decimal + rest if rest else "")
        if number >= 0 or not float(plain):
            return f"{self.before}{text}{after}"
        if self.minus == "()":
            return f"({self.before}{text}{after})"
        sign, inner = ("", self.minus) if self.inside else (self.minus, "")
        return f"{sign}{self.before}{inner}{text}{after}"


def are_numbers(texts: Sequence[str]) -> bool:
    """Whether all texts but those of missing cells are numbers, without leading zeros or commas of thousands."""
    left = [text.strip() for text in texts if not is_missing(text)]
    if not all(number_in(text) is not None and not LEADING_ZERO.fullmatch(text) for text in left):
        return False
    # With commas, points mark thousands, and the other way round; where both readings are left, neither is taken.
    commas = [text for text in left if "," in text]
    points = any("." in text and "," not in text for text in left)
    return bool(left) and (not commas or not (points or all(map(THOUSANDS.fullmatch, commas))))


def numeral_of(texts: Sequence[str], whole: bool = False) -> Numeral | str:
    """How the texts are written if all are numbers with one unit, or with marks of thousands; else what keeps them from
    that, "" where they are nothing like it. With `whole` they are whole numbers, which settles what a mark is.

    >>> numeral_of(["$1,384.44", "$12.00"])
    Numeral(before='$', after='', group=',', decimal='.', places=2, minus='-', inside=False, one='')
    >>> numeral_of(["12 kg", "7 g"]), numeral_of(["1,234", "7,500"])
    ("numbers in 'g' and 'kg'; give all in one unit", 'numbers whose commas may mark thousands or decimals')
    """
    found = [each for each in takewhile(bool, map(_parts, texts)) if each]  # a text that is none ends it
    if not found or len(found) < len(texts):
        return ""
    with_unit = [each for each in found if each["before"] or each["after"] or _value(each, "")]
    units = {(_bare(each["before"]), _bare(each["after"])) for each in with_unit or found}
    one = _of_one(units, with_unit)
    if len(units) > 1 and not one:
        names = sorted(" ".join(filter(None, unit)) for unit in units)
        said = " and ".join(repr(name) if name else "no unit" for name in names)
        return f"numbers in {said}; give all in one unit" if len(units) <= UNITS else ""
    marks = _marks(found, whole)
    if isinstance(marks, str):
        return marks
    group, decimal = marks
    example = next((each for each in with_unit if _bare(each["after"]) != one), found[0])
    places = {len(_decimals(each, decimal)) for each in found}
    below = next((each for each in found if _is_below(each)), None)
    numeral = Numeral(
        (example["before"] or "") + (example["gap"] or "" if example["before"] else ""),
        (example["space"] or "" if example["after"] else "") + (example["after"] or ""),
        group,
        decimal or ("," if group == "." else "."),
        places.pop() if len(places) == 1 else None,
    )
    numeral = replace(numeral, one=(example["space"] or "") + one if one else "")
    if below is None:
        return numeral
    minus = "()" if below["open"] else below["sign"] or below["inner"]
    return replace(numeral, minus=minus, inside=bool(below["inner"]))


def _of_one(units: set[tuple[str, str]], found: Sequence[Match]) -> str:
    """The unit of 1 and -1, where all others have that of several, which ends with an s; else nothing."""
    (before, short), (other, long) = sorted(units, key=lambda unit: len(unit[1])) if len(units) == 2 else [("", "")] * 2
    if not short or before != other or long != f"{short}s":
        return ""
    return short if all((abs(_value(each, "")) == 1) == (_bare(each["after"]) == short) for each in found) else ""


def nearly_numbers(texts: Sequence[str]) -> str:
    """What keeps texts from being numbers, most of which are; else nothing.

    >>> nearly_numbers([*map(str, range(30)), "Total"])
    "'Total' is no number, as the other 30 values are"
    """
    left = [text.strip() for text in texts if not is_mark(text)]
    others = [text for text in left if number_in(text) is None]
    if others and len(others) <= FEW * len(left):
        few = f"{others[0]!r}" if len(others) == 1 else f"{others[0]!r} and {len(others) - 1} more"
        return f"{few} is no number, as the other {len(left) - len(others):,} values are"
    return ""


def _parts(text: str) -> Match | None:
    """What a number is written with; None where the text is none."""
    found = NUMERAL.fullmatch(text.strip())
    if found is None or not (found["digits"] or found["places"]) or bool(found["open"]) != bool(found["close"]):
        return None
    digits = found["digits"] or ""
    odd = LEADING_ZERO.fullmatch(digits) or (found["group"] and found["group"] == found["decimal"])
    odd = odd or (digits.startswith("0") and found["group"] and not _decides(found))
    return None if odd or sum(map(bool, (found["open"], found["sign"], found["inner"]))) > 1 else found


def _decides(found: Match) -> bool:
    """Whether what looks like a mark of thousands is one of decimals, as in 0,125."""
    return found["digits"].startswith("0") and found["group"] in (",", ".") and _groups(found) == 1


def _marks(found: Sequence[Match], whole: bool) -> tuple[str, str] | str:
    """What marks thousands and what decimals, "" for nothing; or why that can't be told."""
    decimals = {each["decimal"] for each in found if each["decimal"]} | {
        each["group"] for each in found if each["group"] and _decides(each) and not each["decimal"]
    }
    either = {each["group"] for each in found if _may_be_either(each)}
    groups = {each["group"] for each in found if each["group"]} - either - decimals
    groups |= {each["group"] for each in found if each["group"] and (each["decimal"] or _groups(each) > 1)}
    plain = [each["digits"] for each in found if not each["group"] and not each["decimal"]]
    money = any(each["before"] or (each["after"] and each["after"][0] in MONEY) for each in found)
    for mark in sorted(either - groups - decimals):
        if whole or (decimals and mark not in decimals):
            groups.add(mark)
        elif groups or any(len(each) > 3 for each in plain) or (mark == "." and not money):  # as plain numbers are read
            decimals.add(mark)
        elif plain:  # below 1000 all of them, and without a mark
            groups.add(mark)
        else:
            return EITHER.format(MARK_NAMES[mark])
    blanks = {each for each in groups if each in BLANKS}
    groups = groups - blanks | set(sorted(blanks)[-1:])
    if len(groups) > 1 or len(decimals) > 1 or groups & decimals:
        return ""
    return next(iter(groups), ""), next(iter(decimals), "")


def _may_be_either(found: Match) -> bool:
    return found["group"] in (",", ".") and not found["decimal"] and _groups(found) == 1 and not _decides(found)


def _groups(found: Match) -> int:
    return found["digits"].count(found["group"]) if found["group"] else 0


def _is_decimal(found: Match, decimal: str) -> bool:
    """Whether what may mark thousands marks decimals, if such a `decimal` does."""
    return bool(decimal) and found["group"] == decimal and not found["decimal"] and _groups(found) == 1


def _decimals(found: Match, decimal: str) -> str:
    return found["digits"].partition(decimal)[2] if _is_decimal(found, decimal) else found["places"] or ""


def _value(found: Match, decimal: str) -> float:
    digits, group = found["digits"] or "0", found["group"]
    if group:
        digits = digits.replace(group, "." if _is_decimal(found, decimal) else "")
    size = float(f"{digits}.{found['places']}" if found["places"] else digits)
    return -size if _is_below(found) else size


def _is_below(found: Match) -> bool:
    return bool(found["open"]) or (found["sign"] or found["inner"] or "+") != "+"


def _bare(unit: str | None) -> str:
    return (unit or "").strip(BLANKS)
