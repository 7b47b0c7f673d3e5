"""The simplex: shares that add up to 1."""

from __future__ import annotations

SIMPLEX = "the simplex"
"""What posteriors and priors of shares state as their `space`."""


def check_size(latent: int) -> None:
    """`ValueError` unless there are two shares or more of so many numbers."""
    if latent < 2:
        raise ValueError(f"shares are of latents of size 2 or more, got {latent}")
