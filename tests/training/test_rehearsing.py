"""Parts of one's own that can't be trained are refused before the first step, in one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from models_for_tests import model_of, refuses
from torch import Tensor, nn
from torch.distributions import Categorical, Cauchy, Distribution, Independent, LogNormal, Normal, Poisson

from vaekit.data.domains import Domain
from vaekit.errors import UndefinedError
from vaekit.likelihoods.base import Likelihood
from vaekit.models import VAE
from vaekit.models.trace import Trace
from vaekit.networks import MLP
from vaekit.objectives import ELBO, Loss, Sum
from vaekit.training.fitting import fit

X = torch.rand(12, 4).numpy().round()


class Hidden(nn.Module):
    """An encoder whose layers PyTorch knows nothing of."""

    out_shape = (6,)

    def __init__(self, held: Any) -> None:
        super().__init__()
        self.layers = held
        self.last = nn.Linear(4, 6)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.last(x)


class Bare(Distribution):
    """A distribution of two numbers, without a method."""

    def __init__(self) -> None:
        super().__init__(torch.Size(), torch.Size([2]), validate_args=False)


class Own(nn.Module):
    """A prior or a posterior that gives what it is told."""

    def __init__(self, made: Any) -> None:
        super().__init__()
        self.made, self.scale = made, nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor | None = None) -> Distribution:
        return self.made(self.scale if x is None else x[:, :2])


def with_parts(**others: nn.Module) -> VAE:
    base = model_of(latents={"z": 2}).float()
    parts = {name: others.get(name, getattr(base, name)) for name in ("encoder", "decoder", "likelihood")}
    latents = {each: {"z": others.get(each, getattr(base, each)["z"])} for each in ("posteriors", "priors")}
    return VAE(**parts, **latents)


@pytest.mark.parametrize(
    ("held", "told"),
    [
        ([nn.Linear(4, 4)], "encoder.layers has weights, but is a list of Python's"),
        ({"a": nn.Linear(4, 4)}, "encoder.layers has weights, but is a dict of Python's"),
        ((nn.Parameter(torch.zeros(2)),), "encoder.layers has weights, but is a tuple of Python's"),
        (torch.zeros(2, requires_grad=True), "encoder.layers has weights, but is no parameter"),
    ],
)
def test_weights_that_are_not_registered_are_refused(held: Any, told: str) -> None:
    with refuses(told):
        fit(with_parts(encoder=Hidden(held)), X, ELBO(), epochs=1)


def test_tensors_and_modules_that_are_not_to_be_trained_may_lie_anywhere() -> None:
    frozen = nn.Linear(4, 4).requires_grad_(False)
    encoder = Hidden([frozen, torch.zeros(2), "relu"])
    encoder.again = [encoder.last]  # type: ignore[assignment]
    fit(with_parts(encoder=encoder), X, ELBO(), epochs=1)


def test_what_a_distribution_lacks_is_said() -> None:
    with refuses("the distribution Bare has no log_prob"):
        fit(with_parts(priors=Own(lambda _: Bare())), X, ELBO(), epochs=1)
    counts = Own(lambda x: Independent(Poisson(x.exp()), 1))
    with refuses("the distribution Poisson has no rsample"):
        fit(with_parts(posteriors=counts), X, ELBO(), epochs=1)
    with pytest.raises(UndefinedError, match="latent 'z': the distribution Bare has no rsample"):
        with_parts(priors=Own(lambda _: Bare())).sample(2)


class Undrawn(Normal):
    """A normal that nobody can draw from."""

    sample = Distribution.sample  # type: ignore[assignment]
    rsample = Distribution.rsample  # type: ignore[assignment]


def test_a_prior_that_can_not_be_drawn_from_is_refused_before_the_first_step() -> None:
    prior = Own(lambda scale: Independent(Undrawn(scale, torch.ones(2)), 1))
    with refuses("the prior of 'z' gives Undrawn, which has no sample; accepted: a distribution that can be drawn"):
        fit(with_parts(priors=prior), X, ELBO(), epochs=1)


def test_a_mean_that_is_no_number_is_refused_before_the_first_step() -> None:
    posterior = Own(lambda x: Independent(Cauchy(x, torch.ones(2)), 1))
    with refuses("the posterior of 'z' has no mean, that of its Cauchy is nan; accepted: one with a `mean`"):
        fit(with_parts(posteriors=posterior), X, ELBO(), epochs=1)

    class Median(Cauchy):
        mean = property(lambda self: self.loc)

    prior = Own(lambda scale: Independent(Normal(scale, 1.0), 1))
    posterior = Own(lambda x: Independent(Median(x, torch.ones(2)), 1)).requires_grad_(False)
    assert fit(with_parts(posteriors=posterior, priors=prior), X, ELBO(), epochs=1).epoch == 1


def test_an_objective_without_progress_is_refused() -> None:
    def hasty(trace: Trace) -> Loss:
        return ELBO()(trace)

    with refuses("hasty is called with (trace, progress), but too many positional arguments"):
        fit(with_parts(), X, Sum((ELBO(), hasty)), epochs=1)  # type: ignore[arg-type]


def test_levels_of_torch_are_reconstructed_by_the_likeliest() -> None:
    class Levels(Likelihood):
        """A probability each of 0 and 1."""

        domains = ("binary",)

        def __init__(self) -> None:
            super().__init__((4,), Domain("binary"), parameters=2)

        def forward(self, parameters: Tensor) -> Distribution:
            return self.event(Categorical(logits=parameters.transpose(-1, -2)))

    model = with_parts(likelihood=Levels(), decoder=MLP((2,), (2, 4)))
    fit(model, X, ELBO(), epochs=1)
    assert set(model.reconstruct(X).flatten().tolist()) <= {0, 1}


class Replacing(nn.Module):
    """A term that puts another buffer in the place of its own each time, as a running average is often written."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, trace: Trace, progress: float = 1.0) -> Loss:
        self.steps = self.steps + 1
        return Loss(trace.log_px.mean() * 0, {"steps": self.steps.clone()})


def test_a_rehearsal_leaves_no_trace_in_buffers_that_are_put_anew() -> None:
    term = Replacing()
    fit(with_parts(), X, Sum((ELBO(), term)), epochs=1, batch_size=4)
    assert term.steps == 3


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (lambda loss: loss.loss, "giving gives Tensor; accepted: vaekit.objectives.Loss(loss, terms)"),
        (lambda loss: Loss(loss.loss.expand(3), {}), "giving: its 'loss' is a tensor of shape (3,)"),
    ],
)
def test_of_a_sum_the_part_that_gives_no_loss_is_named(given: Callable[[Loss], Any], told: str) -> None:
    def giving(trace: Trace, progress: float) -> Any:
        return given(ELBO()(trace))

    with refuses(told):
        fit(with_parts(), X, Sum((ELBO(), giving)), epochs=1)


def test_values_that_a_prior_can_not_have_are_said_in_one_line() -> None:
    prior = Own(lambda scale: Independent(LogNormal(scale, 1.0), 1))
    with refuses("to be within the support (GreaterThan(lower_bound=0.0)) of the distribution LogNormal()"):
        fit(with_parts(priors=prior), X, ELBO(), epochs=1)
    fit(with_parts(priors=Own(lambda scale: Independent(Normal(scale, 1.0), 1))), X, ELBO(), epochs=1)


GIVEN: dict[str, Callable[[Loss, float], Any]] = {
    "giving gives float; accepted: vaekit.objectives.Loss(loss, terms)": lambda loss, at: 1.0,
    "giving gives Tensor; accepted": lambda loss, at: loss.loss,
    "giving: its 'loss' is a tensor of shape (3,)": lambda loss, at: Loss(loss.loss.expand(3), {}),
    "giving: its 'mine' is a tensor of shape (2,)": lambda loss, at: Loss(loss.loss, {"mine": torch.ones(2)}),
    "giving: its 'loss' is 3.0; accepted: a tensor": lambda loss, at: Loss(3.0, {}),  # type: ignore[arg-type]
    "giving: its 'mine' is 'three'; accepted: one number": lambda loss, at: Loss(
        loss.loss,
        {"mine": "three"},  # type: ignore[dict-item]
    ),
    "giving: its 'mine' is None": lambda loss, at: Loss(loss.loss, {"mine": None}),  # type: ignore[dict-item]
    "terms of the objective are there in one step and not in the next: mine": lambda loss, at: Loss(
        loss.loss, {"mine": loss.loss.detach()} if at > 0.4 else {}
    ),
}


@pytest.mark.parametrize("told", GIVEN)
def test_what_an_objective_gives_that_is_no_loss_is_said(told: str) -> None:
    def giving(trace: Trace, progress: float) -> Any:
        return GIVEN[told](ELBO()(trace), progress)

    with refuses(told):
        fit(with_parts(), X, giving, epochs=1, batch_size=4)
