"""A folder of images of one size: all together, in a folder for each class, or in folders of splits."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..settings import setting
from ..system.memory import SMALL, available, size
from ..system.torchrun import local
from .base import Content, Split
from .decoding import SHOWN, USUAL_SIDE, Form, ImageRows, some
from .download import cache_folder
from .image_files import ENDINGS, Resize, Source, is_image, read_image
from .memmap import Array
from .naming import split_named

SYSTEM = "__MACOSX"  # a folder that archives of one system bring along
FORMS = 100
"""Images of a folder that are looked at for colours."""
AT_ONCE = 500
"""A folder of no more images is read whole; of more, each when it is asked for."""

_Classes = dict[str | None, list[str]]


@dataclass
class Found:
    """What was found: notes of what was taken for what, the files that are no images, folders without any, links."""

    notes: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    """Links to folders within those of classes."""
    endings: set[str] = field(default_factory=set)
    """Of members of shards that are neither images nor labels."""


def read_folder(path: Path, resize: Resize = None, *, coloured: bool = False) -> Content:
    """Images as (N, 1, H, W) or (N, 3, H, W) bytes, in the order of their names, as `image_files.read_image` reads
    each; more than `AT_ONCE` as `ImageRows`.

    Folders train/, valid/ (or val/, …) and test/ are splits; any others are classes, also below those, with all that
    is in folders below them. Raises `ValueError` where folders could be either, and naming the first file that is
    damaged, or of another size or mode than the others; grey ones may stand beside coloured ones, and are `coloured`
    without these where that is asked for.
    """
    found = Found()
    root = _unwrapped(path, found)
    folders = _splits(root, found)
    splits = {split: _classes(folder, found) for split, folder in folders.items()}
    if empty := [split for split, own in splits.items() if not any(own.values())]:
        if "train" in empty:
            others = f" (but {some(found.skipped)})" if found.skipped else ""
            raise ValueError(f"folder {path} holds no images{others}{_to_train(empty, splits)}; accepted: {_endings()}")
        found.empty += empty
    splits = {split: own for split, own in splits.items() if split not in empty}
    flat = [split for split, own in splits.items() if None in own]
    if flat and len(flat) < len(splits):
        others = ", ".join(split for split in splits if split not in flat)
        raise ValueError(f"{path} has class folders in {others}, but none in {', '.join(flat)}; give all or none")
    every = sorted({str(name) for own in splits.values() for name in own if name is not None})
    classes = tuple(name for name in every if any(own.get(name) for own in splits.values()))
    found.empty += [name for name in every if name not in classes]
    files = {split: [file for name in sorted(own, key=str) for file in own[name]] for split, own in splits.items()}
    rows = image_rows(files, resize, found, coloured=coloured)
    read = {split: _split(own, classes, root, files[split], rows[split]) for split, own in splits.items()}
    left_out = [f"folder{'s' * (len(found.empty) > 1)} without images: {', '.join(found.empty)}"] if found.empty else []
    if n := len(found.skipped):
        what = f"{n} file{'s' * (n > 1)} that {'are' if n > 1 else 'is'} no image{'s' * (n > 1)}"
        left_out.append(f"skipped {what}: {some(found.skipped)}")
    if found.links:
        left_out.append(f"links to folders, which are not followed: {some(found.links)}")
    if named := [folder.name for split, folder in folders.items() if split in splits and folder != root]:
        are = "s {} are the splits" if len(named) > 1 else " {} is a split"
        found.notes.append(f"the folder{are.format(', '.join(named))}")
    if not flat:
        shown = ", ".join(classes[:SHOWN]) + (", …" if len(classes) > SHOWN else "")
        found.notes.append(f"the folders {shown} are the classes")
    return Content(read, classes, notes=tuple(found.notes), left_out=tuple(left_out))


def image_rows(
    files: Mapping[str, Sequence[Source]], resize: Resize, found: Found, *, coloured: bool
) -> dict[str, Array]:
    """The rows of each split that are the images of its `files`: up to `AT_ONCE` in all are decoded at once.

    Where there is room for all neither in memory nor on disk they are decoded each time. Raises `ValueError` where the
    first is damaged.
    """
    every = [file for own in files.values() for file in own]
    form = Form.of(_coloured(every), resize)
    if coloured:
        form = replace(form, shape=(3, *form.shape[1:]), mode="RGB")
    disk, kept = _disk(len(every), form, found)
    rows = {split: ImageRows(own, form, every, disk, kept=kept) for split, own in files.items()}
    return {split: np.asarray(own) for split, own in rows.items()} if len(every) <= AT_ONCE else dict(rows)


def _coloured(files: Sequence[Source]) -> Source:
    """The first of `files`; where that is grey the first coloured one of `FORMS` at equal distances, if there is one,
    since grey ones may stand beside it.
    """
    for file in (files[0], *files[:: -(-len(files) // FORMS)]):
        try:
            if read_image(file)[1] != "L":
                return file
        except ValueError:  # which is said of it later
            continue
    return files[0]


def _unwrapped(path: Path, found: Found) -> Path:
    """`path`, or the folder that is all it holds, and so on, down to where there is more than one."""
    root = path
    while True:
        images, folders = _listed(root, None)
        if images or len(folders) != 1 or split_named(folders[0].name):
            break
        below = _listed(folders[0], None)
        if below[0] or not below[1]:
            break
        root = folders[0]
    if root != path:
        found.notes.append(f"read from {root.relative_to(path)}/, which is all that {path.name} holds")
    return root


def _splits(root: Path, found: Found) -> dict[str, Path]:
    """The folder of each split; `root` itself is that of "train" where its folders are classes, or there are none."""
    images, folders = _listed(root, None)
    named = [(split_named(folder.name), folder) for folder in folders]
    splits = [split for split, _ in named if split]
    if not splits or (len(set(splits)) == 1 and len(splits) < len(named)):  # a train may be a class, of vehicles
        return {"train": root}
    shown = ", ".join(f"{folder.name}/" for split, folder in named if split)
    if others := [folder for split, folder in named if not split]:
        what = f"{shown} beside {others[0].name}/"
        raise ValueError(f"{root} holds {what}: splits, or classes? Move the one kind elsewhere, or rename it")
    if "train" not in splits or len(set(splits)) < len(splits):
        raise ValueError(f"{root} holds {shown}; needed: one folder train, and one valid or test if there are such")
    if images:
        raise ValueError(f"{images[0]} lies beside the folders of splits, {shown}; move it into one, or elsewhere")
    _listed(root, found.skipped)
    return {split: folder for split, folder in named if split}


def _classes(folder: Path, found: Found) -> _Classes:
    """The images of each class, by the folders in `folder`; of None where there are no folders."""
    images, folders = _listed(folder, found.skipped)
    if folders and images:
        stray = f"{images[0]} lies beside the subfolders of {folder}, which are classes"
        raise ValueError(f"{stray}; move it into one")
    if not folders:
        return {None: images}
    classes: _Classes = {each.name: [] for each in folders}
    deeper = False
    for each in folders:
        for top, below, names in os.walk(each):
            below[:] = sorted(name for name in below if _visible(name))
            found.links += [place for name in below if os.path.islink(place := os.path.join(top, name))]
            own = [os.path.join(top, name) for name in sorted(names) if is_image(name)]
            classes[each.name] += own
            found.skipped += [os.path.join(top, name) for name in names if not is_image(name)]
            deeper = deeper or (top != str(each) and bool(own))
    if deeper:
        found.notes.append(f"images in folders below those of {folder.name} are of the class above them")
    return classes


def _listed(folder: Path, skipped: list[str] | None) -> tuple[list[str], list[Path]]:
    """The images and the folders in `folder`, by name; what is neither is added to `skipped`."""
    with os.scandir(folder) as entries:
        by_name = sorted(entries, key=lambda entry: entry.name)
    for entry in by_name:
        if any("\udc80" <= letter <= "\udcff" for letter in entry.name):  # a byte that Python could not read
            raise ValueError(f"{entry.name!a} in {folder} is a name that is no UTF-8, as tables need; rename it")
    folders = [Path(entry.path) for entry in by_name if entry.is_dir() and _visible(entry.name)]
    files = [entry for entry in by_name if not entry.is_dir()]
    if skipped is not None:
        skipped += [entry.path for entry in files if not is_image(entry.name)]
    return [entry.path for entry in files if is_image(entry.name)], folders


def _visible(name: str) -> bool:
    return not name.startswith(".") and name != SYSTEM


def _endings() -> str:
    return ", ".join(sorted(ENDINGS))


def _to_train(empty: Sequence[str], splits: Mapping[str, Any]) -> str:
    return " to train on" if len(splits) > len(empty) else ""


def _disk(many: int, form: Form, found: Found) -> tuple[Path | None, bool]:
    """The folder of a temporary file of so many images, where they would take more than half of the memory, and whether
    they can be kept at all, which is said.
    """
    needed, free = many * math.prod(form.shape), available()
    here = local()[1]  # each of the processes that train together keeps those of its rows, in the end all
    if needed < SMALL or free is None or 2 * needed * here <= free:
        return None, True
    disk = cache_folder()
    disk.mkdir(parents=True, exist_ok=True)
    what = f"{many:,} images of {form.shape[2]}×{form.shape[1]} take {size(needed)}"
    if needed * here > (room := shutil.disk_usage(disk).free):
        smaller = f"smaller ones are kept: {setting('data.resize', USUAL_SIDE)}"
        none = f"and {size(room)} on disk: they are decoded anew in each epoch"
        found.notes.append(f"{what}, of {size(free)} of memory {none}; {smaller}")
        return None, False
    found.notes.append(f"{what}, of {size(free)} of memory: they are kept in a temporary file in {disk}")
    return disk, True


def _split(own: _Classes, classes: Sequence[str], root: Path, files: Sequence[str], x: Array) -> Split:
    within = len(os.path.join(root, ""))
    origin = np.array([file[within:] for file in files], dtype=object)
    if not classes:
        return Split(x, origin=origin)
    names = [name for name in sorted(own, key=str) if own[name]]
    numbers = np.array([classes.index(str(name)) for name in names], np.int64)
    return Split(x, np.repeat(numbers, [len(own[name]) for name in names]), origin=origin)
