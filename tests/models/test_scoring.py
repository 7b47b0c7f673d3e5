"""Scores: the same from a recording and by Python, how their draws are made, and how much memory they take.

Numbers are in test_oracles.
"""

from __future__ import annotations

import logging
from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from models_for_tests import SMALL, data_of, model_of, recorded_after, scored
from torch import Tensor

from vaekit.data.batch import Batch
from vaekit.distributions.moments import DRAWS
from vaekit.models import VAE, scoring
from vaekit.models.scoring import Scorer, Scores, plan
from vaekit.models.trace import Trace
from vaekit.seeding import seeded

pytestmark = pytest.mark.usefixtures("_float64")


def test_a_datum_that_can_not_be_has_a_log_prob_of_minus_infinity() -> None:
    """Whatever the chunks of its draws, and those beside it are what they are without it."""
    model = model_of(likelihood="normal").eval()
    x = data_of(model.domain, (2, 4))

    def trace(samples: int) -> Trace:
        found = model.trace(Batch(x), samples)
        found.__dict__["_log_px"] = found._log_px.masked_fill(torch.tensor([False, True]), -torch.inf)
        return found

    for chunk in (3, 7):
        with seeded(0):
            found = scored(trace, 7, chunk)
        assert found.log_prob[0].isfinite()
        assert found.log_prob_variance[0] >= 0
        assert found.log_prob[1] == found.elbo[1] == -torch.inf


@pytest.mark.parametrize("samples", [0, -3])
def test_no_samples_are_refused(samples: int):
    with pytest.raises(ValueError, match=f"samples must be at least 1, got {samples}"):
        scored(lambda draws: pytest.fail("nothing is to be drawn"), samples, 4)


def test_scores_of_rows_some_at_a_time_are_those_of_all(monkeypatch: pytest.MonkeyPatch):
    model = model_of(latents={"a": 1, "b": 2}).eval()
    x = data_of(model.likelihood.domain, (5, 4))
    monkeypatch.setattr(scoring, "plan", lambda *given: (1, 3))
    scorer = Scorer(model.trace, model, 3)
    with seeded(0):
        parts = [scorer(Batch(row)) for row in x.split(1)]
    with seeded(0):
        whole = scorer(Batch(x))
    for field in fields(whole):
        found = [getattr(each, field.name) for each in (whole, *parts)]
        if field.name == "tokens":  # there are none
            continue
        if field.name == "kl_terms":
            found = [torch.cat(list(terms.values()), -1) for terms in found]
        assert len(found[0]) == 5
        assert torch.equal(found[0], torch.cat(found[1:])) or found[0].isnan().all()


@pytest.mark.parametrize(
    "case", [{}, {"posterior": "flow", "prior": "vamp"}, {"encoder": "conv", "event_shape": (1, 9, 9)}]
)
@pytest.mark.parametrize("samples", [1, 40, 5000])
def test_plans_use_what_memory_there_is_and_no_more(case: dict, samples: int):
    model = model_of(**case)
    x = data_of(model.likelihood.domain, (3, *model.event_shape))
    for memory in (0, 10_000, 10**6, 10**8):
        rows, chunk = plan(model.trace, Batch(x), 10_000, samples, memory)
        assert 1 <= rows <= 10_000
        assert chunk >= 1
        if memory == 0:
            assert (rows, chunk) == (1, 1)
    # More memory is never used worse, and a great deal of it fits everything.
    plans = [plan(model.trace, Batch(x), 10_000, samples, m) for m in (10**5, 10**6, 10**7, 10**13)]
    assert [rows for rows, _ in plans] == sorted(rows for rows, _ in plans)
    assert plans[-1][0] == 10_000
    assert plans[-1][1] >= samples


@pytest.mark.parametrize("samples", [1, 16, 100, 10_000])
@pytest.mark.parametrize(("row", "draw"), [(50, 50), (5_000, 10), (0, 500)])
def test_plans_count_what_a_model_a_row_and_a_draw_take(samples: int, row: int, draw: int):
    def trace(batch: Batch, draws: int) -> SimpleNamespace:
        made = torch.empty(1_000), torch.empty(len(batch), row), torch.empty(draws, len(batch), draw)
        return SimpleNamespace(log_weight=made, kl=made, latents=())

    memory, n = 4 * 2**20, 100
    rows, chunk = plan(trace, Batch(torch.zeros(1, 1)), n, samples, memory)
    # A draw of a row is of `draw` float64; a row's encoding is there once for all its draws.
    used = 8 * (1_000 + rows * (row + min(chunk, samples) * draw))
    assert used <= memory
    assert rows == n or chunk < samples or 8 * (1_000 + (rows + 1) * (row + max(samples, DRAWS) * draw)) > 0.9 * memory
    assert chunk >= min(samples, DRAWS)


# -- recordings ------------------------------------------------------------------------------------------------------


CASES: dict[str, dict[str, Any]] = {
    "normal": {"latents": {"a": 1, "b": 2}},
    "full rank": {"posterior": "full-rank-normal"},
    "flows": {"posterior": "flow", "prior": "flow", "options": SMALL | {"flow": {"transforms": 1, "hidden": [4]}}},
    "vamp": {"prior": "vamp"},
    "given y": {"condition": 3, "prior": "mixture"},
    "discrete": {"latents": {"c": 3, "d": 4}, "posterior": "relaxed-categorical"},
    "images": {"encoder": "conv", "decoder": "conv", "event_shape": (1, 9, 9)},
}


def both(model: VAE, monkeypatch: pytest.MonkeyPatch, n: int = 7, memory: int = 60_000) -> list[Scores]:
    """Scores by Python, and from recordings: of two chunks that are alike another."""
    x = data_of(model.likelihood.domain, (n, *model.event_shape)).to(model.scale.dtype)
    y = torch.arange(n) % model.condition if model.condition else None
    found = []
    for first in (10**9, 1):
        recorded_after(first, monkeypatch)
        found.append(model.score(x, y, samples=50, seed=0, memory=memory))
    return found


def assert_alike(one: Scores, other: Scores, tolerance: float = 1e-10) -> None:
    for name in ("reconstruction", "log_prob", "log_prob_variance", "effective_samples", "latent_mean", "elbo", "kl"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=tolerance, atol=tolerance)
    assert list(one.kl_terms) == list(other.kl_terms)


@pytest.mark.parametrize(
    "case", [pytest.param(each, marks=[pytest.mark.slow] if each == "flows" else []) for each in CASES]
)
def test_scores_of_recordings_are_those_of_python(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    replay, replayed = scoring._Recording.__call__, []

    def counted(self: Any, *given: Tensor) -> Any:
        replayed.append(self)
        return replay(self, *given)

    monkeypatch.setattr(scoring._Recording, "__call__", counted)
    assert_alike(*both(model_of(**CASES[case]), monkeypatch))
    assert replayed


def test_in_float32_scores_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(event_shape=(40,), latents={"z": 5}, options={"mlp": {"hidden": [60, 30]}}).float()
    assert_alike(*both(model, monkeypatch), tolerance=1e-4)


def test_what_can_not_be_recorded_is_scored_by_python_and_said_once_each_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = model_of()
    trace = model.trace

    def reading(*args: Any, **options: Any) -> Trace:
        made = trace(*args, **options)
        assert float(made.log_px.sum()) < 0
        return made

    model.trace = reading  # type: ignore[method-assign]
    with caplog.at_level(logging.INFO, "vaekit"):
        assert_alike(*both(model, monkeypatch), tolerance=0.0)
    said = [record.message[:39] for record in caplog.records if record.name.startswith("vaekit")]
    assert said == ["chunks of scores run as Python, which i"]


def test_an_encoding_is_made_once_for_all_chunks_of_a_datum(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of().eval()
    recorded_after(1, monkeypatch)
    scorer = model.scorer(200, 20_000)
    x = data_of(model.likelihood.domain, (3, 4))
    scorer(Batch(x))
    calls = []
    for each in filter(None, scorer.recordings.values()):
        once = each.recording.once
        monkeypatch.setattr(each.recording, "once", lambda *given, once=once: calls.append(1) or once(*given))
    before = sum(scorer.alike.values())
    scorer(Batch(x))
    assert 0 < len(calls) < sum(scorer.alike.values()) - before
