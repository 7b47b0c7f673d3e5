"""Which rows are trained on, and which are held out for validation and testing: seeded, and stratified by class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..settings import named
from .base import SPLITS, Split


def hold_out(
    splits: Mapping[str, Split], validation: int | None, test: int | None, seed: int, train: int | None = None
) -> dict[str, Split]:
    """Splits with "valid" and "test" of n rows, 0 for none, and "train" of n of the rows that are left, None for all.

    A split that the dataset brings gives n of its own rows, all of them for None; one that it lacks is taken from its
    training rows, a tenth of them for None. Every split has the classes in proportion, and keeps the order of the rows.
    Raises `ValueError` where no training row would be left, or more rows are asked for than there are.

    >>> rows = Split(np.arange(20.0).reshape(20, 1))
    >>> {name: len(split) for name, split in hold_out({"train": rows}, None, 5, seed=0).items()}
    {'train': 13, 'valid': 2, 'test': 5}
    """
    splits = {name: _numbered(split) for name, split in splits.items()}
    own = splits["train"]
    left = np.arange(len(own))  # what is taken from it is copied once, at the end: it may be most of the memory
    sizes = {"test": _size("test", test, splits), "valid": _size("validation", validation, splits)}
    taken = sum(size for name, size in sizes.items() if name not in splits)
    if taken >= len(left):
        asked = f"validation={sizes['valid']} and test={sizes['test']}"
        raise ValueError(f"{asked} leave none of the {len(left)} training rows; hold out fewer")
    result = {}
    for stream, (name, size) in enumerate(sizes.items()):
        if not size:
            continue
        rng = np.random.default_rng([seed, stream])
        if name in splits:
            result[name] = splits[name].where(_sample(len(splits[name]), splits[name].y, size, rng))
        else:
            chosen = _sample(len(left), None if own.y is None else own.y[left], size, rng)
            result[name] = own.where(_mask(len(own), left[chosen]))
            left = left[~chosen]
    if train is not None:
        _check_number("train", train)
        if not 1 <= train <= len(left):
            raise ValueError(
                f"{named('data.train', train)}, but {len(left)} training rows are left; accepted: 1..{len(left)}"
            )
        rng = np.random.default_rng([seed, len(sizes)])
        left = left[_sample(len(left), None if own.y is None else own.y[left], train, rng)]
    result["train"] = own.where(_mask(len(own), left))
    return {name: result[name] for name in SPLITS if name in result}


def _size(argument: str, rows: int | None, splits: Mapping[str, Split]) -> int:
    own = splits.get("valid" if argument == "validation" else argument)
    if rows is None:
        return len(splits["train"]) // 10 if own is None else len(own)
    _check_number(argument, rows)
    if own is not None and rows > len(own):
        found = f"the dataset has {len(own)} {argument} rows of its own"
        raise ValueError(
            f"{named(f'data.{argument}', rows)}, but {found}; accepted: 0..{len(own)}, or leave it out for all"
        )
    return rows


def _check_number(argument: str, rows: int) -> None:
    if isinstance(rows, bool) or not isinstance(rows, int) or rows < 0:
        raise ValueError(f"{named(f'data.{argument}', rows)}: a number of rows is needed, 0 for none")


def _sample(rows: int, y: np.ndarray | None, size: int, rng: np.random.Generator) -> np.ndarray:
    """A mask of `size` of so many rows, whose labels are y; every class has its share, rounded up or down."""
    order = rng.permutation(rows)
    if y is not None and y.ndim == 1:
        order = order[np.argsort(y[order], kind="stable")]
    # Evenly spaced places in rows sorted by class: exactly `size` of them, and in each class its share.
    places = (2 * np.arange(size) + 1) * rows // (2 * size)
    return _mask(rows, order[places])


def _mask(rows: int, index: np.ndarray) -> np.ndarray:
    held = np.zeros(rows, dtype=bool)
    held[index] = True
    return held


def _numbered(split: Split) -> Split:
    return split if split.origin is not None else replace(split, origin=np.arange(len(split)))
