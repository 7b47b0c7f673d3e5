"""What all pages share: the frame that they are filled into, and pictures as data."""

from __future__ import annotations

import io
from base64 import b64encode
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from ...version import __version__
from ..pictures import Prepared
from ..plots import DARK, LIGHT, Theme, save

CSS_INCH = 100
"""CSS pixels for an inch of a picture: half its own, so that it is sharp on dense screens."""

LABEL_SCORES = {
    "error": ("Classification error", "Data whose likeliest class is not their own."),
    "nmi": ("Mutual information", "Of clusters with classes, over the average of their entropies. Higher is better."),
    "ari": ("Rand index", "Agreement of clusters with classes, adjusted for chance. Higher is better."),
    "accuracy": ("Accuracy", "Data whose cluster is matched with their class, by the best one-to-one matching."),
}
"""What the scores of labels are called, and what they say."""


@dataclass(frozen=True)
class Drawn:
    """A picture as a page shows it: both variants as PNG, and its size in CSS pixels."""

    prepared: Prepared
    light: bytes
    dark: bytes
    width: int
    height: int

    @property
    def light_uri(self) -> str:
        """The variant for light pages as a data URI."""
        return _uri(self.light)

    @property
    def dark_uri(self) -> str:
        """The variant for dark pages as a data URI."""
        return _uri(self.dark)


def drawn(prepared: Prepared) -> Drawn:
    """A picture drawn for light and for dark pages."""
    light, (width, height) = _png(prepared, LIGHT)
    dark, _ = _png(prepared, DARK)
    return Drawn(prepared, light, dark, round(width * CSS_INCH), round(height * CSS_INCH))


def render(template: str, **values: Any) -> str:
    """A page from the template of that name; all text is escaped."""
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(lambda name: files(__package__).joinpath(name).read_text(encoding="utf-8")),
    )
    return environment.get_template(template).render(
        themes={"light": LIGHT, "dark": DARK}, version=__version__, **values
    )


def _png(prepared: Prepared, theme: Theme) -> tuple[bytes, Any]:
    figure, file = prepared.draw(theme=theme), io.BytesIO()
    save(figure, file)
    return file.getvalue(), figure.get_size_inches()


def _uri(png: bytes) -> str:
    return "data:image/png;base64," + b64encode(png).decode("ascii")
