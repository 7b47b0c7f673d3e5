"""Classes that are drawn as they are in training: gradients by the score, against all draws enumerated."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import pytest
import torch
from models_for_tests import SMALL, data_of, model_of, standard_errors_apart
from torch import Tensor

from vaekit.data.batch import Batch
from vaekit.models import VAE
from vaekit.models.trace import Trace
from vaekit.objectives.base import Objective, log_mean_exp
from vaekit.objectives.elbo import ELBO
from vaekit.objectives.weighted import IWAE, STL
from vaekit.seeding import seeded

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
    q = model._posterior(Batch(x))["z"]
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


def test_it_is_scored_as_what_it_is_trained_as(model: VAE) -> None:
    """In evaluation the same model: the mean of many training bounds is the ELBO that is scored."""
    x = data_of(model.domain, (50, 4))
    with torch.no_grad(), seeded(0):
        trained = torch.stack([-ELBO()(model.train().trace(Batch(x), samples=20)).loss for _ in range(20)])
        scored = model.eval().score(Batch(x), samples=200).elbo.mean()
    model.train()
    assert abs(trained.mean() - scored) < 5 * (trained.std() / 20**0.5 + 0.02)
