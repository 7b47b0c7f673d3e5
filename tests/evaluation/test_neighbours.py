"""Precision, recall, density, coverage, and distances to training data: laws, and a transcription of the papers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models_for_tests import refuses
from torch import Tensor

from vaekit.evaluation.neighbours import Fidelity, fidelity, memorised, perfect_coverage


def normal(n: int, size: int = 3, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, size)))


def as_published(real: np.ndarray, fake: np.ndarray) -> tuple[float, float, float, float]:
    """Kynkäänniemi et al. 2019, eq. 2, with k = 3; Naeem et al. 2020, section 3, with k = 5."""

    def distance(x: np.ndarray, others: np.ndarray) -> np.ndarray:
        return np.sqrt(((others - x) ** 2).sum(1))

    def radius(x: np.ndarray, others: np.ndarray, k: int) -> float:
        return float(np.sort(distance(x, others))[k])  # the first is x itself

    precision = np.mean([any(distance(f, r[None])[0] <= radius(r, real, 3) for r in real) for f in fake])
    recall = np.mean([any(distance(r, f[None])[0] <= radius(f, fake, 3) for f in fake) for r in real])
    inside = np.array([[distance(f, r[None])[0] <= radius(r, real, 5) for f in fake] for r in real])
    return float(precision), float(recall), inside.sum() / (5 * len(fake)), float(inside.any(1).mean())


def values(found: Fidelity) -> list[float]:
    return [found.precision.value, found.recall.value, found.density.value, found.coverage.value]


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (1.5, 1.0), (0.0, 0.3), (0.0, 3.0)])
def test_they_are_what_the_papers_say(shift: float, scale: float) -> None:
    real, fake = normal(70), shift + scale * normal(60, seed=1)
    assert values(fidelity(real, fake)) == pytest.approx(as_published(real.numpy(), fake.numpy()))


def test_they_depend_on_distances_alone() -> None:
    real, fake = normal(200, 4), 0.7 * normal(150, 4, seed=1)
    turn = torch.linalg.qr(normal(4, 4, seed=2))[0]
    assert values(fidelity(real, fake)) == values(fidelity(1e3 + 5 * real @ turn, 1e3 + 5 * fake @ turn))


def test_of_one_distribution_density_is_one_and_coverage_has_a_closed_form() -> None:
    found = [fidelity(normal(400, seed=2 * i), normal(300, seed=2 * i + 1)) for i in range(10)]
    for name, expected in (("density", 1.0), ("coverage", perfect_coverage(400, 300))):
        each = np.array([getattr(one, name).value for one in found])
        error = each.std(ddof=1) / len(each) ** 0.5
        assert abs(each.mean() - expected) < 4 * error, name
        # Standard errors are about how far they are apart.
        told = np.mean([getattr(one, name).stderr for one in found])
        assert 0.5 < told / each.std(ddof=1) < 2, name
    assert all(one.precision.value > 0.8 and one.recall.value > 0.8 for one in found)


def test_blurred_samples_are_precise_and_recall_little_and_wide_ones_the_other_way() -> None:
    real = normal(500, 20)
    narrow, wide = fidelity(real, 0.2 * normal(500, 20, seed=1)), fidelity(real, 4 * normal(500, 20, seed=1))
    assert narrow.precision.value > 0.99 > 0.5 > narrow.recall.value
    assert narrow.density.value > 1.5
    assert wide.recall.value > 0.8 > 0.6 > wide.precision.value
    assert wide.density.value < 0.5


def test_the_same_data_again_are_at_no_distance() -> None:
    """Binary data are often the same: a ball without a radius holds what is at its middle."""
    same = torch.zeros(60, 4)
    assert values(fidelity(same, same)) == [1.0, 1.0, 60 / 5, 1.0]
    assert fidelity(same, same + 1).precision.value == 0


@pytest.mark.parametrize("size", [5, 16, 64])
def test_of_data_with_few_values_what_is_the_same_is_at_no_distance(size: int) -> None:
    """Whatever they are, and how far from the middle: each of 40 is there ten times, and some once more."""
    numbers = np.random.default_rng(0)
    few, which = torch.from_numpy(37 * numbers.normal(size=(40, size)) + 5), torch.arange(403) % 40
    of_samples = torch.from_numpy(numbers.permutation(237) % 40)
    density = float(which.bincount()[of_samples].sum()) / (5 * 237)
    assert values(fidelity(few[which], few[of_samples])) == [1.0, 1.0, pytest.approx(density), 1.0]
    assert memorised(few[which], few[of_samples[:120]], few[of_samples[120:]]).distance.value == 0


@pytest.mark.parametrize("scale", [1.0, 1e25])
def test_copies_are_found_where_data_lie_close_together_in_groups_far_apart(scale: float) -> None:
    middle = torch.where(torch.arange(400) % 2 == 0, -1.0, 1.0)[:, None]
    data = scale * (torch.cat([middle, 0 * middle], 1) + 1e-4 * normal(400, 2))
    found = memorised(data[:200], data[200:], data[:100])
    assert found.distance.value == 0
    assert found.nearer.value == 1
    new = memorised(data[:200], data[200:300], data[300:])
    nearest = torch.cdist(data[300:], data[:200]).min(1).values
    assert new.distance.value == pytest.approx(float(nearest.quantile(0.5)), rel=1e-6)


def test_samples_of_the_data_s_own_kind_are_not_memorised_and_copies_are() -> None:
    train, held_out = normal(2000, 2), normal(300, 2, seed=1)
    new = memorised(train, held_out, normal(300, 2, seed=2))
    assert abs(new.nearer.value - 0.5) < 4 * new.nearer.stderr
    assert new.by_chance == 2000 / 2300
    assert abs(new.seen.value - new.by_chance) < 4 * new.seen.stderr
    assert abs(new.ratio.value - 1) < 4 * new.ratio.stderr
    assert 0.01 < new.seen.stderr < 0.04  # of 300 throws of such a coin 0.019
    copies = memorised(train, held_out, train[:300])
    assert copies.distance.value == 0
    assert copies.nearer.value > 0.99
    half = torch.cat([train[:150], normal(150, 2, seed=3)])
    assert memorised(train, held_out, half).nearer.value == pytest.approx(0.75, abs=0.06)
    far = memorised(train, held_out, 5 + normal(300, 2, seed=2))
    assert far.nearer.value < 0.1


def test_smooth_samples_are_near_all_data_and_not_told_from_training_by_the_nearest() -> None:
    """What lies in the midst of all data is nearer to training data than others are, but to held-out data as much."""
    train, held_out = normal(300, 50), normal(300, 50, seed=1)
    found = memorised(train, held_out, 0.1 * normal(300, 50, seed=2))
    assert found.nearer.value > 0.95
    assert abs(found.seen.value - 0.5) < 4 * found.seen.stderr


def test_they_are_the_same_again_and_refuse_what_they_are_not_of() -> None:
    x, y = normal(80), normal(90, seed=1)
    assert fidelity(x, y, seed=3) == fidelity(x, y, seed=3)
    assert memorised(x, y, y, seed=3) == memorised(x, y, y, seed=3)
    with refuses("features have shapes (80, 3) and (49, 3); accepted: (N, F) of one F, N at least 50"):
        fidelity(x, y[:49])
    with refuses("accepted: (N, F) of one F"):
        memorised(x, y[:, :2], y)
    with refuses("not finite"):
        fidelity(x, torch.where(y > 2, torch.nan, y))
