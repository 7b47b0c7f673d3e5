"""Any table, from a data frame to filled, scored and made-up rows and back: nothing leaves its column."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from vaekit.interop.sklearn import VAEImputer, VAESynthesizer

TINY = {"epochs": 1, "hidden": (8,), "latent_size": 2, "samples": 5, "device": "cpu", "random_state": 0}
WORDS = ["a", "b c", "é", "-", "0", "01", "NaN?", "true"]


def reals(rng: np.random.Generator, n: int) -> pd.Series:
    values = rng.normal(rng.normal() * 100, 10.0 ** rng.integers(-3, 4), n)
    return pd.Series(values.round(int(rng.integers(0, 6))), dtype=rng.choice(["float64", "float32"]))


def heavy(rng: np.random.Generator, n: int) -> pd.Series:
    return pd.Series(np.where(rng.random(n) < rng.choice([0.0, 0.5]), 0.0, np.exp(3 * rng.normal(size=n))))


def wholes(rng: np.random.Generator, n: int) -> pd.Series:
    values = rng.poisson(rng.choice([0.5, 5, 1e4]), n) - rng.choice([0, 100])
    return pd.Series(values, dtype=rng.choice(["int64", "int32", "Int64", "Int16"]))


def words(rng: np.random.Generator, n: int) -> pd.Series:
    some = rng.choice(WORDS, rng.integers(2, 6), replace=False)
    values = pd.Series(rng.choice(some, n), dtype=rng.choice(["object", "str", "category"]))
    return values.cat.as_ordered() if values.dtype == "category" and rng.random() < 0.5 else values


def flags(rng: np.random.Generator, n: int) -> pd.Series:
    return pd.Series(rng.random(n) < 0.5, dtype=rng.choice(["bool", "boolean", "object"]))


def days(rng: np.random.Generator, n: int) -> pd.Series:
    unit = str(rng.choice(["D", "h", "s"]))
    return pd.Timestamp("2021-03-01") + pd.Series(pd.to_timedelta(rng.integers(0, 10_000, n), unit))


def shares(rng: np.random.Generator, n: int) -> pd.Series:
    return pd.Series(rng.beta(2, 3, n))


COLUMNS = (reals, heavy, wholes, words, flags, days, shares)


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    """Tables of 30 to 60 rows and 1 to 6 columns of these kinds, holes in some, indices of any kind."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    makers, n = draw(st.lists(st.sampled_from(COLUMNS), min_size=1, max_size=6)), draw(st.integers(30, 60))
    frame = pd.DataFrame({f"{make.__name__} {i}": make(rng, n) for i, make in enumerate(makers)})
    for name in frame:
        if draw(st.booleans()):
            holes = rng.random(n) < 0.3
            holes[:4] = False
            frame[name] = frame[name].mask(holes) if frame[name].dtype.kind not in "bi" else frame[name]
    indices = {"range": None, "text": [f"row {i}" for i in range(n)], "many": rng.integers(0, 9, n)}
    index = indices[draw(st.sampled_from(sorted(indices)))]
    return frame if index is None else frame.set_axis(index)


def in_its_column(made: pd.Series, own: pd.Series) -> None:
    """That made-up cells are of the type, and among the values, that the user's column can have."""
    assert own.dtype in (made.dtype, object)
    assert made.notna().all()
    seen = own.dropna()
    if own.dtype.kind in "iuf":  # floats are kept in half as many digits
        room = 1e-6 * seen.abs().max()
        # What is near 0 and near 1 is taken for numbers of that interval, all of which there may be.
        low, high = (0, 1) if seen.min() >= 0 and seen.max() <= 1 else (seen.min(), seen.max())
        assert low - room <= made.min()
        assert made.max() <= high + room
    elif own.dtype.kind == "M":
        assert made.between(seen.min(), seen.max()).all()
    else:
        assert set(made) <= set(seen)


@settings(max_examples=10)
@given(frame=frames())
def test_what_is_made_of_a_frame_is_of_its_columns(frame: pd.DataFrame) -> None:
    before = frame.copy(deep=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        imputer = VAEImputer(**TINY).set_output(transform="pandas").fit(frame)
        filled, score = imputer.transform(frame), imputer.score_samples(frame)
        made = VAESynthesizer(**TINY).fit(frame).sample(40)
    known = [each.name for each in imputer.columns_]
    for name in known:
        in_its_column(made[name].reset_index(drop=True), frame[name])
        there = frame[name].notna().to_numpy()
        assert filled[name].notna().all()
        assert list(filled[name][there]) == list(frame[name][there])
    assert filled.index.equals(frame.index)
    assert np.isfinite(score).all()
    assert np.allclose(imputer.score_samples(frame.iloc[::-1]), score[::-1])
    pd.testing.assert_frame_equal(frame, before)
