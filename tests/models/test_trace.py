"""Traces: what is exact and what is sampled. Numbers are in test_oracles."""

from __future__ import annotations

import pytest
import torch
from models_for_tests import data_of, model_of
from rounding_for_tests import close_in_ulps
from torch.distributions import kl_divergence

from vaekit.data.batch import Batch

pytestmark = pytest.mark.usefixtures("_float64")


def test_kl_is_closed_form_where_there_is_one_and_sampled_elsewhere():
    model = model_of(prior="standard-normal", latents={"z": 3})
    x = data_of(model.likelihood.domain, (5, 4))
    (latent,) = model.trace(Batch(x), samples=2).latents
    assert latent.closed_form
    assert latent.kl_terms.shape == (5, 3)
    assert torch.allclose(latent.kl, kl_divergence(latent.q, latent.p))
    assert (latent.kl >= 0).all()
    model = model_of(prior="mixture", latents={"z": 3})
    (latent,) = model.trace(Batch(x), samples=2).latents
    assert not latent.closed_form
    assert latent.kl_terms.shape == (2, 5, 1)
    assert close_in_ulps(latent.kl, latent.log_q - latent.log_p)


def test_log_weight_adds_up_all_latents_by_their_names():
    model = model_of(prior="mixture", latents={"a": 1, "b": 3})
    trace = model.trace(Batch(data_of(model.likelihood.domain, (5, 4))), samples=2)
    assert list(trace.kl) == ["a", "b"]
    total = trace.log_px - trace.kl["a"] - trace.kl["b"]
    assert torch.allclose(trace.log_weight, total)
    assert torch.allclose(trace.log_weight_stopped, total)
