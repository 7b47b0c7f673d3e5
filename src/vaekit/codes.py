"""The codes of one run as the data of another: how models are stacked (M1 + M2 of Kingma et al. 2014)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from .datasets import Dataset, Split
from .datasets.tensors import partly_labelled, to_device
from .domains import Domain
from .networks import evaluating

if TYPE_CHECKING:
    from .runs import Run


@torch.no_grad()
def codes_of(run: Run) -> Dataset:
    """The data of `run` as its posteriors: means (N, D), and standard deviations as noise that is added when shown.

    Labels stay. Raises `ValueError` for a posterior without a standard deviation of each dimension (a flow), and for a
    conditional run, whose codes leave out what its condition says.
    """
    model, dataset = run.model, run.dataset
    if model.condition:
        raise ValueError(f"{run.path} is conditional; data.codes takes a run that is not")
    splits = {}
    with evaluating(model):
        for name, split in dataset.splits.items():
            data = to_device(dataset, name, run.spec.data.treatment, model.scale.device)
            posteriors = [model._posterior(x, None).values() for x, _ in data.blocks()]
            try:
                means, noise = (
                    torch.cat([torch.cat([getattr(q, what) for q in each], -1) for each in posteriors]).cpu().numpy()
                    for what in ("mean", "stddev")
                )
            except NotImplementedError:
                raise ValueError(
                    f"{run.path} has a posterior without standard deviations; data.codes needs them"
                ) from None
            splits[name] = Split(means, split.y, noise)
    train = splits["train"]
    location = train.x.mean(0, dtype=np.float64)
    variance = train.x.var(0, dtype=np.float64)
    if train.noise is not None:
        variance += np.square(train.noise, dtype=np.float64).mean(0)
    scale = np.sqrt(variance)
    domain = Domain("real", location=tuple(location.tolist()), scale=tuple(scale.tolist()))
    columns = tuple(f"{name}.{i}" for name, size in model.sizes.items() for i in range(size))
    return Dataset(
        f"codes of {dataset.name}", domain, splits, dataset.classes, columns, dataset.source, dataset.license
    )


def error_of_codes(run: Run, split: str = "test") -> float:
    """The fraction of `split` that a classifier on the codes of `run` gets wrong, its posterior means (M1).

    The classifier, a support vector machine of scikit-learn with its usual kernel, is trained on the rows that show
    their label, `data.labels` of them.
    """
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    data, labels = run.spec.data, run.spec.data.labels
    train, y = run.encode("train")
    rows = np.arange(len(train))
    if labels is not None:
        rows = partly_labelled(run.data("train"), labels, 1, len(run.schema.classes), data.seed).labelled.cpu().numpy()
    classifier = make_pipeline(StandardScaler().fit(train), SVC(C=10.0)).fit(train[rows], y[rows])  # type: ignore[index]
    codes, truth = run.encode(split)
    return float((classifier.predict(codes) != truth).mean())
