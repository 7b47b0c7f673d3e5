"""The model structures: VAE, those whose latents are drawn one from another, and the one whose labels are only partly
seen.
"""

from __future__ import annotations

from .hierarchical import Given, HierarchicalVAE
from .ladder import LadderVAE
from .semisupervised import Auxiliary, SemiSupervisedVAE
from .topdown import TopDownVAE
from .vae import VAE

__all__ = ["VAE", "Auxiliary", "Given", "HierarchicalVAE", "LadderVAE", "SemiSupervisedVAE", "TopDownVAE"]
