"""What the names of arrays and folders say: which split of a dataset they are, and whether data or their labels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .base import SPLITS

SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "trn", "tr"), "train"),
    **dict.fromkeys(("valid", "validation", "val", "dev", "development"), "valid"),
    **dict.fromkeys(("test", "testing", "tst", "te"), "test"),
}
ROLE_WORDS = {
    **dict.fromkeys(("x", "data", "features", "feature", "inputs", "input", "samples"), "x"),
    **dict.fromkeys(("images", "image", "imgs", "img", "pixels"), "x"),
    **dict.fromkeys(("y", "labels", "label", "targets", "target", "class"), "y"),
}
JOINED = {
    joined: (role, split)
    for word, split in SPLIT_WORDS.items()
    for name, role in ROLE_WORDS.items()
    for joined in (word + name, name + word)
}


@dataclass(frozen=True)
class Arrays:
    """Which array is what: `x` and `y` are names by split; `unused` are those that are neither."""

    x: dict[str, str]
    y: dict[str, str]
    unused: tuple[str, ...]

    @property
    def usual(self) -> bool:
        """Whether all are called as they would be by vaekit: x and y, or x_train, y_train and so on."""
        return all(
            name in (role, f"{role}_{split}")
            for role, names in (("x", self.x), ("y", self.y))
            for split, name in names.items()
        )


def split_named(name: str) -> str | None:
    """The split that a folder of this name is, if it is one.

    >>> split_named("Validation"), split_named("cats")
    ('valid', None)
    """
    return SPLIT_WORDS.get(name.lower())


def arrange(names: Sequence[str]) -> Arrays:
    """What the arrays of these names are, by the words in them: data ("x", "images", …) or labels ("y", "targets", …),
    of a split ("train", "val", …) or of all rows.

    One array beside none but labels is the data, whatever it is called. Raises `ValueError` where two could be the
    same, naming both.

    >>> arrange(["trainImages", "train_labels", "X_dev", "mean"])
    Arrays(x={'train': 'trainImages', 'valid': 'X_dev'}, y={'train': 'train_labels'}, unused=('mean',))
    """
    found: dict[str, dict[str, str]] = {"x": {}, "y": {}}
    for name in names:
        role, split = _meaning(name)
        if role is None:
            continue
        if (other := found[role].get(split)) is not None:
            what = "data" if role == "x" else "labels"
            raise ValueError(f"{other!r} and {name!r} could both be the {what} of {split!r}; keep one of them")
        found[role][split] = name
    rest = [name for name in names if name not in found["x"].values() and name not in found["y"].values()]
    if not found["x"] and len(rest) == 1:
        found["x"]["train"] = rest.pop()
    unused = [name for split, name in found["y"].items() if split not in found["x"]]
    found["y"] = {split: name for split, name in found["y"].items() if split in found["x"]}
    x, y = ({split: own[split] for split in SPLITS if split in own} for own in (found["x"], found["y"]))
    return Arrays(x, y, tuple(name for name in names if name in rest or name in unused))


def _meaning(name: str) -> tuple[str | None, str]:
    """Whether a name is of data ("x"), labels ("y") or neither, and of which split: "train" where it does not say."""
    role = split = None
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^A-Za-z_\W]+", name)
    for word in map(str.lower, words):
        own_role, own_split = JOINED.get(word, (ROLE_WORDS.get(word), SPLIT_WORDS.get(word)))
        if not (own_role or own_split) or (own_role and role) or (own_split and split):
            return None, "train"
        role, split = own_role or role, own_split or split
    return (role or "x", split or "train") if words else (None, "train")
