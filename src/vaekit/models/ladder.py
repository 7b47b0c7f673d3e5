"""The ladder VAE: what data say of each latent meets on the way down what the latents above it say."""

from __future__ import annotations

from torch.distributions import Distribution, Independent, Normal

from ..data.batch import Batch
from ..distributions.shapes import independent
from ..networks.base import shaped
from .hierarchical import HierarchicalVAE
from .sampling import Draw, Drawn


class LadderVAE(HierarchicalVAE):
    """p as of `HierarchicalVAE`, and q(zL given x) … q(z1 given z2, x), drawn from the last latent down (Sønderby et
    al. 2016, eq. 11 to 19).

    encoder      as of `VAE`, of x
    posteriors   the first of the encoder's features; the others of the features before, (features, y) to a diagonal
                 normal: a `Given`. They are what data alone say of a latent
    priors, decoder   as of `HierarchicalVAE`; all but the last prior diagonal normals

    q of all but the last latent is the product of what data say and of p given the latent above: the mean is weighed by
    the precisions, which add up. The KL of each latent is in closed form, given a draw of the one above it.
    """

    def infer(self, batch: Batch, draw: Draw) -> Drawn:
        names, y, features = list(self.posteriors), self.network_condition(batch.y), self.features(batch)
        said: dict[str, Distribution] = {}
        for i, name in enumerate(names):
            part = self.posteriors[name]
            if i:
                features = self._of_network(part.network, shaped(part.network, features), y)  # type: ignore[arg-type]
            said[name] = (part.head if i else part)(features)  # type: ignore[operator]
        found: Drawn = {}
        for above, name in zip((None, *names[:0:-1]), names[::-1], strict=True):
            q = said[name]
            if above is not None:
                q = product(q, self._given_latent(self.priors[name], found[above][1], y))
            found[name] = q, draw(name, q)
        return found

    def exact(self, name: str) -> bool:
        return True

    def given(self, name: str) -> tuple[str, str]:
        above = super().given(name)[1]
        return f"x, {above}" if above else "x", above


def product(q: Distribution, p: Distribution) -> Independent:
    """The normal whose density is that of two diagonal normals multiplied: precisions add up, and weigh the means.

    >>> import torch
    >>> one, two = (independent(Normal(torch.tensor([mean]), torch.tensor([1.0]))) for mean in (0.0, 4.0))
    >>> product(one, two).mean, product(one, two).variance
    (tensor([2.]), tensor([0.5000]))
    """
    for each in (q, p):
        if not (isinstance(each, Independent) and isinstance(each.base_dist, Normal)):
            raise ValueError(
                f"a ladder multiplies diagonal normals, got {type(each).__name__}; accepted: diagonal-normal"
            )
    first, second = q.base_dist, p.base_dist  # type: ignore[attr-defined]
    precisions = first.scale.square().reciprocal(), second.scale.square().reciprocal()
    variance = (precisions[0] + precisions[1]).reciprocal()
    loc = variance * (first.loc * precisions[0] + second.loc * precisions[1])
    return independent(Normal(loc, variance.sqrt(), validate_args=False))
