"""Very deep models: one walk down is the model that is sampled, decoded and scored."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from models_for_tests import data_of, one_hot, refuses
from torch import nn

from vaekit import priors
from vaekit.data import Batch
from vaekit.data.domains import Domain
from vaekit.likelihoods import Bernoulli
from vaekit.models import TopDownVAE
from vaekit.models.sampling import draws
from vaekit.networks.convolutional import Conv
from vaekit.networks.pyramid import PyramidEncoder, TopDown
from vaekit.objectives.base import log_mean_exp
from vaekit.objectives.weighted import DReG
from vaekit.posteriors import DiagonalNormal
from vaekit.priors.normal import StandardNormal
from vaekit.seeding import seeded
from vaekit.spec.building import build_model
from vaekit.spec.keys import Schema
from vaekit.spec.parsing import parse

DEEP = {
    "structure": {"name": "top-down", "groups": [2, 1]},
    "encoder": {"name": "pyramid", "channels": [4, 6], "blocks": [1, 1]},
    "decoder": {"name": "resnet", "channels": [4], "blocks": 0},
    "likelihood": "bernoulli",
    "latents": {"z": {"size": 2, "maps": True, "prior": "diagonal-normal"}},
}


pytestmark = pytest.mark.usefixtures("_float64")


def deep(condition: int = 0, **changes: object) -> TopDownVAE:
    spec = parse({"model": {**DEEP, "condition": bool(condition), **changes}})
    schema = Schema(event_shape=(1, 6, 5), domain=Domain("binary"), condition=condition)
    model = build_model(spec.model, schema, seed=1)
    assert isinstance(model, TopDownVAE)
    with seeded(2), torch.no_grad():
        for parameter in model.parameters():  # away from what is zero at first
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model.eval()


def batch_of(n: int, condition: int = 0) -> Batch:
    return Batch(data_of(Domain("binary"), (n, 1, 6, 5)), one_hot(n, condition) if condition else None)


@pytest.mark.parametrize("condition", [0, 3])
def test_one_walk_is_what_is_inferred_generated_and_decoded(condition: int):
    model, batch = deep(condition), batch_of(4, condition)
    with torch.no_grad():
        trace = model.trace(batch, 3)
        z = {latent.name: latent.z for latent in trace.latents}
        inferred = model.infer(batch, lambda name, _: z[name])
        generated = model.generate(model.network_condition(batch.y), lambda name, _: z[name])
        px = model.likelihood_at(z, model.network_condition(batch.y))
    assert list(z) == list(model.sizes) == ["z1", "z2", "z3"]
    assert trace.last is model.decoder.end.out.weight  # type: ignore[union-attr]
    assert torch.allclose(px.log_prob(batch.x), trace.log_px)
    for latent in trace.latents:
        assert torch.allclose(inferred[latent.name][0].log_prob(latent.z), latent.log_q)
        assert torch.allclose(generated[latent.name][0].log_prob(latent.z), latent.log_p)
    ratios = [p.log_prob(z[name]) - inferred[name][0].log_prob(z[name]) for name, (p, _) in generated.items()]
    assert torch.allclose(trace.log_weight, trace.log_px + sum(ratios))


def test_a_kl_in_closed_form_is_that_of_draws_in_expectation_and_more_draws_bound_closer():
    model, batch = deep(), batch_of(3)
    with torch.no_grad(), seeded(0):
        trace = model.trace(batch, 4000)
        for latent in trace.latents:
            assert latent.closed_form
            exact = latent.kl if latent.kl.dim() == 2 else latent.kl[None].expand(4000, -1)
            other = latent.log_q - latent.log_p - exact
            assert (other.mean(0).abs() < 4.5 * other.std(0) / len(other) ** 0.5).all()
        weights = trace.log_weight
        bounds = [log_mean_exp(weights.view(k, -1, 3)).mean(0) for k in (1, 5, 100)]
    assert (bounds[0] < bounds[1]).all()
    assert (bounds[1] < bounds[2]).all()


def test_dreg_would_weigh_the_first_groups_twice():
    with refuses("DReG is for models whose latents are drawn apart, "):
        DReG(2)(deep().trace(batch_of(3), 2))


def test_gradients_reach_every_parameter():
    model = deep(2).train()
    trace = model.trace(batch_of(5, 2), 2)
    (-trace.log_px.mean() + sum(kl.mean() for kl in trace.kl.values())).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_the_first_groups_may_be_held_and_the_rest_drawn():
    model = deep()
    codes = model.encode(batch_of(4).x)
    sizes = list(model.sizes.values())
    assert codes.shape == (4, sum(sizes))
    top = codes[:, : sizes[0]]
    known = model.split(codes)
    rest = model.generate(None, lambda name, p: known[name] if name == "z1" else p.mean)
    full = torch.cat([rest[name][1].expand(4, -1) for name in model.sizes], -1)
    assert torch.allclose(model.decode(top), model.decode(full))
    assert not torch.allclose(model.decode(top), model.decode(codes[:, : sum(sizes[:2])]))
    assert torch.allclose(model.decode(codes), model.reconstruct(batch_of(4).x))
    assert torch.equal(model.decode(top, draw=True, seed=3), model.decode(top, draw=True, seed=3))
    with refuses("z has shape (4, 7); accepted: (…, 96)"):
        model.decode(torch.zeros(4, 7))


def test_clusters_are_those_of_the_first_group():
    latent = {"size": 2, "maps": True, "prior": "categorical", "posterior": "categorical"}
    model, batch = deep(latents={"z": latent}), batch_of(5)
    assert model.has_clusters
    q, _ = model.infer(batch, lambda _, q: q.mean)["z1"]
    assert torch.equal(model.clusters(batch.x), q.mean.argmax(-1))
    with refuses("no latent of 'z1' has clusters"):
        deep().clusters(batch.x)


def test_samples_are_of_as_many_data_as_are_asked_for():
    assert deep().sample(7, seed=0).shape == (7, 1, 6, 5)
    y = one_hot(6, 3)
    assert deep(3).sample(y=y, seed=0).shape == (6, 1, 6, 5)
    with torch.no_grad(), seeded(0):
        drawn = deep().generate(None, draws(500))
    assert drawn["z1"][1].shape == (500, 2 * 3 * 3)
    assert drawn["z3"][0].batch_shape == (500,)


def test_what_does_not_fit_is_refused_in_one_line():
    with refuses("an encoder with several resolutions"):
        deep(encoder="mlp")
    with refuses("model.latents.z.prior is 'standard-normal', which is not given the latent above"):
        deep(latents={"z": {"size": 2}})
    with refuses("groups of latents are [1]"):
        deep(structure={"name": "top-down", "groups": [1]})


def test_what_goes_wrong_on_the_way_down_is_named():
    class Odd(nn.Module):
        out_shape = (1, 6, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ torch.zeros(3, 4)

    model = deep()
    parts = model.posteriors, model.priors, model.decoder, model.likelihood
    model.decoder.end = Odd()
    with refuses("the decoder does not take what it is given, of shape (4, 6, 5): "):
        TopDownVAE(model.encoder, *parts)
    model.decoder.start = nn.Parameter(torch.zeros(7, 1, 1))
    with refuses("the decoder does not take what it is given, of shape (7, 1, 1): "):
        TopDownVAE(model.encoder, *parts)
    model = deep()
    model.decoder.shapes = []
    with refuses("the parts of TopDownVAE do not fit together: "):
        TopDownVAE(model.encoder, model.posteriors, model.priors, model.decoder, model.likelihood)


def put_together(shapes: list[tuple[int, ...]] | None = None, latent: int = 3, more: int = 0) -> TopDownVAE:
    """A model of parts that need not fit, which ends in a convolution that knows of one dimension of data."""
    p, encoder = Bernoulli((1, 4, 4), Domain("binary")), PyramidEncoder((1, 4, 4), channels=(8, 16))
    shapes = shapes or encoder.shapes
    down = TopDown(shapes, (1,) * len(shapes), 3, nn.Sequential(Conv(8, 1, 3, padding=1), nn.Unflatten(-3, (1, 1))))
    q, prior = {}, {}
    for i, (rung, maps) in enumerate(zip(down.rungs, down.latent_shapes, strict=True)):
        made, size = math.prod(rung.out_shape), latent * math.prod(maps[1:])  # type: ignore[arg-type]
        q[f"z{i}"], prior[f"z{i}"] = DiagonalNormal(made, size), priors.DiagonalNormal(size, condition=made)
    for i in range(more):
        q[f"w{i}"], prior[f"w{i}"] = DiagonalNormal(4, 2), StandardNormal(2)
    return TopDownVAE(encoder, q, prior, down, p)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"shapes": [(8, 4, 4), (12, 2, 2)]}, "has maps (12, 2, 2) where the encoder has (16, 2, 2); accepted: those"),
        ({"shapes": [(8, 4, 4)]}, "has maps (8, 4, 4) where the encoder has (16, 2, 2)"),
        ({"latent": 2}, "latent 'z0' is of 8 dimensions; accepted: 12, maps (3, 2, 2)"),
        ({"more": 1}, "the decoder has 2 groups of latents; accepted: as many priors"),
    ],
)
def test_parts_that_do_not_fit_are_refused_in_words_of_what_they_are(given: dict[str, Any], words: str):
    with refuses(words):
        put_together(**given)


def test_the_way_down_ends_in_any_network_of_images():
    assert put_together().score(torch.zeros(2, 1, 4, 4), samples=3, seed=0).elbo.shape == (2,)
