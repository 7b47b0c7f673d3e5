"""The model structures: VAE, those whose latents are drawn one from another or led along a gradient, and the one whose
labels are only partly seen.
"""

from __future__ import annotations

from .hamiltonian import Dynamics, HamiltonianVAE
from .hierarchical import Given, HierarchicalVAE
from .ladder import LadderVAE
from .semisupervised import Auxiliary, SemiSupervisedVAE
from .topdown import TopDownVAE
from .vae import VAE

__all__ = [
    "VAE",
    "Auxiliary",
    "Dynamics",
    "Given",
    "HamiltonianVAE",
    "HierarchicalVAE",
    "LadderVAE",
    "SemiSupervisedVAE",
    "TopDownVAE",
]
