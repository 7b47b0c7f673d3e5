from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2_contingency

from vaekit.evaluation import dependence
from vaekit.evaluation.dependence import BINS, LEVELS, association, cuts, dependences


def table(n: int = 3000, seed: int = 0) -> np.ndarray:
    """Two numbers that hang together, one that does not, and categories of them."""
    rng = np.random.default_rng(seed)
    a, c = rng.normal(size=(2, n))
    b = a + rng.normal(size=n)
    return np.column_stack([a, b, c, np.digitize(b, [-1.0, 0.0, 1.5]), rng.integers(0, 3, n)])


LEVELS_OF = [None, None, None, 4, 3]


def of(x: np.ndarray, levels: list[int | None]) -> np.ndarray:
    return dependences(x, cuts(x, levels))


def test_it_is_what_chi_square_says_corrected() -> None:
    rng = np.random.default_rng(1)
    first = rng.integers(0, 5, 400)
    second = (first + rng.integers(0, 3, 400)) % 4
    counts = np.zeros((5, 4))
    np.add.at(counts, (first, second), 1)
    phi = chi2_contingency(counts, correction=False).statistic / 400
    k, own = (size - (size - 1) ** 2 / 399 for size in (5, 4))
    expected = np.sqrt((phi - 4 * 3 / 399) / (min(k, own) - 1))
    assert association(first, second) == pytest.approx(expected, rel=1e-12)


def test_symmetric_and_within_its_range() -> None:
    found = of(table(), LEVELS_OF)
    assert (found == found.T).all()
    assert (found.diagonal() == 1).all()
    assert ((found >= 0) & (found <= 1)).all()
    assert found[0, 1] > 0.2
    assert found[0, 3] > 0.2


def test_nothing_where_columns_are_independent() -> None:
    found = np.mean([of(table(seed=seed), LEVELS_OF)[[0, 0, 2, 3], [2, 4, 4, 4]] for seed in range(10)], 0)
    assert (found < 0.03).all()


def test_one_where_each_tells_the_other() -> None:
    x = table()
    shifted = np.column_stack([x[:, 0], -(x[:, 0] ** 3), x[:, 3], (x[:, 3] + 1) % 4])
    found = of(shifted, [None, None, 4, 4])
    assert found[0, 1] > 0.99  # the ends of groups fall on the other side
    assert found[2, 3] == pytest.approx(1.0, abs=1e-12)
    halves = of(np.column_stack([x[:, 3], x[:, 3] >= 2]), [4, 2])
    assert halves[0, 1] == pytest.approx(1.0, abs=1e-2)


def test_names_and_units_change_nothing() -> None:
    x, other = table(), table()
    other[:, 0] = np.exp(x[:, 0])
    other[:, 3] = np.array([2, 0, 3, 1])[x[:, 3].astype(int)]
    np.testing.assert_allclose(of(other, LEVELS_OF), of(x, LEVELS_OF), atol=1e-12)


def test_rows_that_lack_one_of_the_two_are_left_out() -> None:
    x = table()
    gone = x.copy()
    gone[::3, 1] = np.nan
    groups = cuts(gone, LEVELS_OF)
    kept = np.arange(len(x)) % 3 != 0
    assert dependences(gone, groups)[0, 1] == pytest.approx(dependences(x[kept], groups)[0, 1], rel=1e-12)
    assert dependences(gone, groups)[0, 2] == pytest.approx(dependences(x, groups)[0, 2], rel=1e-12)


def test_columns_that_tell_nothing() -> None:
    x = np.column_stack([np.ones(50), np.arange(50) % 2, np.full(50, np.nan)])
    found = of(x, [None, 2, None])
    assert found[0, 1] == 0
    assert np.isnan(found[0, 2])


@pytest.mark.parametrize(("rows", "groups"), [(5000, BINS), (400, BINS), (100, 5), (10, 2)])
def test_few_rows_have_few_groups(rows: int, groups: int) -> None:
    x = np.random.default_rng(0).normal(size=(rows, 1))
    codes = cuts(x, [None])[0](x[:, 0])
    assert sorted(set(codes)) == list(range(groups))
    assert np.bincount(codes).max() <= rows / groups + 1


def test_rare_categories_are_one_group() -> None:
    x = np.repeat(np.arange(60), np.arange(1, 61))[:, None].astype(float)
    codes = cuts(x, [60])[0](x[:, 0])
    assert codes.max() == LEVELS - 1
    assert len(set(codes[x[:, 0] > 60 - LEVELS])) == LEVELS - 1
    assert set(codes[x[:, 0] <= 60 - LEVELS]) == {LEVELS - 1}


def test_all_pairs_at_once_are_those_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependence, "COLUMNS", 4)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 11)) + rng.normal(size=(200, 1))
    x[:, 7:] = rng.integers(0, 50, (200, 4))
    x[:, 10] = 3.0
    x[rng.random(x.shape) < 0.2] = np.nan
    x[:, 5] = np.nan
    groups = cuts(x, [None] * 7 + [50] * 4)
    found, codes = dependences(x, groups), [cut(column) for cut, column in zip(groups, x.T, strict=True)]
    for i, first in enumerate(codes):
        for j, second in enumerate(codes):
            if i != j:
                np.testing.assert_allclose(found[i, j], association(first, second), rtol=1e-9, atol=1e-9)
