from __future__ import annotations

import copy
import math
import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models_for_tests import CLASSIFYING, CLUSTERING
from runs_for_tests import Pieces, equal, metrics, pieces, small_run, spied, untimed, weights
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Laplace

from vaekit import train
from vaekit.errors import NonFiniteError
from vaekit.evaluation.evaluation import evaluate
from vaekit.models.trace import Trace
from vaekit.networks.mlp import MLP
from vaekit.objectives.base import Loss
from vaekit.objectives.elbo import ELBO
from vaekit.runs import history
from vaekit.runs.course import course_of
from vaekit.runs.run import load_run
from vaekit.schedules import Cosine
from vaekit.seeding import seeded
from vaekit.spec.parts import PARTS
from vaekit.training.checkpoint import Checkpoints
from vaekit.training.copies import update_average
from vaekit.training.course import Course
from vaekit.training.loop import optimize
from vaekit.training.records import Epoch
from vaekit.training.skips import STUCK
from vaekit.training.validation import Validation
from vaekit.training.weights import load_tensors

SUMS = {"rtol": 1e-6, "atol": 1e-6}  # of float32 weights added up in another order


def fitted(p: Pieces, folder: Path | None = None, **given: Any) -> list[Epoch]:
    """The records of training the pieces; what a `Task` has is changed, all else is told."""
    records: list[Epoch] = []
    changes = {key: given.pop(key) for key in ("held_out", "split", "parts", "objective") if key in given}
    optimize(p.task(**changes), folder, **{"on_epoch": records.extend} | given)
    return records


def bound(p: Pieces) -> float:
    return Validation(p.model, p.valid, p.objective, 100)()["loss"]


# -- the loop does what it says ----------------------------------------------------------------------------------------


OPTIMIZERS = [("adam", 3e-3), ("adamw", 3e-3), ("sgd", 1e-3), ("adagrad", 0.02), ("muon", 0.02)]


@pytest.mark.parametrize(("optimizer", "rate"), OPTIMIZERS)
def test_every_optimizer_lowers_the_loss(optimizer: str, rate: float) -> None:
    p = pieces(f"training.optimizer={optimizer}", f"training.learning_rate={rate}", "training.epochs=4")
    before = bound(p)
    losses = [r.terms["loss"] for r in fitted(p) if r.split == "valid"]
    assert losses[-1] < losses[0] < before
    assert losses[-1] < 0.7 * before


def test_every_named_optimizer_is_among_those_tested() -> None:
    assert set(PARTS.optimizers) == {name for name, _ in OPTIMIZERS}


class Recorder(torch.optim.SGD):
    """SGD that remembers the rate and the norm of the gradient of each step."""

    steps: list[tuple[float, float]] = []

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, lr)

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        group = self.param_groups[0]
        norm = torch.stack([p.grad.norm() for p in group["params"]]).norm()
        self.steps.append((group["lr"], float(norm)))
        super().step()


def recorded(*sets: str) -> list[tuple[float, float]]:
    parts = PARTS.extended(optimizers={"recorder": Recorder})
    Recorder.steps = []
    p = pieces("training.optimizer=recorder", *sets, rows=400, parts=parts)
    fitted(p, parts=parts)
    return Recorder.steps


def test_the_schedule_of_the_learning_rate_is_applied_to_every_step() -> None:
    steps = recorded("training.learning_rate={name='cosine', start=1e-4, end=1e-6}")
    assert [rate for rate, _ in steps] == [Cosine(1e-4, 1e-6)(i / 8) for i in range(8)]


def test_steps_of_large_gradients_are_left_out_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    sets = ("training.learning_rate=1e-6", "training.epochs=1", "training.engine=python")
    norms = [norm for _, norm in recorded(*sets)]
    middle = sorted(norms)[len(norms) // 2]
    p = pieces(*sets, f"training.skip={middle}")
    before = copy.deepcopy(p.model.state_dict())
    (terms,) = [record.terms for record in fitted(p) if record.split == "train"]
    assert 0.2 < terms["skipped"] < 0.8
    assert "leaves out" in caplog.text
    p = pieces(*sets, f"training.skip={min(norms) / 2}")
    fitted(p)
    assert all(torch.equal(before[name], tensor) for name, tensor in p.model.state_dict().items())
    p = pieces(*sets, f"training.skip={2 * max(norms)}")
    (terms,) = [record.terms for record in fitted(p) if record.split == "train"]
    assert terms["skipped"] == 0
    assert equal(p.model.state_dict(), trained_without(sets))


@dataclass
class OnceNoNumber:
    """The ELBO, but for a loss that is no number in one call of those with gradients."""

    at: int
    calls: int = 0

    def __call__(self, trace: Trace, progress: float) -> Loss:
        found = ELBO()(trace, progress)
        self.calls += torch.is_grad_enabled()
        return replace(found, loss=found.loss * math.nan) if self.calls == self.at else found


def test_a_step_whose_loss_is_no_number_is_left_out_and_counts_as_the_one_before() -> None:
    rehearsed, p = 1, pieces("training.engine=python", "training.epochs=1", rows=400)  # of 4 steps
    with pytest.raises(NonFiniteError, match="epoch 1, step 3: the loss is nan"):
        fitted(p, objective=OnceNoNumber(rehearsed + 3))
    p = pieces("training.engine=python", "training.epochs=1", "training.skip=1e9", rows=400)
    (terms,) = [each.terms for each in fitted(p, objective=OnceNoNumber(rehearsed + 3)) if each.split == "train"]
    assert terms["skipped"] == 1 / 4
    assert all(math.isfinite(value) for value in terms.values())
    p = pieces("training.engine=python", "training.epochs=1", "training.skip=1e9", rows=400)
    with pytest.raises(NonFiniteError, match="epoch 1, step 1: the loss is nan"):
        fitted(p, objective=OnceNoNumber(rehearsed + 1))


def test_a_limit_that_no_step_keeps_ends_the_training() -> None:
    p = pieces("training.epochs=100", "training.skip=1e-9", rows=400)
    with pytest.raises(ValueError, match=f"training.skip=1e-09 has left out {STUCK} steps in a row"):
        fitted(p)


def trained_without(sets: tuple[str, ...]) -> dict[str, Tensor]:
    p = pieces(*sets)
    fitted(p)
    return p.model.state_dict()


def test_clip_bounds_the_norm_of_the_whole_gradient() -> None:
    free = [norm for _, norm in recorded("training.learning_rate=1e-6")]
    clipped = [norm for _, norm in recorded("training.learning_rate=1e-6", "training.clip=2.0")]
    loose = [norm for _, norm in recorded("training.learning_rate=1e-6", "training.clip=1e6")]
    assert min(free) > 2.0
    assert clipped == pytest.approx([2.0] * 8, rel=1e-4)
    assert loose == pytest.approx(free, rel=1e-4)


def test_ema_is_the_average_of_the_weights_after_each_step(tmp_path: Path) -> None:
    p = pieces("training.ema=0.9", "training.learning_rate=0.01", rows=350)
    seen: list[dict[str, Tensor]] = []
    p.objective = spied(p.objective, lambda trace, loss: seen.append(weights(p.model)))
    fitted(p, folder=tmp_path)
    state = load_tensors(tmp_path / "checkpoints/epoch-000002.safetensors")
    last = {name.removeprefix("model/"): tensor for name, tensor in state.items() if name.startswith("model/")}
    average = seen[0]
    for t, now in enumerate([*seen[1:], last]):
        decay = min(0.9, (1 + t) / (10 + t))
        average = {name: decay * average[name] + (1 - decay) * now[name] for name in now}
    assert len(seen) == 8
    for name, tensor in weights(p.model).items():
        torch.testing.assert_close(tensor, average[name], **SUMS)
        assert not torch.allclose(tensor, last[name], **SUMS), "the average is to be another than the last weights"


def test_averaged_weights_have_the_running_averages_of_theirs() -> None:
    """Of weights that wander about: what normalises the averaged network is nearly what its own data would."""
    with seeded(0):
        model = MLP((6,), hidden=(20,), normalization="batch").train()
        average, x = copy.deepcopy(model).eval().requires_grad_(False), 3 + torch.randn(4000, 6)
        start = model.layers[0].weight.data.clone()
        for step in range(300):
            noise = 0.2 * torch.randn_like(start)
            model.layers[0].weight.data.copy_(start + noise)
            with torch.no_grad():
                model(x[torch.randperm(4000)[:500]])
            update_average(average, model, min(0.99, (1 + step) / (10 + step)))
        own = x @ average.layers[0].weight.T
    of_data, kept, last = own.mean(0), average.layers[1].running_mean, model.layers[1].running_mean
    assert (kept - of_data).norm() < 0.5 * (last - of_data).norm()
    assert int(average.layers[1].num_batches_tracked) == 300


def test_validation_scores_the_average(tmp_path: Path) -> None:
    p = pieces("training.ema=0.99", "training.learning_rate=0.01", "training.epochs=1")
    (record,) = [r for r in fitted(p) if r.split == "valid"]
    assert record.terms["loss"] == pytest.approx(bound(p), rel=1e-5)


@pytest.mark.parametrize("rows", [350, 301, 100])  # last batches of 50, 1 and 100 rows
def test_terms_are_nats_per_datum_averaged_over_the_rows_of_an_epoch(rows: int) -> None:
    p = pieces("objective={name='elbo', beta=0.5}", rows=rows)
    seen: list[tuple[int, float, float]] = []
    p.objective = spied(
        p.objective, lambda trace, loss: seen.append((len(trace.x), float(loss.loss.detach()), float(loss.terms["kl"])))
    )
    records = [r for r in fitted(p) if r.split == "train"]
    steps = -(-rows // 100)
    for i, record in enumerate(records):
        batches = seen[i * steps : (i + 1) * steps]
        assert sum(n for n, _, _ in batches) == record.rows == rows
        assert record.terms["loss"] == pytest.approx(sum(n * loss for n, loss, _ in batches) / rows, rel=1e-9)
        assert record.terms["kl"] == pytest.approx(sum(n * kl for n, _, kl in batches) / rows, rel=1e-9)
        assert record.terms["elbo"] == pytest.approx(record.terms["reconstruction"] - record.terms["kl"], rel=1e-6)
        assert record.terms["loss"] == pytest.approx(
            -record.terms["reconstruction"] + 0.5 * record.terms["kl"], rel=1e-6
        )
        assert record.terms["beta"] == 0.5
        assert (record.epoch, record.step) == (i + 1, (i + 1) * steps)


def test_every_epoch_shows_every_row_once_in_an_order_of_its_own() -> None:
    p = pieces(rows=350)
    seen: list[Tensor] = []
    p.objective = spied(p.objective, lambda trace, loss: seen.append(trace.x.flatten(1)))
    fitted(p)
    first, second = torch.cat(seen[:4]), torch.cat(seen[4:])
    assert not torch.equal(first, second)
    rows = [sorted(map(tuple, each.tolist())) for each in (first, second, p.train.batch(slice(None)).x.flatten(1))]
    assert rows[0] == rows[1] == rows[2]


@pytest.mark.parametrize(
    ("size", "rows", "objective"),
    [
        (*sizes, objective)
        for i, objective in enumerate(PARTS.objectives)
        for j, sizes in enumerate([(1, 3), (2, 3), (3, 3), (100, 101)])
        if (i + j) % 2  # two of them for each
    ],
)
def test_batches_of_one_row_give_finite_numbers(size: int, rows: int, objective: str) -> None:
    prior = ["model.latents.z.prior=mixture"] if objective == CLUSTERING else []
    prior += ["model.classifier=mlp"] if objective == CLASSIFYING else []
    target = ["objective.target=100"] if objective == "geco" else []
    p = pieces(f"training.batch_size={size}", f"objective={objective}", *target, *prior, rows=rows)
    assert all(np.isfinite(list(r.terms.values())).all() for r in fitted(p))


def test_a_batch_larger_than_the_data_is_refused() -> None:
    with pytest.raises(ValueError, match=r"batch_size is 100, but there are 99 training rows; accepted: 1\.\.99"):
        fitted(pieces(rows=99))


def test_bfloat16_computes_in_bfloat16_to_nearly_the_same_result() -> None:
    exact, rough = (
        [r.terms["loss"] for r in fitted(pieces(f"training.precision={precision}", "training.learning_rate=3e-3"))]
        for precision in ("float32", "bfloat16")
    )
    assert rough != exact
    assert rough == pytest.approx(exact, rel=0.01)


# -- seeds and streams -------------------------------------------------------------------------------------------------


def test_a_seed_reproduces_and_another_differs() -> None:
    results = []
    for seed in (0, 0, 1):
        p = pieces(f"training.seed={seed}")
        start = weights(p.model)
        results.append((start, untimed(fitted(p)), weights(p.model)))
    assert results[0][1] == results[1][1]
    assert equal(results[0][2], results[1][2])
    assert not equal(results[0][0], results[2][0])
    assert results[0][1] != results[2][1]


def test_a_seed_changes_draws_and_order_even_of_the_same_start() -> None:
    results = []
    for seed in (0, 1):
        p = pieces(rows=200)
        p.options = replace_options(p, seed=seed)
        results.append(untimed(fitted(p)))
    assert results[0] != results[1]


def replace_options(p: Pieces, **changes: Any) -> Any:
    return p.options.model_copy(update=changes)


def test_looking_at_validation_data_does_not_change_the_training() -> None:
    binarized = ("data.binarize=stochastic", "model.likelihood=bernoulli", "training.ema=0.9")
    looked, blind = pieces(*binarized), pieces(*binarized)
    fitted(looked)
    fitted(blind, held_out=None)
    assert equal(weights(looked.model), weights(blind.model))


def test_a_look_draws_the_same_each_time_and_restores_the_mode() -> None:
    p = pieces("data.binarize=stochastic", "model.likelihood=bernoulli")
    p.model.train()
    assert bound(p) == bound(p)
    assert p.model.training


def test_the_random_streams_of_the_caller_go_on_as_if_nothing_had_been_drawn(tmp_path: Path) -> None:
    def streams() -> tuple[Any, ...]:
        name, keys, *rest = np.random.get_state()  # noqa: NPY002
        return torch.get_rng_state().tolist(), name, keys.tolist(), *rest, random.getstate()

    p = pieces()
    before = streams()
    fitted(p)
    assert streams() == before, "fit"
    run = small_run(tmp_path / "run", "data.binarize=stochastic", "model.likelihood=bernoulli")
    assert streams() == before, "train"
    evaluate(run.model, run.data("test"), 5)
    assert streams() == before, "evaluate"
    run.encode(draw=True, seed=0)
    run.reconstructions(samples=2, draw=True, seed=0)
    run.sample(3, seed=0)
    assert streams() == before, "encode, reconstructions, sample"


# -- early stopping ----------------------------------------------------------------------------------------------------

STOPPING = ("training.early_stopping=2", "training.learning_rate=0.1", "training.epochs=40")


@pytest.mark.parametrize("extra", [(), ("training.ema=0.5",)])
def test_early_stopping_stops_after_its_patience_and_restores_the_best_weights(
    extra: tuple[str, ...], tmp_path: Path
) -> None:
    run = small_run(tmp_path / "run", *STOPPING, *extra)
    losses = [r.terms["loss"] for r in run.history() if r.split == "valid"]
    assert len(losses) < 40
    assert int(np.argmin(losses)) == len(losses) - 3
    p = pieces(*STOPPING)
    assert Validation(run.model, p.valid, p.objective, 100)() == pytest.approx(
        run.history()[2 * len(losses) - 5].terms, rel=1e-12
    )
    assert equal(weights(run.model), load_tensors(tmp_path / "run/checkpoints/best.safetensors"))
    assert equal(weights(load_run(tmp_path / "run").model), weights(run.model))


def test_early_stopping_without_a_folder_restores_the_same_weights(tmp_path: Path) -> None:
    p = pieces(*STOPPING)
    fitted(p)
    assert equal(weights(p.model), weights(small_run(tmp_path / "run", *STOPPING).model))


def test_a_run_that_stopped_early_stays_as_it_is_when_resumed(tmp_path: Path) -> None:
    first = small_run(tmp_path / "run", *STOPPING, "training.checkpoint_every=7")
    before = metrics(tmp_path / "run")
    again = train("digits", tmp_path / "run", resume=True)
    assert equal(weights(first.model), weights(again.model))
    assert metrics(tmp_path / "run") == before


SCHEDULED = {
    "beta": (10, "objective.beta={name='linear', until=0.5}"),
    "a learning rate, which is none of the loss": (0, "training.learning_rate={name='linear', start=1e-3, end=1e-4}"),
    "temperature": (
        6,
        "model.latents.z.posterior={name='relaxed-categorical', temperature={name='linear', start=2.0, end=0.5}}",
        "model.latents.z.prior=uniform-categorical",
    ),
    "a prior fitted on the way": (7, "model.latents.z.prior={name='mixture', components=2, fit_after=0.35}"),
}


@pytest.mark.parametrize("what", SCHEDULED)
def test_patience_begins_where_the_loss_has_settled(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Validation, "__call__", lambda self, epoch=1: {"loss": float(epoch)})
    begins, *sets = SCHEDULED[what]
    p = pieces("training.early_stopping=2", "training.epochs=20", *map(str, sets), rows=100)
    looked = [each for each in fitted(p) if each.split == "valid"]
    assert len(looked) == max(1, begins) + 2


def test_a_patience_that_can_never_end_a_run_is_said(caplog: pytest.LogCaptureFixture) -> None:
    fitted(pieces("training.early_stopping=2", "training.epochs=3", "objective.beta={name='cosine'}"))
    assert "early_stopping=2 can't end this run before its 3 epochs are over" in caplog.text


@pytest.mark.parametrize("sets", [("training.early_stopping=1", "training.epochs=2"), ("training.early_stopping=9",)])
def test_a_patience_that_few_epochs_leave_no_room_for_is_nothing_to_say(
    sets: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    fitted(pieces("objective.beta={name='linear', end=0.2}", "training.epochs=3", *sets))
    assert "early_stopping" not in caplog.text


def test_a_switch_after_the_last_step_is_refused() -> None:
    p = pieces("objective.beta={name='switch', at=0.9}", "training.epochs=2", rows=300)
    with pytest.raises(ValueError, match=r"beta switches at 0\.9 of the run, after the last of its 6 steps"):
        fitted(p)


@pytest.mark.parametrize("held_out", [None, "test"])
def test_early_stopping_needs_validation_data(held_out: str | None) -> None:
    p = pieces("training.early_stopping=1")
    with pytest.raises(ValueError, match=r"early_stopping needs rows held out for validation; give "):
        fitted(p, held_out=held_out and p.valid, split="test" if held_out else "valid")


# -- numbers that are not finite ---------------------------------------------------------------------------------------


def poisoned(step: int, term: str) -> Pieces:
    """A training whose loss is not finite at the given step, because of the given term."""
    p = pieces("training.epochs=3", rows=350)
    steps: list[int] = []

    def poison(trace: Trace, loss: Loss) -> Loss | None:
        steps.append(1)
        if len(steps) != step:
            return None
        bad = {name: value * float("nan") if name in (term, "elbo") else value for name, value in loss.terms.items()}
        return Loss(loss.loss * float("nan"), bad)  # type: ignore[arg-type]

    p.objective = spied(p.objective, poison)
    return p


@pytest.mark.parametrize(
    ("step", "term", "place", "cause"),
    [
        (1, "kl", "epoch 1, step 1:", "p(z) gives no finite numbers as it is made"),
        (1, "reconstruction", "epoch 1, step 1:", "the likelihood gives no finite numbers as it is made"),
        (1, "none", "epoch 1, step 1:", "the objective gives no finite number of the first batch"),
        (2, "kl", "epoch 1, step 2:", "posterior ran away"),
        (7, "reconstruction", "epoch 2, step 3:", "likelihood's parameters ran away"),
        (8, "kl", "epoch 2, step 4:", "warm up the KL"),
        (9, "none", "epoch 3, step 1:", "weights are no longer finite"),
    ],
)
def test_a_loss_that_is_not_finite_stops_the_training_with_its_place_and_cause(
    step: int, term: str, place: str, cause: str, tmp_path: Path
) -> None:
    p = poisoned(step, term)
    with pytest.raises(NonFiniteError) as caught:
        fitted(p, folder=tmp_path)
    message = str(caught.value)
    assert message.startswith(place)
    assert cause in message
    assert repr("loss" if term == "none" else term) in message
    assert "\n" not in message


def test_after_a_loss_that_is_not_finite_the_last_good_state_resumes_to_the_undisturbed_result(tmp_path: Path) -> None:
    p = poisoned(7, "kl")
    with pytest.raises(NonFiniteError):
        fitted(p, folder=tmp_path)
    again, reference = (pieces("training.epochs=3", rows=350) for _ in range(2))
    fitted(again, folder=tmp_path, saved=Checkpoints(tmp_path / "checkpoints").last())
    fitted(reference)
    assert equal(weights(again.model), weights(reference.model))


def test_a_learning_rate_that_is_far_too_large_is_named_and_leaves_finite_states(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError, match=r"epoch 1, step \d+: .*lower the learning rate \(.*learning_rate=…"):
        small_run(tmp_path / "run", "training.learning_rate=1e38", "training.optimizer=sgd")
    for path in (tmp_path / "run").rglob("*.safetensors"):
        assert all(tensor.isfinite().all() for tensor in load_tensors(path).values()), path


class Checked(nn.Module):
    """A prior of somebody else's, whose distribution refuses what is no number."""

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(latent))

    def forward(self, y: Tensor | None = None) -> Distribution:
        return Independent(Laplace(self.loc, torch.ones_like(self.loc)), 1)


@pytest.mark.parametrize("prior", ["flow", "checked"])
@pytest.mark.parametrize("size", [1, 3])
def test_a_model_that_runs_away_is_told_so_whatever_its_distributions_check(prior: str, size: int, tmp_path: Path):
    sets = [f"model.latents.z.size={size}", f"model.latents.z.prior={prior}", "training.optimizer=sgd"]
    with pytest.raises(NonFiniteError, match=r"epoch \d, step \d+: .*lower the learning rate") as caught:
        small_run(
            tmp_path / "run", *sets, "training.learning_rate=1e30", parts=PARTS.extended(priors={"checked": Checked})
        )
    assert "\n" not in str(caught.value)
    assert Distribution._validate_args


def test_weights_that_the_last_step_of_an_epoch_spoilt_are_not_saved(tmp_path: Path) -> None:
    p = pieces(rows=350)
    calls: list[int] = []

    def spoil(trace: Trace, loss: Loss) -> Loss | None:
        calls.append(1)
        # The loss is finite; its gradient, that of a square root at 0, is not.
        return replace(loss, loss=loss.loss + (0 * loss.loss).sqrt()) if len(calls) == 8 else None

    p.objective = spied(p.objective, spoil)
    with pytest.raises(NonFiniteError, match=r"epoch 2, step 4: .*weights"):
        fitted(p, folder=tmp_path)
    again, reference = pieces(rows=350), pieces(rows=350)
    fitted(again, folder=tmp_path, saved=Checkpoints(tmp_path / "checkpoints").last())
    fitted(reference)
    assert equal(weights(again.model), weights(reference.model))


def test_a_validation_loss_that_is_not_finite_is_never_the_best(tmp_path: Path) -> None:
    p = pieces("training.early_stopping=2", "training.epochs=4", rows=350)
    objective, looks = p.objective, []

    def sometimes_nan(trace: Trace, progress: float = 1.0) -> Loss:
        loss = objective(trace, progress)
        if torch.is_grad_enabled():
            return loss
        looks.append(1)
        return replace(loss, loss=loss.loss * float("nan")) if len(looks) in (1, 3) else loss

    p.objective = sometimes_nan
    state = optimize(p.task(), folder=tmp_path)
    assert (state.epoch, state.best_epoch) == (4, 4)


# -- resuming ----------------------------------------------------------------------------------------------------------

EVERYTHING = (
    "data.binarize=stochastic",
    "model.likelihood=bernoulli",
    "training.ema=0.9",
    "training.clip=5.0",
    "training.optimizer={name='sgd', momentum=0.9}",
    "training.learning_rate=1e-3",
)


@pytest.mark.parametrize("every", [1, 2, 3])
def test_six_epochs_are_three_and_three_more(every: int, tmp_path: Path) -> None:
    sets = (*EVERYTHING, f"training.checkpoint_every={every}")
    small_run(tmp_path / "six", *sets, "training.epochs=6")
    small_run(tmp_path / "three", *sets, "training.epochs=3")
    train("digits", tmp_path / "three", epochs=6, resume=True)
    for name in ("weights.safetensors", "checkpoints/best.safetensors", "spec.json"):
        assert (tmp_path / "six" / name).read_bytes() == (tmp_path / "three" / name).read_bytes()
    assert metrics(tmp_path / "six") == metrics(tmp_path / "three")


@pytest.mark.parametrize("optimizer", PARTS.optimizers)
def test_every_optimizer_resumes_exactly(optimizer: str, tmp_path: Path) -> None:
    sets = (f"training.optimizer={optimizer}", "training.epochs=3")
    first, whole = pieces(*sets, rows=350), pieces(*sets, rows=350)
    fitted(whole)
    first.options = replace_options(first, epochs=1)
    fitted(first, folder=tmp_path)
    again = pieces(*sets, "training.seed=0", rows=350)
    fitted(again, folder=tmp_path, saved=Checkpoints(tmp_path / "checkpoints").last())
    assert equal(weights(again.model), weights(whole.model))


def test_weights_that_lie_channels_last_resume_exactly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on CUDA: what an optimizer keeps is read as its weight lies."""
    monkeypatch.setattr(
        "vaekit.training.task.move", lambda module, device: module.to(memory_format=torch.channels_last)
    )
    sets = ("model.encoder={name='conv', channels=[3, 4], dense=8}", "training.epochs=3")
    first, whole, again = (pieces(*sets, rows=200) for _ in range(3))
    fitted(whole)
    first.options = replace_options(first, epochs=1)
    fitted(first, folder=tmp_path)
    fitted(again, folder=tmp_path, saved=Checkpoints(tmp_path / "checkpoints").last())
    assert any(not p.is_contiguous() for p in again.model.parameters())
    assert equal(weights(again.model), weights(whole.model))


def test_a_kill_between_any_two_writes_is_made_whole(tmp_path: Path) -> None:
    """Between the writes of an epoch, the best weights and the records are newer than the training state."""
    reference = tmp_path / "reference"
    small_run(reference, "training.epochs=4")
    newest = small_run(tmp_path / "run", "training.epochs=3").path / "checkpoints/epoch-000003.safetensors"
    newest.unlink()
    train("digits", tmp_path / "run", epochs=4, resume=True)
    assert metrics(tmp_path / "run") == metrics(reference)
    assert (tmp_path / "run/weights.safetensors").read_bytes() == (reference / "weights.safetensors").read_bytes()


def test_progress_is_reported_in_order_and_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaekit.training.loop.POLL_SECONDS", 0.0)
    p, seen = pieces(rows=350), []
    optimize(p.task(), on_progress=seen.append)
    assert [(s.epoch, s.step, s.steps, s.epochs) for s in seen] == [(e, i, 4, 2) for e in (0, 1) for i in (1, 2, 3, 4)]
    assert all(s.rows_per_second > 0 and {"loss", "elbo", "kl"} <= s.terms.keys() for s in seen)


def test_nothing_is_written_before_the_start_and_the_start_is_after_all_checks(tmp_path: Path) -> None:
    events: list[str] = []
    p = pieces("training.optimizer={name='adam', betas=[2, 3]}")
    with pytest.raises(ValueError, match="beta"):
        fitted(p, folder=tmp_path / "run", on_start=lambda: events.append("start"))
    assert not events
    assert not (tmp_path / "run").exists()
    assert history.read(tmp_path) == []


# -- a training that goes wrong ----------------------------------------------------------------------------------------


def looked(monkeypatch: pytest.MonkeyPatch, losses: list[float]) -> None:
    """Let looks find these losses, an epoch each."""
    monkeypatch.setattr(Validation, "__call__", lambda self, epoch=1: {"loss": losses[epoch - 1]})


WRONG = {
    "it explodes": ([80.0, 40.0, 37.0, 1.2e6, 9e5], 4, 3),
    "it explodes, and is negative": ([-3.0, -40.0, -41.0, -42.0, 30.0], 5, 4),
    "it is no number": ([80.0, 40.0, 37.0, float("nan"), float("nan")], 4, 3),
    "it never falls": ([1e9, 2e9, 3e9, 4e9, 5e9], 1, 1),
}


@pytest.mark.parametrize("in_a_folder", [True, False])
@pytest.mark.parametrize("what", WRONG)
def test_a_training_that_goes_wrong_says_so_and_ends_with_its_best_weights(
    what: str, in_a_folder: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    losses, said, best = WRONG[what]
    looked(monkeypatch, losses)
    p, of_epoch = pieces("training.epochs=5", rows=100), {}
    folder = tmp_path if in_a_folder else None
    optimize(
        p.task(),
        folder=folder,
        on_epoch=lambda records: of_epoch.update({records[0].epoch: weights(p.model)}),
    )
    assert equal(weights(p.model), of_epoch[best])
    warned = [record.getMessage() for record in caplog.records if record.name == "vaekit.training.loop"]
    assert len(warned) == 2, warned
    assert f"epoch {said}: the loss is " in warned[0]
    assert f"after epoch {best}: the training goes wrong; lower" in warned[0] or what == "it never falls"
    assert "before the first step: the training goes wrong; lower" in warned[0] or what != "it never falls"
    assert f"those after epoch {best}" in warned[1]
    if folder:
        assert equal(load_tensors(folder / "weights.safetensors"), of_epoch[best])


@pytest.mark.parametrize(
    "losses", [[80.0, 40.0, 37.0, 39.0, 60.0], [37.0, 37.1, 37.0, 37.2, 37.3], [-3.0, -9.0, -9.5, -9.4, -4.0]]
)
def test_a_training_that_overfits_a_little_ends_with_its_last_weights(
    losses: list[float], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looked(monkeypatch, losses)
    p, last = pieces("training.epochs=5", rows=100), {}
    optimize(p.task(), on_epoch=lambda records: last.update(weights(p.model)))
    assert equal(weights(p.model), last)
    assert not caplog.records


def test_a_loss_that_only_a_schedule_raises_is_not_wrong(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looked(monkeypatch, [100.0, 900.0, 5000.0, 300.0, 90.0, 80.0])
    fitted(pieces("training.epochs=6", "objective.beta={name='linear', until=0.5}", rows=100))
    assert not caplog.records


def test_by_test_rows_no_weights_are_chosen(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    looked(monkeypatch, [80.0, 40.0, 1e6])
    p, last = pieces("training.epochs=3", rows=100), {}
    optimize(
        p.task(split="test"),
        on_epoch=lambda records: last.update(weights(p.model)),
    )
    assert equal(weights(p.model), last)
    assert "the training goes wrong" in caplog.text


def test_a_lost_training_that_is_resumed_ends_as_one_that_was_not_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked(monkeypatch, [80.0, 40.0, 37.0, 1e6, 38.0, 9e5])
    wrong = ("training.epochs=6", "training.checkpoint_every=2")
    whole = small_run(tmp_path / "whole", *wrong)
    assert equal(weights(whole.model), load_tensors(tmp_path / "whole/checkpoints/best.safetensors"))
    small_run(tmp_path / "parts", *wrong, "training.epochs=4")  # which is lost, too
    again = train("digits", tmp_path / "parts", resume=True, epochs=6)
    assert equal(weights(whole.model), weights(again.model))
    assert course_of(whole) == course_of(again)
    assert equal(weights(train("digits", tmp_path / "parts", resume=True).model), weights(again.model))


def test_the_course_of_a_run_names_its_best_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked(monkeypatch, [80.0, 40.0, 1e6])
    course = course_of(small_run(tmp_path / "run", "training.epochs=3"))
    assert course is not None
    assert replace(course, untrained=None) == Course("valid", 3, best_epoch=2, best=40.0, last=1e6, lost=True, kept=2)
    assert "validation loss 40.00 after epoch 2, the best, 1,000,000.00 after epoch 3, the last" in course.said()
    assert "these weights are those of epoch 2" in course.said()
    close = replace(course, last=40.000021, lost=False)
    assert "loss 40.00000 after epoch 2, the best, 40.00002 after epoch 3, the last" in close.said()
    looked(monkeypatch, [80.0, 40.0, 39.0])
    good = course_of(small_run(tmp_path / "good", "training.epochs=3"))
    assert good is not None
    assert not good.said()
