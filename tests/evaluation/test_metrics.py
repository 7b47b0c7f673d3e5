"""Metrics against scikit-learn, and against what they say by trying every matching."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models_for_tests import refuses
from sklearn import metrics as oracle

from vaekit.evaluation.metrics import (
    adjusted_rand_index,
    best_match_accuracy,
    carriers,
    clustering_scores,
    is_collapsed,
    normalized_mutual_information,
)

SCORES = [normalized_mutual_information, adjusted_rand_index, best_match_accuracy]
PARTITIONS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=20).map(
    lambda pairs: np.array(pairs).T
)


def best_of_all(clusters: np.ndarray, labels: np.ndarray) -> float:
    """The most data that agree under any way to give each cluster a label of its own, or none."""
    found, wanted = np.unique(clusters), np.unique(labels)
    names = [*wanted, *[None] * len(found)]
    return max(
        np.mean([given.get(c) == y for c, y in zip(clusters, labels, strict=True)])
        for chosen in set(itertools.permutations(names, len(found)))
        for given in [dict(zip(found, chosen, strict=True))]
    )


@given(PARTITIONS)
def test_accuracy_is_that_of_the_best_matching_of_all(partitions):
    small = partitions[0] % 3, partitions[1] % 3
    for clusters, labels in (small, small[::-1]):
        assert best_match_accuracy(clusters, labels) == pytest.approx(best_of_all(clusters, labels))


@given(PARTITIONS)
def test_information_and_rand_index_are_those_of_scikit_learn(partitions):
    clusters, labels = partitions
    want = oracle.normalized_mutual_info_score(labels, clusters)
    assert normalized_mutual_information(clusters, labels) == pytest.approx(want)
    assert adjusted_rand_index(clusters, labels) == pytest.approx(oracle.adjusted_rand_score(labels, clusters))


@settings(max_examples=40)
@given(PARTITIONS, st.permutations(range(5)))
def test_names_and_sides_do_not_matter(partitions, names):
    clusters, labels = partitions
    for metric in SCORES:
        score = metric(clusters, labels)
        assert metric(np.array(names)[clusters], labels) == pytest.approx(score)
        assert metric(clusters, [f"class {y}" for y in labels]) == pytest.approx(score)
        assert metric(labels, clusters) == pytest.approx(score)
        assert metric(labels, labels) == pytest.approx(1)
        assert score <= 1 + 1e-12


def test_values_worked_out_by_hand():
    clusters, labels = [0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 1, 1]
    # I = H(y) - H(y|c) = ln 2 - ln(2)/3; of the average of ln 3 and ln 2.
    nmi = (np.log(2) * 2 / 3) / ((np.log(3) + np.log(2)) / 2)
    assert clustering_scores(clusters, labels) == pytest.approx(
        {"nmi": nmi, "accuracy": 4 / 6, "ari": oracle.adjusted_rand_score(labels, clusters)}
    )


def test_more_clusters_do_not_raise_the_accuracy():
    labels = np.repeat(np.arange(5), 20)
    each_its_own = np.arange(100)
    assert best_match_accuracy(each_its_own, labels) == 5 / 100
    assert best_match_accuracy(np.zeros(100), labels) == 1 / 5


def test_random_clusters_score_near_nothing():
    rng = np.random.default_rng(0)
    scores = clustering_scores(rng.integers(0, 10, 20_000), rng.integers(0, 10, 20_000))
    assert scores["nmi"] < 0.002
    assert abs(scores["ari"]) < 0.002
    assert 0.1 < scores["accuracy"] < 0.12


@pytest.mark.parametrize("metric", [*SCORES, clustering_scores])
@pytest.mark.parametrize(
    ("clusters", "labels", "message"),
    [
        ([], [], "clusters has shape (0,)"),
        ([0, 1], [[0, 1]], "labels has shape (1, 2)"),
        (3, [1], "clusters has shape ()"),
        ([0, 1], [0], "2 clusters for 1 labels"),
    ],
)
def test_arrays_of_other_shapes_are_refused(metric, clusters, labels, message):
    with refuses(message):
        metric(clusters, labels)


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=8))
def test_carriers_are_the_fewest_dimensions_that_hold_the_share(kl: list[float]):
    few = carriers(kl)
    if not sum(kl):
        assert few == 0
        return
    sums = [max(sum(some) for some in itertools.combinations(kl, n)) for n in range(len(kl) + 1)]
    assert sums[few] >= 0.9 * sum(kl) * (1 - 1e-9)
    assert sums[few - 1] < 0.9 * sum(kl)


def test_carriers_take_a_negative_estimate_for_none():
    assert carriers([3.0, -0.2]) == carriers([3.0, 0.0]) == 1
    assert carriers([-0.2, 0.0]) == 0


@pytest.mark.parametrize(
    ("kl", "active", "collapsed"), [(0.02, 3, True), (0.5, 0, True), (0.2, 1, False), (90.0, 0, False)]
)
def test_a_posterior_that_says_nothing_has_collapsed(kl: float, active: int, collapsed: bool):
    assert is_collapsed(kl, active) is collapsed
