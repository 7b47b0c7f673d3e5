"""The variational autoencoder whose latents are drawn one from another."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.distributions import Distribution

from ..data.batch import Batch
from ..networks.base import flat, shaped
from .sampling import Draw, Drawn
from .vae import VAE


class Given(nn.Module):
    """A distribution given another latent: a `network` of its z, and of y, to features, and a `head`, a posterior or a
    prior, which is given these.
    """

    def __init__(self, network: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.network, self.head = network, head
        self.groups: int | None = getattr(head, "groups", None)
        self.tokens: tuple[int, int] | None = getattr(head, "tokens", None)
        self.depth: int | None = getattr(head, "depth", None)
        self.space: str | None = getattr(head, "space", None)
        self.latent_shape: tuple[int, ...] | None = getattr(head, "latent_shape", None)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Distribution:
        z = shaped(self.network, z)
        distribution: Distribution = self.head(flat(self.network, self.network(z) if y is None else self.network(z, y)))
        return distribution


class HierarchicalVAE(VAE):
    """p(x given z1) p(z1 given z2) … p(zL) with q(z1 given x) q(z2 given z1) …, any number of latents, each drawn from
    the one before it (Rezende et al. 2014; Burda et al. 2016, section 2.2).

    encoder      as of `VAE`, of x
    posteriors   the first as of `VAE`, of the encoder's features; the others (z, y) of the one before to q: a `Given`
    priors       the last as of `VAE`, of y; the others (z, y) of the one after to p: a `Given`
    decoder      of the first latent alone

    Only the KL of the last latent has a closed form, given a draw of what is before it: the prior of each other depends
    on a latent that is drawn from it, so that its KL is estimated from the draws.

    A code is of all latents side by side, the first of which is all that the decoder sees: `encode` gives means (of the
    second latent given the mean of the first, and so on) or draws, `reconstruct` is by the first. `decode` also takes
    the last latent alone: of those below it takes the mean of what p gives, or with `draw` a draw. So a walk through
    the last latent shows what it stands for. `sample` draws all of them. Clusters are those of the last latent. A
    latent of classes is drawn in scores, not summed out. The gradient of `STL` has the right mean, but where posteriors
    are true it is zero for the last alone: what the density of the second owes to a draw of the first is stopped too.

    >>> import torch
    >>> from vaekit import Domain, likelihoods, networks, posteriors, priors
    >>> p = likelihoods.Bernoulli((6,), Domain("binary"))
    >>> vae = HierarchicalVAE(
    ...     encoder=networks.MLP((6,), hidden=(8,)),
    ...     posteriors={
    ...         "z1": posteriors.DiagonalNormal(8, latent=4),
    ...         "z2": Given(networks.MLP((4,), hidden=(8,)), posteriors.DiagonalNormal(8, latent=2)),
    ...     },
    ...     priors={
    ...         "z1": Given(networks.MLP((2,), hidden=(8,)), priors.DiagonalNormal(latent=4, condition=8)),
    ...         "z2": priors.StandardNormal(latent=2),
    ...     },
    ...     decoder=networks.MLP((4,), p.parameter_shape, hidden=(8,)),
    ...     likelihood=p,
    ... )
    >>> vae.encode(torch.zeros(5, 6)).shape, vae.decode(torch.zeros(5, 2)).shape
    (torch.Size([5, 6]), torch.Size([5, 6]))
    """

    def infer(self, batch: Batch, draw: Draw) -> Drawn:
        names, y = list(self.posteriors), self.network_condition(batch.y)
        q: Distribution = self.posteriors[names[0]](self.features(batch))
        found = {names[0]: (q, draw(names[0], q))}
        for before, name in pairwise(names):
            q = self._given_latent(self.posteriors[name], found[before][1], y)
            found[name] = q, draw(name, q)
        return found

    def generate(self, y: Tensor | None, draw: Draw) -> Drawn:
        names = list(self.priors)[::-1]
        p = self.prior(names[0], y)
        found = {names[0]: (p, draw(names[0], p))}
        for above, name in pairwise(names):
            p = self._given_latent(self.priors[name], found[above][1], y)
            found[name] = p, draw(name, p)
        return found

    def exact(self, name: str) -> bool:
        return name in self.roots

    def given(self, name: str) -> tuple[str, str]:
        names = list(self.priors)
        at = names.index(name)
        return names[at - 1] if at else "x", (*names, "")[at + 1]

    def _given_latent(self, part: nn.Module, z: Tensor, y: Tensor | None) -> Distribution:
        if isinstance(part, Given):
            distribution: Distribution = part.head(self._of_network(part.network, shaped(part.network, z), y))
        else:
            y = self._seen(y)
            distribution = part(z) if y is None else part(z, y)
        return distribution

    @property
    def decoded(self) -> tuple[str, ...]:
        return (next(iter(self.priors)),)

    def likelihood_of(self, z: Tensor, y: Tensor | None) -> Distribution:
        return super().likelihood_of(z[..., : next(iter(self.sizes.values()))], y)
