"""Numbers as people write them: which texts are some, and what keeps others from being any."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .cells import number_in
from .sniffing import LEADING_ZERO, is_missing

FEW = 0.05
"""The part of texts that may be no numbers where the others are, for these to be what is wrong."""
THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})*")
"""Numbers whose commas, if they have any, may mark thousands."""
DECORATED = re.compile(r"[+-]?[€$£¥]?\s?[+-]?(\d+|\d{1,3}(,\d{3})+)(\.\d+)?\s?[%€$£¥]?")
"""Numbers with signs of money or percent, or with commas of thousands, as people write them."""


def are_numbers(texts: Sequence[str]) -> bool:
    """Whether all texts but those of missing cells are numbers, without leading zeros or commas of thousands."""
    left = [text.strip() for text in texts if not is_missing(text)]
    if not all(number_in(text) is not None and not LEADING_ZERO.fullmatch(text) for text in left):
        return False
    # With commas, points mark thousands, and the other way round; where both readings are left, neither is taken.
    commas = [text for text in left if "," in text]
    points = any("." in text and "," not in text for text in left)
    return bool(left) and (not commas or not (points or all(map(THOUSANDS.fullmatch, commas))))


def nearly_numbers(texts: Sequence[str]) -> str:
    """What keeps texts from being numbers, most of which are, or all of which are but for how they are written; else
    nothing.

    >>> nearly_numbers(["$1,384.44", "$12.00"])
    "numbers written as '$1,384.44'; write them without $ , %"
    """
    left = [text.strip() for text in texts if not is_missing(text)]
    decorated = next((text for text in left if re.search(r"[,%€$£¥]", text)), "")
    if decorated and all(map(DECORATED.fullmatch, left)):
        return f"numbers written as {decorated!r}; write them without $ , %"
    others = [text for text in left if number_in(text) is None]
    if others and len(others) <= FEW * len(left):
        few = f"{others[0]!r}" if len(others) == 1 else f"{others[0]!r} and {len(others) - 1} more"
        return f"{few} is no number, as the other {len(left) - len(others):,} values are"
    return ""
