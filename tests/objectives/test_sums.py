"""Objectives add up: a sum is the bound and the terms that it is made of, by value, gradient, schedule and name."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from models_for_tests import data_of, model_of, refuses
from torch import Tensor

from vaekit.data.batch import Batch
from vaekit.models import VAE
from vaekit.models.trace import Trace
from vaekit.objectives import ELBO, IWAE, KL, TERMS, Classification, Loss, Reconstruction, Sum
from vaekit.objectives.base import at_values, schedules_of
from vaekit.schedules import Constant, Linear
from vaekit.seeding import seeded
from vaekit.spec.building import build_objective
from vaekit.spec.parsing import parse
from vaekit.training.step import traced


def found(model: VAE, objective: object, x: Tensor, progress: float = 1.0) -> tuple[float, dict, list[Tensor]]:
    with seeded(3):
        result = objective(traced(model, objective, Batch(x)), progress)  # type: ignore[operator, arg-type]
    model.zero_grad()
    result.loss.backward()
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in model.parameters()]
    return float(result.loss.detach()), result.terms, gradients


@pytest.mark.parametrize("free_bits", [0.0, 0.4])
@pytest.mark.parametrize("beta", [1.0, 0.3, Linear()])
def test_the_elbo_is_the_sum_of_its_terms(beta: float, free_bits: float) -> None:
    model = model_of(latents={"a": 2, "b": 1}, by=0.5)
    x = data_of(model.domain, (6, 4))
    for progress in (0.0, 0.1, 1.0):
        whole = found(model, ELBO(beta, free_bits), x, progress)
        parts = found(model, Sum((Reconstruction(), KL(beta, free_bits))), x, progress)
        assert whole[0] == parts[0]
        assert whole[1] == parts[1]
        assert list(whole[1])[:3] == ["elbo", "reconstruction", "kl"]
        for one, other in zip(whole[2], parts[2], strict=True):
            assert torch.equal(one, other)


def test_a_weighed_term_adds_its_weight_times_its_value_and_gradient() -> None:
    model = model_of(by=0.5)
    x = data_of(model.domain, (6, 4))
    bound, term = found(model, IWAE(3), x), found(model, KL(1.0), x)
    both = found(model, Sum((IWAE(3), KL(0.25))), x)
    assert both[0] == pytest.approx(bound[0] + 0.25 * term[0], rel=1e-12)
    for whole, one, other in zip(both[2], bound[2], term[2], strict=True):
        torch.testing.assert_close(whole, one + 0.25 * other)
    assert both[1]["iwae"] == pytest.approx(bound[1]["iwae"])


def test_iwae_with_a_warm_up_is_the_reconstruction_alone_at_first_and_the_bound_in_the_end() -> None:
    model = model_of(by=0.5)
    x = data_of(model.domain, (6, 4))
    warm = IWAE(samples=4, beta=Linear(0.0, 1.0, until=0.5))
    with seeded(3):
        log_px = traced(model, warm, Batch(x)).log_px.detach()
    first, last = found(model, warm, x, 0.0), found(model, warm, x, 0.5)
    assert first[0] == pytest.approx(-float((log_px.logsumexp(0) - torch.tensor(4.0).log()).mean()))
    assert last[0] == pytest.approx(found(model, IWAE(4), x)[0], rel=1e-12)
    assert (first[1]["beta"], last[1]["beta"]) == (0.0, 1.0)


def test_schedules_of_a_sum_are_found_and_replaced_by_place() -> None:
    warm = Linear()
    whole = Sum((IWAE(2, beta=warm), Sum((KL(warm), Classification(3.0)))))
    assert schedules_of(whole) == {"0.beta": warm, "1.0.weight": warm}
    placed = at_values(whole, {"0.beta": 0.5, "1.0.weight": 0.25})
    assert placed == Sum((IWAE(2, beta=Constant(0.5)), Sum((KL(Constant(0.25)), Classification(3.0)))))
    assert at_values(whole, {}) == whole
    assert schedules_of(lambda trace, progress: None) == {}  # type: ignore[arg-type, return-value]


def test_a_schedule_may_be_any_function() -> None:
    own = ELBO(beta=lambda progress: progress)
    assert list(schedules_of(own)) == ["beta"]


def test_a_sum_wants_as_many_samples_as_its_parts_and_changes_data_once() -> None:
    assert Sum((ELBO(samples=2), IWAE(7))).samples == 7
    assert Sum((ELBO(), Classification())).augment is None
    twice = Sum((TERMS["invariance"](), TERMS["invariance"](weight=2.0)))
    with refuses("2 parts of an objective change data"):
        _ = twice.augment
    with refuses("a sum of no objectives"):
        Sum(())


@dataclass(frozen=True)
class Norm:
    """The mean of z², a term of one's own."""

    weight: float = 1.0

    def __call__(self, trace: Trace, progress: float = 1.0) -> Loss:
        value = trace.latents[0].z.square().sum(-1).mean()
        return Loss(self.weight * value, {"norm": value.detach()})


def test_terms_are_added_by_name() -> None:
    from vaekit.spec.parts import PARTS

    parts = PARTS.extended(terms={"norm": Norm})
    spec = parse({"objective": {"name": "iwae", "samples": 3, "terms": {"norm": {"weight": 2.0}, "kl": {}}}}, parts)
    assert build_objective(spec, model_of(), parts) == Sum((IWAE(3), Norm(2.0), KL()))
    plain = parse({"objective": {"name": "iwae"}}, parts)
    assert build_objective(plain, model_of(), parts) == IWAE()
    with refuses("unknown option of term 'norm': 'wieght'"):
        parse({"objective": {"terms": {"norm": {"wieght": 2.0}}}}, parts)
    with refuses("unknown term 'nrom'"):
        parse({"objective": {"terms": {"nrom": {}}}}, parts)
