"""How good images of a model are, in numbers, and as a terminal and a report show them."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import number_of

DATA, RECONSTRUCTIONS, SAMPLES, MEANS = "data", "reconstructions", "samples", "means of samples"
TITLES = {"psnr": "PSNR, dB", "ssim": "SSIM", "lpips": "LPIPS", "fid": "FID", "kid": "KID"}
"""What metrics are called that have a name of their own in the field."""


@dataclass(frozen=True)
class Measured:
    """One number: the metric, the images that it is of, and its standard error, None where that is not known."""

    metric: str
    of: str
    """Which images: "reconstructions", "samples" (draws of x), "means of samples" (of p(x given z), z drawn), or a
    split, as many images of which are compared with the data: what perfect samples would have.
    """
    value: float
    stderr: float | None = None
    features: str = ""
    """Of a distance, the features that it is in."""


@dataclass(frozen=True)
class ImageQuality:
    """How good images of a run are beside `n` data of a split."""

    split: str
    n: int
    peak: float
    """The range of a pixel's values, which PSNR and SSIM are relative to: from end to end of the data's domain, else
    from the least to the greatest value of the data.
    """
    numbers: tuple[Measured, ...]
    caution: str = ""
    """A sentence where there are too few images for what was asked."""


def table_of(quality: ImageQuality) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The heads of the columns, one for each kind of images, and a row for each metric, last what it is.

    >>> heads, rows = table_of(ImageQuality("test", 9, 16.0, (Measured("psnr", RECONSTRUCTIONS, 21.23, 0.14),)))
    >>> heads
    ('9 images of test', 'reconstructions', '')
    >>> rows
    [('PSNR, dB', '21.23 ± 0.14', 'values range over 16; higher is better')]
    """
    kinds = tuple(dict.fromkeys(each.of for each in quality.numbers))
    found = {(each.metric, each.of): each for each in quality.numbers}
    heads = [kind if kind in (RECONSTRUCTIONS, SAMPLES, MEANS) else f"{quality.n:,} of {kind}" for kind in kinds]
    rows = []
    for metric in dict.fromkeys(each.metric for each in quality.numbers):
        own = [found.get((metric, kind)) for kind in kinds]
        what = next(_what(quality, each) for each in own if each is not None)
        rows.append((TITLES.get(metric, metric), *("" if each is None else _number(each) for each in own), what))
    return (f"{number_of(quality.n, 'image')} of {quality.split}", *heads, ""), rows


def _what(quality: ImageQuality, each: Measured) -> str:
    if each.features:
        return f"in {each.features}; lower is better"
    if each.metric == "lpips":
        return "lower is better"
    return f"values range over {quality.peak:g}; higher is better"


def _number(each: Measured) -> str:
    """With the digits that its size or error asks for."""
    error = each.stderr
    digits = 2 if each.metric == "psnr" or abs(each.value) >= 10 else 4
    return f"{each.value:.{digits}f}" + (f" ± {error:.{digits}f}" if error is not None and error == error else "")
