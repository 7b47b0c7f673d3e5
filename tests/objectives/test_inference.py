"""Losses that inference and the model have each for themselves: whose weights are whose, and whose gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from models_for_tests import STRUCTURES, gradient, refuses, rows_for, structured
from torch import Tensor

from vaekit.models.sampling import draws
from vaekit.models.trace import Trace
from vaekit.objectives import IWAE, KL, Sum
from vaekit.objectives.base import Loss
from vaekit.seeding import seeded
from vaekit.spec.parts import PARTS
from vaekit.training.held import of_inference
from vaekit.training.step import Step, traced

pytestmark = pytest.mark.usefixtures("_float64_but_of_runs")


def test_every_structure_is_among_these() -> None:
    assert STRUCTURES.keys() - {"auxiliary"} == PARTS.structures.keys()


def log_p(trace: Trace) -> Tensor:
    """The sum of log p(x, z) over all rows, of x and z as they are, whatever q weighs them by."""
    x = trace.x if trace.cases is None else trace.cases.repeat(trace.x)
    return trace.px.log_prob(x).sum() + torch.stack([each.log_p.sum() for each in trace.latents]).sum()


@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_weights_of_inference_are_those_that_the_model_has_none_of(structure: str) -> None:
    model = structured(structure)
    inferring = of_inference(model)
    mine = {name for name, weight in model.named_parameters() if weight in inferring}
    with seeded(0):
        trace = model.trace(rows_for(model).batch(slice(None)), draw=draws(1, 6))
    reached = {name for name, each in gradient(log_p(trace), model).items() if bool(each.any())}
    assert reached == {name for name, _ in model.named_parameters()} - mine
    with seeded(0):
        trace = model.trace(rows_for(model).batch(slice(None)), draw=draws(1, 6, gradients=True))
    drawn = [each.z.sum() for each in trace.latents] + ([] if trace.cases is None else [trace.cases.log_prob.sum()])
    inferred = {name for name, each in gradient(torch.stack(drawn).sum(), model).items() if bool(each.any())}
    assert mine <= inferred


@pytest.mark.parametrize("structure", STRUCTURES)
def test_a_partial_bound_has_of_each_weight_the_gradient_of_its_own(structure: str) -> None:
    model = structured(structure)
    data, index = rows_for(model), torch.arange(6)

    def plain(**options: Any) -> tuple[Loss, dict[str, Tensor]]:
        with seeded(1):
            objective = Sum((IWAE(6, **options), KL(0.5)))
            found = objective(traced(model, objective, data.training_batch(index)), 0.3)
            return found, gradient(found.loss, model)

    (whole, generative), (parts, inferred) = plain(), plain(bounds=3, elbo=0.2)
    step = Step(model, Sum((IWAE(6, bounds=3, elbo=0.2, partial=True), KL(0.5))), data, 6)
    with seeded(1):
        terms = step(index, 0.3, 0)
    told = dict(zip(terms.names, terms.values.tolist(), strict=True))
    assert told["loss"] == pytest.approx(float(whole.loss.detach()))
    assert told["iwae"] == pytest.approx(float(whole.terms["iwae"]))
    assert told["iwae_inference"] == pytest.approx(float(parts.terms["iwae"]))
    inferring, differ = of_inference(model), False
    for name, weight in model.named_parameters():
        own, other = (inferred, generative) if weight in inferring else (generative, inferred)
        torch.testing.assert_close(weight.grad, own[name])
        differ |= not torch.allclose(own[name], other[name])
    assert differ


def test_losses_add_up_for_inference_too() -> None:
    one, two = (torch.tensor(float(i)) for i in (1, 2))
    assert (Loss(one, {"a": 1.0}) + Loss(two, {"b": 2.0})).inference is None
    for found in (Loss(one, {}, two) + Loss(two, {}), Loss(one, {}) + Loss(two, {}, torch.tensor(3.0))):
        assert (float(found.loss), float(found.inference or 0.0)) == (3.0, 4.0)


def test_a_bound_that_is_no_other_is_refused() -> None:
    with refuses("partial is set, but inference has no other bound; give it one, by bounds=… or elbo=…"):
        IWAE(4, partial=True)
