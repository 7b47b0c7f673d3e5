"""Features of images that are learned from data: their scale, what they see, what they do not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models_for_tests import refuses
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from vaekit.evaluation.features import class_features, pixel_features


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    found = load_digits()
    return found.images[:600, None], found.target[:600]


def test_components_of_pixels_are_the_first_on_one_scale() -> None:
    images = np.random.default_rng(0).normal(3, 1, (300, 1, 10, 10)) * np.linspace(0.1, 2, 100).reshape(1, 10, 10)
    found = pixel_features(images)
    assert found.size == 64
    seen = found.of(torch.tensor(images)).numpy()
    assert seen.var(0, ddof=1).sum() == pytest.approx(1, rel=1e-9)
    own = PCA(64).fit_transform(images.reshape(300, -1))
    ratio = seen @ seen.T / (own @ own.T)
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-6)


def test_what_lies_beside_the_components_is_not_seen() -> None:
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(200, 3)) @ rng.normal(size=(3, 25))
    found = pixel_features(flat.reshape(200, 1, 5, 5) + 1e-9 * rng.normal(size=(200, 1, 5, 5)))
    fine = np.linalg.svd(flat - flat.mean(0))[2][-1]
    with_fine = torch.tensor((flat + 1e-6 * fine).reshape(200, 1, 5, 5))
    assert "100 %" in found.what
    assert float((found.of(with_fine) - found.of(torch.tensor(flat.reshape(200, 1, 5, 5)))).abs().max()) < 1e-5


def test_features_of_classes_tell_classes_apart(digits: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = digits
    found = class_features(images[:500], labels[:500])
    rest = torch.tensor(images[500:])
    seen = found.of(rest).numpy()
    assert seen.shape == (100, found.size)

    def between(features: np.ndarray) -> float:
        """The part of the variance that is between classes."""
        within = [features[labels[500:] == label].var(0).sum() for label in range(10)]
        return float(1 - np.mean(within) / features.var(0).sum())

    assert between(seen) > between(pixel_features(images[:500]).of(rest).numpy()) + 0.1
    again = class_features(images[:500], labels[:500]).of(rest).numpy()
    np.testing.assert_array_equal(seen, again)


def test_what_nothing_is_learned_from_is_refused(digits: tuple[np.ndarray, np.ndarray]) -> None:
    with refuses("3 at least, not all the same"):
        pixel_features(np.ones((5, 1, 2, 2)))
    with refuses("labels of two classes at least"):
        class_features(digits[0], np.zeros(600, int))
