"""Shards of images: tar files by the convention of WebDataset, of which images are decoded as those of a folder are.

Files of one name but for the ending are one row: `0001.jpg` beside `0001.cls`, its label, or `0001.json`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from ..errors import MOST, number_of, several, shown, unknown
from ..settings import setting
from ..system.progress import working
from .base import Content, Split
from .image_files import ENDINGS, Resize, is_image
from .images import Found, image_rows
from .members import Member, contents, members_of
from .naming import SPLIT_WORDS, split_named
from .tabular import labels_of

TAR = ".tar"
RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
LABEL, FIELDS = "cls", "json"
"""The endings of the files of a row that may say its label."""
LABEL_BYTES = 1 << 20
"""A label, or the fields that it is one of, have no more."""


def are_shards(path: Path) -> bool:
    """Whether a path is one of shards: a .tar, many of them as in shard-{000..019}.tar, or a folder that has some.

    >>> are_shards(Path("photos/shard-{000..019}.tar")), are_shards(Path("photos.npy"))
    (True, False)
    """
    if path.is_dir():
        return next(shards_within(path), None) is not None
    return path.suffix.lower() == TAR


def expanded(path: Path, *, there: bool = True) -> list[Path]:
    """The paths that a pattern of numbers in braces means, in their order; the path itself where it has none.

    Raises `FileNotFoundError` for the first that is not `there`, `ValueError` for a pattern that runs backwards.

    >>> [str(each) for each in expanded(Path("{08..08}"), there=False)]
    ['08']
    """
    pieces = RANGE.split(str(path))
    ranges = []
    for first, last in zip(pieces[1::3], pieces[2::3], strict=True):
        if int(last) < int(first):
            raise ValueError(f"{path} counts from {first} down to {last}; accepted: the lower number first")
        ranges.append([f"{i:0{len(first)}}" for i in range(int(first), int(last) + 1)])
    texts = pieces[::3]
    paths = [Path("".join(map("".join, zip(texts, (*numbers, ""), strict=True)))) for numbers in product(*ranges)]
    for each in paths:
        if there and not each.exists():
            raise FileNotFoundError(f"there is no file or folder {each}")
    return paths


def plain_name(path: Path) -> str:
    """What data at a path are called: its last part without its ending, and without what counts shards.

    >>> plain_name(Path("data/photos-{000..019}.tar")), plain_name(Path("data/{0..9}.tar"))
    ('photos', 'data')
    """
    counted = RANGE.sub("", path.stem)
    return path.stem if counted == path.stem else counted.strip("-_.") or path.parent.name


def read_shards(path: Path, resize: Resize = None, label: str | None = None, *, coloured: bool = False) -> Content:
    """Images as (N, 1, H, W) or (N, 3, H, W) bytes, in the order of the shards' names and of the members of each.

    Grey ones are `coloured` as by `images.read_folder`. `label` names the field of `.json` members that has the class;
    without it `.cls` members have, if there are some.
    Shards whose names have a split in them (`train-000.tar`, `val/000.tar`) are of that split. Raises `ValueError`, one
    line, as `members_of` does, and where a row has no image or two, or no label where others have one.
    """
    found = Found()
    shards = sorted(shards_within(path)) if path.is_dir() else expanded(path)
    by_split = _by_split(path, shards)
    rows: dict[str, list[Member]] = {}
    labels: dict[str, list[str | None]] = {}
    with working("looking through shards", len(shards)) as step:
        done = 0
        for split, own in by_split.items():
            rows[split], labels[split] = [], []
            for shard in own:
                for image, text in _rows(shard, label, found):
                    rows[split].append(image)
                    labels[split].append(text)
                step(done := done + 1)
    y, classes = _numbered(labels, rows, label)
    x = image_rows(rows, resize, found, coloured=coloured)
    names = {str(shard): str(shard.relative_to(path) if path.is_dir() else shard.name) for shard in shards}
    splits = {}
    for split, own_rows in rows.items():
        origin = np.array([f"{names[each.shard]}/{each.name}" for each in own_rows], dtype=object)
        splits[split] = Split(x[split], y.get(split), origin=origin)
    found.notes.insert(0, f"{number_of(len(shards), 'shard')} of {number_of(sum(map(len, rows.values())), 'image')}")
    if len(splits) > 1 or "train" not in splits:
        found.notes.append("the splits are those that the names of the shards say")
    within = {each.name.rpartition("/")[0] for own in rows.values() for each in own}
    if not y and len(within) > 1:
        what = (
            f"the folders in them ({several(sorted(within), MOST)}) are parts of names; classes are members that end in"
        )
        found.notes.append(f"{what} .{LABEL}, or a field of .{FIELDS}: {setting('data.label', '…')}")
    left_out = [f"members that are neither images nor labels: {', '.join(sorted(found.endings))}"]
    return Content(splits, classes, notes=tuple(found.notes), left_out=tuple(left_out) if found.endings else ())


def shards_within(path: Path) -> Iterator[Path]:
    """The shards in a folder, and in those of splits below it."""
    with os.scandir(path) as entries:
        every = [entry for entry in entries if not entry.name.startswith(".")]
    yield from (Path(entry.path) for entry in every if entry.name.lower().endswith(TAR) and entry.is_file())
    for entry in every:
        if split_named(entry.name) and entry.is_dir():
            yield from (each for each in Path(entry.path).glob("[!.]*") if each.suffix.lower() == TAR)


def _by_split(path: Path, shards: Sequence[Path]) -> dict[str, list[Path]]:
    """The shards of each split; all are of "train" where no name says otherwise."""
    found: dict[str, list[Path]] = {}
    for shard in shards:
        words = {
            SPLIT_WORDS[word]
            for word in re.split(r"[^a-z]+", shard.stem.lower())
            if len(word) > 2 and word in SPLIT_WORDS
        }
        if not words and (folder := split_named(shard.parent.name)) and shard.parent != path:
            words = {folder}
        if len(words) > 1:
            raise ValueError(f"{shard} has the names of two splits, {' and '.join(sorted(words))}; rename it")
        found.setdefault(next(iter(words), ""), []).append(shard)
    if "" in found and len(found) > 1:
        others = ", ".join(split for split in found if split)
        raise ValueError(f"{found[''][0]} is of no split by its name, but other shards are of {others}; rename it")
    if len(found) == 1:  # what is given by itself is what is trained on, whatever it is called
        return {"train": shards if isinstance(shards, list) else list(shards)}
    if "train" not in found:
        raise ValueError(f"{path} has shards of {', '.join(sorted(found))}, and none of train")
    return found


def _rows(shard: Path, label: str | None, found: Found) -> Iterator[tuple[Member, str | None]]:
    """The image of each row of a shard, in its order, and what its label is called."""
    images: list[Member] = []
    sources: list[Member | None] = []
    for key, own in _keyed(shard).items():
        pictures = [ending for ending in own if is_image(f"x.{ending}")]
        found.endings |= own.keys() - {*pictures, LABEL, FIELDS}
        if len(pictures) != 1:
            many = f"{len(pictures):,} images, {several(pictures, MOST)}"
            what = many if pictures else f"no image beside {several(own, MOST)}"
            raise ValueError(f"{shard}: {key!r} has {what}; accepted: one, of {', '.join(sorted(ENDINGS))}")
        images.append(own[pictures[0]])
        sources.append(source := own.get(LABEL if label is None else FIELDS))
        if source is not None and source.size > LABEL_BYTES:
            raise ValueError(f"{source} has {source.size:,} bytes, too many for a label; accepted: {LABEL_BYTES:,}")
    if not images:
        raise ValueError(f"{shard} has no images; accepted: {', '.join(sorted(ENDINGS))}")
    read = contents([each for each in sources if each is not None])
    for image, source in zip(images, sources, strict=True):
        yield image, None if source is None else _label(source, next(read), label)


def _keyed(shard: Path) -> dict[str, dict[str, Member]]:
    """The members of each row of a shard by their endings: those whose names are the same up to the first dot."""
    keyed: dict[str, dict[str, Member]] = {}
    last = ""
    for member in members_of(shard):
        folder, _, name = member.name.removeprefix("./").rpartition("/")
        stem, _, ending = name.partition(".")
        if not stem:  # hidden ones, as one system's archiver adds
            continue
        key = f"{folder}/{stem}".lstrip("/")
        if key in keyed and key != last:
            raise ValueError(f"{shard}: the members of {key!r} do not follow each other; name rows apart")
        own = keyed.setdefault(key, {})
        if ending in own:
            raise ValueError(f"{member} is there twice; name rows apart")
        own[ending], last = member, key
    return keyed


def _label(source: Member, content: bytes, label: str | None) -> str:
    try:
        text = content.decode("utf-8-sig").strip()
        if not text:
            raise ValueError("it is empty")
        if label is None:
            return text
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{source} has no label: {error}") from None
    if not isinstance(fields, dict) or label not in fields:
        raise ValueError(f"{source}: {unknown('field', label, fields if isinstance(fields, dict) else [])}")
    value = fields[label]
    if not isinstance(value, str | int):
        raise ValueError(f"{source} says {label} is {shown(value)}; accepted for a label: a text or a whole number")
    return str(value)


def _numbered(
    labels: Mapping[str, Sequence[str | None]], rows: Mapping[str, Sequence[Member]], label: str | None
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The labels of each split as numbers of classes, and the names of these; none where no row has one."""
    every = [each for own in labels.values() for each in own]
    if all(each is None for each in every):
        if label is not None:
            raise ValueError(f"{setting('data.label', label)} names a field of .json members, of which there are none")
        return {}, ()
    if None in every:
        first = [each for own in rows.values() for each in own][every.index(None)]
        raise ValueError(f"{first} has no label beside it, but others have; give all or none")
    numbers, classes = labels_of(pd.Series(every, dtype=object), "the shards", label or LABEL)
    ends = np.cumsum([len(own) for own in labels.values()])[:-1]
    return dict(zip(labels, np.split(numbers, ends), strict=True)), classes
