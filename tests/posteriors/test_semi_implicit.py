"""Posteriors whose noise goes through a network: what is learned is a bound, what is scored a mixture."""

from __future__ import annotations

import math

import pytest
import torch
from models_for_tests import float64
from torch import Tensor, nn
from torch.distributions import Distribution, Normal

from vaekit.posteriors import SemiImplicit
from vaekit.seeding import seeded

WORST = 4.5
"""Standard errors that an estimate may be off."""


class Scattered(nn.Module):
    """mu = e and sigma = 1/2, whatever the features: over all noise N(0, 1 + 1/4), in each dimension."""

    def forward(self, features: Tensor, noise: Tensor) -> Tensor:
        return torch.cat([noise, noise.new_full(noise.shape, 2 * math.log(0.5))], -1)


def scattered(components: int, latent: int = 1) -> SemiImplicit:
    with seeded(0):
        made = SemiImplicit(3, latent, components, noise=latent)
    made.network = Scattered()
    return made


def log_weights(posterior: nn.Module, x: float, rows: int = 10_000) -> Tensor:
    """log p(x, z) - log q(z given x) of draws that have noise of their own each, z ~ N(0, 1) and x ~ N(z, 1)."""
    with float64(), seeded(1), torch.no_grad():
        q = posterior(torch.zeros(rows, 3))
        z = q.rsample()
        return Normal(0.0, 1.0).log_prob(z[:, 0]) + Normal(z[:, 0], 1.0).log_prob(torch.tensor(x)) - q.log_prob(z)


@pytest.mark.parametrize("components", [1, 4])
def test_weights_over_all_noise_have_the_mean_p_x(components: int) -> None:
    log_weight = log_weights(scattered(components), 0.7)
    want = Normal(0.0, math.sqrt(2.0)).log_prob(torch.tensor(0.7)).exp()
    weight = log_weight.exp()
    assert abs(weight.mean() - want) < WORST * weight.std() / math.sqrt(len(weight))


def test_more_components_are_nearer_to_the_bound_of_all_noise() -> None:
    x = 0.7
    found = [log_weights(scattered(components), x) for components in (1, 3, 10, 100)]
    means = [each.mean() for each in found]
    errors = [each.std() / math.sqrt(len(each)) for each in found]
    # E log p(x, z) and the entropy, of z ~ N(0, 5/4)
    exact = -math.log(2 * math.pi) - 0.5 * (1.25 + x**2 + 1.25) + 0.5 * math.log(2 * math.pi * math.e * 1.25)
    assert means[0] < means[1] - 5 * errors[1]
    assert means[1] < means[2] - 5 * errors[2]
    assert means[2] < exact - 5 * errors[2]
    assert abs(means[3] - exact) < WORST * errors[3] + 0.01


def test_it_is_drawn_anew_in_training_alone() -> None:
    with seeded(2):
        posterior, features = SemiImplicit(3, 2), torch.randn(4, 3)
        assert not torch.equal(posterior(features).mean, posterior(features).mean)
        posterior.eval()
        means = posterior(features).mean
        assert torch.equal(posterior(features).mean, means)
        torch.testing.assert_close(posterior(features[2:3]).mean, means[2:3])
    assert "fixed" in posterior.state_dict()


def test_it_bends_where_a_normal_can_not() -> None:
    """p(z) = N(z_1; 0, 1) N(z_2; z_1², v), v = 1/16. KL(q || p) of the best diagonal normal is at var z_2 = v and var
    z_1 = s², 4 s⁴ / v + s² = 1: 0.85 nats.
    """
    s2 = (math.sqrt(1 + 256) - 1) / 128
    best = -0.5 * math.log(s2) - 0.5 + 0.5 * s2 + 16 * s2**2

    def divergence(z: Tensor, q: Distribution) -> Tensor:
        bent = Normal(0.0, 1.0).log_prob(z[..., 0]) + Normal(z[..., 0].square(), 0.25).log_prob(z[..., 1])
        return (q.log_prob(z) - bent).mean()

    with seeded(3):
        posterior = SemiImplicit(1, 2, components=20, noise=2, hidden=(32,))
        optimizer = torch.optim.Adam(posterior.parameters(), 2e-2)
        falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, 400)
        for _ in range(400):
            q = posterior(torch.ones(64, 1))
            optimizer.zero_grad()
            divergence(q.rsample(), q).backward()
            optimizer.step()
            falling.step()
        q = posterior.eval()(torch.ones(1, 1))
        found = divergence(q.sample((2000,)), q)
    assert best == pytest.approx(0.85, abs=0.005)
    assert found < best - 0.2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"components": 0}, "components must be at least 1, got 0"),
        ({"noise": 0}, "noise must be at least 1, got 0"),
        ({"hidden": ()}, "hidden layers must be at least 1, got 0"),
    ],
)
def test_what_can_not_be_is_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SemiImplicit(3, 2, **options)
