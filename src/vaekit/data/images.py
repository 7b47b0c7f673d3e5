"""A folder of images of one size: all together, in a folder for each class, or in folders of splits."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..system.disk import check_regular
from ..system.memory import check_memory
from .base import Content, Split
from .naming import split_named

ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}
CHANNELS = {"1": 1, "L": 1, "RGB": 3}  # of Pillow's modes; mode 1 is black and white
SYSTEM = "__MACOSX"  # a folder that archives of one system bring along
SHOWN = 5  # names of files in a note

_Classes = dict[str | None, list[Path]]


@dataclass
class _Found:
    """What is looked through: what was taken for what, and the files that are no images."""

    notes: list[str] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)


def read_folder(path: Path) -> Content:
    """Images as (N, 1, H, W) or (N, 3, H, W) bytes, in the order of their names and as their EXIF orientation turns
    them.

    Folders train/, valid/ (or val/, …) and test/ are splits; any others are classes, also below those, with all that
    is in folders below them. Raises `ValueError` where folders could be either, and naming the first file that is
    damaged, or of another size or mode than the first one.
    """
    found = _Found()
    root = _unwrapped(path, found)
    splits = {split: _classes(folder, found) for split, folder in _splits(root).items()}
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
    first = next(iter(file for own in splits.values() for files in own.values() for file in files))
    shape = _read_image(first)
    read = {split: _read_split(own, classes, root, first, shape) for split, own in splits.items()}
    left_out = [f"folder{'s' * (len(found.empty) > 1)} without images: {', '.join(found.empty)}"] if found.empty else []
    if n := len(found.skipped):
        what = f"{n} file{'s' * (n > 1)} that {'are' if n > 1 else 'is'} no image{'s' * (n > 1)}"
        left_out.append(f"skipped {what}: {_some(found.skipped)}")
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
            own = [Path(top) / name for name in sorted(names)]
            classes[each.name] += [file for file in own if _is_image(file)]
            found.skipped += [file for file in own if not _is_image(file)]
            deeper = deeper or (top != str(each) and any(map(_is_image, own)))
    if deeper:
        found.notes.append(f"images in folders below those of {folder.name} are of the class above them")
    return classes


def _listed(folder: Path, skipped: list[Path] | None) -> tuple[list[Path], list[Path]]:
    """The images and the folders in `folder`, by name; what is neither is added to `skipped`."""
    entries = sorted(folder.iterdir())
    folders = [entry for entry in entries if entry.is_dir() and _visible(entry.name)]
    files = [entry for entry in entries if not entry.is_dir()]
    if skipped is not None:
        skipped += [file for file in files if not _is_image(file)]
    return [file for file in files if _is_image(file)], folders


def _visible(name: str) -> bool:
    return not name.startswith(".") and name != SYSTEM


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in ENDINGS and not file.name.startswith(".")


def _endings() -> str:
    return ", ".join(sorted(ENDINGS))


def _to_train(empty: Sequence[str], splits: Mapping[str, Any]) -> str:
    return " to train on" if len(splits) > len(empty) else ""


def _some(files: Iterable[Path]) -> str:
    names = sorted({file.name for file in files})
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more names" if len(names) > SHOWN else "")


def _read_split(own: _Classes, classes: Sequence[str], root: Path, first: Path, like: tuple[np.ndarray, str]) -> Split:
    names = sorted(own, key=str)
    files = [file for name in names for file in own[name]]
    origin = np.array([str(file.relative_to(root)) for file in files], dtype=object)
    x = _read_images(files, first, *like)
    if not classes:
        return Split(x, origin=origin)
    y = np.repeat(
        np.array([classes.index(str(name)) for name in names if own[name]], np.int64),
        [len(own[name]) for name in names if own[name]],
    )
    return Split(x, y, origin=origin)


def _read_images(files: Sequence[Path], like: Path, first: np.ndarray, mode: str) -> np.ndarray:
    what = f"{len(files):,} images of {first.shape[2]}×{first.shape[1]}"
    check_memory(len(files) * first.size, what, "make them smaller, or take fewer")
    x = np.empty((len(files), *first.shape), np.uint8)
    failed: dict[Path, ValueError] = {}
    for i, file in enumerate(files):
        try:
            image, found = _read_image(file)
            if (image.shape, found) != (first.shape, mode):
                odd = f"{file} is {_size(image, found)}, but {like} is {_size(first, mode)}"
                raise ValueError(f"{odd}; all images must have one size and mode")
            x[i] = image
        except ValueError as error:
            failed[file] = error
    if failed:
        reason, *others = failed.values()
        more = f"; {len(others):,} more that won't do: {_some(list(failed)[1:])}" if others else ""
        raise ValueError(f"{reason}{more}")
    return x


def _read_image(file: Path) -> tuple[np.ndarray, str]:
    from PIL import Image, ImageOps

    check_regular(file)
    try:
        # A file that has more pixels than any camera is one to fill a machine.
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            opened = Image.open(file)
        with opened:
            image = _without_alpha(ImageOps.exif_transpose(opened))
            pixels = np.asarray(image, dtype=np.uint8) if image.mode in CHANNELS else None
    except Exception as error:  # whatever a damaged file makes a decoder stumble over
        reason = str(error).replace(f" {str(file)!r}", "")  # in Pillow's words
        raise ValueError(f"{file} cannot be read as an image ({reason}); mend it, or move it elsewhere") from error
    if pixels is None:
        what = "transparent pixels" if "A" in image.mode or "transparency" in image.info else f"the mode {image.mode}"
        raise ValueError(f"{file} has {what}; convert it to grey (L) or RGB")
    return pixels.reshape(*pixels.shape[:2], CHANNELS[image.mode]).transpose(2, 0, 1), image.mode


def _without_alpha(image: Any) -> Any:
    """An image whose colours are named by a palette as RGB, and one that is opaque without saying so, where it is."""
    if image.mode == "P" and "transparency" not in image.info:
        return image.convert("RGB")
    if image.mode in ("RGBA", "LA") and image.getchannel("A").getextrema() == (255, 255):
        return image.convert(image.mode.removesuffix("A"))
    return image


def _size(image: np.ndarray, mode: str) -> str:
    return f"{image.shape[2]}×{image.shape[1]} {mode}"
