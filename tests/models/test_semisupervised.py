"""Labels that are partly seen: seen ones are data, the others are summed out, and both by hand give the same."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models_for_tests import float64, objective_of, peak_bytes, refuses, scored, standard_errors_apart
from models_for_tests import model_of as plain_model_of
from runs_for_tests import assert_same_run, cut_short
from torch import Tensor, nn
from torch.distributions import Normal
from torch.utils.flop_counter import FlopCounterMode

from vaekit import train
from vaekit.data import Preprocessing
from vaekit.data.batch import Batch
from vaekit.data.domains import Domain
from vaekit.data.tensors import TensorSplit, partly_labelled
from vaekit.distributions.divergences import kl
from vaekit.evaluation.evaluation import evaluate, label_scores
from vaekit.likelihoods import Poisson
from vaekit.models import VAE, SemiSupervisedVAE
from vaekit.models.trace import Trace
from vaekit.objectives.elbo import ELBO, SemiSupervised
from vaekit.objectives.weighted import STL, DReG
from vaekit.runs.run import load_run
from vaekit.seeding import seeded
from vaekit.spec.building import build_model
from vaekit.spec.keys import Schema
from vaekit.spec.parsing import parse
from vaekit.spec.parts import PARTS
from vaekit.training.step import rehearse, traced
from vaekit.training.threads import SMALL_STEP, worthwhile_threads

CLASSES, PIXELS = 3, 4
KINDS = ("plain", "auxiliary", "skip")
X = torch.tensor(list(itertools.product([0.0, 1.0], repeat=PIXELS)), dtype=torch.float64)
LABELS = torch.arange(len(X)) % CLASSES
SMALL = {"name": "mlp", "hidden": [6], "activation": "tanh"}


def model_of(
    kind: str = "plain",
    seed: int = 0,
    by: float = 0.15,
    posterior: Any = "diagonal-normal",
    above: Any = "diagonal-normal",
) -> SemiSupervisedVAE:
    auxiliary = {"size": 2, "encoder": SMALL, "generator": SMALL, "skip": kind == "skip", "prior": above}
    values = {
        "encoder": SMALL,
        "decoder": SMALL,
        "classifier": SMALL,
        "likelihood": "bernoulli",
        "latents": {"z": {"size": 2, "posterior": posterior}},
        **({} if kind == "plain" else {"auxiliary": auxiliary}),
    }
    names = tuple("abc")
    schema = Schema(event_shape=(PIXELS,), domain=Domain("binary"), condition=CLASSES, classes=names)
    with float64(), seeded(seed):
        model = build_model(parse({"model": values}).model, schema, seed)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += by * torch.randn_like(parameter)
    assert isinstance(model, SemiSupervisedVAE)
    return model


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_seen_is_summed_out_to_a_distribution(kind: str) -> None:
    scores = model_of(kind).score(X, samples=4000, seed=0)
    total = scores.log_prob.exp().sum()
    error = (scores.log_prob.exp().square() * scores.log_prob_variance).sum().sqrt()
    assert abs(total - 1) < 4 * error + 1e-3
    assert (scores.elbo < scores.log_prob).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_sum_over_labels_of_the_joint_is_the_marginal(kind: str) -> None:
    model = model_of(kind)
    marginal = model.score(X, samples=4000, seed=0)
    joint = [model.score(X, torch.full((len(X),), c), samples=4000, seed=c + 1) for c in range(CLASSES)]
    total = torch.stack([each.log_prob for each in joint]).logsumexp(0)
    variance = marginal.log_prob_variance + sum(each.log_prob_variance for each in joint)
    assert ((total - marginal.log_prob) / variance.sqrt()).abs().max() < 4.5


def test_summing_out_is_enumerating_by_hand() -> None:
    model = model_of()
    with seeded(1):
        trace = model.trace(Batch(X))
    q = model.classify(X)
    with seeded(1):
        noise = torch.randn(1, CLASSES, len(X), 2, dtype=torch.float64)
    bound = -(q * q.log()).sum(-1) + np.log(1 / CLASSES)
    for c in range(CLASSES):
        y = torch.eye(CLASSES, dtype=torch.float64)[torch.full((len(X),), c)]
        posterior = model.posteriors["z"](model.encoder(X, y))
        z = posterior.mean + posterior.stddev * noise[0, c]
        divergence = kl(posterior, model.priors["z"]())
        reconstruction = model.likelihood(model.decoder(z, y)).log_prob(X)
        bound = bound + q[:, c] * (reconstruction - divergence)  # type: ignore[operator]
    loss = ELBO()(trace).loss
    torch.testing.assert_close(-loss, bound.mean())


def test_with_all_labels_seen_it_is_the_conditional_model_and_a_classifier() -> None:
    model = model_of()
    parts = (model.encoder, dict(model.posteriors), dict(model.priors), model.decoder, model.likelihood)
    with float64():
        conditional = VAE(*parts, CLASSES)  # type: ignore[arg-type]
    with seeded(1):
        both = SemiSupervised(classification=2.5)(model.trace(Batch(X, LABELS)))  # type: ignore[arg-type]
    with seeded(1):
        alone = ELBO()(conditional.trace(Batch(X, LABELS)))
    entropy = torch.nn.functional.cross_entropy(model.classifier(X), LABELS)
    torch.testing.assert_close(both.loss, alone.loss + np.log(CLASSES) + 2.5 * entropy)
    torch.testing.assert_close(both.terms["classification"], entropy.detach())


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_with_some_labels_is_its_two_parts(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = model_of(kind), 5
    # Every draw the mean, so that it is the same for a row wherever that stands.
    monkeypatch.setattr(Normal, "rsample", lambda self, shape=(): self.loc.expand(self._extended_shape(shape)))
    trace = model.trace(Batch(X, LABELS[:seen]), samples=2)
    parts = [model.trace(Batch(X[:seen], LABELS[:seen]), samples=2), model.trace(Batch(X[seen:]), samples=2)]
    assert trace.seen == seen
    for name in trace.kl:
        wide = [part.kl[name].expand(2, len(part.batch)) for part in parts]
        torch.testing.assert_close(trace.kl[name].expand(2, len(X)), torch.cat(wide, -1))
    for got, wanted in (
        (trace.log_px, [part.log_px for part in parts]),
        (trace.log_weight, [part.log_weight for part in parts]),
    ):
        torch.testing.assert_close(got, torch.cat(wanted, -1))
    assert trace.log_px.shape == (2, len(X))
    for objective in (ELBO(), ELBO(free_bits=0.1), SemiSupervised()):
        loss = objective(trace, 1.0).loss  # type: ignore[arg-type]
        assert loss.isfinite()
    elbos = [ELBO()(part).terms["elbo"] for part in parts]
    joined = ELBO()(trace).terms["elbo"]  # type: ignore[arg-type]
    weights = torch.tensor([seen, len(X) - seen], dtype=torch.float64) / len(X)
    torch.testing.assert_close(joined, weights @ torch.stack(elbos))  # type: ignore[arg-type]


TRAINED = {
    "elbo": ("none", "some"),
    "capacity": ("none", "some"),
    "geco": ("none", "some"),
    "semi-supervised": ("none", "some", "all"),
    "invariant-clusters": ("none", "some", "all"),
}
"""Of which labels each objective trains all that there is: the bound of a label that is seen has no q of it, but what
its datum is changed to has."""


@pytest.mark.parametrize("labels", ["none", "some", "all"])
@pytest.mark.parametrize("objective", PARTS.objectives)
@pytest.mark.parametrize("kind", KINDS)
def test_every_part_is_trained_or_the_objective_is_refused(kind: str, objective: str, labels: str) -> None:
    model, chosen = model_of(kind), objective_of(objective)
    split = TensorSplit(X, None if labels == "none" else LABELS, Domain("binary"), Preprocessing())
    if labels == "some":
        split = partly_labelled(split, 6, 4, CLASSES)
    if labels not in TRAINED.get(objective, ()):
        with refuses():
            rehearse(model, chosen, split)
        return
    rehearse(model, chosen, split)
    seen = {"none": None, "some": LABELS[:4], "all": LABELS}[labels]
    batch = split.training_batch(torch.arange(len(X))) if labels == "some" else Batch(X, seen)
    with seeded(0):
        chosen(traced(model, chosen, batch), 1.0).loss.backward()
    for name, parameter in model.named_parameters():
        # A gradient that is rounding alone trains nothing.
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 1e-9, name


def test_a_rehearsal_leaves_no_trace() -> None:
    with float64():
        options = {"mlp": {"hidden": [6], "normalization": "batch"}}
        model = plain_model_of(encoder="mlp", options=options, event_shape=(PIXELS,)).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    rehearse(model, ELBO(), TensorSplit(X, None, Domain("binary"), Preprocessing()))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.training


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_every_parameter(kind: str) -> None:
    model = model_of(kind)
    SemiSupervised()(model.trace(Batch(X, LABELS[:5]))).loss.backward()  # type: ignore[arg-type]
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def weighed(values: Tensor, seen: int, share: float) -> Tensor:
    """The mean of values (…, B), of which the first `seen` stand for `share` of the data."""
    return share * values[..., :seen].mean() + (1 - share) * values[..., seen:].mean()


@pytest.mark.parametrize("seen", [2, 5, 12])
@pytest.mark.parametrize("kind", KINDS)
def test_the_bound_is_that_of_the_data_whatever_of_a_batch_is_labelled(kind: str, seen: int) -> None:
    model, share = model_of(kind), 0.1
    many = torch.tensor([share / seen] * seen + [(1 - share) / (len(X) - seen)] * (len(X) - seen))
    with seeded(0):
        trace = traced(model, ELBO(), Batch(X, LABELS[:seen], weight=len(X) * many.double()))
    wanted = weighed(trace.log_px, seen, share) - sum(weighed(kl, seen, share) for kl in trace.kl.values())
    for objective in (ELBO(), SemiSupervised(classification=0.0)):
        found = objective(trace)
        torch.testing.assert_close(found.terms["elbo"], wanted.detach())
        torch.testing.assert_close(found.loss, -wanted)
    held = trace.average_terms(trace.latents[0].kl_terms)
    terms = trace.latents[0].kl_terms.movedim(-1, 0)
    torch.testing.assert_close(held, torch.stack([weighed(each, seen, share) for each in terms]))


def test_labels_that_are_seen_stand_for_what_they_are_of_the_data() -> None:
    split = partly_labelled(split_of(), 9, 4, CLASSES)
    batch = split.training_batch(torch.arange(20))
    assert split_of().training_batch(torch.arange(20)).weight is None
    assert batch.weight is not None
    assert batch.weight[:4].sum() / 20 == pytest.approx(0.1)
    assert batch.weight[4:].sum() / 20 == pytest.approx(0.9)
    assert len(batch.weight.unique()) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_the_weight_of_a_row_whose_label_is_hidden_has_no_q_of_its_label(kind: str) -> None:
    """It cancels, also where a class is so unlikely that its probability is no number above 0."""
    model = model_of(kind)
    with seeded(0):
        trace = model.trace(Batch(X), samples=3)
    whole = trace.px.log_prob(X.repeat(CLASSES, 1)) + sum(latent.log_p for latent in trace.latents)
    whole = whole - sum(latent.log_q for latent in trace.latents if not latent.label)
    torch.testing.assert_close(trace.log_weight, whole.unflatten(-1, (CLASSES, -1)).logsumexp(-2))
    with torch.no_grad():
        model.classifier.layers[-1].bias[0] = -1e4
    assert model.score(X, samples=5, seed=0).log_prob.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_no_estimate_depends_on_how_its_draws_were_shared_out(kind: str) -> None:
    model, traces = model_of(kind, by=1.0), []

    def trace(draws: int) -> Trace:
        traces.append((draws, model.trace(Batch(X), draws)))
        return traces[-1][1]  # type: ignore[return-value]

    with seeded(0):
        scores = scored(trace, 7, 3)
    assert [draws for draws, _ in traces] == [3, 3, 1]
    for i, name in enumerate(latent.name for latent in traces[0][1].latents):
        terms = [(draws / 7, made.latents[i].kl_terms) for draws, made in traces]
        means = [share * (each.mean(0) if each.dim() == 3 else each) for share, each in terms]
        torch.testing.assert_close(scores.kl_terms[name], sum(means))
    wanted = sum(draws / 7 * made.log_px.mean(0) for draws, made in traces)
    torch.testing.assert_close(scores.reconstruction, wanted)
    weights = torch.cat([made.log_weight for _, made in traces])
    torch.testing.assert_close(scores.log_prob, weights.logsumexp(0) - np.log(7))


class Blind(nn.Module):
    """A network that makes nothing of its condition, and has its leading dimensions or not."""

    def __init__(self, inner: nn.Module, narrow: bool) -> None:
        super().__init__()
        self.inner, self.narrow = inner, narrow

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.inner(x, torch.zeros(len(x), y.shape[-1], dtype=x.dtype) if self.narrow else torch.zeros_like(y))


@pytest.mark.parametrize("posterior", ["diagonal-normal", "full-rank-normal", "flow"])
@pytest.mark.parametrize("samples", [1, 2, CLASSES])
@pytest.mark.parametrize("kind", KINDS)
def test_an_encoder_may_ignore_its_condition(kind: str, samples: int, posterior: str) -> None:
    model, traces = model_of(kind, posterior=posterior), []
    whole = model.encoder
    for narrow in (True, False):
        model.encoder = Blind(whole, narrow)
        with seeded(0):
            traces.append([model.trace(Batch(X, y), samples) for y in (None, LABELS, LABELS[:5])])
        assert model.encode(X, samples=samples).shape == (samples, len(X), 2)
    for got, wanted in zip(*traces, strict=True):
        assert got.log_weight.shape == (samples, len(X))
        torch.testing.assert_close(got.log_weight, wanted.log_weight)
        torch.testing.assert_close(got.log_px, wanted.log_px)
        torch.testing.assert_close(got.kl, wanted.kl)


@pytest.mark.parametrize("kind", KINDS[1:])
def test_draws_of_z_are_those_of_the_trace_auxiliary_latent_and_all(kind: str) -> None:
    model = model_of(kind, by=1.0)
    with seeded(0), torch.no_grad():
        z = model.trace(Batch(X, LABELS), samples=4000).latents[0].z
    drawn = model.encode(X, LABELS, samples=4000, seed=1)
    for power in (1, 2):
        assert standard_errors_apart(drawn**power, z**power).max() < 4.5


@pytest.mark.parametrize("labels", [None, LABELS], ids=["hidden", "seen"])
@pytest.mark.parametrize("kind", KINDS)
def test_means_of_latents_are_of_all_draws(kind: str, labels: Tensor | None) -> None:
    model, traces = model_of(kind, by=1.0), []

    def trace(draws: int) -> Trace:
        traces.append((draws, model.trace(Batch(X, labels), draws)))
        return traces[-1][1]  # type: ignore[return-value]

    with seeded(0):
        scores = scored(trace, 7, 3)
        assert [draws for draws, _ in traces] == [3, 3, 1]
        wanted = sum(draws / 7 * torch.cat([each.mean for each in made.latents], -1) for draws, made in traces)
    torch.testing.assert_close(scores.latent_mean, wanted)


@pytest.mark.parametrize("seen", [0, 5, len(X)])
@pytest.mark.parametrize("kind", KINDS)
def test_free_bits_hold_neither_the_label_nor_what_is_no_divergence_by_itself(kind: str, seen: int) -> None:
    model = model_of(kind)
    trace = model.trace(Batch(X, LABELS[:seen] if seen else None), samples=2)
    kl = {name: float(value.mean().detach()) for name, value in trace.kl.items()}
    assert kl["z"] < 2 * 3.0
    others = sum(value for name, value in kl.items() if name != "z")
    loss = ELBO(free_bits=3.0)(trace).loss  # type: ignore[arg-type]
    assert float(loss.detach()) == pytest.approx(2 * 3.0 + others - float(trace.log_px.mean().detach()))


@pytest.mark.parametrize("kind", KINDS)
def test_dreg_is_of_latents_drawn_apart(kind: str) -> None:
    trace = model_of(kind).trace(Batch(X, LABELS), samples=2)
    STL()(trace)  # type: ignore[arg-type]
    if kind == "plain":
        DReG()(trace)  # type: ignore[arg-type]
        return
    with refuses("'a' and another are not"):
        DReG()(trace)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["auxiliary", "skip"])
def test_a_flow_scores_an_auxiliary_draw_for_each_class(kind: str) -> None:
    model = model_of(kind, above={"name": "flow", "transforms": 1, "hidden": [4]})
    with seeded(0), torch.no_grad():
        trace: Any = model.trace(Batch(X[:5]), samples=2)
    a = trace.latents[-1]
    assert a.log_p.shape == (2, CLASSES * 5)
    assert torch.allclose(a.log_p, a.p.log_prob(a.z))


def test_an_exposure_has_no_place_beside_labels() -> None:
    made, counts = model_of(), Poisson((PIXELS,), Domain("count"), exposure=1.0)
    with refuses("the likelihood has an exposure"):
        parts = (made.encoder, dict(made.posteriors), dict(made.priors), made.decoder)
        SemiSupervisedVAE(*parts, counts, CLASSES, made.classifier)


def test_memory_is_bounded_where_means_are_drawn_for_each_draw() -> None:
    flow = {"name": "flow", "transforms": 2, "hidden": [16]}
    model, memory = model_of("auxiliary", posterior=flow), 2**25
    assert memory / 20 < peak_bytes(lambda: model.score(X, samples=20, seed=0, memory=memory)) < memory


def test_a_step_on_partly_labelled_data_counts_all_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    model = model_of()
    split = TensorSplit(X, LABELS, Domain("binary"), Preprocessing())
    partly = partly_labelled(split, 6, 2, CLASSES)
    with FlopCounterMode(display=False) as counter:
        model.trace(Batch(X[:1]))
    rows = SMALL_STEP // (3 * counter.get_total_flops()) + 1
    assert worthwhile_threads(model, partly, 1, rows) == 2
    assert worthwhile_threads(model, split, 1, rows) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_of_what_users_ask(kind: str) -> None:
    model, n = model_of(kind), len(X)
    assert model.encode(X).shape == (n, 2)
    assert model.encode(X, LABELS, samples=3).shape == (3, n, 2)
    assert model.reconstruct(X).shape == (n, PIXELS)
    assert model.reconstruct(X, samples=2, seed=0).shape == (2, n, PIXELS)
    assert model.sample(7, seed=0).shape == (7, PIXELS)
    assert model.sample(y=LABELS).shape == (n, PIXELS)
    assert model.decode(torch.zeros(n, 2, dtype=torch.float64), LABELS).shape == (n, PIXELS)
    for samples in (None, 5):
        probabilities = model.classify(X, samples=samples, seed=0)
        assert probabilities.shape == (n, CLASSES)
        torch.testing.assert_close(probabilities.sum(-1), torch.ones(n, dtype=torch.float64))


def test_a_seen_label_is_a_point_whose_divergence_is_its_surprise() -> None:
    label = model_of().trace(Batch(X, LABELS)).latents[-1]
    assert label.label
    torch.testing.assert_close(label.kl, torch.full((len(X),), np.log(CLASSES), dtype=torch.float64), rtol=0, atol=0)
    assert torch.equal(label.log_q, torch.zeros(1, len(X), dtype=torch.float64))
    assert torch.equal(label.mean.argmax(-1), LABELS)


def split_of(n: int = 90) -> TensorSplit:
    x = torch.arange(n).float()[:, None]
    return TensorSplit(x, torch.arange(n) % CLASSES, Domain("real"), Preprocessing())


def test_labels_are_balanced_and_of_a_seed() -> None:
    chosen = [partly_labelled(split_of(), 11, 4, CLASSES, seed) for seed in (0, 0, 1)]
    assert torch.equal(chosen[0].labelled, chosen[1].labelled)
    assert not torch.equal(chosen[0].labelled, chosen[2].labelled)
    counts = (chosen[0].labelled % CLASSES).bincount()
    assert counts.sum() == 11
    assert counts.max() - counts.min() <= 1
    assert len(set(chosen[0].labelled.tolist())) == 11


def test_an_epoch_shows_every_row_whose_label_is_hidden_once_after_labelled_ones() -> None:
    split = partly_labelled(split_of(), 11, 4, CLASSES)
    with seeded(0):
        order = split.order(20)
    assert len(order) == split.steps(20) == 5
    hidden = set(range(90)) - set(split.labelled.tolist())
    assert sorted(torch.cat([index[4:] for index in order]).tolist()) == sorted(hidden)
    shown = torch.cat([index[:4] for index in order])
    assert set(shown.tolist()) <= set(split.labelled.tolist())
    assert shown.bincount().max() - shown.bincount()[split.labelled].min() <= 1
    batch = split.training_batch(order[0])
    assert batch.y is not None
    assert (len(batch), len(batch.y)) == (20, 4)
    assert torch.equal(batch.y, order[0][:4] % CLASSES)


@pytest.mark.parametrize(("labels", "words"), [(2, "accepted: 3"), (91, "accepted: 3 (one of each class) to 90")])
def test_a_wrong_number_of_labels_is_refused(labels: int, words: str) -> None:
    with refuses(words):
        partly_labelled(split_of(), labels, 2, CLASSES)


def test_data_without_classes_have_no_labels_to_hide() -> None:
    split = TensorSplit(torch.zeros(5, 1), None, Domain("real"), Preprocessing())
    with refuses("no classes"):
        partly_labelled(split, 3, 2, CLASSES)


MODEL = [
    "model.classifier={name='mlp', hidden=[32]}",
    "model.encoder={name='mlp', hidden=[32]}",
    "model.decoder={name='mlp', hidden=[32]}",
    "objective={name='semi-supervised', classification=20.0}",
    "training.batch_size=64",
    "training.labelled=20",
    "training.learning_rate=3e-3",
]


@pytest.mark.parametrize(
    "auxiliary",
    [
        [],
        pytest.param(["model.auxiliary={size=8}"], marks=pytest.mark.slow),
        pytest.param(["model.auxiliary={size=8, skip=true}"], marks=pytest.mark.slow),
    ],
    ids=KINDS,
)
def test_a_run_learns_the_classes_from_few_labels(auxiliary: list[str], tmp_path: Path) -> None:
    sets = [*MODEL, *auxiliary, "data.labels=100", "training.learning_rate=6e-3"]
    run = train("digits", tmp_path / "run", sets=sets, epochs=9)  # errors here are 0.10 to 0.13, and fall to 0.05
    last = [record for record in run.history() if record.split == "valid"][-1]
    assert last.terms["error"] < 0.2
    loaded = load_run(run.path)
    data = loaded.data("test")
    scores = evaluate(loaded.model, data, samples=3)
    assert scores.labels == label_scores(loaded.model, data)
    assert scores.labels["error"] < 0.25
    assert scores.elbo <= -scores.nll
    assert loaded.reconstructions("test", 4).shape == (4, 2, 1, 8, 8)
    assert loaded.sample(4, label="3").shape == (4, 1, 8, 8)


def test_hidden_labels_are_never_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same run, once with the labels of all other rows spoilt."""

    def spoiling(split: TensorSplit, *options: Any) -> TensorSplit:
        chosen = partly_labelled(split, *options)
        y = torch.zeros_like(chosen.y)  # type: ignore[arg-type]
        y[chosen.labelled] = chosen.y[chosen.labelled]  # type: ignore[index]
        return replace(chosen, y=y)

    weights = []
    for name, choose in (("as they are", partly_labelled), ("spoilt", spoiling)):
        monkeypatch.setattr("vaekit.runs.preparation.partly_labelled", choose)
        run = train("digits", tmp_path / name, sets=[*MODEL, "data.labels=50"], epochs=2)
        weights.append(torch.cat([p.flatten() for p in run.model.parameters()]))
    assert torch.equal(*weights)


def test_resuming_is_exact(tmp_path: Path) -> None:
    whole = train(
        "digits", tmp_path / "whole", sets=[*MODEL, "data.labels=50", "training.checkpoint_every=1"], epochs=3
    )
    parts = train(out=cut_short(whole.path, tmp_path / "parts"), resume=True)
    assert_same_run(parts.path, whole.path)


CLASSES_AUXILIARY = ("model.auxiliary={size=4, posterior='categorical', prior='categorical'}",)


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        (["model.classifier=mlp", "model.condition=true"], "labels are modelled, or given"),
        (["model.auxiliary={size=3}"], "without a classifier"),
        (["model.classifier=mlp", "data.labels=5"], "data.labels is 5"),
        (
            ["model.classifier=mlp", "data.labels=100", "training.labelled=64", "training.batch_size=64"],
            "training.labelled is 64",
        ),
        (["model.classifier=mlp"], "ELBO gives classifier no gradient"),
        (["objective=semi-supervised"], "the model has no classifier; give it one"),
        (
            ["objective.terms.classification={}"],
            "the term classification, is of labels, but the model has no classifier",
        ),
        (
            ["model.classifier=mlp", "data.labels=100", "model.auxiliary={size=3, posterior='von-mises-fisher'}"],
            "latent 'a': its posterior VonMisesFisher is on the unit sphere, but its prior DiagonalNormal",
        ),
        (
            ["model.classifier=mlp", "data.labels=100", "training.labelled=20", *CLASSES_AUXILIARY],
            "draws of the auxiliary latent carry a part of their gradient alone",
        ),
        (
            ["model.classifier=mlp", "data.labels=100", "training.labelled=20", "objective.name=iwae"],
            "IWAE gives classifier no gradient",
        ),
        (["model.classifier=mlp", "model.latents={y={size=2}}"], "latent 'y' has the name"),
        (["data.codes=nowhere"], "neither a run's folder nor a recipe"),
    ],
)
def test_what_does_not_fit_is_refused(sets: list[str], words: str, tmp_path: Path) -> None:
    with refuses(words):
        train("digits", tmp_path / "run", sets=sets)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seen", [4, len(X)])
def test_information_takes_labels_that_are_seen_for_the_classes_of_their_data(kind: str, seen: int) -> None:
    model = model_of(kind)
    objective = SemiSupervised(invariance=3.0, swap=0.0)  # views are the data themselves
    with seeded(0):
        trace = traced(model, objective, Batch(X, LABELS[:seen]))
    assert trace.of_augmented[0].z.shape[-2:] == (len(X), CLASSES)
    result = objective(trace)
    plain = SemiSupervised()(trace)
    assert result.loss.item() == pytest.approx(plain.loss.item() - 3 * float(result.terms["information"]))
    if kind == "plain":  # else there are draws between x and y
        changed = model.classify(X)
        own = torch.cat([torch.eye(CLASSES, dtype=X.dtype)[LABELS[:seen]], changed[seen:]])
        joint = own.T @ changed / len(X)
        joint = (joint + joint.T) / 2
        expected = (joint * (joint / joint.sum(0) / joint.sum(1)[:, None]).log()).sum()
        assert float(result.terms["information"]) == pytest.approx(float(expected))
    result.loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    unseen = traced(model, objective, Batch(X))
    assert "information" in objective(unseen).terms
