"""The autoregressive prior: its density integrates to one, sees nothing that comes later, and is that of its draws."""

from __future__ import annotations

import math

import pytest
import torch
from models_for_tests import float64, moved, refuses

from vaekit.priors import Transformer


def prior_of(*shape: int, condition: int = 0, components: int = 2) -> Transformer:
    with float64():
        torch.manual_seed(0)
        sizes = {"latent": math.prod(shape), "latent_shape": shape, "condition": condition}
        return moved(Transformer(**sizes, width=8, layers=2, heads=2, components=components), by=0.5)


def test_it_starts_as_a_standard_normal_of_one_component() -> None:
    prior = Transformer(latent=12, latent_shape=(3, 2, 2), width=8, components=1)
    z = torch.randn(5, 12)
    expected = torch.distributions.Normal(0, 1).log_prob(z).sum(-1)
    torch.testing.assert_close(prior().log_prob(z), expected)


def test_the_density_of_a_vector_integrates_to_one() -> None:
    line = torch.linspace(-12, 12, 400, dtype=torch.float64)
    z = torch.cartesian_prod(line, line)
    mass = prior_of(2)().log_prob(z).exp().sum() * (line[1] - line[0]) ** 2
    assert mass.item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("place", range(4))
def test_no_place_sees_one_after_it(place: int) -> None:
    """Of maps (C, H, W) a part is what stands at one place: a change leaves what is before it as likely as it was."""
    prior, z = prior_of(3, 2, 2), torch.randn(3, 2, 2, dtype=torch.float64)
    changed = z.clone().flatten(1)
    changed[:, place] += 1

    def each(maps: torch.Tensor) -> torch.Tensor:
        parts = maps.flatten(1).T[None]
        return prior._given(parts, None).log_prob(parts)[0]

    before, after = each(z), each(changed)
    assert torch.equal(before[:place], after[:place])
    assert (before[place:] != after[place:]).all()
    torch.testing.assert_close(prior().log_prob(z.flatten()), before.sum())


def test_draws_are_of_the_density() -> None:
    """With one component, draws less their mean given what is before, by their scale, are independent and N(0, I)."""
    prior = prior_of(3, 1, 2, components=1)
    torch.manual_seed(1)
    parts = prior().sample((20_000,)).unflatten(-1, (3, 2)).mT
    normal = prior._given(parts, None).component_distribution.base_dist
    noise = ((parts.unsqueeze(-2) - normal.loc) / normal.scale).flatten(1)
    assert (noise.mean(0).abs() < 5 / len(noise) ** 0.5).all()
    assert ((noise.T.cov() - torch.eye(6)).abs() < 7 / len(noise) ** 0.5).all()


def test_given_y_it_differs_and_without_it_refuses() -> None:
    prior, y = prior_of(3, 2, 2, condition=2), torch.eye(2, dtype=torch.float64)
    z = torch.randn(12, dtype=torch.float64)
    assert prior(y).batch_shape == (2,)
    assert prior(y).log_prob(z).diff().abs() > 1e-6
    assert prior(y).sample((5,)).shape == (5, 2, 12)
    with refuses("needs y"):
        prior()


def test_sizes_that_do_not_fit_are_refused() -> None:
    with refuses("a multiple of heads"):
        Transformer(latent=4, width=6, heads=4)
