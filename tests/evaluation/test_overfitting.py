"""What a model knows of its training rows beyond others, and active units: exact where all is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models_for_tests import float64, linear_gaussian, refuses, split_of
from scipy import stats

from vaekit.evaluation.overfitting import active_units, overfitting, rows_of


def test_with_the_true_posterior_the_gap_is_that_of_the_densities() -> None:
    with float64():
        truth = linear_gaussian()
        model = truth.model()
        train, others = truth.draw(300), truth.draw(200, seed=1)
        found = overfitting(model, split_of(model, train), split_of(model, others), "test", samples=2)
        exact = stats.multivariate_normal(truth.mean, truth.covariance)
        nll = [-exact.logpdf(each.numpy()) for each in (others, train)]
        assert found.gap.value == pytest.approx(nll[0].mean() - nll[1].mean(), abs=1e-6)
        error = np.hypot(*(each.std(ddof=1) / len(each) ** 0.5 for each in nll))
        assert found.gap.stderr == pytest.approx(error)
        assert found.encoder_gap == pytest.approx(0, abs=0.2)  # where q is exact there is none, but for two draws
        assert abs(found.gap.value) < 4 * found.gap.stderr
        assert "no more is known" in found.reading
        # Other data than those of training are less well known.
        far = overfitting(model, split_of(model, train), split_of(model, others + 3), "test", n=100, samples=1)
        assert (far.n, far.n_train) == (100, 100)
        assert far.gap.value > 3 * far.gap.stderr
        assert "better known" in far.reading
        # Of one datum there is no error, so that nothing is said of others.
        one = overfitting(model, split_of(model, train), split_of(model, others[:1]), "test", samples=1)
        assert one.reading == "one datum tells nothing of others"
        assert "nan" not in str(rows_of(one))
        # A posterior that is wrong loosens the ELBO of both alike: the encoder's gap stays small, the ELBO is less.
        wrong = truth.model(wrong=0.3)
        loose = overfitting(wrong, split_of(wrong, train), split_of(wrong, others), "test", samples=20)
        assert abs(loose.gap.value - found.gap.value) < 0.2
        assert abs(loose.encoder_gap) < 0.2


def test_active_units_fall_with_the_threshold_and_have_errors_near_it() -> None:
    codes = np.random.default_rng(0).normal(size=(1000, 4)) * np.sqrt([2.0, 0.1, 0.002, 0.0])
    found = active_units(codes, "test", thresholds=(1e-3, 0.01, 0.1, 1.0))
    assert [each.value for each in found.active][:2] == [3.0, 2.0]
    assert found.active[-1].value == 1
    errors = [each.stderr for each in found.active]
    assert errors[0] == errors[1] == errors[3] == 0  # no unit is near
    assert 0.1 < errors[2] < 0.6  # one lies on it: a throw of a coin
    assert found.active[1].value == (codes.var(0, ddof=1) > 0.01).sum()
    with refuses("codes have shape (5,); accepted: (N, D), N > 1"):
        active_units(torch.zeros(5))
