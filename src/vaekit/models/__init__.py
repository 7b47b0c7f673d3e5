"""Model structures: the few classes that differ in their graph of latents."""

from __future__ import annotations

from .vae import VAE

__all__ = ["VAE"]
