"""Rows of the training split held out for validation and testing: seeded, and stratified by class."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .base import SPLITS, Split


def hold_out(splits: Mapping[str, Split], validation: int | None, test: int | None, seed: int) -> dict[str, Split]:
    """Splits with "valid" and "test" taken from "train" where they are missing: n rows, 0 for none, None for a tenth.

    A split that the dataset brings is kept as it is. Held-out rows have the classes in proportion, and every split
    keeps the order of the rows. Raises `ValueError` where no training row would be left, or rows are asked for a split
    that the dataset brings.

    >>> rows = Split(np.arange(20.0).reshape(20, 1))
    >>> {name: len(split) for name, split in hold_out({"train": rows}, None, 5, seed=0).items()}
    {'train': 13, 'valid': 2, 'test': 5}
    """
    train = splits["train"]
    sizes = {
        "test": _size("test", test, splits),
        "valid": _size("validation", validation, splits),
    }
    if sum(sizes.values()) >= len(train):
        asked = f"validation={sizes['valid']} and test={sizes['test']}"
        raise ValueError(f"{asked} leave none of the {len(train)} training rows; hold out fewer")
    result = dict(splits)
    for stream, (name, size) in enumerate(sizes.items()):
        if size:
            held = _sample(train, size, np.random.default_rng([seed, stream]))
            result[name], train = _rows(train, held), _rows(train, ~held)
    result["train"] = train
    return {name: result[name] for name in SPLITS if name in result}


def _size(argument: str, rows: int | None, splits: Mapping[str, Split]) -> int:
    own = splits.get("valid" if argument == "validation" else argument)
    if own is not None:
        if rows:
            raise ValueError(
                f"{argument}={rows}, but the dataset has {len(own)} {argument} rows of its own; leave it out"
            )
        return 0
    if rows is None:
        return len(splits["train"]) // 10
    if isinstance(rows, bool) or not isinstance(rows, int) or rows < 0:
        raise ValueError(f"{argument}={rows!r}: a number of rows is needed, 0 for none")
    return rows


def _sample(split: Split, size: int, rng: np.random.Generator) -> np.ndarray:
    """A mask of `size` rows; every class has its share, rounded up or down."""
    order = rng.permutation(len(split))
    if split.y is not None and split.y.ndim == 1:
        order = order[np.argsort(split.y[order], kind="stable")]
    # Evenly spaced places in rows sorted by class: exactly `size` of them, and in each class its share.
    places = (2 * np.arange(size) + 1) * len(split) // (2 * size)
    held = np.zeros(len(split), dtype=bool)
    held[order[places]] = True
    return held


def _rows(split: Split, mask: np.ndarray) -> Split:
    return Split(split.x[mask], None if split.y is None else split.y[mask])
