"""Structures: how the named parts of a spec are put together into a model.

A structure is a function of a `Builder`, and of options of its own with defaults, that returns a `VAE`. It asks the
builder for parts; a key of the spec that it does not ask for, but that is set, is refused. `STRUCTURES` is the table of
their names.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from torch import nn

from ..data.domains import Domain
from ..models import (
    VAE,
    Auxiliary,
    Dynamics,
    Given,
    HamiltonianVAE,
    HierarchicalVAE,
    LadderVAE,
    SemiSupervisedVAE,
    TopDownVAE,
)
from ..networks import TopDown
from ..networks.base import Chain
from ..settings import setting, unset
from .keys import PartSpec

if TYPE_CHECKING:
    from .building import Builder


MLP = PartSpec(name="mlp")
"""The network between two latents where none is named."""


def vae(builder: Builder) -> VAE:
    """A VAE whose latents are drawn apart (Kingma & Welling 2014)."""
    return VAE(**builder.usual(), **builder.units)


def semi_supervised(builder: Builder) -> VAE:
    """A VAE of data and their labels, by `model.classifier` where these are not seen (Kingma et al. 2014, M2); with an
    auxiliary latent by `model.auxiliary` (Maaløe et al. 2016).
    """
    spec = builder.spec
    if spec.classifier is None:
        raise ValueError(f"structure 'semi-supervised' needs a classifier; give {setting('model.classifier', 'mlp')}")
    for name, latent in spec.latents.items() if spec.auxiliary else ():
        if takes(builder, latent.prior.name, "encoder"):
            needs = f"{latent.prior.name!r} needs an encoder of x and y alone, which an auxiliary latent changes"
            raise ValueError(f"model.latents.{name}.prior: {needs}; choose another, or {unset('model.auxiliary')}")
    a = spec.auxiliary.size if spec.auxiliary else 0
    usual = builder.usual(encoder=a, decoder=a if spec.auxiliary and spec.auxiliary.skip else 0)
    classes = usual.pop("condition")
    classifier = builder.network(spec.classifier, a, out_shape=(classes,))
    return SemiSupervisedVAE(**usual, classes=classes, classifier=classifier, auxiliary=_auxiliary(builder))


def _auxiliary(builder: Builder) -> Auxiliary | None:
    a = builder.spec.auxiliary
    if a is None:
        return None
    size, y = builder.latent_size, builder.condition
    below = builder.network(a.encoder)
    # With the skip p(a) is one of y and z alone: x comes from a.
    above = builder.network(a.generator, y, in_shape=(size,)) if a.skip else builder.network(a.generator, y + size)
    posterior, prior = (
        builder.part("posteriors", each, features=math.prod(net.out_shape), latent=a.size)
        for each, net in ((a.posterior, below), (a.prior, above))
    )
    return Auxiliary(below, posterior, above, prior, a.skip)


def hierarchical(builder: Builder) -> VAE:
    """A VAE whose latents are drawn one from another, in their order from the data up (Burda et al. 2016).

    Each latent but the first has an `encoder`, a network of the latent before it, and a `generator` back to that one,
    whose prior is given what the generator makes: p(z1 given z2).
    """
    return HierarchicalVAE(*_layers(builder, of_features=False), **builder.units)


def ladder(builder: Builder) -> VAE:
    """A VAE whose latents are drawn one from another, also in q, where each is what data say of it and what the latent
    above says, multiplied (Sønderby et al. 2016).

    As 'hierarchical', but that the `encoder` of a latent is a network of the features before it.
    """
    return LadderVAE(*_layers(builder, of_features=True), **builder.units)


def _layers(builder: Builder, *, of_features: bool) -> tuple[Any, ...]:
    """The parts of latents one above another, each inferred from the features before it, or from the latent."""
    latents, names = builder.spec.latents, list(builder.spec.latents)
    for name in names[:-1]:
        _check_given(builder, name)
    likelihood, encoder = builder.likelihood(), builder.encoder()
    posteriors: dict[str, nn.Module] = {}
    priors: dict[str, nn.Module] = {}
    posteriors[names[0]], features = builder.posterior(names[0], encoder.out_shape), encoder.out_shape
    inferring: dict[str, Any] = {"encoder": encoder}
    for before, name in pairwise(names):
        inputs = {"in_shape": features if of_features else builder.shapes[before]}
        network = builder.network(latents[name].encoder or MLP, builder.seen_by_encoder, **inputs)
        features = network.out_shape
        posteriors[name] = Given(network, builder.posterior(name, network.out_shape))
        inferring = (
            {"encoder": Chain(inferring["encoder"], network)}
            if of_features
            else {"encoder": network, "event_shape": builder.shapes[before], "domain": Domain("real")}
        )
    for name, above in pairwise(names):
        generator = builder.network(latents[above].generator or MLP, builder.seen, in_shape=builder.shapes[above])
        prior = builder.prior(name, condition=math.prod(generator.out_shape))
        priors[name] = Given(generator, prior)
    priors[names[-1]] = builder.prior(names[-1], **inferring)
    decoder = builder.decoder(likelihood, names[:1])
    return encoder, posteriors, priors, decoder, likelihood, builder.condition


def top_down(builder: Builder, groups: tuple[int, ...] = (), bottleneck: float = 0.5) -> VAE:
    """A very deep VAE: groups of latents at several resolutions, each drawn given all before it, the coarsest first
    (Child 2021).

    The one latent that is named stands for all groups, which are maps of as many channels as its size, or at a
    resolution of one place as many numbers. The encoder is a pyramid; `groups` says how many there are at each of its
    levels, from the coarsest on, 2 each where nothing is said, 1 at the finest. The decoder, given maps of the width of
    the finest level, ends the way down. `bottleneck` is the channels within a block, as a part of the level's.
    """
    spec, encoder = builder.spec, builder.encoder()
    if len(spec.latents) != 1 or not hasattr(encoder, "pyramid"):
        given = f"latents {', '.join(spec.latents)} and encoder {spec.encoder.name!r}"
        do = f"name one latent, and an encoder with several resolutions: {setting('model.encoder', 'pyramid')}"
        raise ValueError(f"structure 'top-down' was given {given}; {do}")
    (name, latent), likelihood = next(iter(spec.latents.items())), builder.likelihood()
    _check_given(builder, name)
    shapes = {"in_shape": encoder.shapes[0], "out_shape": likelihood.parameter_shape}
    ending = builder.part("decoders", spec.decoder, **shapes, condition=0)
    groups = groups or (2,) * (len(encoder.shapes) - 1) + (1,)
    down = TopDown(encoder.shapes, groups, latent.size, ending, bottleneck, builder.seen)
    posteriors, priors = {}, {}
    for i, (rung, shape) in enumerate(zip(down.rungs, down.latent_shapes, strict=True), start=1):
        made: tuple[int, ...] = rung.out_shape  # type: ignore[assignment]
        posteriors[f"{name}{i}"] = builder.posterior(name, made, shape)
        priors[f"{name}{i}"] = builder.prior(name, condition=math.prod(made), feature_shape=made)
    return TopDownVAE(encoder, posteriors, priors, down, likelihood, builder.condition, **builder.units)


def hamiltonian(
    builder: Builder, steps: int = 4, step_size: float = 0.05, temperature: float = 2.0, learned: bool = True
) -> VAE:
    """A VAE whose draws are led by leapfrog steps along the gradient of log p(x, z) (Caterini et al. 2018).

    With `learned`, sizes of steps and a `temperature` above 1 begin as they are given, and are learned; at 1 there is
    no tempering, without which draws gain next to nothing.
    """
    usual = builder.usual()
    dynamics = Dynamics(builder.latent_size, steps, step_size, temperature, learned)
    return HamiltonianVAE(**usual, **builder.units, dynamics=dynamics)


def _check_given(builder: Builder, name: str) -> None:
    prior = builder.spec.latents[name].prior.name
    if not takes(builder, prior, "condition") or takes(builder, prior, "encoder"):
        given = [each for each in builder.parts.priors if takes(builder, each, "condition")]
        fits = ", ".join(each for each in given if not takes(builder, each, "encoder"))
        raise ValueError(f"model.latents.{name}.prior is {prior!r}, which is not given the latent above; choose {fits}")


def takes(builder: Builder, prior: str, argument: str) -> bool:
    """Whether the prior of that name asks for `argument`."""
    return argument in inspect.signature(builder.parts.priors[prior]).parameters


STRUCTURES: dict[str, Callable[..., VAE]] = {
    "vae": vae,
    "semi-supervised": semi_supervised,
    "hierarchical": hierarchical,
    "ladder": ladder,
    "top-down": top_down,
    "hamiltonian": hamiltonian,
}
