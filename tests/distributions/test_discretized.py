"""Mixtures of discretised logistics: masses, chains, draws and what is missing, against sums over all levels."""

from __future__ import annotations

import itertools

import mpmath
import numpy as np
import pytest
import torch
from models_for_tests import standard_errors_apart
from scipy import stats
from torch import Tensor

from vaekit.distributions.discretized import DiscretizedLogisticMixture
from vaekit.distributions.levels import log_mass, mean_level
from vaekit.distributions.observed import cell_log_probs, observed_log_prob
from vaekit.seeding import seeded

pytestmark = pytest.mark.usefixtures("_float64")


def pixels(
    channels: int, levels: int, seed: int = 0, components: int = 3, batch: int = 1
) -> DiscretizedLogisticMixture:
    """A mixture of `batch` images of one pixel."""
    shape, top = (batch, components, channels, 1, 1), levels - 1
    with seeded(seed):
        loc, scale = top * torch.rand(shape), top * (torch.randn(shape) * 0.7 - 2.5).exp()
        pairs = channels * (channels - 1) // 2
        coefficients = torch.randn(batch, components, pairs, 1, 1).tanh()
        logits = torch.randn(batch, components, 1, 1, 1)
    return DiscretizedLogisticMixture(logits, loc, scale, levels, 3, coefficients)


def every(channels: int, levels: int) -> Tensor:
    """All values of a pixel, (N, 1, C, 1, 1)."""
    found = torch.cartesian_prod(*[torch.arange(float(levels))] * channels).view(-1, channels)
    return found[:, None, :, None, None]


# -- the mass of one level -------------------------------------------------------------------------------------------

PLACES, SCALES, VALUES = (-1e4, -300.0, 0.0, 3.2, 127.5, 255.0, 1e4), (0.2, 1.0, 30.0, 5000.0), (0, 1, 17, 254, 255)


def by_mpmath(loc: float, scale: float, x: int) -> float:
    with mpmath.workdps(60):
        m, s = mpmath.mpf(float(np.float32(loc))), mpmath.mpf(float(np.float32(scale)))
        # Far below m of 1 - 1 / (1 + exp(-20000)) nothing is left, also of 60 digits.
        high = mpmath.mpf(1) if x == 255 else 1 / (1 + mpmath.exp((m - x - 0.5) / s))
        low = mpmath.mpf(0) if x == 0 else 1 / (1 + mpmath.exp((m - x + 0.5) / s))
        if m < x:  # the same from above, where what is left of 1 keeps its digits
            above = mpmath.mpf(1) if x == 0 else 1 / (1 + mpmath.exp((x - 0.5 - m) / s))
            beyond = mpmath.mpf(0) if x == 255 else 1 / (1 + mpmath.exp((x + 0.5 - m) / s))
            return float(mpmath.log(above - beyond))
        return float(mpmath.log(high - low))


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_masses_are_right_far_in_the_tails_and_at_both_ends(kind: torch.dtype) -> None:
    cases = list(itertools.product(PLACES, SCALES, VALUES))
    loc, scale, x = (torch.tensor(each, dtype=kind) for each in zip(*cases, strict=True))
    got = log_mass(loc, scale, x, 256)
    want = torch.tensor([by_mpmath(*case) for case in cases])
    if kind == torch.float64:
        scale = scale.float().double()
        got = log_mass(loc.float().double(), scale, x, 256)
    precision = 1e-6 if kind == torch.float32 else 1e-12
    assert (got.double() - want).abs().div(10 + want.abs()).max() < precision
    assert want.min() < -4e4


def test_gradients_are_finite_and_right_far_in_the_tails_in_float32() -> None:
    places = [*PLACES, -1e30, 1e30]
    cases = torch.tensor(list(itertools.product(places, SCALES, VALUES)), dtype=torch.float32)
    found = []
    for kind in (torch.float32, torch.float64):
        loc, scale, x = (each.clone().requires_grad_() for each in cases.to(kind).unbind(-1))
        found.append(torch.stack(torch.autograd.grad(log_mass(loc, scale, x, 256).sum(), [loc, scale])))
    single, double = found
    assert single.isfinite().all()
    torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-6)
    # No gradient vanishes where a place is on the wrong side, however far.
    wrong = (cases[:, 0] < -100) & (cases[:, 1] <= 30) & (cases[:, 2] > 0)
    assert (double[0][wrong] > 1e-5).all()


def test_gradients_and_second_ones_are_those_of_differences() -> None:
    with seeded(0):
        loc = (100 * torch.randn(4, 6) + 128).requires_grad_()
        scale = (8 * torch.rand(4, 6) - 4).exp().requires_grad_()
    x = torch.tensor([0.0, 255.0, 40.0])[:, None, None].expand(3, 1, 6)

    def mass(loc: Tensor, scale: Tensor) -> Tensor:
        return log_mass(loc, scale, x, 256)

    assert torch.autograd.gradcheck(mass, (loc, scale))
    assert torch.autograd.gradgradcheck(mass, (loc, scale))
    many = torch.func.vmap(lambda value: log_mass(loc, scale, value, 256))(x)
    assert torch.equal(many, mass(loc, scale))


@pytest.mark.parametrize("levels", [2, 64, 65, 256])
def test_means_of_levels_are_sums_over_all_of_them(levels: int) -> None:
    top = levels - 1
    place = torch.linspace(-0.3 * top, 1.3 * top, 500)
    for scale in (0.25, 1.0, 4.0, 0.5 * top, 5.0 * top):
        wide = torch.full_like(place, scale)
        masses = log_mass(place, wide, torch.arange(float(levels))[:, None], levels).exp()
        want = (torch.arange(float(levels))[:, None] * masses).sum(0)
        off = (mean_level(place, wide, levels) - want).abs().max()
        assert off < (1e-12 * levels if levels <= 64 else 0.06 if scale < 1 else 0.015)
    # Far out in float32: at the end, not at a difference of two large numbers.
    far = torch.tensor([-1e30, 1e30], dtype=torch.float32)
    assert mean_level(far, torch.ones(2, dtype=torch.float32), levels).tolist() == [0.0, float(top)]


# -- pixels ----------------------------------------------------------------------------------------------------------


def by_numpy(p: DiscretizedLogisticMixture, x: Tensor) -> float:
    """log p of one image (C, H, W) by loops over pixels, components and channels."""
    logits, loc, scale, moves = (
        each[0].numpy()
        for each in (p.logits, p.loc, p.scale, p.coefficients)  # type: ignore[union-attr]
    )
    top, (channels, height, width), total = p.levels - 1, x.shape, 0.0
    for i, j in np.ndindex(height, width):
        weights, mixed = np.exp(logits[:, 0, i, j]), 0.0
        for k in range(len(weights)):
            mass, at = 1.0, 0
            for c in range(channels):
                place = loc[k, c, i, j]
                for before in range(c):
                    place += moves[k, at, i, j] * (float(x[before, i, j]) - top / 2)
                    at += 1
                value = float(x[c, i, j])
                low, high = -np.inf if value == 0 else value - 0.5, np.inf if value == top else value + 0.5
                part = stats.logistic(place, scale[k, c, i, j])
                mass *= part.cdf(high) - part.cdf(low) if value < place else part.sf(low) - part.sf(high)
            mixed += weights[k] / weights.sum() * mass
        total += np.log(mixed)
    return float(total)


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_images_are_scored_as_loops_in_numpy_do(channels: int) -> None:
    shape = (1, 4, channels, 2, 3)
    with seeded(channels):
        logits, moves = torch.randn(1, 4, 1, 2, 3), torch.randn(1, 4, channels * (channels - 1) // 2, 2, 3).tanh()
        p = DiscretizedLogisticMixture(logits, 255 * torch.rand(shape), 20 * torch.rand(shape) + 3, 256, 3, moves)
        x = torch.randint(0, 256, (channels, 2, 3)).double()
    x[0, 0], x[-1, 1] = 0.0, 255.0
    assert float(p.log_prob(x)[0]) == pytest.approx(by_numpy(p, x), rel=1e-10)
    assert p.log_probs(x).shape == (1, channels, 2, 3)
    torch.testing.assert_close(p.log_probs(x).sum((1, 2, 3)), p.log_prob(x))
    torch.testing.assert_close(cell_log_probs(p, x), p.log_probs(x))


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize(("channels", "levels"), [(2, 256), (3, 16), (4, 6)])
def test_masses_of_all_values_of_a_pixel_sum_to_one(channels: int, levels: int, kind: torch.dtype) -> None:
    p = pixels(channels, levels)
    if kind == torch.float32:
        p = DiscretizedLogisticMixture(
            p.logits.float(),
            p.loc.float(),
            p.scale.float(),
            levels,
            3,
            p.coefficients.float(),  # type: ignore[union-attr]
        )
    total = p.log_prob(every(channels, levels).to(kind)).exp().double().sum()
    assert float(total) == pytest.approx(1.0, abs=1e-5 if kind == torch.float32 else 1e-12)


def test_each_channel_of_a_pixel_sums_to_one_given_those_before_it() -> None:
    p = pixels(3, 256, batch=4)
    with seeded(1):
        x = torch.randint(0, 256, (1, 4, 3, 1, 1)).double().expand(256, 4, 3, 1, 1).clone()
    for c in range(3):
        each = x.clone()
        each[:, :, c] = torch.arange(256.0)[:, None, None, None]
        torch.testing.assert_close(p.log_probs(each)[:, :, c].exp().sum(0), torch.ones(4, 1, 1))


@pytest.mark.parametrize(("channels", "levels"), [(2, 6), (3, 4)])
def test_draws_are_as_frequent_as_their_masses(channels: int, levels: int) -> None:
    p, values = pixels(channels, levels, seed=2), every(channels, levels)
    masses = p.log_prob(values).exp().squeeze(1).numpy()
    with seeded(0):
        draws = p.sample((40_000,))[:, 0, :, 0, 0]
    place = (draws * levels ** torch.arange(channels - 1, -1, -1)).sum(-1).long()
    counts = np.bincount(place.numpy(), minlength=len(masses))
    common = masses * len(draws) > 5
    got, want = [*counts[common], counts[~common].sum()], [*masses[common], masses[~common].sum() + 1e-12]
    assert common.sum() > 10
    assert stats.chisquare(got, np.array(want) * sum(got) / sum(want)).pvalue > 1e-4


def test_expanded_it_is_the_same_for_all_of_a_batch() -> None:
    p = pixels(3, 5)
    many = p.expand((4, 6))
    with seeded(0):
        x = many.sample()
    assert x.shape == (4, 6, 3, 1, 1)
    assert len(x.unique(dim=0)) > 1
    torch.testing.assert_close(many.log_prob(x), p.log_prob(x))
    torch.testing.assert_close(many.mean, p.mean.expand(4, 6, 3, 1, 1))


def test_means_are_those_of_all_values_but_for_what_the_ends_bend() -> None:
    p, values = pixels(3, 16, seed=3), every(3, 16)
    want = (p.log_prob(values).exp()[..., None, None, None] * values).sum(0)
    assert abs(float(p.mean[0, 0] - want[0, 0])) < 1e-10  # of the first channel there is nothing to bend
    assert (p.mean - want).abs().max() < 0.75
    narrow = DiscretizedLogisticMixture(
        p.logits,
        0.2 * (p.loc - 7.5) + 7.5,
        0.3 * p.scale,
        16,
        3,
        0.3 * p.coefficients,  # type: ignore[operator]
    )
    want = (narrow.log_prob(values).exp()[..., None, None, None] * values).sum(0)
    assert (narrow.mean - want).abs().max() < 0.02


# -- channels that are missing ---------------------------------------------------------------------------------------

SEEN = {
    "the first": [True, False, False],
    "all but the last": [True, True, False],
    "none": [False] * 3,
    "all": [True] * 3,
}


@pytest.mark.parametrize("seen", SEEN.values(), ids=SEEN)
def test_what_is_missing_is_summed_over(seen: list[bool]) -> None:
    p, values, observed = pixels(3, 5, seed=4), every(3, 5), torch.tensor(seen)[:, None, None]
    x = torch.tensor([3.0, 0.0, 4.0])[:, None, None]
    same = ((values == x) | ~observed).flatten(1).all(1)
    want = p.log_prob(values[same]).logsumexp(0)
    filled = torch.where(observed, x, 0.0)
    torch.testing.assert_close(observed_log_prob(p, filled, observed), want)
    # Draws and means of what is missing are those given the rest.
    given = p.given_missing(filled, observed)
    share = (p.log_prob(values[same]) - want).exp()[..., None, None, None]
    with seeded(0):
        draws = given.sample((20_000,))
    assert standard_errors_apart(draws, 0.0).isfinite().all()
    expected = (share * values[same]).sum(0)
    assert standard_errors_apart(draws - expected, 0.0).max() < 4.5
    assert torch.equal(draws[:, 0][:, observed], x[observed].expand(len(draws), -1))
    assert (given.mean - expected).abs().max() < 0.5
    torch.testing.assert_close(given.mean[0][observed], x[observed])


def test_a_pixel_with_a_channel_after_a_missing_one_has_no_number() -> None:
    p, x = pixels(3, 5), torch.ones(3, 1, 1)
    for seen in ([False, True, True], [True, False, True], [False, False, True]):
        assert p.marginal_log_prob(x, torch.tensor(seen)[:, None, None]).isnan().all()


def test_gradients_do_not_see_what_is_missing() -> None:
    p, x = pixels(3, 256), torch.tensor([10.0, 200.0, 99.0])[:, None, None]
    p.loc.requires_grad_()
    p.marginal_log_prob(x, torch.tensor([True, False, False])[:, None, None]).sum().backward()
    assert p.loc.grad is not None
    assert p.loc.grad[:, :, 0].any()
    assert not p.loc.grad[:, :, 1:].any()
