"""Planar layers, against Pyro's, their inverse, and the weights of a posterior that is made of them."""

from __future__ import annotations

import math

import pytest
import torch
from models_for_tests import linear_gaussian, standard_errors_apart
from torch import Tensor

from vaekit.data.batch import Batch
from vaekit.distributions.planar import PlanarTransform, _root
from vaekit.posteriors import Flow
from vaekit.seeding import seeded

B = 5


pytestmark = pytest.mark.usefixtures("_float64")


def planar_numbers(layers: int = 4, size: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    with seeded(0):
        return torch.randn(B, layers, size), 2 * torch.randn(B, layers, size), torch.randn(B, layers)


def test_planar_layers_are_those_of_pyro():
    """Whose u is v and c w / |w|², c of which the softplus is 1."""
    planar = pytest.importorskip("pyro.distributions.transforms.planar")
    w, v, b = planar_numbers()
    z = torch.randn(B, 3, generator=torch.Generator().manual_seed(1))
    found, log_slope = PlanarTransform(w, v, b).call_and_ladj(z)
    u, total = v + math.log(math.e - 1) * w / w.square().sum(-1, keepdim=True), torch.zeros(B)
    for k in range(4):
        layer = planar.ConditionedPlanar((b[:, k : k + 1], u[:, k], w[:, k]))
        moved = layer(z)
        total, z = total + layer.log_abs_det_jacobian(z, moved), moved
    torch.testing.assert_close(found, z)
    torch.testing.assert_close(log_slope, total)


@pytest.mark.parametrize("kind", [torch.float64, torch.float32])
def test_a_root_is_found_wherever_it_lies(kind: torch.dtype):
    slope = torch.logspace(-6, 4, 41, dtype=kind)[:, None]
    want = torch.cat([-torch.logspace(-6, 3, 60), torch.zeros(1), torch.logspace(-6, 3, 60)]).to(kind)
    value = want + (slope - 1) * torch.tanh(want)
    found = _root(value, slope)
    rounding = torch.finfo(kind).eps * (1 + slope) * (want.abs() + 1)  # of the value itself
    least = slope * (1 - torch.tanh(want) ** 2) + torch.tanh(want) ** 2
    assert ((found - want).abs() <= 8 * rounding / least + 1e-3 * rounding.sqrt()).all()


def test_the_inverse_of_planar_layers_has_their_gradients():
    w, v, b = (each.requires_grad_() for each in planar_numbers(layers=2, size=2))
    y = torch.randn(B, 2, generator=torch.Generator().manual_seed(1)).requires_grad_()
    assert torch.autograd.gradcheck(lambda *own: PlanarTransform(*own[1:]).inv(own[0]), (y, w, v, b))


def test_weights_of_a_planar_flow_have_the_mean_p():
    truth = linear_gaussian()
    model, x = truth.model(), truth.draw(3)
    with seeded(0):
        planar = Flow(3, 2, transforms=6, hidden=(), kind="planar")
        planar.head.load_state_dict(model.posteriors["z"].head.state_dict())
        for parameter in planar.transform.parameters():
            parameter.data += 0.5 * torch.randn_like(parameter)
        model.posteriors["z"] = planar
        with torch.no_grad():
            trace = model.trace(Batch(x), samples=20_000)
            log_p = truth.log_prob(x).numpy()
    weight = (trace.log_weight - torch.from_numpy(log_p)).exp()
    assert weight.std(0).min() > 0.1
    assert standard_errors_apart(weight, 1.0).max() < 4.5
