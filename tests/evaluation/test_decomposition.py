"""What the KL is made of: exact where codes of all data are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from models_for_tests import data_of, linear_gaussian, model_of, refuses, split_of
from scipy import integrate, stats

from vaekit.data import Dataset, Split
from vaekit.data.tensors import as_split
from vaekit.evaluation import decomposition
from vaekit.evaluation.decomposition import decomposed

pytestmark = pytest.mark.usefixtures("_float64")


def test_parts_of_a_linear_model_are_the_known_ones() -> None:
    """With the true posterior q(z) is the prior, and I(x; z) that of two normals."""
    truth = linear_gaussian()
    model = truth.model()
    found = decomposed(model, split_of(model, truth.draw(4000)), "train")
    square = truth.weight.T @ truth.weight / truth.sigma**2
    exact = 0.5 * float(torch.logdet(torch.eye(2) + square))
    assert abs(found.mutual_information.value - exact) < 4 * found.mutual_information.stderr + 0.02
    assert abs(found.marginal_kl.value) < 4 * found.marginal_kl.stderr + 0.02
    assert found.total_correlation is not None
    assert found.dimension_wise_kl is not None
    parts = found.mutual_information.value + found.total_correlation.value + found.dimension_wise_kl.value
    assert parts == pytest.approx(found.kl.value)


def test_few_data_are_a_mixture_that_can_be_integrated() -> None:
    truth = linear_gaussian(size=2, latent=1)
    model, x = truth.model(), truth.draw(6)
    data = split_of(model, x.repeat(300, 1))  # as many draws of each
    with torch.no_grad():
        q = model.latents(model.asked(data.rows(np.arange(6))))[0].q
    means, scale = q.mean[:, 0].numpy(), float(q.stddev[0])

    def density(z: float) -> float:
        return float(stats.norm(means, scale).pdf(z).mean())

    entropy = -integrate.quad(lambda z: density(z) * math.log(density(z)), -6, 6, points=sorted(means))[0]
    expected = entropy - float(stats.norm(0, scale).entropy())
    found = decomposed(model, data, "train")
    assert abs(found.mutual_information.value - expected) < 4 * found.mutual_information.stderr
    assert found.total_correlation is not None
    assert abs(found.total_correlation.value) < 1e-9  # of one dimension


def test_data_that_are_all_told_apart_say_so() -> None:
    truth = linear_gaussian(sigma=1e-3)
    model = truth.model()
    found = decomposed(model, split_of(model, truth.draw(50)), "train")
    assert found.mutual_information.value == pytest.approx(math.log(50), abs=1e-6)
    assert "which it nearly is" in found.reading
    same = decomposed(model, split_of(model, truth.draw(1).repeat(50, 1)), "train")
    assert same.mutual_information.value == pytest.approx(0, abs=1e-9)


def test_blocks_of_data_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = linear_gaussian()
    model = truth.model(wrong=0.4)
    data = split_of(model, truth.draw(40))
    whole = decomposed(model, data, "train")
    monkeypatch.setattr(decomposition, "ELEMENTS", 40 * 2 * 7)
    parts = decomposed(model, data, "train")
    assert parts.mutual_information.value == pytest.approx(whole.mutual_information.value)
    assert parts.total_correlation is not None
    assert whole.total_correlation is not None
    assert parts.total_correlation.value == pytest.approx(whole.total_correlation.value)


def test_of_a_prior_for_each_condition_there_is_no_distance_from_one() -> None:
    """E log q(z) - log p(z given y) is no divergence: of classes that are told apart it is below 0."""
    y = np.arange(40) % 2
    given = model_of(condition=2, prior="diagonal-normal").eval()
    x = data_of(given.domain, (40, 4)).numpy()
    split = as_split(Dataset("data", given.domain, {"train": Split(x, y)}, ("a", "b")), "train", given.domain)
    shift = dict(given.priors["z"].named_parameters())["shift.weight"]
    with torch.no_grad():
        shift.zero_()
    assert decomposed(given, split, "train").marginal_kl is not None
    with torch.no_grad():
        shift[0] = torch.tensor([-4.0, 4.0])
    found = decomposed(given, split, "train")
    assert found.marginal_kl is None
    assert found.dimension_wise_kl is None
    assert found.total_correlation is not None
    assert found.mutual_information.value > -4 * found.mutual_information.stderr
    assert "another for each condition" in found.reading
    names = [name for name, *_ in decomposition.rows_of(found)]
    assert names == ["KL(q(z|x) || p(z|y))", "I(x; z)", "total correlation"]


def test_what_there_is_not_is_left_out_and_what_it_is_not_for_is_refused() -> None:
    flows = model_of(posterior="flow").eval()
    found = decomposed(flows, split_of(flows, data_of(flows.domain, (30, 4))), "train")
    assert found.total_correlation is None
    assert found.kl.value == pytest.approx(found.mutual_information.value + found.marginal_kl.value)
    mixture = model_of(prior="mixture").eval()
    found = decomposed(mixture, split_of(mixture, data_of(mixture.domain, (30, 4))), "train")
    assert found.total_correlation is not None
    assert found.dimension_wise_kl is None
    classes = model_of(posterior="relaxed-categorical").eval()
    with refuses("is of classes"):
        decomposed(classes, split_of(classes, data_of(classes.domain, (30, 4))), "train")
