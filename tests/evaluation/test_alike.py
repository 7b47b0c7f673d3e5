"""Rows that the same random numbers are drawn for: what is said of one depends on no other."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch

from vaekit import VAE, load_dataset
from vaekit.data.batch import Batch
from vaekit.data.tensors import to_device
from vaekit.evaluation import alike, weighted
from vaekit.evaluation.anomalies import anomalies
from vaekit.evaluation.imputation import fill, impute
from vaekit.models import scoring
from vaekit.runs.in_memory import train_in_memory
from vaekit.seeding import seeded
from vaekit.spec.targets import resolve

TINY = [
    "training.steps=none",
    "training.epochs=2",
    "model.encoder.hidden=[8]",
    "model.decoder.hidden=[8]",
    "model.latents.z.size=2",
]


def table(rows: int = 40) -> pd.DataFrame:
    """One of every kind of column that a likelihood has, a fifth of its cells missing."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "real": rng.normal(size=rows),
            "positive": rng.lognormal(size=rows),
            "zeros": rng.lognormal(size=rows) * (rng.random(rows) < 0.7),
            "count": rng.poisson(30, rows),
            "unit": rng.random(rows).round(3),
            "flag": rng.integers(0, 2, rows),
            "level": rng.integers(0, 5, rows),
            "word": rng.choice(["a", "b", "c"], rows),
        }
    )
    return frame.mask(rng.random(frame.shape) < 0.2)


def model_and_rows(frame: pd.DataFrame, *sets: str) -> tuple[VAE, Batch]:
    """A model of a table in float64, and its rows."""
    dataset = load_dataset(frame, validation=0, test=0)
    spec = resolve("table", [*TINY, "training.early_stopping=none", *sets])
    model = train_in_memory(spec, dataset).model.double()
    split = to_device(dataset, "train", spec.data.preprocessing)
    return model, model.typed(split.rows(np.arange(len(split))))


def score(model: VAE, batch: Batch, samples: int) -> torch.Tensor:
    return anomalies(model, batch, samples).score


@pytest.mark.parametrize(("posterior", "chunk"), [("diagonal-normal", 2), ("full-rank-normal", 9), ("flow", 9)])
def test_rows_alone_among_others_and_in_any_order_are_the_same(
    posterior: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weighted, "CHUNK", chunk)
    model, batch = model_and_rows(table(), f"model.latents.z.posterior={posterior}")
    order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(0))[:11]
    for ask in (score, fill):
        every, some, one = (ask(model, each, 5) for each in (batch, batch.take(order), batch.take(order[:1])))
        torch.testing.assert_close(some, every[order], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(one, every[order[:1]], rtol=1e-9, atol=1e-9)


def test_they_estimate_the_same_as_rows_with_numbers_of_their_own() -> None:
    model, batch = model_and_rows(table())
    with seeded(1), torch.no_grad():
        own = -weighted.weighted(model.eval(), batch, 150, 150, lambda _: []).log_prob
    same = anomalies(model, batch, 150, seed=1).score
    errors = [anomalies(model, batch, 150, seed=seed).score for seed in range(2, 14)]
    spread = torch.stack(errors).std(0).clamp(min=1e-3)
    # Of two estimates apart, in units of a spread of twelve, the mean square is 2 x 11 / 9; rows vary together.
    assert float(((own - same) / spread).square().mean().sqrt()) < 3


@pytest.mark.parametrize(("likelihood", "draws"), [("columns", 3), ("self-masked-columns", 0)])
def test_rows_are_filled_alike_alone_among_others_and_in_any_order(likelihood: str, draws: int) -> None:
    model, batch = model_and_rows(table(10), f"model.likelihood={likelihood}")
    order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(0))
    every = impute(model, batch, 20, draws)
    for rows in (order[:7], order[:1]):
        some = impute(model, batch.take(rows), 20, draws)
        assert torch.equal(some.x, every.x[rows])
        assert torch.equal(some.spread, every.spread[rows])
        assert torch.equal(some.effective_samples, every.effective_samples[rows])
        if some.draws is not None and every.draws is not None:
            assert torch.equal(some.draws, every.draws[:, rows])


def test_draws_of_equal_rows_differ_and_their_means_do_not() -> None:
    model, batch = model_and_rows(table(16))
    assert batch.observed is not None
    hole = int((~batch.observed).any(1).nonzero()[0])
    found = impute(model, batch.take(torch.tensor([hole] * 30)), 50, draws=2)
    gone = ~batch.observed[hole]
    assert found.draws is not None
    assert len(found.draws[0][:, gone].unique(dim=0)) > 1
    alone = impute(model, batch.take(torch.tensor([hole])), 50, draws=2)
    assert alone.draws is not None
    assert torch.equal(alone.draws[:, 0], found.draws[:, 0])
    before = Counter[bytes]()
    parts = [impute(model, batch.take(torch.tensor([hole] * 15)), 50, 2, before=before).draws for _ in range(2)]
    assert all(torch.equal(part, own) for part, own in zip(parts, found.draws.split(15, 1), strict=True))
    assert len(impute(model, batch.take(torch.tensor([hole] * 30)), 50).x.unique(dim=0)) == 1


def test_cells_are_those_that_impute_gives() -> None:
    model, batch = model_and_rows(table())
    own, same = impute(model, batch, 1000), fill(model, batch, 1000)
    assert batch.observed is not None
    assert torch.equal(same[batch.observed], batch.x[batch.observed])
    near = (own.x - same).abs() < 0.5 * own.spread.clamp(min=1e-6)
    assert float(near[~batch.observed].double().mean()) > 0.95


def test_rows_in_float32_are_filled_to_the_bit_alike_and_draws_with_them() -> None:
    model, batch = model_and_rows(table(60))
    model = model.float()
    batch = model.typed(batch)
    every = impute(model, batch, 200, 3)
    for rows in (torch.arange(59, -1, -1), torch.arange(20), torch.tensor([31])):
        some = impute(model, batch.take(rows), 200, 3)
        assert torch.equal(some.x, every.x[rows])
        assert torch.equal(some.spread, every.spread[rows])
        assert some.draws is not None
        assert every.draws is not None
        assert torch.equal(some.draws, every.draws[:, rows])


def test_rows_filled_one_after_another_have_the_same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = model_and_rows(table(16))
    together = impute(model, batch, 20, 3)

    def refuse(*given: object, **options: object) -> object:
        raise RuntimeError("vmap: it looks like you're calling .item() on a Tensor")

    monkeypatch.setattr(torch.func, "vmap", lambda function, **options: refuse)
    in_turn = impute(model, batch, 20, 3)
    assert together.draws is not None
    assert in_turn.draws is not None
    for one, other in ((together.x, in_turn.x), (together.spread, in_turn.spread), (together.draws, in_turn.draws)):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("ask", ["score", "fill", "impute"])
def test_they_are_computed_at_once(ask: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = model_and_rows(table())

    def refuse(*given: object) -> object:
        raise AssertionError("vmap did not take it")

    monkeypatch.setattr(alike, "_in_turn", refuse)
    asked = {"score": score, "fill": fill, "impute": lambda *given: impute(*given).x}[ask]
    assert len(asked(model, batch, 5)) == len(batch)


def test_a_model_that_vmap_can_t_take_gives_the_same_row_after_row(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = model_and_rows(table())
    expected = anomalies(model, batch, 5).score

    def refuse(*given: object, **options: object) -> object:
        raise RuntimeError("vmap: it looks like you're calling .item() on a Tensor")

    monkeypatch.setattr(torch.func, "vmap", lambda function, **options: refuse)
    torch.testing.assert_close(anomalies(model, batch, 5).score, expected, rtol=1e-9, atol=1e-9)


def test_little_memory_changes_nothing() -> None:
    model, batch = model_and_rows(table())
    batch = Batch(*[None if each is None else each.repeat(20, 1) for each in (batch.x, batch.y, batch.observed)])
    much, little = (anomalies(model, batch, 5, memory=memory) for memory in (4 * scoring.MEMORY, 2**20))
    torch.testing.assert_close(much.score, little.score, rtol=1e-9, atol=1e-9)


def test_an_error_of_the_model_s_own_is_told() -> None:
    def fail(batch: Batch) -> alike.Found:
        raise ValueError("no such data")

    with pytest.raises(ValueError, match="no such data"):
        alike.row_by_row(fail, Batch(torch.zeros(3, 2)), 2, 0)


@pytest.mark.parametrize("values", [[-1.5, 0.25, 3.0], [0.0, 1.0]], ids=["real", "binary"])
def test_holes_of_columns_that_are_all_of_one_kind_are_filled(values: list[float]) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.choice(values, (40, 3)), columns=list("abc"))
    frame = frame + (rng.normal(size=frame.shape) if len(values) == 3 else 0)
    model, batch = model_and_rows(frame.mask(rng.random(frame.shape) < 0.2))
    assert model.domain.kind == ("real" if len(values) == 3 else "binary")
    assert impute(model, batch, 5).x.isfinite().all()
    assert fill(model, batch, 5).isfinite().all()
