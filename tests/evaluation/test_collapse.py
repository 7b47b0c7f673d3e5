"""Posteriors that say nothing of data are told, whatever they are of, and tokens are found in the pass that scores."""

from __future__ import annotations

import pytest
import torch
from models_for_tests import SMALL, data_of, model_of, moved
from torch import nn

from vaekit.evaluation.evaluation import evaluate
from vaekit.evaluation.scores import collapse
from vaekit.models import VAE
from vaekit.show.explorer.answers import joined

pytest.importorskip("vector_quantize_pytorch")


def constant(model: VAE, latent: str = "z", first: float = 20.0) -> VAE:
    """The model whose posterior of a latent is the same for all data: nearly all of it on the first of its numbers."""
    linear = [each for each in model.posteriors[latent].modules() if isinstance(each, nn.Linear)][-1]
    with torch.no_grad():
        linear.weight.zero_()
        linear.bias.zero_()
        linear.bias[0] = first
    return model


@pytest.mark.parametrize("groups", [1, 2])
def test_what_classes_say_of_data_is_how_far_theirs_are_from_those_of_all_data(groups: int) -> None:
    options = {**SMALL, **{name: {"groups": groups} for name in ("relaxed-categorical", "uniform-categorical")}}
    model = moved(model_of(posterior="relaxed-categorical", latents={"z": 4}, options=options), by=2)
    x = data_of(model.domain, (200, *model.event_shape))
    q = model.encode(x).double().unflatten(-1, (groups, -1))
    wanted = (q * (q / q.mean(0)).log()).sum((-1, -2)).mean()
    found = evaluate(model, x, samples=2)
    assert found.class_nats["z"] == pytest.approx(float(wanted), rel=1e-5)
    assert found.class_nats["z"] > 0.1
    assert collapse(found) == ""


def test_data_that_are_all_of_one_class_are_told_though_their_kl_is_large() -> None:
    model = constant(model_of(posterior="relaxed-categorical", latents={"z": 4}))
    scores = evaluate(model, data_of(model.domain, (50, *model.event_shape)), samples=2)
    assert scores.kl > 1
    said = collapse(scores)
    assert said.startswith(
        "the posterior has collapsed (its classes say 0.00 nats of a datum): codes say next to nothing"
    )
    assert "free_bits" in said


@pytest.mark.parametrize("latents", [{"z": 4}, {"z1": 4, "z2": 2}])
def test_tokens_are_found_where_data_are_scored_and_alike_ones_are_told(latents: dict[str, int]) -> None:
    how = {"structure": "hierarchical"} if len(latents) > 1 else {}
    model = moved(model_of(posterior="vq", prior="categorical-tokens", latents=latents, **how), by=1).eval()
    x, rows = data_of(model.domain, (400, *model.event_shape)), list[int]()
    model.encoder.register_forward_hook(lambda module, given, made: rows.append(len(made)))
    scores = evaluate(model, x, samples=3)
    if not how:  # else the tokens of the second latent are of a draw of the first
        assert sum(rows) < 1.1 * len(x), "each datum once, and a few of the first to plan"
    tokens = model.indices(x)
    for name, own in zip(latents, tokens.split([use.tokens for use in scores.codes.values()], -1), strict=True):
        use = scores.codes[name]
        share = own.flatten().bincount(minlength=use.codes) / own.numel()
        assert use.used == float((share > 0).double().mean())
        assert use.perplexity == pytest.approx(float(torch.special.entr(share).sum().exp()), rel=1e-5)
        assert use.alike == float((own == own.mode(0).values).all(-1).double().mean())
    assert collapse(scores) == ""
    if not how:
        said = collapse(evaluate(constant(model), x, samples=3))
        assert said.startswith("the posterior has collapsed (100.0% of the data have the same tokens)")


def test_scores_of_parts_are_joined_with_their_tokens() -> None:
    model = moved(model_of(posterior="vq", prior="uniform-tokens", latents={"z": 4}), by=1).eval()
    whole = model.score(data_of(model.domain, (9, *model.event_shape)), samples=1)
    first = torch.arange(9) < 4
    again = joined([whole.rows(first), whole.rows(~first)])
    assert torch.equal(again.tokens["z"], whole.tokens["z"])
    assert torch.equal(again.log_prob, whole.log_prob)
    assert torch.equal(again.kl, whole.kl)
