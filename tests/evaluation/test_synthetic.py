from __future__ import annotations

import numpy as np
import pytest

from vaekit.data.columns import Column
from vaekit.evaluation.synthetic import QUERIES, nearness, predicted, spans
from vaekit.evaluation.synthetic import nearest as nearest_of

COLUMNS = (
    Column("size", "real"),
    Column("grade", "ordinal", ("low", "middle", "high")),
    Column("city", "categorical", tuple("abcd")),
    Column("age", "count"),
)


def table(n: int, seed: int = 0, holes: float = 0.0) -> np.ndarray:
    """Rows of every kind of column."""
    rng = np.random.default_rng(seed)
    x = np.stack([rng.normal(size=n), rng.integers(0, 3, n), rng.integers(0, 4, n), rng.poisson(30, n)], 1)
    return np.where(rng.random(x.shape) < holes, np.nan, x).astype(np.float64)


def nearest(x: np.ndarray, rows: np.ndarray, spans: np.ndarray) -> np.ndarray:
    """The distances alone, of those rows that are said to be the nearest."""
    found, which = nearest_of(x, rows, spans)
    for i in range(0, len(x), 9):
        assert nearest_of(x[i : i + 1], rows[which[i], None], spans)[0] == found[i]
    return found


def by_hand(x: np.ndarray, rows: np.ndarray, spans: np.ndarray) -> np.ndarray:
    """The distances, pair by pair and column by column."""
    found = []
    for one in x:
        best = np.inf
        for other in rows:
            pairs = [(a, b, span) for a, b, span in zip(one, other, spans, strict=True) if not np.isnan(a + b)]
            if 2 * len(pairs) >= len(one):
                best = min(best, sum(min(1.0, abs(a - b) / span) for a, b, span in pairs) / len(pairs))
        found.append(best)
    return np.array(found)


@pytest.mark.parametrize("holes", [0.0, 0.3])
def test_distances_are_those_of_every_pair(holes: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaekit.evaluation.synthetic.CELLS", 300)  # some rows at a time
    x, rows = table(41, 0, holes), table(60, 1, holes)
    own = spans(COLUMNS, rows)
    np.testing.assert_allclose(nearest(x, rows, own), by_hand(x, rows, own), atol=1e-12)


def test_ranges_are_those_of_numbers_and_levels() -> None:
    rows = np.array([[1.0, 0, 0, 5], [4.0, 2, 3, 5], [np.nan, 1, 1, np.nan]])
    own = spans(COLUMNS, rows)
    assert own[:3].tolist() == [3.0, 2.0, 1.0]
    assert nearest(np.array([[1.0, 0, 0, 6]]), rows, own) == pytest.approx(0.25)  # one value was all there was


def test_copies_are_at_no_distance_in_any_order_and_unit() -> None:
    x, rows = table(50, 0, 0.1), table(80, 1, 0.1)
    own, order = spans(COLUMNS, rows), [2, 0, 3, 1]
    assert (nearest(rows, rows, own) == 0).all()
    turned = [COLUMNS[i] for i in order]
    np.testing.assert_allclose(
        nearest(x[:, order], rows[:, order], spans(turned, rows[:, order])), nearest(x, rows, own)
    )
    scale, shift = np.array([1000.0, 1, 1, 0.25]), np.array([7e4, 0, 0, -3])
    other = rows * scale + shift
    np.testing.assert_allclose(nearest(x * scale + shift, other, spans(COLUMNS, other)), nearest(x, rows, own))


def test_rows_with_little_in_common_are_not_compared() -> None:
    x = np.array([[np.nan, np.nan, np.nan, 30.0]])
    rows = np.array([[0.0, 1, 2, 30.0]])
    assert np.isinf(nearest(x, rows, np.ones(4)))
    assert nearest(np.array([[np.nan, np.nan, 2.0, 30.0]]), rows, np.ones(4)) == 0


def test_rows_of_the_same_kind_lie_as_near_as_held_out_ones() -> None:
    found = nearness(COLUMNS, table(1500, 0), table(3000, 1), table(1500, 2))
    assert found.nearer == pytest.approx(0.05, abs=0.025)
    assert found.seen == pytest.approx(found.seen_by_chance, abs=3 * found.seen_stderr)
    assert found.median == pytest.approx(found.median_held_out, rel=0.1)
    assert "no sign" in found.reading
    assert (found.made, found.train, found.held_out) == (1500, 3000, 1500)
    assert found.seen_by_chance == pytest.approx(2 / 3)


@pytest.mark.parametrize("part", [0.1, 1.0])
def test_rows_known_by_heart_are_found(part: float) -> None:
    train, made = table(3000, 1), table(1500, 0)
    known = int(part * len(made))
    made[:known] = train[:known]
    exact = nearness(COLUMNS, made, train, table(1500, 2))
    assert exact.copies == pytest.approx(part, abs=0.005)
    made[:known, 0] += 1e-6  # nearly by heart
    near = nearness(COLUMNS, made, train, table(1500, 2))
    assert near.copies < 0.005
    assert near.seen == pytest.approx((2 + part) / 3, abs=3 * near.seen_stderr)
    assert near.nearer > 0.05 + 0.8 * part
    for each in (exact, near):
        assert "known by heart" in each.reading
        assert "no sign" not in each.reading


def test_usual_rows_are_not_taken_for_rows_known_by_heart() -> None:
    """Rows nearer to the middle than real ones lie near many rows, whoever has seen them."""
    rng = np.random.default_rng(0)
    made, train, held_out = (rng.normal(size=(n, 3)) for n in (1500, 3000, 1500))
    found = nearness([Column(each, "real") for each in "abc"], 0.3 * made, train, held_out)
    assert found.nearer > 0.08
    assert found.seen == pytest.approx(found.seen_by_chance, abs=3 * found.seen_stderr)
    assert "more usual" in found.reading


def test_many_rows_are_sampled_and_the_same_each_time() -> None:
    many, train, held_out = table(QUERIES + 500, 0), table(200, 1), table(100, 2)
    first = nearness(COLUMNS, many, train, held_out, seed=3)
    assert first.made == QUERIES
    assert first == nearness(COLUMNS, many, train, held_out, seed=3)
    assert first != nearness(COLUMNS, many, train, held_out, seed=4)
    with pytest.raises(ValueError, match="no held-out rows"):
        nearness(COLUMNS, many, train, held_out[:0])


def test_chance_alone_is_no_reading() -> None:
    """Over many seeds, rows of the same kind are hardly ever said to be known by heart."""
    readings = [nearness(COLUMNS, table(200, 3 * i), table(400, 3 * i + 1), table(200, 3 * i + 2)) for i in range(40)]
    assert sum("no sign" not in each.reading for each in readings) <= 2


def function(n: int, seed: int, noise: float = 0.0) -> np.ndarray:
    """Rows whose age and grade follow from size and city."""
    x = table(n, seed)
    x[:, 1] = (x[:, 0] > 0) + (x[:, 0] + 0.3 * x[:, 2] > 1)
    x[:, 3] = np.rint(40 + 10 * x[:, 0] + 5 * (x[:, 2] == 1))
    return x if not noise else np.where(np.random.default_rng(seed).random(x.shape) < noise, table(n, seed + 99), x)


def test_what_follows_from_the_others_is_learned() -> None:
    rows, test = function(2000, 0), function(800, 1)
    grade = predicted(COLUMNS, rows, test, "grade")
    assert grade.rows == 2000
    assert min(grade.f1, grade.accuracy, grade.auroc) > 0.97
    assert grade.r2 is None
    age = predicted(COLUMNS, rows, test, "age")
    assert age.r2 > 0.95
    assert age.f1 is None
    worse = predicted(COLUMNS, function(2000, 0, noise=0.6), test, "grade")
    assert worse.accuracy < grade.accuracy - 0.02


def test_scores_are_scikit_learns() -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

    rows, test = function(600, 0, noise=0.3), function(400, 1, noise=0.3)
    trees = HistGradientBoostingClassifier(categorical_features=[False, True, False], random_state=5)
    trees.fit(rows[:, [0, 2, 3]], rows[:, 1])
    told, chances = trees.predict(test[:, [0, 2, 3]]), trees.predict_proba(test[:, [0, 2, 3]])
    found = predicted(COLUMNS, rows, test, "grade", seed=5)
    assert found.f1 == pytest.approx(f1_score(test[:, 1], told, average="macro"))
    assert found.accuracy == pytest.approx(accuracy_score(test[:, 1], told))
    assert found.auroc == pytest.approx(roc_auc_score(test[:, 1], chances, multi_class="ovr"))


def test_a_class_of_one_row_among_many_is_learned_from() -> None:
    rows = function(10_500, 0)
    rows[:, 1] = np.where(rows[:, 1] == 2, 1, rows[:, 1])
    rows[0, 1] = 2
    assert predicted(COLUMNS, rows, function(100, 1), "grade").accuracy > 0.6


def test_a_wide_table_is_compared_with_fewer_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaekit.evaluation.synthetic.WORK", QUERIES * len(COLUMNS) * 70)
    assert nearness(COLUMNS, table(50, 0), table(100, 1), table(90, 2)).train == 70


def test_rows_without_the_target_or_of_one_class_are_no_obstacle() -> None:
    rows, test = function(300, 0), function(200, 1)
    holes = rows.copy()
    holes[::2, 1] = np.nan
    assert predicted(COLUMNS, holes, test, "grade").rows == 150
    rows[:, 1] = 2.0
    alone = predicted(COLUMNS, rows, test, "grade")
    assert alone.accuracy == pytest.approx((test[:, 1] == 2).mean())
    assert alone.auroc == pytest.approx(0.5)
    with pytest.raises(ValueError, match="unknown column 'grad'"):
        predicted(COLUMNS, rows, test, "grad")
    empty = function(300, 0)
    empty[:, 2] = np.nan
    others = predicted(tuple(COLUMNS[i] for i in (0, 1, 3)), empty[:, [0, 1, 3]], test[:, [0, 1, 3]], "grade")
    assert predicted(COLUMNS, empty, test, "grade") == others
    rows[:, 1] = np.nan
    with pytest.raises(ValueError, match="no row has a value"):
        predicted(COLUMNS, rows, test, "grade")
