"""What a sweep goes over: keys of a spec with the values of each, and the folders that trials lie in."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from ..errors import shown
from ..settings import assign, option, written

SEED = "training.seed"
LONGEST = 100
"""Letters of a folder's name; a longer one is cut and told apart by a sum."""
RANGE = re.compile(r"([^:\s]+)\.\.([^:\s]+?)(:log)?")

Settings = tuple[tuple[str, str], ...]
"""Keys of a spec, each with the text that it is set to."""


@dataclass(frozen=True)
class Span:
    """Numbers from `low` to `high` that a search draws from, whole ones or not, evenly or evenly in their logarithm."""

    low: float
    high: float
    whole: bool = False
    log: bool = False


@dataclass(frozen=True)
class Axis:
    """A key of the spec, with the values that a sweep gives it, as texts, or the span that a search draws it from."""

    key: str
    values: tuple[str, ...] = ()
    span: Span | None = None


def axes_of(over: Mapping[str, Any] | Iterable[str]) -> tuple[Axis, ...]:
    """What a sweep goes over, of texts "KEY=1,2,4" and "KEY=1e-4..1e-2:log", or of keys with values or such texts.

    Raises `ValueError` for what is none of these, and for a key or a value that comes twice.

    >>> axes_of({"objective.beta": [1, 2.5]})
    (Axis(key='objective.beta', values=('1', '2.5'), span=None),)
    >>> axes_of(["model.latents.z.size=2..64:log"])[0].span
    Span(low=2, high=64, whole=True, log=True)
    """
    if isinstance(over, Mapping):
        pairs = [(str(key), values if isinstance(values, str) else list(values)) for key, values in over.items()]
    else:
        texts = [over] if isinstance(over, str) else list(over)
        if bad := [each for each in texts if "=" not in each]:
            raise ValueError(f"{option('over', bad[0])} is no KEY=VALUE,VALUE,…, such as objective.beta=1,2,4")
        pairs = [(key.strip(), values) for key, _, values in (each.partition("=") for each in texts)]
    found = tuple(_axis(key, values) for key, values in pairs)
    keys = [each.key for each in found]
    if twice := [key for i, key in enumerate(keys) if key in keys[:i]]:
        raise ValueError(f"{option('over', twice[0])} comes twice; give all its values at once")
    if SEED in keys:
        raise ValueError(f"{option('over', SEED)}: seeds are not a setting to compare; give {option('seeds', 3)}")
    return found


def _axis(key: str, values: str | Sequence[Any]) -> Axis:
    if isinstance(values, str) and (span := _span(key, values)):
        return Axis(key, span=span)
    texts = _apart(values) if isinstance(values, str) else [written(each) for each in values]
    if not all(texts) or not texts:
        raise ValueError(f"{option('over', key)} has {'an empty value' if texts else 'no values'}; give one or more")
    read = [_read(key, each) for each in texts]
    if twice := [text for i, text in enumerate(texts) if read[i] in read[:i]]:
        raise ValueError(f"{option('over', key)} has the value {shown(twice[0])} twice; give it once")
    return Axis(key, tuple(texts))


def _read(key: str, text: str) -> str:
    """What tells whether two texts set a key to the same value."""
    values: dict[str, Any] = {}
    assign(values, f"{key}={text}")
    return repr(values)


def _span(key: str, text: str) -> Span | None:
    """The span that "LOW..HIGH" or "LOW..HIGH:log" is; None for any other text."""
    found = RANGE.fullmatch(text.strip())
    if not found:
        return None
    try:
        low, high = float(found[1]), float(found[2])
    except ValueError:
        return None
    if not (math.isfinite(low) and math.isfinite(high) and low < high) or (found[3] and low <= 0):
        above = "0 < LOW < HIGH" if found[3] else "LOW < HIGH"
        raise ValueError(f"{option('over', f'{key}={text}')}: accepted: LOW..HIGH or LOW..HIGH:log with {above}")
    whole = all(re.fullmatch(r"[+-]?\d+", each) for each in found.groups()[:2])
    return Span(int(low) if whole else low, int(high) if whole else high, whole, bool(found[3]))


def _apart(text: str) -> list[str]:
    """The values of a text, apart at its commas but for those within brackets and quotes.

    >>> _apart("1, [2,3], {name='mlp', hidden=[4]}")
    ['1', '[2,3]', "{name='mlp', hidden=[4]}"]
    """
    found, depth, quote = [""], 0, ""
    for letter in text:
        quote = "" if letter == quote else quote or (letter if letter in "'\"" else "")
        depth += 0 if quote else (letter in "[{") - (letter in "]}")
        if letter == "," and not depth and not quote:
            found.append("")
        else:
            found[-1] += letter
    return [each.strip() for each in found]


def grid(axes: Sequence[Axis]) -> list[Settings]:
    """Every combination of the values of `axes`, the last one changing first; of no axes the one that sets nothing.

    >>> grid(axes_of(["a.b=1,2", "c=x"]))
    [(('a.b', '1'), ('c', 'x')), (('a.b', '2'), ('c', 'x'))]
    """
    return list(product(*([(each.key, value) for value in each.values] for each in axes)))


def folder_of(settings: Settings, seed: int) -> str:
    """Where the run of a trial lies in the folder of its sweep: the same for the same settings, and nowhere else.

    What is long, or has what not every file system can tell apart or take in a name, is cut or replaced, and gets the
    first digits of the SHA-256 of the whole.

    >>> folder_of((("objective.beta", "2"),), 0), folder_of((), 1)
    ('objective.beta=2/seed=0', 'seed=1')
    >>> folder_of((("data.name", "../../etc"),), 0)
    'data.name=.._.._etc-825775d076/seed=0'
    """
    if not settings:
        return f"seed={seed}"
    text = in_words(settings)
    plain = re.sub(r"[^A-Za-z0-9._=,+-]", "_", text)
    if plain != text or text != text.lower() or len(text) > LONGEST or text.endswith("."):
        plain = f"{plain[:LONGEST]}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"
    return f"{plain}/seed={seed}"


def in_words(settings: Settings) -> str:
    """Settings as one text."""
    return ",".join(f"{key}={value}" for key, value in settings)


def sets_of(settings: Settings, seed: int) -> Iterator[str]:
    """What a trial sets in the spec."""
    yield from (f"{key}={value}" for key, value in settings)
    yield f"{SEED}={seed}"
