"""A model of your own with two layers of latents: the upper is drawn given x, the lower given x and the upper one.

vaekit train digits --parts two_layers.py:PARTS --set model.structure=two-layers \
    --set model.latents.z.prior=diagonal-normal --set model.latents.top.size=2
"""

from math import prod

from vaekit import VAE
from vaekit.models.trace import beside
from vaekit.spec.building import Builder


class TwoLayers(VAE):
    """p(x given z1, z2) p(z1 given z2) p(z2) with q(z1 given x, z2) q(z2 given x), each KL in closed form given z2."""

    def infer(self, batch, draw):
        lower, upper = self.posteriors
        features = self.encoder(self.inputs(batch.x, batch.observed))
        q2 = self.posteriors[upper](features)
        z2 = draw(upper, q2)
        q1 = self.posteriors[lower](beside(features, z2))
        return {lower: (q1, draw(lower, q1)), upper: (q2, z2)}

    def generate(self, y, draw):
        lower, upper = self.priors
        p2 = self.priors[upper]()
        z2 = draw(upper, p2)
        p1 = self.priors[lower](z2)
        return {lower: (p1, draw(lower, p1)), upper: (p2, z2)}

    def given(self, name):
        lower, upper = self.priors
        return (f"x, {upper}", upper) if name == lower else ("x", "")


def two_layers(builder: Builder) -> VAE:
    """Two latents, the lower one drawn given the upper one, both by the encoder and to the decoder."""
    if len(builder.spec.latents) != 2:
        raise ValueError(
            f"two-layers needs two latents, not {list(builder.spec.latents)}; give model.latents.NAME.size"
        )
    lower, upper = builder.spec.latents
    above, likelihood, encoder = builder.spec.latents[upper].size, builder.likelihood(), builder.encoder()
    features = prod(encoder.out_shape)
    posteriors = {lower: builder.posterior(lower, features + above), upper: builder.posterior(upper, features)}
    priors = {lower: builder.prior(lower, condition=above), upper: builder.prior(upper)}
    return TwoLayers(encoder, posteriors, priors, builder.decoder(likelihood), likelihood)


PARTS = {"structures": {"two-layers": two_layers}}
