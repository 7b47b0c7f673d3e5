"""The model structures: VAE, the one whose latents are drawn one from another, and the one whose labels are only partly
seen.
"""

from __future__ import annotations

from .hierarchical import Given, HierarchicalVAE
from .semisupervised import Auxiliary, SemiSupervisedVAE
from .vae import VAE

__all__ = ["VAE", "Auxiliary", "Given", "HierarchicalVAE", "SemiSupervisedVAE"]
