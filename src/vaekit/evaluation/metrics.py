"""Metrics: pure functions of arrays.

Those of clusters against labels don't depend on how either are numbered or named; higher is better, at most 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

COLLAPSED = 0.1
"""The KL, nats per datum, below which codes are taken to say nothing."""


def clustering_scores(clusters: ArrayLike, labels: ArrayLike) -> dict[str, float]:
    """How well clusters (N,) are the classes of labels (N,), as "nmi", "ari" and "accuracy".

    These are `normalized_mutual_information`, `adjusted_rand_index` and `best_match_accuracy`. Raises `ValueError`
    unless both are of one length above 0.

    >>> clustering_scores([0, 0, 1, 2], ["one", "one", "two", "two"])
    {'nmi': 0.8, 'ari': 0.57, 'accuracy': 0.75}
    """
    return {
        "nmi": normalized_mutual_information(clusters, labels),
        "ari": adjusted_rand_index(clusters, labels),
        "accuracy": best_match_accuracy(clusters, labels),
    }


def normalized_mutual_information(clusters: ArrayLike, labels: ArrayLike) -> float:
    """The mutual information of clusters (N,) and labels (N,) over the average of their entropies, in [0, 1].

    1 where each tells the other. Random clusters are above 0, the more so the more there are.

    >>> normalized_mutual_information([2, 2, 0, 0], ["a", "a", "b", "b"])
    1.0
    """
    from sklearn.metrics import normalized_mutual_info_score  # half a second, as below

    return float(normalized_mutual_info_score(*_numbered(clusters, labels)))


def adjusted_rand_index(clusters: ArrayLike, labels: ArrayLike) -> float:
    """The fraction of pairs that clusters (N,) and labels (N,) both join or both part, adjusted for chance.

    1 for the same partition, 0 on the average for random clusters (Hubert & Arabie 1985).

    >>> adjusted_rand_index([0, 1, 0, 1], [0, 0, 1, 1])
    -0.5
    """
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(*_numbered(clusters, labels)))


def best_match_accuracy(clusters: ArrayLike, labels: ArrayLike) -> float:
    """The fraction of data whose cluster is matched with their label, by the best one-to-one matching.

    clusters (N,), labels (N,); there may be more clusters than classes or fewer: those left without a partner count as
    wrong, so that more clusters alone don't raise it. Source: Xie et al. 2016, eq. 10.

    >>> best_match_accuracy([1, 1, 0, 2], [0, 0, 1, 1])
    0.75
    """
    from scipy.optimize import linear_sum_assignment

    rows, columns = _numbered(clusters, labels)
    together = np.zeros((rows.max() + 1, columns.max() + 1), dtype=np.int64)
    np.add.at(together, (rows, columns), 1)
    return float(together[linear_sum_assignment(together, maximize=True)].sum() / len(rows))


def carriers(kl: ArrayLike, share: float = 0.9) -> int:
    """The fewest dimensions that hold a `share` of the KL, of its terms (D,); 0 where it is none.

    >>> carriers([0.01, 5.0, 0.02, 4.0])
    2
    """
    terms = np.sort(np.clip(np.asarray(kl, dtype=np.float64), 0, None))[::-1]
    return int(np.searchsorted(np.cumsum(terms), share * terms.sum() * (1 - 1e-12)) + 1) if terms.sum() > 0 else 0


def is_collapsed(kl: float, active_units: int) -> bool:
    """Whether a posterior is nearly the prior, whatever the data.

    That is a KL below 0.1 nats, or below one nat where no dimension's mean varies over the data. The codes then
    say nothing of the data, and the decoder ignores them (Bowman et al. 2016).
    """
    return kl < COLLAPSED or (active_units == 0 and kl < 1)


def _numbered(clusters: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Both as whole numbers from 0, whatever they were."""
    given = {"clusters": np.asarray(clusters), "labels": np.asarray(labels)}
    for name, values in given.items():
        if values.ndim != 1 or not len(values):
            raise ValueError(f"{name} has shape {values.shape}; accepted: (N,), N > 0")
    if len(given["clusters"]) != len(given["labels"]):
        raise ValueError(
            f"there are {len(given['clusters'])} clusters for {len(given['labels'])} labels; accepted: one each"
        )
    numbers = [np.unique(values, return_inverse=True)[1] for values in given.values()]
    return numbers[0], numbers[1]
