"""Traces and scores: what is exact, what is sampled, and how much memory it takes. Numbers are in test_oracles."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from models_for_tests import data_of, float64, model_of
from torch.distributions import kl_divergence

from vaekit.distributions import DRAWS, seeded
from vaekit.trace import joined, plan, score


@pytest.fixture(autouse=True)
def _float64():
    with float64():
        yield


def test_kl_is_closed_form_where_there_is_one_and_sampled_elsewhere():
    model = model_of(prior="standard-normal", latents={"z": 3})
    x = data_of(model.likelihood.domain, (5, 4))
    (latent,) = model.trace(x, samples=2).latents
    assert latent.closed_form
    assert latent.kl_terms.shape == (5, 3)
    assert torch.allclose(latent.kl, kl_divergence(latent.q, latent.p))
    assert (latent.kl >= 0).all()
    model = model_of(prior="mixture", latents={"z": 3})
    (latent,) = model.trace(x, samples=2).latents
    assert not latent.closed_form
    assert latent.kl_terms.shape == (2, 5, 1)
    assert torch.equal(latent.kl, latent.log_q - latent.log_p)


def test_log_weight_adds_up_all_latents_by_their_names():
    model = model_of(prior="mixture", latents={"a": 1, "b": 3})
    trace = model.trace(data_of(model.likelihood.domain, (5, 4)), samples=2)
    assert list(trace.kl) == ["a", "b"]
    total = trace.log_px - trace.kl["a"] - trace.kl["b"]
    assert torch.allclose(trace.log_weight, total)
    assert torch.allclose(trace.log_weight_stopped, total)


@pytest.mark.parametrize("samples", [0, -3])
def test_no_samples_are_refused(samples: int):
    with pytest.raises(ValueError, match=f"samples must be at least 1, got {samples}"):
        score(lambda s: pytest.fail("nothing is to be drawn"), samples, 4)


def test_joined_scores_are_those_of_all():
    model = model_of(latents={"a": 1, "b": 2})
    x = data_of(model.likelihood.domain, (5, 4))
    parts = []
    for rows in x.split(2):
        with seeded(0):
            parts.append(score(lambda s, rows=rows: model.trace(rows, samples=s), 3, 3))
    whole = joined(parts)
    assert torch.equal(whole.elbo, torch.cat([part.elbo for part in parts]))
    assert torch.equal(whole.kl, torch.cat([part.kl for part in parts]))
    assert torch.equal(whole.log_prob, torch.cat([part.log_prob for part in parts]))
    assert torch.equal(whole.log_prob_variance, torch.cat([part.log_prob_variance for part in parts]))


@pytest.mark.parametrize(
    "case", [{}, {"posterior": "flow", "prior": "vamp"}, {"encoder": "conv", "event_shape": (1, 9, 9)}]
)
@pytest.mark.parametrize("samples", [1, 40, 5000])
def test_plans_use_what_memory_there_is_and_no_more(case: dict, samples: int):
    model = model_of(**case)
    x = data_of(model.likelihood.domain, (3, *model.event_shape))
    for memory in (0, 10_000, 10**6, 10**8):
        rows, chunk = plan(model.trace, x, None, 10_000, samples, memory)
        assert 1 <= rows <= 10_000
        assert chunk >= 1
        if memory == 0:
            assert (rows, chunk) == (1, 1)
    # More memory is never used worse, and a great deal of it fits everything.
    plans = [plan(model.trace, x, None, 10_000, samples, m) for m in (10**5, 10**6, 10**7, 10**13)]
    assert [rows for rows, _ in plans] == sorted(rows for rows, _ in plans)
    assert plans[-1][0] == 10_000
    assert plans[-1][1] >= samples


@pytest.mark.parametrize("samples", [1, 16, 100, 10_000])
@pytest.mark.parametrize(("row", "draw"), [(50, 50), (5_000, 10), (0, 500)])
def test_plans_count_what_a_model_a_row_and_a_draw_take(samples: int, row: int, draw: int):
    def trace(x: torch.Tensor, y: None, draws: int) -> SimpleNamespace:
        made = torch.empty(1_000), torch.empty(len(x), row), torch.empty(draws, len(x), draw)
        return SimpleNamespace(log_weight=made, kl=made, latents=())

    memory, n = 4 * 2**20, 100
    rows, chunk = plan(trace, torch.zeros(1, 1), None, n, samples, memory)
    # A draw of a row is of `draw` float64; a row's encoding is there once for all its draws.
    used = 8 * (1_000 + rows * (row + min(chunk, samples) * draw))
    assert used <= memory
    assert rows == n or chunk < samples or 8 * (1_000 + (rows + 1) * (row + max(samples, DRAWS) * draw)) > 0.9 * memory
    assert chunk >= min(samples, DRAWS)
