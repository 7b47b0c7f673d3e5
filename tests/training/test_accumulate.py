"""Batches that are computed in parts: the step is that of the whole batch, and refused where it can't be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from models_for_tests import CLASSIFYING, OBJECTIVES, model_of, objective_of
from processes_for_tests import Constant
from runs_for_tests import equal, pieces, weights
from torch import Tensor, nn

from vaekit import fit
from vaekit.objectives import ELBO, TERMS, InvariantClusters, Sum
from vaekit.objectives.base import Loss, coupled
from vaekit.system.processes import Processes
from vaekit.training.checkpoint import Checkpoints
from vaekit.training.loop import optimize
from vaekit.training.records import Epoch
from vaekit.training.task import check
from vaekit.training.together import Gradients

SETS = (
    "training.engine=python",
    "training.optimizer=sgd",
    "training.learning_rate=1e-4",
    "training.batch_size=96",
    "training.clip=20.0",
    "training.ema=0.9",
)


def trained(*sets: str, rows: int = 250) -> tuple[dict[str, Tensor], list[Epoch]]:
    """Of constant draws: 250 rows are two full batches and one of 58, or of 2 that are too few for four parts."""
    p, records = pieces(*SETS, *sets, rows=rows), list[Epoch]()
    with Constant():
        optimize(p.task(), on_epoch=records.extend)
    return weights(p.model), records


def assert_near(found: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert found.keys() == other.keys()
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, other[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("rows", "sets"),
    [
        (250, ()),
        (194, ()),
        (194, ("training.skip=1e4", "training.engine=replay")),
        (250, ("objective={name='iwae', samples=3}", "model.latents.z.posterior=full-rank-normal")),
        (250, ("training.learning_rate={name='cosine', start=1e-4, end=1e-6}", "training.early_stopping=1")),
    ],
    ids=["plain", "plain, few", "skip, recorded, few", "iwae", "schedule"],
)
def test_parts_of_a_batch_make_the_step_of_the_whole(rows: int, sets: tuple[str, ...]) -> None:
    (whole, records), (parts, others) = (trained(*sets, f"training.accumulate={k}", rows=rows) for k in (1, 4))
    assert_near(parts, whole)
    for mine, theirs in zip(others, records, strict=True):
        assert (mine.epoch, mine.step, mine.rows) == (theirs.epoch, theirs.step, theirs.rows)
        assert mine.terms == pytest.approx(theirs.terms, rel=1e-5)


def test_a_recorded_step_of_parts_is_that_of_python() -> None:
    found = [
        trained(f"training.engine={engine}", "training.accumulate=2", "training.epochs=9")[0]
        for engine in ("python", "replay")
    ]
    assert_near(*found)


def test_a_run_of_parts_goes_on_bit_for_bit(tmp_path: Any) -> None:
    sets = (*SETS, "training.accumulate=3", "training.epochs=4")
    whole, first, again = (pieces(*sets, rows=250) for _ in range(3))
    optimize(whole.task())
    first.options = first.options.model_copy(update={"epochs": 2})
    optimize(first.task(), tmp_path)
    optimize(again.task(), tmp_path, saved=Checkpoints(tmp_path / "checkpoints").last())
    assert equal(weights(again.model), weights(whole.model))


def test_a_weight_that_only_some_parts_have_a_gradient_of() -> None:
    a, b = (nn.Parameter(torch.zeros(2)) for _ in range(2))
    gradients = Gradients([a, b], Processes(), pieces=2)
    for _ in range(2):
        gradients.begin()
        a.grad, b.grad = torch.tensor([1.0, 2.0]), None
        gradients.add(0.25)
        a.grad, b.grad = torch.tensor([3.0, 4.0]), torch.tensor([8.0, 0.0])
        gradients.add(0.75)
        gradients.finish()
        assert (a.grad.tolist(), b.grad.tolist()) == ([2.5, 3.5], [6.0, 0.0])


# -- refused -----------------------------------------------------------------------------------------------------------

REFUSED = {
    "free bits": (("objective={name='elbo', free_bits=0.1}",), "free_bits hold the batch's average of a KL"),
    "invariance": (
        ("objective=invariant-clusters", "model.latents.z.prior=mixture"),
        "invariance is an information that is estimated on a batch",
    ),
    "batch normalisation": (
        ("model.encoder={name='mlp', hidden=[8], normalization='batch'}",),
        "batch normalisation compares the rows of a batch",
    ),
    "quantised": (
        ("model.latents.z.posterior={name='vq', codes=8}", "model.latents.z.prior=uniform-tokens"),
        "codes follow the averages of a batch",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_compares_the_rows_of_a_batch_is_refused_by_name(case: str) -> None:
    sets, words = REFUSED[case]
    p = pieces(*SETS, "training.accumulate=2", *sets)
    with pytest.raises(ValueError, match=f"accumulate=2, but {words}, so that parts of a batch do not add up to it"):
        check(p.task())


def test_parts_are_of_equal_sizes() -> None:
    p = pieces(*SETS, "training.accumulate=5")
    with pytest.raises(ValueError, match="accumulate=5, but a batch has 96 rows; accepted: multiples of 5"):
        check(p.task())
    p = pieces(*SETS, "training.accumulate=32")
    with pytest.raises(ValueError, match="for each of 2 processes, but a batch has 96 rows; accepted: multiples of 64"):
        check(p.task(), 2)


def test_an_objective_of_ones_own_says_that_it_compares_rows() -> None:
    class Mine:
        coupled = "it ranks rows"

        def __call__(self, trace: Any, progress: float = 1.0) -> Loss:
            return ELBO()(trace)

    assert coupled(Sum((ELBO(), Mine()))) == "it ranks rows"
    with pytest.raises(ValueError, match="it ranks rows"):
        fit(model_of(), np.zeros((8, 4)), Mine(), batch_size=8, accumulate=2)


COUPLED = {"invariance", "capacity", "geco", "total-correlation", "covariance", "discrepancy"}


@pytest.mark.parametrize("name", [*OBJECTIVES, CLASSIFYING, *TERMS])
def test_named_objectives_say_whether_they_compare_rows(name: str) -> None:
    """Whatever is not said to do so adds up over shares of a batch, which is tested for all of them."""
    if name in ("multiscale", "structural-similarity", "perceptual") or name.startswith("adversarial"):
        assert not hasattr(TERMS[name], "coupled")  # the last have opponents
        return
    assert bool(coupled(TERMS[name]() if name in TERMS else objective_of(name))) == (name in COUPLED)
    assert coupled(InvariantClusters())
    assert not coupled(InvariantClusters(invariance=0.0))
