"""Features of images that need no weights of anybody's: numbers in which sets of images are compared."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

PIXELS = 64
"""Principal components at most: a covariance of them takes some thousands of images to be known well, not millions."""
HIDDEN = (128, 32)
"""Units of the layers of a classifier, of which the last are features."""
STEPS, BATCH = 1500, 200
"""Steps at most of its training, and images of a step."""


@dataclass(frozen=True)
class Features:
    """A function of images, and what it is in words."""

    what: str
    size: int
    of: Callable[[Tensor], Tensor]
    """Images (N, *event) in the data's units to features (N, size)."""
    gamma: float | None = None
    """What a polynomial kernel multiplies products by; None for one over the size."""


def pixel_features(images: np.ndarray, seed: int = 0) -> Features:
    """The first principal components of the pixels of images (N, *event), at most 64, on one scale: their variance is 1
    in all, so that a Fréchet distance of 1 is that to nothing but the mean image.

    They know brightness, colour and the large shapes, and where there are none of them; they are blind to whatever is
    fine: sharpness and texture. Raises `ValueError` for fewer than 3 images, or such that are all the same.

    >>> images = np.random.default_rng(0).normal(size=(50, 1, 4, 4))
    >>> features = pixel_features(images)
    >>> features.what, round(float(features.of(torch.tensor(images)).var(0).sum()), 6)
    ('16 principal components of pixels, 100 % of their variance', 1.0)
    """
    from sklearn.decomposition import PCA  # half a second

    pixels = _flat(images)
    if len(pixels) < 3 or not pixels.var(0).any():
        raise ValueError(f"features of pixels are learned from {len(pixels)} images; 3 at least, not all the same")
    size = min(PIXELS, pixels.shape[1], len(pixels) - 1)
    found = PCA(size, random_state=seed).fit(pixels)
    share, variance = found.explained_variance_ratio_.sum(), found.explained_variance_.sum()
    center, axes = torch.from_numpy(found.mean_), torch.from_numpy(found.components_.T / np.sqrt(variance))

    def of(given: Tensor) -> Tensor:
        return (given.cpu().double().flatten(1) - center) @ axes

    return Features(f"{size} principal components of pixels, {100 * share:.0f} % of their variance", size, of, 1.0)


def class_features(images: np.ndarray, labels: np.ndarray, seed: int = 0) -> Features:
    """What a small classifier of the images' own labels (N,) sees in images (N, *event): the last hidden layer of
    scikit-learn's `MLPClassifier` on their principal components, on one scale as those of `pixel_features`.

    They know what tells classes apart, so whether images are of the classes in their shares; they are blind to what all
    classes have in common. Raises `ValueError` unless there are two classes.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    if len(np.unique(labels)) < 2:
        raise ValueError("features of classes need labels of two classes at least; compare in pixels")
    pixels = pixel_features(images, seed)

    def seen(given: Tensor) -> np.ndarray:
        return (pixels.of(given) * pixels.size**0.5).numpy()  # of order one

    inputs = seen(torch.from_numpy(images))
    batch = min(BATCH, len(inputs))
    epochs = math.ceil(STEPS * batch / len(inputs))
    network = MLPClassifier(HIDDEN, batch_size=batch, max_iter=epochs, learning_rate_init=3e-3, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it need not be the best
        network.fit(inputs, labels)
    layers = list(zip(network.coefs_, network.intercepts_, strict=True))[:-1]

    def hidden(x: np.ndarray) -> np.ndarray:
        for weight, bias in layers:
            x = np.maximum(x @ weight + bias, 0)
        return x

    own = hidden(inputs)
    center, scale = own.mean(0), np.sqrt(own.var(0).sum())
    what = f"{HIDDEN[-1]} hidden units of a classifier of the labels"
    return Features(what, HIDDEN[-1], lambda given: torch.from_numpy((hidden(seen(given)) - center) / scale), 1.0)


def _flat(images: np.ndarray) -> np.ndarray:
    return np.asarray(images, np.float64).reshape(len(images), -1)
