"""Rows whose holes tell of what is in them: probabilities that add up, means and draws of what is missing, and a model
that learns what goes missing.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from vaekit import Domain, train
from vaekit.distributions.selfmasked import SelfMasked, points
from vaekit.likelihoods import ColumnsLikelihood, SelfMaskedColumns

KINDS = {
    "real": Domain("real", location=2.0, scale=1.5),
    "asinh": Domain("real", location=0.0, scale=1.0, warp="asinh"),
    "positive": Domain("positive", location=1.0, scale=0.3, warp="log"),
    "nonnegative": Domain("nonnegative", location=1.0, scale=0.3, warp="log"),
    "count": Domain("count", location=2.5, scale=0.3, warp="log"),
    "integer": Domain("integer", location=0.0, scale=3.0),
    "unit": Domain("unit", location=1.0, scale=4.0),
    "binary": Domain("binary"),
    "categorical": Domain("categorical", levels=3),
    "levels": Domain("grey", levels=5),
}
SPAN = np.linspace(-20, 20, 20_001)


pytestmark = pytest.mark.usefixtures("_float64")


def masked(columns, missing="either", seed=0, rows=4, components=2) -> SelfMasked:
    """Rows of random parameters and a random mechanism."""
    torch.manual_seed(seed)
    domain = Domain("columns", columns=tuple(columns), missing=True)
    p = SelfMaskedColumns((len(columns),), domain, components, missing)
    p.mechanisms.requires_grad_(False)
    for each in p.mechanisms.parameters():
        each.normal_()
    with torch.no_grad():
        return p(0.5 * torch.randn(rows, *p.parameter_shape))


@pytest.mark.parametrize("missing", ["either", "high", "low"])
@pytest.mark.parametrize("kind", KINDS)
def test_there_or_missing_adds_up_to_one(kind, missing):
    """The integral of p(x, observed), and P(missing), of one cell."""
    p = masked([KINDS[kind]], missing)
    there, not_there = torch.ones(1, dtype=torch.bool), torch.zeros(1, dtype=torch.bool)

    def density(x: np.ndarray) -> np.ndarray:
        values = torch.as_tensor(x).view(-1, 1, 1).expand(-1, 4, 1)
        return p.marginal_log_prob(values, there).exp().numpy()

    hidden = p.marginal_log_prob(torch.zeros(4, 1), not_there).exp().numpy()
    grids = {"real": np.sinh(SPAN), "asinh": np.sinh(SPAN), "unit": np.linspace(1, 5, len(SPAN))}
    if kind in ("real", "asinh", "positive", "nonnegative", "unit"):
        x = grids.get(kind, np.exp(SPAN))
        seen = np.trapezoid(density(x), x, axis=0)
        if kind == "nonnegative":  # a mass at 0 beside
            seen += density(np.zeros(1))[0]
    else:
        low, high = {"integer": (-400, 400), "count": (0, 4000), "binary": (0, 2)}.get(kind, (0, KINDS[kind].levels))
        seen = density(np.arange(low, high, dtype=float)).sum(0)
    # Averages over what is missing are of 16 quantiles, of whole numbers before they are rounded.
    np.testing.assert_allclose(seen + hidden, 1.0, atol=0.02 if kind in ("count", "integer") else 2e-3)
    assert np.all((hidden > 0.02) & (hidden < 0.98))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_missing_is_what_draws_that_go_missing_are(kind):
    p = masked([KINDS[kind]], rows=3)
    (mechanism,) = p.mechanisms
    with torch.no_grad():
        x = p.sample((100_000,))
        weight = torch.sigmoid(-mechanism(x))
        expected = (weight * x).sum(0) / weight.sum(0)
        spread = ((weight * (x - expected).square()).sum(0) / weight.sum(0)).sqrt()
        draws = p.given_missing(x, None).sample((20_000,))
        cells = p.given_missing(x, None).parts[0].base_dist
    # One of 32 candidates is a little nearer the middle than what it stands for.
    assert ((draws.mean(0) - expected).abs() / spread).max() < 0.03
    if kind in ("binary", "categorical", "levels"):
        for level in range(KINDS[kind].levels or 2):
            share = (weight * (x == level)).sum(0) / weight.sum(0)
            probs = cells.probs if kind != "binary" else torch.stack([1 - cells.probs, cells.probs], -1)
            torch.testing.assert_close(probs[..., level], share, atol=0.01, rtol=0)
    else:
        assert ((cells.mean - expected).abs() / spread).max() < 0.05


def test_where_holes_say_nothing_it_is_the_likelihood_of_columns():
    """A mechanism that is the same for all values: a constant for each cell, and nothing else."""
    domain = Domain("columns", columns=tuple(KINDS.values()), missing=True)
    p, plain = (kind((len(KINDS),), domain, 2) for kind in (SelfMaskedColumns, ColumnsLikelihood))
    parameters = torch.randn(6, *p.parameter_shape)
    x = plain(parameters).sample()
    observed = torch.rand(6, len(KINDS)) < 0.5
    found = p(parameters).marginal_log_prob(x, observed)
    expected = plain(parameters).marginal_log_prob(x, observed) + len(KINDS) * np.log(0.5)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(p(parameters).log_prob(x), plain(parameters).log_prob(x))
    assert p(parameters).marginal_log_prob(x, observed).requires_grad


def test_points_are_of_columns_alone():
    with pytest.raises(ValueError, match="Normal has no points to average over"):
        points(torch.distributions.Normal(torch.zeros(2), torch.ones(2)))


@pytest.mark.slow
def test_what_goes_missing_is_learned_and_fills_holes_better(tmp_path):
    """Of two columns that go together, high values of the second are missing: those that are there are too low."""
    torch.set_default_dtype(torch.float32)
    rng = np.random.default_rng(0)
    a = rng.normal(size=800)
    b = 5 + 0.5 * a + np.sqrt(0.75) * rng.normal(size=800)
    hidden = rng.random(800) < 1 / (1 + np.exp(-4 * (b - 5)))
    frame = pd.DataFrame({"a": a, "b": np.where(hidden, np.nan, b)})
    sets = ("training.steps=300", "training.learning_rate=1e-2", "objective.samples=5", "data.validation=0")

    def error(recipe: str, *more: str) -> float:
        run = train(recipe, tmp_path / recipe, data=frame, sets=(*sets, *more))
        filled = run.impute(frame, samples=50).table["b"].to_numpy()
        return float(np.sqrt(((filled - b)[hidden] ** 2).mean()))

    not_at_random = error("not-miwae", "model.likelihood.missing=high")
    assert not_at_random < 0.85 * error("miwae")
