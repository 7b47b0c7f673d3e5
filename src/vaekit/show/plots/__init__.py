"""Pictures of a training and of what a model learned: arrays in, matplotlib figures out.

Every function returns a `Figure` of its own and leaves matplotlib's global state alone; `theme` makes it one for light
or for dark pages. Names are shown as they are, never read as mathematics.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .bounds import rate_distortion, weight_shares
    from .boxes import Block, Code, Layer, structure
    from .coloured import Colouring, coloured_maps
    from .columns import Agreement, Marginal, column_agreements, column_marginals
    from .history import compared_curves, curves
    from .images import image_grid, image_grids, many_of_one, pairs_grid
    from .latents import CLASSES, embed, kl_bars, kl_groups, latent_map
    from .matrices import correlations, dependences
    from .missing import holes
    from .scales import Scale, said
    from .style import DARK, LIGHT, Theme, add_title, save
    from .tables import COLUMNS, agreement, marginals
    from .topics import topic_words

_HOME = {
    "history": ("compared_curves", "curves"),
    "images": ("image_grid", "image_grids", "many_of_one", "pairs_grid"),
    "latents": ("CLASSES", "embed", "kl_bars", "kl_groups", "latent_map"),
    "matrices": ("correlations", "dependences"),
    "coloured": ("Colouring", "coloured_maps"),
    "columns": ("Agreement", "Marginal", "column_agreements", "column_marginals"),
    "missing": ("holes",),
    "scales": ("Scale", "said"),
    "bounds": ("rate_distortion", "weight_shares"),
    "boxes": ("Block", "Code", "Layer", "structure"),
    "style": ("DARK", "LIGHT", "Theme", "add_title", "save"),
    "tables": ("COLUMNS", "agreement", "marginals"),
    "topics": ("topic_words",),
}

__all__ = [
    "CLASSES",
    "COLUMNS",
    "DARK",
    "LIGHT",
    "Agreement",
    "Block",
    "Code",
    "Colouring",
    "Layer",
    "Marginal",
    "Scale",
    "Theme",
    "add_title",
    "agreement",
    "coloured_maps",
    "column_agreements",
    "column_marginals",
    "compared_curves",
    "correlations",
    "curves",
    "dependences",
    "embed",
    "holes",
    "image_grid",
    "image_grids",
    "kl_bars",
    "kl_groups",
    "latent_map",
    "many_of_one",
    "marginals",
    "pairs_grid",
    "rate_distortion",
    "said",
    "save",
    "structure",
    "topic_words",
    "weight_shares",
]


def __getattr__(name: str) -> Any:
    # When first used, so that only what draws waits for matplotlib.
    for module, names in _HOME.items():
        if name in names:
            return getattr(import_module(f".{module}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
