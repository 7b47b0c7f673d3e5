"""Whether closed forms of KLs hold where latents are drawn one from another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.distributions import Distribution

from ..data.batch import Batch

if TYPE_CHECKING:
    from .sampling import Draw
    from .vae import VAE


def check_exact(model: VAE, batch: Batch, zeros: Draw) -> None:
    """`ValueError` where a closed form is to be taken of a KL whose p is given what is drawn from the latent itself:
    over draws that has another mean than the KL.

    `zeros` gives z (1, D) of a latent by its name and distribution.
    """
    z: dict[str, Tensor] = {}
    order: list[str] = []

    def known(name: str, distribution: Distribution) -> Tensor:
        order.append(name)
        return z.setdefault(name, zeros(name, distribution).requires_grad_())

    def given(name: str, distribution: Distribution) -> set[str]:
        """The latents that the distribution of that one is given."""
        log_prob = distribution.log_prob(z[name].detach()).sum()
        if not log_prob.requires_grad:
            return set()
        slopes = torch.autograd.grad(log_prob, list(z.values()), retain_graph=True, allow_unused=True)
        return {other for other, slope in zip(z, slopes, strict=True) if slope is not None}

    with torch.enable_grad():
        q, first = model.infer(batch, known), len(order)
        p = model.generate(model.network_condition(batch.y), known)
        for name in filter(model.exact, order[:first]):
            later, sooner = order[order.index(name) + 1 : first], order[first : order.index(name, first)]
            if not set(later) & set(sooner):
                continue
            from_it = {name}
            for other in later:
                from_it |= {other} if given(other, q[other][0]) & from_it else set()
            if both := (from_it - {name}) & given(name, p[name][0]):
                what = f"latent {name!r}: its p is given {min(both)!r}, which q draws from it, so that no closed form"
                raise ValueError(f"{what} of its KL holds; accepted: a structure whose exact({name!r}) is False")
