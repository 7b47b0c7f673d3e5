"""A folder of images of one size, a class per subfolder if it has subfolders."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .base import Content, Split

ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}
CHANNELS = {"1": 1, "L": 1, "RGB": 3}  # of Pillow's modes; mode 1 is black and white


def read_folder(path: Path) -> Content:
    """Images as (N, 1, H, W) or (N, 3, H, W) bytes, in the order of their names.

    Raises `ValueError` naming the first file that is damaged, or of another size or mode than the first one.
    """
    folders = [folder for folder in _visible(path) if folder.is_dir()]
    if folders and (stray := _images(path)):
        raise ValueError(f"{stray[0]} lies beside the subfolders of {path}, which are classes; move it into one")
    files = {folder: _images(folder) for folder in folders or [path]}
    if empty := [folder for folder, found in files.items() if not found]:
        raise ValueError(f"folder {empty[0]} holds no images; accepted: {', '.join(sorted(ENDINGS))}")
    x = _read_images([file for found in files.values() for file in found])
    if not folders:
        return Content({"train": Split(x)})
    y = np.repeat(np.arange(len(folders), dtype=np.int64), [len(found) for found in files.values()])
    return Content({"train": Split(x, y)}, classes=tuple(folder.name for folder in folders))


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _images(folder: Path) -> list[Path]:
    return [path for path in _visible(folder) if path.suffix.lower() in ENDINGS]


def _read_images(files: list[Path]) -> np.ndarray:
    first, mode = _read_image(files[0])
    x = np.empty((len(files), *first.shape), np.uint8)
    for i, file in enumerate(files):
        image, found = _read_image(file)
        if (image.shape, found) != (first.shape, mode):
            odd = f"{file} is {_size(image, found)}, but {files[0]} is {_size(first, mode)}"
            raise ValueError(f"{odd}; all images must have one size and mode")
        x[i] = image
    return x


def _read_image(file: Path) -> tuple[np.ndarray, str]:
    from PIL import Image

    try:
        with Image.open(file) as image:
            if image.mode not in CHANNELS:
                raise ValueError(f"{file} has the mode {image.mode}; convert it to grey (L) or RGB")
            pixels = np.asarray(image, dtype=np.uint8)
            mode = image.mode
    except (OSError, SyntaxError) as error:  # Pillow's words for a damaged file
        raise ValueError(f"{file} cannot be read as an image: {error}") from error
    return pixels.reshape(*pixels.shape[:2], CHANNELS[mode]).transpose(2, 0, 1), mode


def _size(image: np.ndarray, mode: str) -> str:
    return f"{image.shape[2]}×{image.shape[1]} {mode}"
