"""The ladder: exact where everything is linear and Gaussian, dimension by dimension."""

from __future__ import annotations

import pytest
import torch
from models_for_tests import refuses
from scipy import stats
from torch.distributions import Laplace

from vaekit.data import Batch
from vaekit.data.domains import Domain
from vaekit.distributions.shapes import independent
from vaekit.likelihoods import FixedNormal
from vaekit.models import Given, LadderVAE
from vaekit.models.ladder import product
from vaekit.networks.mlp import MLP
from vaekit.posteriors import DiagonalNormal
from vaekit.priors import DiagonalNormal as NormalPrior
from vaekit.priors import StandardNormal
from vaekit.seeding import seeded
from vaekit.spec.building import build_model
from vaekit.spec.keys import Schema
from vaekit.spec.parsing import parse

LOWER, UPPER, S, T = torch.tensor([1.5, -0.7, 0.4]), torch.tensor([0.8, -1.2, 0.3]), 0.6, 0.5
"""x = LOWER z1 + T e0, z1 = UPPER z2 + S e1, each dimension by itself."""


pytestmark = pytest.mark.usefixtures("_float64")


def scaling(module: torch.nn.Linear, mean: torch.Tensor, variance: torch.Tensor) -> None:
    with torch.no_grad():
        module.weight.zero_()
        module.weight[:3] = mean.diag()
        module.bias.copy_(torch.cat([torch.zeros(3), variance.log()]))


def test_at_the_true_posterior_every_weight_is_log_p():
    lower, upper = LOWER.double(), UPPER.double()
    p = FixedNormal((3,), Domain("real"), sigma=T)
    first, second, prior = DiagonalNormal(3, 3), DiagonalNormal(3, 3), NormalPrior(3, condition=3)
    decoder = MLP((3,), p.parameter_shape, hidden=())
    model = LadderVAE(
        encoder=MLP((3,), hidden=()),
        posteriors={"z1": first, "z2": Given(MLP((3,), hidden=()), second)},
        priors={"z1": Given(MLP((3,), hidden=()), prior), "z2": StandardNormal(3)},
        decoder=decoder,
        likelihood=p,
    )
    noise = (S * lower).square() + T**2  # of x given z2
    with torch.no_grad():
        decoder.layers[0].weight.copy_(lower.diag())
        decoder.layers[0].bias.zero_()
        prior.shift.weight.copy_(torch.cat([upper.diag(), torch.zeros(3, 3)]))
        prior.start[3:] = 2 * torch.tensor(S).log()
    scaling(first.head, 1 / lower, (T / lower).square())  # what x alone says of z1
    both = lower * upper
    precision = 1 + both.square() / noise
    scaling(second.head, both / noise / precision, 1 / precision)
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    spread = (both.square() + noise).sqrt()
    want = torch.from_numpy(stats.norm.logpdf(x.numpy(), 0, spread.numpy()).sum(-1))
    with torch.no_grad(), seeded(1):
        trace = model.trace(Batch(x), 5)
    assert torch.allclose(trace.log_weight, want.expand(5, -1))
    assert all(latent.closed_form for latent in trace.latents)
    assert [model.given(name) for name in ("z1", "z2")] == [("x, z2", "z2"), ("x", "")]


@pytest.mark.parametrize("condition", [0, 2])
def test_it_is_built_of_a_spec_and_asked_as_any_model(condition: int):
    small = {"name": "mlp", "hidden": [5]}
    latents = {
        "z": {"size": 3, "prior": "diagonal-normal"},
        "z2": {"size": 2, "prior": "diagonal-normal", "encoder": small},
        "z3": {"size": 1},
    }
    model = {"structure": "ladder", "latents": latents, "likelihood": "bernoulli", "encoder": small}
    spec = parse({"model": {**model, "condition": bool(condition)}}).model
    made = build_model(spec, Schema(event_shape=(6,), domain=Domain("binary"), condition=condition)).eval()
    x, y = torch.ones(4, 6), torch.eye(2)[[0, 1, 0, 1]] if condition else None
    assert made.encode(x, y).shape == (4, 6)
    assert made.decode(torch.zeros(4, 1), y).shape == (4, 6)
    assert made.sample(4, y).shape == (4, 6)
    trace = made.train().trace(Batch(x, y), 2)
    (-trace.log_weight.mean()).backward()
    assert [name for name, each in made.named_parameters() if each.grad is None] == []


def test_only_diagonal_normals_are_multiplied():
    with refuses("a ladder multiplies diagonal normals, got Independent"):
        product(
            independent(Laplace(torch.zeros(1), torch.ones(1))), independent(Laplace(torch.zeros(1), torch.ones(1)))
        )
