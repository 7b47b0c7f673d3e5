"""The structure of a model: its parts as boxes, from the data by way of the latents back to the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from .style import LIGHT, WIDTH, Drawing, Theme, short

LAYERS = 14
"""Layers, at most, that a box shows; of more, the first and the last."""
TITLE, LINE, PAD = 0.3, 0.17, 0.1
PILL, GAP, EDGE, BUS = 0.27, 0.3, 0.06, 0.2
"""Inches, as are all lengths here."""


@dataclass(frozen=True)
class Layer:
    """One line of a box: what it is, the shape of what it gives, and its number of parameters."""

    name: str
    shape: str = ""
    parameters: int = 0


@dataclass(frozen=True)
class Block:
    """A part of a model: what it is there for, its name, and its layers."""

    role: str
    name: str
    layers: tuple[Layer, ...] = ()

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    @property
    def lines(self) -> tuple[Layer, ...]:
        if len(self.layers) <= LAYERS:
            return self.layers
        half = LAYERS // 2
        hidden = self.layers[half : 1 - half]
        rest = Layer(f"… {len(hidden)} more", "", sum(layer.parameters for layer in hidden))
        return (*self.layers[:half], rest, *self.layers[1 - half :])

    @property
    def height(self) -> float:
        return TITLE + LINE * len(self.lines) + (PAD if self.layers else 0.02)


@dataclass(frozen=True)
class Code:
    """A latent: its text, its posterior and its prior; whether the encoder leads to it, and it to the decoder."""

    text: str
    posterior: Block
    prior: Block
    encoded: bool = True
    decoded: bool = True

    @property
    def height(self) -> float:
        return max(self.posterior.height, self.prior.height, PILL)


def structure(
    encoder: Block,
    codes: Sequence[Code],
    decoder: Block,
    likelihood: Block,
    data: str = "x",
    condition: str = "",
    *,
    encoder_sees: bool = True,
    theme: Theme = LIGHT,
) -> Figure:
    """A model as boxes: down the left encoder and posteriors, across the latents, up the right decoder and likelihood.

    `data` and `condition` are the texts of x and of y, which the encoder may not see. Latents that are not encoded or
    not decoded come last. Raises `ValueError` where there is no latent.

    >>> part = Block("Encoder", "mlp", (Layer("Linear", "20", 1300),))
    >>> drawn = structure(part, [Code("z, 20", part, part)], part, part)
    >>> [text.get_text() for text in drawn.axes[0].texts][:2]
    ['Encoder · mlp', '1,300']
    """
    if not codes:
        raise ValueError("there is no latent to draw")
    above = GAP + PILL + EDGE  # what stands over a column of boxes: an arrow and the data
    top = max(encoder.height, decoder.height + GAP + likelihood.height) + above
    height = EDGE + LINE + sum(code.height + GAP for code in codes) + top
    figure = Drawing(figsize=(WIDTH, height), facecolor=theme.background)
    sketch = _Sketch(figure, height, theme, bus=BUS if len(codes) > 1 else 0.0)
    base = height - top  # the bottom of encoder and decoder
    sketch.box(encoder, "left", base)
    sketch.box(decoder, "right", base)
    over = base + decoder.height + GAP
    sketch.box(likelihood, "right", over)
    sketch.pill(data, "left", base + encoder.height + GAP)
    sketch.pill("x", "right", over + likelihood.height + GAP)
    sketch.arrow("left", base + encoder.height + GAP, base + encoder.height)
    sketch.arrow("right", base + decoder.height, over)
    sketch.arrow("right", over + likelihood.height, over + likelihood.height + GAP)
    shared = min(encoder.height, decoder.height)
    entry, bottom = base + 0.28 * shared, base
    if condition:
        sketch.condition(condition, base + 0.72 * shared, encoder_sees)
    middles = []
    for code in codes:
        bottom -= GAP + code.height
        middles.append(bottom + code.height / 2)
        sketch.box(code.posterior, "left", middles[-1] - code.posterior.height / 2)
        sketch.box(code.prior, "right", middles[-1] - code.prior.height / 2)
        sketch.latent(code.text, middles[-1])
    encoded = [middle for middle, code in zip(middles, codes, strict=True) if code.encoded]
    sketch.encoded(base, base + encoder.height / 2, encoded, codes[0].posterior.height)
    sketch.decoded(min(middle for middle, code in zip(middles, codes, strict=True) if code.decoded), entry)
    sketch.note("Each layer with the shape of what it gives and its number of parameters.")
    return figure


class _Sketch:
    """Boxes and wires on axes whose unit is an inch: a column of boxes at each side, wires and latents between."""

    def __init__(self, figure: Figure, height: float, theme: Theme, bus: float) -> None:
        self.axes: Axes = figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, WIDTH), ylim=(0, height))
        self.axes.set_axis_off()
        self.theme = theme
        self.width = 0.425 * WIDTH - bus / 2
        self.left = {"left": EDGE + bus, "right": WIDTH - EDGE - self.width}
        self.gutter = (self.left["left"] + self.width + self.left["right"]) / 2

    def box(self, block: Block, side: str, bottom: float) -> None:
        left, right = self.left[side], self.left[side] + self.width
        self._rounded(left, bottom, self.width, block.height, 0.06, self.theme.muted)
        y = bottom + block.height - TITLE / 2 - 0.01
        self._text(left + 0.12, y, f"{block.role} · {block.name}", 9, bold=True)
        self._text(right - 0.12, y, f"{block.parameters:,}" if block.parameters else "", 9, "right", bold=True)
        for i, layer in enumerate(block.lines):
            y = bottom + block.height - TITLE - LINE * (i + 0.5) + 0.02
            self._text(left + 0.12, y, layer.name, 8, muted=True)
            self._text(left + 0.77 * self.width, y, layer.shape, 8, "right", muted=True)
            self._text(right - 0.12, y, f"{layer.parameters:,}" if layer.parameters else "", 8, "right", muted=True)

    def pill(self, text: str, side: str, bottom: float) -> None:
        center = self.left[side] + self.width / 2
        wide = min(self.width, 0.3 + 0.085 * len(text))
        self._rounded(center - wide / 2, bottom, wide, PILL, PILL / 2, self.theme.colours[0])
        self._text(center, bottom + PILL / 2, text, 9, "center")

    def latent(self, text: str, middle: float) -> None:
        text = short(text)
        half = min(0.15 + 0.04 * len(text), (self.left["right"] - self.gutter) - 0.12)
        self._rounded(self.gutter - half, middle - PILL / 2, 2 * half, PILL, PILL / 2, self.theme.colours[1])
        self._text(self.gutter, middle, text, 9, "center")
        self._arrow((self.left["left"] + self.width, middle), (self.gutter - half, middle))
        self._arrow((self.left["right"], middle), (self.gutter + half, middle))

    def condition(self, text: str, middle: float, encoder_sees: bool) -> None:
        half = min(0.15 + 0.04 * len(text), (self.left["right"] - self.gutter) - 0.16)
        self._rounded(self.gutter - half, middle - PILL / 2, 2 * half, PILL, PILL / 2, self.theme.colours[2])
        self._text(self.gutter, middle, text, 9, "center")
        if encoder_sees:
            self._arrow((self.gutter - half, middle), (self.left["left"] + self.width, middle))
        self._arrow((self.gutter + half, middle), (self.left["right"], middle))

    def arrow(self, side: str, start: float, end: float) -> None:
        center = self.left[side] + self.width / 2
        self._arrow((center, start), (center, end))

    def encoded(self, bottom: float, middle: float, middles: Sequence[float], first: float) -> None:
        """From the encoder to the one posterior beneath it, or at its left down to each of several."""
        if len(middles) == 1:
            self.arrow("left", bottom, middles[0] + first / 2)
            return
        left = self.left["left"]
        self._line([left, EDGE, EDGE], [middle, middle, middles[-1]])
        for each in middles:
            self._arrow((EDGE, each), (left, each))

    def decoded(self, lowest: float, entry: float) -> None:
        """From the lowest latent up through all others, which joins them, and into the decoder."""
        self._line([self.gutter, self.gutter], [lowest, entry])
        self._arrow((self.gutter, entry), (self.left["right"], entry))

    def note(self, text: str) -> None:
        self._text(self.left["left"], EDGE + LINE / 2 - 0.02, text, 8, muted=True)

    def _rounded(self, left: float, bottom: float, width: float, height: float, radius: float, edge: str) -> None:
        style = f"round,pad=0,rounding_size={radius}"
        size = {"boxstyle": style, "fc": self.theme.background, "ec": edge, "lw": 1.1, "zorder": 2}
        self.axes.add_patch(FancyBboxPatch((left, bottom), width, height, **size))  # type: ignore[arg-type]

    def _arrow(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        look = {"arrowstyle": "-|>", "mutation_scale": 9, "color": self.theme.muted, "lw": 1.1, "zorder": 1}
        self.axes.add_patch(FancyArrowPatch(start, end, shrinkA=0, shrinkB=0, **look))  # type: ignore[arg-type]

    def _line(self, x: Sequence[float], y: Sequence[float]) -> None:
        self.axes.plot(x, y, color=self.theme.muted, lw=1.1, zorder=1)

    def _text(
        self, x: float, y: float, text: str, size: float, align: str = "left", muted: bool = False, bold: bool = False
    ) -> None:
        if text:
            colour, weight = self.theme.muted if muted else self.theme.text, "bold" if bold else "normal"
            look = {"ha": align, "va": "center", "size": size, "color": colour, "weight": weight, "zorder": 3}
            self.axes.text(x, y, text, parse_math=False, **look)  # type: ignore[arg-type]
