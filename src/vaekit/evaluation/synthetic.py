"""How good rows are that a model made up, and how private: how near they lie to the rows that it was trained on, and
what is learned of them.

A table is its numbers (N, D) float64, those of its `Column`s, NaN where a cell is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..data.columns import Column
from ..errors import unknown

QUERIES, ROWS = 2000, 50_000
"""Rows whose nearest are looked for, and rows among which, at most: a sample where there are more."""
LOW = 0.05
"""The part of held-out rows that lie nearest to training rows."""
CELLS = 1 << 17
"""Distances that are computed together: as many as caches hold."""
WORK = 4_000_000_000
"""Differences of cells at most, in one table's distances to another: a wide table is compared with fewer rows."""
BINS = 255
"""The most categories that scikit-learn's boosted trees take as such."""
ERRORS = 3.0
"""Standard errors beyond which a share is taken for another."""


@dataclass(frozen=True)
class Nearness:
    """How near made-up rows lie to training rows, beside how near rows lie that were held out.

    Distances are Gower's, in [0, 1]: 0.1 is one column in ten wholly different, or all by a tenth of their range.
    """

    made: int
    """The rows of each that were compared."""
    train: int
    held_out: int
    median: float
    """The median of the distances to the nearest training row, of made-up rows and of held-out ones; then the 5 %
    quantiles.
    """
    median_held_out: float
    low: float
    low_held_out: float
    nearer: float
    """The share of made-up rows that lie nearer than the 5 % quantile of held-out rows: about 0.05 where they are like
    these.
    """
    seen: float
    """The share of made-up rows whose nearest real row is one of training; what it would be were it chance which real
    rows were trained on, and its standard error then.
    """
    seen_by_chance: float
    seen_stderr: float
    copies: float
    """The share of rows that are a training row in every cell, of all made-up ones and of all held-out ones."""
    copies_held_out: float

    @property
    def reading(self) -> str:
        """What the numbers say, in a sentence."""
        beyond = self.seen > self.seen_by_chance + ERRORS * self.seen_stderr
        if beyond or self.copies > _more(self.copies_held_out, self.made, self.held_out):
            return "made-up rows lie nearer to training rows than chance brings unseen ones: some are known by heart"
        if self.nearer > _more(LOW, self.made, self.held_out):
            return (
                "made-up rows lie near training rows more often than unseen rows do, but no less near to unseen ones: "
                "they are more usual than real rows, not known by heart"
            )
        return "made-up rows lie no nearer to training rows than unseen rows do: no sign that any is known by heart"


@dataclass(frozen=True)
class Prediction:
    """How well one column is told from the others on held-out rows, by boosted trees (scikit-learn's
    HistGradientBoosting) that were trained on some rows.
    """

    target: str
    rows: int
    """The rows that they were trained on."""
    f1: float | None = None
    """Of categories: the mean F1 of all that held-out rows have, the part that are right, and the mean area under the
    ROC curve of each against the rest.
    """
    accuracy: float | None = None
    auroc: float | None = None
    r2: float | None = None
    """Of numbers and dates: the part of the variance that is explained."""


def spans(columns: Sequence[Column], rows: np.ndarray) -> np.ndarray:
    """What differences in each column (D,) are divided by: the range of its numbers in `rows` (N, D), of ordered
    categories their number less one, of others 1. Of a column of one value next to nothing, so that any other is far.
    """
    found = np.ones(len(columns))
    for i, column in enumerate(columns):
        if column.kind == "ordinal":
            found[i] = len(column.categories) - 1
        elif not column.categories:
            known = rows[~np.isnan(rows[:, i]), i]
            found[i] = np.ptp(known) if len(known) else 0.0
    return np.maximum(found, np.finfo(np.float64).tiny)


def nearest(x: np.ndarray, rows: np.ndarray, spans: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distance (N,) of each row of x (N, D) to the nearest of `rows` (M, D), and which that is (N,), of several the
    first. It is Gower's, the mean over columns of

        min(1, |a - b| / span)

    which of categories is 0 or 1. A column that misses in either row is left out; rows that have less than half of the
    columns in common are not compared (infinitely far). Source: Gower 1971, A general coefficient of similarity.

    >>> nearest(np.array([[1.0, 2.0], [np.nan, 0.0]]), np.array([[0.0, 2.0], [9.0, 1.0]]), np.array([10.0, 1.0]))
    (array([0.05, 1.  ]), array([0, 0]))
    """
    known, known_rows = (~np.isnan(each) for each in (x, rows))
    whole = bool(known.all() and known_rows.all())
    columns, step = np.ascontiguousarray(rows.T), max(1, CELLS // len(rows))
    found, which = np.empty(len(x)), np.empty(len(x), np.int64)
    with np.errstate(over="ignore"):  # of a column of one value
        for start in range(0, len(x), step):
            part = x[start : start + step]
            total, apart = np.zeros((2, len(part), len(rows)))
            for i, column in enumerate(columns):
                np.subtract(part[:, i, None], column, out=apart)
                np.abs(apart, out=apart)
                apart /= spans[i]
                np.fmin(apart, 1.0, out=apart)  # 1 of what is missing
                total += apart
            if whole:
                total /= len(spans)
            else:
                common = known[start : start + step].astype(np.float64) @ known_rows.T.astype(np.float64)
                total -= len(spans) - common
                total /= np.maximum(common, 1)
                total[2 * common < len(spans)] = np.inf
            which[start : start + step] = total.argmin(1)
            found[start : start + step] = total.min(1)
    return found, which


def nearness(
    columns: Sequence[Column], made: np.ndarray, train: np.ndarray, held_out: np.ndarray, seed: int = 0
) -> Nearness:
    """How near made-up rows (S, D) lie to those of training (N, D), beside held-out ones (M, D).

    Of each at most `QUERIES` are compared with at most `ROWS`, fewer where there are more than forty columns: samples
    by `seed`. Copies are looked for among all. Raises `ValueError` where a table has no rows.
    """
    for what, each in {"made-up": made, "training": train, "held-out": held_out}.items():
        if not len(each):
            raise ValueError(f"there are no {what} rows to compare with")
    rng = np.random.default_rng(seed)
    queries, unseen = sample(made, QUERIES, rng), sample(held_out, QUERIES, rng)
    most = min(ROWS, WORK // (QUERIES * len(columns)))
    rows, own = sample(train, most, rng), spans(columns, train)
    to_train, of_held_out = (nearest(each, rows, own)[0] for each in (queries, unseen))
    seen, by_chance, seen_stderr = _seen(queries, rows, sample(held_out, most, rng), own, rng)
    low, low_held_out = (float(np.quantile(each, LOW, method="lower")) for each in (to_train, of_held_out))
    known = {row.tobytes() for row in train + 0.0}  # -0 is 0
    return Nearness(
        len(queries),
        len(rows),
        len(unseen),
        float(np.median(to_train)),
        float(np.median(of_held_out)),
        low,
        low_held_out,
        float((to_train < low_held_out).mean()),
        seen,
        by_chance,
        seen_stderr,
        float(np.mean([row.tobytes() in known for row in made + 0.0])),
        float(np.mean([row.tobytes() in known for row in held_out + 0.0])),
    )


def _seen(
    x: np.ndarray, train: np.ndarray, held_out: np.ndarray, spans: np.ndarray, rng: np.random.Generator
) -> tuple[float, float, float]:
    """The share of the rows x whose nearest of both tables is of `train`, what it is by chance, and its standard error
    then: rows of x that lie nearest to the same row are not independent of each other.
    """
    both = np.concatenate([train, held_out])
    order = rng.permutation(len(both))  # of rows as near, any may be the first
    which = order[nearest(x, both[order], spans)[1]]
    chance, weights = len(train) / len(both), np.bincount(which) / len(x)
    error = np.sqrt(chance * (1 - chance) * np.square(weights).sum())
    return float((which < len(train)).mean()), chance, float(error)


def predicted(
    columns: Sequence[Column], rows: np.ndarray, held_out: np.ndarray, target: str, seed: int = 0
) -> Prediction:
    """How well the column `target` of the rows `held_out` (M, D) is told by what is learned of `rows` (N, D).

    At most `ROWS` of them, a sample by `seed`; those that miss the target are left out. Raises `ValueError` for a
    column that is not there, and where no row has it.
    """
    names = [column.name for column in columns]
    if target not in names:
        raise ValueError(unknown("column", target, names))
    at = names.index(target)
    rows = sample(rows[~np.isnan(rows[:, at])], ROWS, np.random.default_rng(seed))
    held_out = held_out[~np.isnan(held_out[:, at])]
    if not len(rows) or not len(held_out):
        raise ValueError(f"no row has a value in the column {target!r}, which is to be told from the others")
    kept = [i for i in range(len(columns)) if i != at and not np.isnan(rows[:, i]).all()]  # trees want a value of each
    if not kept:
        raise ValueError(f"no column but {target!r} has a value, from which it could be told")
    x, y, test, truth = rows[:, kept], rows[:, at], held_out[:, kept], held_out[:, at]
    as_categories = [columns[i].kind == "categorical" and len(columns[i].categories) <= BINS for i in kept]
    if columns[at].categories:
        return Prediction(target, len(rows), *_classified(x, y, test, truth, as_categories, seed))
    from sklearn.ensemble import HistGradientBoostingRegressor  # half a second

    trees = HistGradientBoostingRegressor(categorical_features=as_categories, random_state=seed, early_stopping=False)
    error = np.square(trees.fit(x, y).predict(test) - truth).mean()
    return Prediction(target, len(rows), r2=float(1 - error / truth.var()) if truth.var() > 0 else None)


def _classified(  # what `predicted` has made ready
    x: np.ndarray, y: np.ndarray, test: np.ndarray, truth: np.ndarray, as_categories: list[bool], seed: int
) -> tuple[float, float, float | None]:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import f1_score, roc_auc_score

    classes = np.unique(y)
    if len(classes) == 1:
        chances = np.ones((len(test), 1))
    else:
        trees = HistGradientBoostingClassifier(  # which, to stop early, would want two rows of each class
            categorical_features=as_categories, random_state=seed, early_stopping=False
        )
        chances = trees.fit(x, y).predict_proba(test)
    told, there = classes[chances.argmax(1)], np.unique(truth)
    areas = []
    for each in there if len(there) > 1 else ():
        of_class = chances[:, classes == each].sum(1)
        areas.append(float(roc_auc_score(truth == each, of_class)))
    f1 = f1_score(truth, told, labels=there, average="macro", zero_division=0)
    return float(f1), float((told == truth).mean()), float(np.mean(areas)) if areas else None


def sample(rows: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """At most so many of the rows, in their order."""
    return rows if len(rows) <= most else rows[np.sort(rng.choice(len(rows), most, replace=False))]


def _more(share: float, n: int, m: int) -> float:
    """A share of n that is more than the same of m by more than chance."""
    return share + ERRORS * (share * (1 - share) * (1 / n + 1 / m)) ** 0.5
