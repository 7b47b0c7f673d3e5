"""A folder of images of one size: all together, in a folder for each class, or in folders of splits."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..settings import setting
from ..system.memory import SMALL, available, size
from .base import Content, Split
from .decoding import SHOWN, USUAL_SIDE, Form, ImageRows, refuse_damaged, some
from .download import cache_folder
from .image_files import ENDINGS, Resize, is_image
from .naming import split_named

SYSTEM = "__MACOSX"  # a folder that archives of one system bring along
AT_ONCE = 500
"""A folder of no more images is read whole; of more, each when it is asked for."""

_Classes = dict[str | None, list[str]]


@dataclass
class _Found:
    """What is looked through: what was taken for what, and the files that are no images."""

    notes: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)


def read_folder(path: Path, resize: Resize = None) -> Content:
    """Images as (N, 1, H, W) or (N, 3, H, W) bytes, in the order of their names, as `image_files.read_image` reads
    each; more than `AT_ONCE` as `ImageRows`.

    Folders train/, valid/ (or val/, …) and test/ are splits; any others are classes, also below those, with all that
    is in folders below them. Raises `ValueError` where folders could be either, and naming the first file that is
    damaged, or of another size or mode than the first one.
    """
    found = _Found()
    root = _unwrapped(path, found)
    folders = _splits(root)
    splits = {split: _classes(folder, found) for split, folder in folders.items()}
    if empty := [split for split, own in splits.items() if not any(own.values())]:
        if "train" in empty:
            raise ValueError(f"folder {path} holds no images{_to_train(empty, splits)}; accepted: {_endings()}")
        found.empty += empty
    splits = {split: own for split, own in splits.items() if split not in empty}
    flat = [split for split, own in splits.items() if None in own]
    if flat and len(flat) < len(splits):
        others = ", ".join(split for split in splits if split not in flat)
        raise ValueError(f"{path} has class folders in {others}, but none in {', '.join(flat)}; give all or none")
    every = sorted({str(name) for own in splits.values() for name in own if name is not None})
    classes = tuple(name for name in every if any(own.get(name) for own in splits.values()))
    found.empty += [name for name in every if name not in classes]
    files = [file for own in splits.values() for each in own.values() for file in each]
    form = Form.of(files[0], resize)
    if len(files) > AT_ONCE:  # of which the last would be found out at the end of a first epoch
        refuse_damaged(files, form)
    disk = _disk(len(files), form, found)
    read = {
        split: _split(own, classes, root, partial(ImageRows, form=form, folder=files, disk=disk))
        for split, own in splits.items()
    }
    if len(files) <= AT_ONCE:
        read = {split: replace(own, x=np.asarray(own.x)) for split, own in read.items()}
    left_out = [f"folder{'s' * (len(found.empty) > 1)} without images: {', '.join(found.empty)}"] if found.empty else []
    if n := len(found.skipped):
        what = f"{n} file{'s' * (n > 1)} that {'are' if n > 1 else 'is'} no image{'s' * (n > 1)}"
        left_out.append(f"skipped {what}: {some(found.skipped)}")
    if named := [folder.name for split, folder in folders.items() if split in splits and folder != root]:
        are = "s {} are the splits" if len(named) > 1 else " {} is a split"
        found.notes.append(f"the folder{are.format(', '.join(named))}")
    if not flat:
        shown = ", ".join(classes[:SHOWN]) + (", …" if len(classes) > SHOWN else "")
        found.notes.append(f"the folders {shown} are the classes")
    return Content(read, classes, notes=tuple(found.notes), left_out=tuple(left_out))


def _unwrapped(path: Path, found: _Found) -> Path:
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


def _splits(root: Path) -> dict[str, Path]:
    """The folder of each split; `root` itself is that of "train" where its folders are classes, or there are none."""
    _, folders = _listed(root, None)
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
    return {split: folder for split, folder in named if split}


def _classes(folder: Path, found: _Found) -> _Classes:
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


def _disk(many: int, form: Form, found: _Found) -> Path | None:
    """The folder of a temporary file of so many images, where they would take more than half of the memory.

    Raises `ValueError` where there is no room on disk either.
    """
    needed, free = many * math.prod(form.shape), available()
    if needed < SMALL or free is None or 2 * needed <= free:
        return None
    disk = cache_folder()
    disk.mkdir(parents=True, exist_ok=True)
    what = f"{many:,} images of {form.shape[2]}×{form.shape[1]} take {size(needed)}"
    if needed > (room := shutil.disk_usage(disk).free):
        smaller = f"make them smaller, {setting('data.resize', USUAL_SIDE)}, or take fewer"
        raise ValueError(f"not enough memory: {what}, {size(free)} is free, and {size(room)} on disk; {smaller}")
    found.notes.append(f"{what}, of {size(free)} of memory: they are kept in a temporary file in {disk}")
    return disk


def _split(own: _Classes, classes: Sequence[str], root: Path, rows: Callable[[list[str]], ImageRows]) -> Split:
    names = sorted(own, key=str)
    files = [file for name in names for file in own[name]]
    within = len(os.path.join(root, ""))
    x, origin = rows(files), np.array([file[within:] for file in files], dtype=object)
    if not classes:
        return Split(x, origin=origin)
    y = np.repeat(
        np.array([classes.index(str(name)) for name in names if own[name]], np.int64),
        [len(own[name]) for name in names if own[name]],
    )
    return Split(x, y, origin=origin)
