"""The model structures: VAE, and the one whose labels are only partly seen."""

from __future__ import annotations

from .semisupervised import Auxiliary, SemiSupervisedVAE
from .vae import VAE

__all__ = ["VAE", "Auxiliary", "SemiSupervisedVAE"]
