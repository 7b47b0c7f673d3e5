"""Classes that are drawn as they are in training: gradients by the score, against all draws enumerated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import pytest
import torch
from models_for_tests import SMALL, data_of, float64, model_of, moved, refuses, standard_errors_apart
from torch import Tensor

from vaekit.data.batch import Batch
from vaekit.data.domains import Domain
from vaekit.distributions.discrete import ScoredOneHot
from vaekit.models import VAE
from vaekit.models.trace import Trace
from vaekit.objectives import Autoencoder, DecoderGradient, Discrepancy, Multiscale
from vaekit.objectives.base import Objective, log_mean_exp
from vaekit.objectives.elbo import ELBO
from vaekit.objectives.weighted import IWAE, STL
from vaekit.seeding import seeded
from vaekit.spec.building import build_model
from vaekit.spec.keys import Schema
from vaekit.spec.parsing import parse
from vaekit.training.step import traced

ROWS = 2


@pytest.fixture(scope="module")
def model() -> VAE:
    """Two groups of two classes: a draw is one of four."""
    made = model_of(
        posterior="categorical",
        prior="uniform-categorical",
        latents={"z": 4},
        options=SMALL | {"categorical": {"groups": 2}, "uniform-categorical": {"groups": 2}},
        by=0.5,
    )
    return made.train()


def weights_of(model: VAE) -> list[Tensor]:
    return [each for each in model.parameters() if each.requires_grad]


def flat(gradients: Sequence[Tensor]) -> Tensor:
    return torch.cat([each.flatten() for each in gradients])


def exact(model: VAE, x: Tensor, samples: int, part: float) -> Tensor:
    """The gradient of the expected bound of so many draws, of which `part` is the ELBO's, by all draws there are."""
    q = model.posterior(Batch(x))["z"]
    one = [torch.tensor([1.0, 0.0], dtype=x.dtype), torch.tensor([0.0, 1.0], dtype=x.dtype)]
    values = torch.stack([torch.cat(pair) for pair in product(one, one)]).unsqueeze(1).expand(-1, len(x), -1)
    log_q, log_p = q.log_prob(values), model.priors["z"]().log_prob(values)
    log_weight = model.likelihood(model.decoder(values)).log_prob(x) + log_p - log_q
    bound = torch.zeros((), dtype=x.dtype)
    for draws in product(range(4), repeat=samples):
        chosen = list(draws)
        found = (1 - part) * log_mean_exp(log_weight[chosen]) + part * log_weight[chosen].mean(0)
        bound = bound + (log_q[chosen].sum(0).exp() * found).mean()
    return flat(torch.autograd.grad(bound, weights_of(model)))


@pytest.mark.parametrize(
    ("objective", "samples", "part"),
    [(ELBO(), 1, 1.0), (ELBO(), 3, 1.0), (IWAE(2), 2, 0.0), (IWAE(3), 3, 0.0), (IWAE(2, elbo=0.3), 2, 0.3)],
    ids=["elbo", "elbo of three", "iwae of two", "iwae of three", "ciwae"],
)
def test_the_gradient_of_draws_is_that_of_all_there_are(
    model: VAE, objective: Objective, samples: int, part: float
) -> None:
    x = data_of(model.domain, (ROWS, 4))
    want = exact(model, x, samples, part)
    # Each row of a batch is another draw.
    many = Batch(x.repeat(200, 1))
    found = []
    for seed in range(60):
        with seeded(seed):
            loss = objective(model.trace(many, samples=samples), 1.0).loss
        found.append(flat(torch.autograd.grad(-loss, weights_of(model))))
    assert standard_errors_apart(torch.stack(found), want).max() < 4.5


@pytest.mark.parametrize(
    "kinds", [("categorical", "categorical"), ("categorical", "normal"), ("normal", "categorical")]
)
def test_of_a_hierarchy_what_a_draw_does_to_the_other_latents_kl_counts(kinds: tuple[str, str]) -> None:
    """The gradient of the ELBO of classes one from another, or of normals and classes, against the mean of weights,
    whose score is that of all draws.
    """
    parts = {
        "categorical": {"posterior": "categorical", "prior": "categorical"},
        "normal": {"posterior": "diagonal-normal", "prior": "diagonal-normal"},
    }
    network = {"name": "mlp", **SMALL["mlp"]}
    below, above = ({"size": 2, **parts[kind]} for kind in kinds)
    latents = {"z1": below, "z2": {**above, "encoder": network, "generator": network}}
    values = {"encoder": network, "decoder": network, "latents": latents, "structure": "hierarchical"}
    schema = Schema(event_shape=(3,), domain=Domain("binary"))
    with float64():
        model = moved(build_model(parse({"model": values | {"likelihood": "bernoulli"}}).model, schema), by=0.7).train()
    many = Batch(data_of(model.domain, (ROWS, 3)).repeat(150, 1))
    found: dict[str, list[Tensor]] = {"elbo": [], "weights": []}
    for seed in range(40):
        for name, objective in (("elbo", ELBO()), ("weights", IWAE(3, bounds=3))):
            with seeded(seed + 100 * (name == "weights")):
                trace = model.trace(many, samples=3)
                found[name].append(flat(torch.autograd.grad(objective(trace, 1.0).loss, weights_of(model))))
    apart = standard_errors_apart(torch.stack(found["elbo"]), torch.stack(found["weights"]))
    assert apart.max() < 4.5


def test_what_others_draw_takes_most_of_the_noise(model: VAE) -> None:
    """Of four draws, each compared with the other three, the gradient varies less than by a draw for four rows."""
    batch, head = Batch(data_of(model.domain, (1, 4)).repeat(8, 1)), model.posteriors["z"].head.weight

    def spread(samples: int, rows: int) -> float:
        found = []
        for seed in range(80):
            with seeded(seed):
                trace = model.trace(Batch(batch.x[:rows]), samples=samples)
            found.append(torch.autograd.grad(ELBO()(trace).loss, head)[0].flatten())
        return float(torch.stack(found).var(0).sum())

    assert spread(4, 2) < 0.5 * spread(1, 8)


def test_bounds_of_parts_are_those_of_their_draws(model: VAE) -> None:
    trace = model.trace(Batch(data_of(model.domain, (3, 4))), samples=6)
    whole = float(IWAE(6, bounds=6)(trace).loss.detach())
    assert whole == pytest.approx(-float(trace.log_weight_at(1.0, scored=True).mean().detach()), rel=1e-9)


def test_an_objective_without_a_place_for_the_score_says_so(model: VAE) -> None:
    trace: Trace = model.trace(Batch(data_of(model.domain, (3, 4))), samples=2)
    with pytest.raises(ValueError, match="accepted: elbo"):
        STL()(trace)


def test_terms_of_draws_whose_gradient_is_missing_say_so(model: VAE) -> None:
    trace = model.trace(Batch(data_of(model.domain, (3, 4))))
    for term in (Discrepancy(), DecoderGradient(model.domain)):
        with refuses("'z' is drawn without all of its gradient"):
            term(trace)


def test_a_distance_of_images_reaches_the_classes_they_are_decoded_from() -> None:
    """In expectation by all draws there are."""
    made = model_of(
        posterior="categorical",
        latents={"z": 4},
        options=SMALL | {"uniform-categorical": {"groups": 2}} | {"categorical": {"groups": 2}},
        event_shape=(1, 2, 2),
        by=0.5,
    ).train()
    x, term, weight = data_of(made.domain, (1, 1, 2, 2)), Multiscale((1, 2, 2), made.domain), made.posteriors["z"].head
    q = made.posterior(Batch(x))["z"]
    want = torch.zeros_like(weight.bias)
    for pair in product(range(2), repeat=2):
        z = torch.eye(2, dtype=x.dtype)[list(pair)].flatten().view(1, 1, 4)
        at = made.trace(Batch(x), draw=lambda name, q, z=z: z)
        loss = term(replace(at, latents=tuple(replace(each, drawn=False) for each in at.latents))).loss
        want = want + torch.autograd.grad(q.log_prob(z).exp().sum() * loss.detach(), weight.bias, retain_graph=True)[0]
    found = []
    for seed in range(40):
        with seeded(seed):
            loss = term(made.trace(Batch(x.repeat(200, 1, 1, 1)), samples=2)).loss
        found.append(torch.autograd.grad(loss, weight.bias)[0])
    assert want.abs().max() > 1e-3
    assert standard_errors_apart(torch.stack(found), want).max() < 4.5


def test_at_the_means_nothing_is_missing_in_a_gradient(model: VAE, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss of an autoencoder is a function of the weights, whose gradient is that of small moves, whatever draws
    would lack.
    """
    monkeypatch.setattr(ScoredOneHot, "score_correction", lambda self, value: self.logits[..., 0])
    batch, bias = Batch(data_of(model.domain, (3, 4))), model.posteriors["z"].head.bias
    objective = Autoencoder()

    def loss() -> Tensor:
        return objective(traced(model, objective, batch)).loss

    (slope,) = torch.autograd.grad(loss(), bias)
    for i in range(2):
        ends = []
        for step in (1e-5, -2e-5):
            bias.data[i] += step
            ends.append(float(loss().detach()))
        bias.data[i] += 1e-5
        assert float(slope[i]) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4)


def test_it_is_scored_as_what_it_is_trained_as(model: VAE) -> None:
    """In evaluation the same model: the mean of many training bounds is the ELBO that is scored."""
    x = data_of(model.domain, (50, 4))
    with torch.no_grad(), seeded(0):
        trained = torch.stack([-ELBO()(model.train().trace(Batch(x), samples=20)).loss for _ in range(20)])
        scored = model.eval().score(Batch(x), samples=200).elbo.mean()
    model.train()
    assert abs(trained.mean() - scored) < 5 * (trained.std() / 20**0.5 + 0.02)
