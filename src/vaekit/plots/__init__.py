"""Pictures of a training and of what a model learned: arrays in, matplotlib figures out.

Every function returns a `Figure` of its own and leaves matplotlib's global state alone; `theme` makes it one for light
or for dark pages. Names are shown as they are, never read as mathematics.
"""

from __future__ import annotations

from .history import curves
from .images import image_grid, pairs_grid
from .latents import embed, kl_bars, latent_map
from .style import DARK, LIGHT, Theme, save
from .tables import agreement, marginals

__all__ = [
    "DARK",
    "LIGHT",
    "Theme",
    "agreement",
    "curves",
    "embed",
    "image_grid",
    "kl_bars",
    "latent_map",
    "marginals",
    "pairs_grid",
    "save",
]
