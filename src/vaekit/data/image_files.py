"""One image file, or a member of a shard, as pixels, by Pillow: turned, resized, refused in a line."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np

from ..system.disk import check_regular
from .members import Member

CHANNELS = {"L": 1, "RGB": 3}
"""Of Pillow's modes."""
ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}
END = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}
"""What a file of that format ends in."""
GAP = 2
"""JPEGs are decoded at an eighth, a quarter or half of their size, where that is at least so many times what is asked
for: `Image.thumbnail` of Pillow does so too.
"""

Source = str | Member
"""Where an image is: a file, or a member of a shard."""
Resize = int | tuple[int, int] | None
"""The side of a square that the middle of an image is brought to, or the height and width of all of it; None for as it
is.
"""


def is_image(name: str) -> bool:
    """Whether a file of this name is taken for an image.

    >>> is_image("cat.JPG"), is_image(".cat.jpg"), is_image("notes.txt")
    (True, False, False)
    """
    return os.path.splitext(name)[1].lower() in ENDINGS and not name.startswith(".")


def read_image(file: Source, resize: Resize = None) -> tuple[np.ndarray, str]:
    """The pixels (C, H, W) of an image file as bytes, and their mode, L or RGB.

    Its EXIF orientation turns it. With `resize`, of one number n, its shorter side is brought to n and the middle n×n
    is taken; of two, all of it is brought to that height and width: by Pillow's bicubic filter, which averages where it
    shrinks. Colours of a palette become RGB, black and white of one bit 0 and 255, and an alpha channel that is opaque
    everywhere is left out.

    Raises `ValueError`, a line that names the file, where it is damaged or cut off, has more pixels than any camera, or
    pixels that are neither grey nor RGB of eight bits.
    """
    from PIL import Image

    source = io.BytesIO(file.read()) if isinstance(file, Member) else file
    if isinstance(source, str):
        check_regular(Path(source))
    try:
        # A file that has more pixels than any camera is one to fill a machine.
        with Image.open(source) as opened:
            _refuse_bomb(opened)
            _refuse_frames(opened)
            # Of colours Pillow would keep the upper eight bits, and say nothing.
            deep = opened.format == "PNG" and any(str(tile[-1]).endswith(";16B") for tile in opened.tile)
            side = max(resize) if isinstance(resize, tuple) else resize
            if side is not None:
                opened.draft(None, (GAP * side, GAP * side))
            image = _in_bytes(_turned(opened))
            known = image.mode in CHANNELS and not deep
            pixels = np.asarray(image if resize is None else _resized(image, resize), np.uint8) if known else None
    except Exception as error:  # whatever a damaged file makes a decoder stumble over
        reason = str(error).replace(f" {source!r}", "")  # in Pillow's words
        raise ValueError(f"{file} cannot be read as an image ({reason}); mend it, or move it elsewhere") from error
    if pixels is None:
        raise ValueError(f"{file} has {_what(image, deep)}; convert it to grey (L) or RGB")
    return pixels.reshape(*pixels.shape[:2], CHANNELS[image.mode]).transpose(2, 0, 1), image.mode


def _refuse_bomb(image: Any) -> None:
    from PIL import Image

    # Pillow warns of it, which only one thread at a time could turn into an error.
    pixels, most = image.width * image.height, Image.MAX_IMAGE_PIXELS
    if most is not None and pixels > most:
        raise ValueError(f"its {pixels} pixels are more than {most}")


def _refuse_frames(image: Any) -> None:
    # A camera's MPO has its preview beside the picture.
    if image.format != "MPO" and getattr(image, "is_animated", False):
        raise ValueError(f"it is {image.n_frames} pictures, of which none is meant more than others")


def suspect(file: str, size: tuple[int, int] | None = None) -> bool:
    """Whether a file may be damaged, by its header and its end alone, or is of another width and height than `size`.

    What it says of is to be decoded: some sound files end in what their camera adds.
    """
    from PIL import Image

    try:
        check_regular(Path(file))  # who opens a pipe waits for what comes
        with open(file, "rb") as opened, Image.open(opened) as image:
            if size is not None and image.size != size:
                return True
            end = END.get(str(image.format))
            if end is None:
                return False
            opened.seek(-len(end), os.SEEK_END)
            return opened.read() != end
    except Exception:  # whatever a damaged file makes a decoder stumble over
        return True


def _turned(image: Any) -> Any:
    """An image as its EXIF orientation says; most have none, and looking for it takes a fifth of the time."""
    from PIL import ImageOps

    image.load()  # of some formats it comes after the pixels
    told = {"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"} & image.info.keys()
    return ImageOps.exif_transpose(image) if told or image.format not in ("JPEG", "PNG") else image


def _in_bytes(image: Any) -> Any:
    """An image whose colours are named by a palette as RGB, one of single bits as grey, and one that is opaque without
    saying so, where it is; one of which a colour stands for none with its alpha channel.
    """
    if image.mode in ("1", "L", "P", "RGB") and "transparency" in image.info:
        image = image.convert("LA" if image.mode in ("1", "L") else "RGBA")
    if image.mode == "1":
        return image.convert("L")
    if image.mode == "P":
        return image.convert("RGB")
    if image.mode in ("RGBA", "LA") and image.getchannel("A").getextrema() == (255, 255):
        return image.convert(image.mode.removesuffix("A"))
    return image


def _resized(image: Any, resize: int | tuple[int, int]) -> Any:
    from PIL import Image

    height, width = (resize, resize) if isinstance(resize, int) else resize
    left, top, side = 0.0, 0.0, min(image.size)
    if isinstance(resize, int):
        left, top = (image.width - side) / 2, (image.height - side) / 2
    box = (left, top, image.width - left, image.height - top)
    return image.resize((width, height), Image.Resampling.BICUBIC, box)


def _what(image: Any, deep: bool) -> str:
    if deep or image.mode.startswith("I"):
        return f"pixels of more than eight bits (the mode {image.mode})"
    return "transparent pixels" if "A" in image.mode else f"the mode {image.mode}"
