"""A prior of accepted draws: its density, its draws, and the gradient of both."""

from __future__ import annotations

import math

import pytest
import torch
from models_for_tests import refuses
from torch import Tensor
from torch.distributions import Normal
from torch.nn.functional import logsigmoid

from vaekit.distributions.normals import UnitNormal
from vaekit.distributions.resampled import Resampled
from vaekit.distributions.shapes import independent
from vaekit.priors import Resampling
from vaekit.seeding import seeded

LINE = torch.linspace(-9, 9, 4001, dtype=torch.float64).unsqueeze(-1)
WIDTH = 18 / 4000


pytestmark = pytest.mark.usefixtures("_float64")


def steep(z: Tensor) -> Tensor:
    """A hole between -1 and 1."""
    return logsigmoid(4 * (z[..., 0].square() - 1) - 1)


def exact(tries: int) -> Resampled:
    base = independent(UnitNormal(torch.zeros(1), torch.ones(1)))
    mass = ((base.log_prob(LINE) + steep(LINE)).exp().sum() * WIDTH).log()
    return Resampled(base, steep, mass, tries)


@pytest.mark.parametrize("tries", [2, 3, 20, 1000])
def test_it_integrates_to_one_and_its_draws_are_of_it(tries: int):
    p = exact(tries)
    density = p.log_prob(LINE).exp()
    assert float(density.sum() * WIDTH) == pytest.approx(1, abs=1e-9)
    n = 4000
    with seeded(0):
        z = p.sample((n,))[:, 0]
    for low, high in [(-9.0, -1.5), (-1.0, 0.0), (0.0, 0.7), (1.2, 9.0)]:
        within = (LINE[:, 0] >= low) & (LINE[:, 0] < high)
        want = float(density[within].sum() * WIDTH)
        found = float(((z >= low) & (z < high)).double().mean())
        assert abs(found - want) < 4 * math.sqrt(want * (1 - want) / n) + 2e-3


def test_where_all_or_hardly_any_is_accepted_it_is_its_limits():
    base = independent(UnitNormal(torch.zeros(1), torch.ones(1)))
    z = torch.tensor([[0.3], [2.0]])
    for log_mass in (0.0, -1e-12, -40.0):
        same = Resampled(
            base, lambda z, log_mass=log_mass: torch.full_like(z[..., 0], log_mass), torch.tensor(log_mass), 50
        )
        torch.testing.assert_close(same.log_prob(z), base.log_prob(z))


def test_in_evaluation_z_is_nearly_exact_and_always_the_same():
    with seeded(0):
        prior = Resampling(1, tries=50, hidden=(8,)).eval()
        for parameter in prior.parameters():
            parameter.data *= 3
    p = prior()
    assert float(p.log_prob(LINE).detach().exp().sum() * WIDTH) == pytest.approx(1, abs=0.02)
    assert torch.equal(p.log_mass, prior().log_mass)
    prior.train()
    assert not torch.equal(prior().log_mass, prior().log_mass)


def test_it_learns_a_hole():
    with seeded(0):
        prior = Resampling(1, tries=50, samples=400, hidden=(10,))
        codes = torch.cat([Normal(2.0, 0.5).sample((300, 1)), Normal(-2.0, 0.5).sample((300, 1))])
        optimizer = torch.optim.Adam(prior.parameters(), lr=0.03)
        for _ in range(150):
            loss = -prior().log_prob(codes).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    prior.eval()
    p, plain = prior(), independent(UnitNormal(torch.zeros(1), torch.ones(1)))
    assert p.log_prob(codes).mean() > plain.log_prob(codes).mean() + 0.5
    assert p.log_prob(torch.zeros(1)) < plain.log_prob(torch.zeros(1)) - 1


def test_what_it_cannot_be_is_refused():
    with refuses("tries must be from 2 to 10000, got 1"):
        Resampling(2, tries=1)
    with refuses("samples must be at least 1, got 0"):
        Resampling(2, samples=0)
