"""log p(x) by annealed importance sampling, where importance weights alone are not to be trusted (Neal 2001; Wu et al.
2017).

Chains begin at draws of the posterior q(z given x), or of the prior, and end near p(z given x), over distributions in
between that are proportional to q^(1 - b) p(x, z)^b, b from 0 to 1. Each is left unchanged by a step of Hamiltonian
Monte Carlo (Neal 2011), whose step sizes are found beforehand, by chains of their own: they are the same in the chains
that count, so that the estimate of p(x) has no bias. Its logarithm is in expectation a lower bound of log p(x). On data
that the model has made up, whose z is known, the same chains backwards give an upper bound: bidirectional Monte Carlo
(Grosse et al. 2015).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.distributions import Distribution, constraints

from ..data.batch import Batch
from ..distributions.observed import observed_log_prob
from ..distributions.validation import elements
from ..errors import check_least
from ..models import VAE, SemiSupervisedVAE
from ..models.given import checked, checked_condition, refuse_no_density
from ..models.importance import kept_size, log_mean_variance
from ..models.sampling import Drawn
from ..models.scoring import sum_type
from ..modules import evaluating
from ..seeding import seeded
from ..system.progress import working

ACCEPTED = 0.65
"""The part of steps that are to be accepted (Neal 2011, section 4.4)."""
FIRST_STEP = 0.3
ADAPTED = 0.5
"""How fast the logarithm of a step size follows the acceptance, a temperature."""
JITTER = 0.2
"""By how much a step differs from its size at random: chains would come back to where they were on a round course."""
ROWS = 100
"""Data at once."""
STEEPNESS = 4.0
"""Of the sigmoid that temperatures lie on, denser at both ends (Wu et al. 2017, section 4)."""

Start = Literal["posterior", "prior"]


@dataclass(frozen=True)
class Annealed:
    """Estimates from K chains for each of B data, nats, (B,)."""

    log_prob: Tensor
    """log of the mean of K weights: in expectation a lower bound of log p(x)."""
    stderr: Tensor
    """Its Monte Carlo standard error, by the jackknife over chains; NaN for one."""
    effective_chains: Tensor
    """1 / sum of the squares of the weights divided by their sum: from 1, where one is all that counts, to K."""
    acceptance: Tensor
    """The mean probability of acceptance of a step."""


@dataclass(frozen=True)
class Bracket:
    """Lower and upper bounds of log p(x), in expectation, of data that the model has made up, nats, (n,) each."""

    lower: Tensor
    upper: Tensor

    @property
    def gap(self) -> float:
        """The mean distance of the two, nats: no estimate of theirs is further off, on average."""
        return float((self.upper - self.lower).mean())

    @property
    def gap_stderr(self) -> float:
        """The standard error of `gap` over the data; NaN of one."""
        apart = self.upper - self.lower
        return float(apart.std() / len(apart) ** 0.5) if len(apart) > 1 else math.nan


@dataclass(frozen=True)
class Chains:
    """How many chains, over how many temperatures, with how many leapfrog steps each, from where."""

    chains: int = 16
    temperatures: int = 200
    leapfrogs: int = 10
    start: Start = "posterior"

    def __post_init__(self) -> None:
        for name in ("chains", "temperatures", "leapfrogs"):
            check_least(name, getattr(self, name))
        if self.start not in ("posterior", "prior"):
            raise ValueError(f"start is {self.start!r}; accepted: 'posterior', 'prior'")

    @property
    def betas(self) -> np.ndarray:
        """b of each temperature, from 0 to 1, one more than there are steps between."""
        along = 1 / (1 + np.exp(-STEEPNESS * np.linspace(-1, 1, self.temperatures + 1)))
        return (along - along[0]) / (along[-1] - along[0])


def anneal(
    model: VAE,
    x: ArrayLike | Tensor | Batch,
    y: ArrayLike | Tensor | None = None,
    how: Chains | None = None,
    *,
    seed: int = 0,
) -> Annealed:
    """log p(x given y) of x (B, *event) by chains.

    With linear-Gaussian parts, or enough temperatures, it is exact to within `stderr`; see `bracket` for how far it may
    be off. Cells that are not observed are left out. Where nobody says how, chains are as `Chains` has them, from the
    prior where the posterior has no density but of its own draws. Costs two times chains x temperatures x leapfrogs
    gradients of the decoder, of the chains of 100 data at once. Raises `ValueError` for a model whose latents are no
    continuous numbers, and for chains that are to begin at such a posterior.

    >>> import tempfile
    >>> from vaekit import train
    >>> run = train("digits", tempfile.mkdtemp() + "/run", epochs=1)
    >>> anneal(run.model, run.data("test").x[:3], how=Chains(2, 5, 2)).log_prob.shape
    torch.Size([3])
    """
    refuse_no_density(model)
    batch, found = model.typed(checked(model, x, y)), []
    how = settled(how, model, batch)
    with seeded(seed), evaluating(model):
        for start in range(0, len(batch), ROWS):
            path = _path(model, batch.take(slice(start, start + ROWS)), how)
            found.append(vars(_annealed(*_walked(path, how, _tuned(path, how), path.draw(how.chains)))))
    return Annealed(**{name: torch.cat([each[name] for each in found]) for name in found[0]})


def bracket(
    model: VAE, n: int = 100, y: ArrayLike | Tensor | None = None, how: Chains | None = None, *, seed: int = 0
) -> Bracket:
    """Lower and upper bounds of log p(x) of n data that the model makes up (of y of a conditional one).

    A small gap says that `anneal` with the same chains can be trusted on data like the model's own.
    """
    refuse_no_density(model)
    with seeded(seed), evaluating(model), torch.no_grad():
        if model.condition and y is None:
            raise ValueError("the model is conditional: give y, one for each datum that is made up")
        given = checked_condition(model, y, n)
        y_seen = model.network_condition(given)
        found = model.generate(y_seen, lambda _, p: p.sample(torch.Size((n,)[: 1 - len(p.batch_shape)])))
        z = model.side_by_side(found)
        x = model.likelihood_of(z, y_seen).sample()
        batch = model.typed(Batch(x.reshape(n, *model.event_shape), given))
        how = settled(how, model, batch)
        path = _path(model, batch, how)
        tuned = _tuned(path, how)
        there = _annealed(*_walked(path, how, tuned, path.draw(how.chains)))
        back = _annealed(*_walked(path, how, tuned, z.expand(how.chains, *z.shape), back=True))
        return Bracket(there.log_prob, -back.log_prob)


def settled(how: Chains | None, model: VAE, batch: Batch) -> Chains:
    """The chains that are asked for, or the usual ones; `ValueError` where they can't start there."""
    if how is not None and how.start == "prior":
        return how
    with torch.no_grad(), seeded(0), evaluating(model):
        alone = any(getattr(latent.q, "own_alone", False) for latent in model.latents(batch.take(slice(1))))
    if alone and how is not None:
        what = f"the posterior of a {type(model).__name__}, whose draws have a density of their own alone"
        raise ValueError(f"chains can't start at {what}; accepted: Chains(start='prior')")
    return how or Chains(start="prior" if alone else "posterior")


@dataclass(frozen=True)
class _Path:
    """The two ends of what is between: log-densities (S, B) at z (S, B, D), and draws of the first."""

    first: Callable[[Tensor], Tensor]
    last: Callable[[Tensor], Tensor]
    draw: Callable[[int], Tensor]
    type: torch.dtype


@dataclass(frozen=True)
class _Tuned:
    """The step sizes of each temperature, (T, B), and the scale of each coordinate, (B, D)."""

    steps: Tensor
    scale: Tensor


def _path(model: VAE, batch: Batch, how: Chains) -> _Path:
    if isinstance(model, SemiSupervisedVAE):
        skips = model.auxiliary is not None and model.auxiliary.skip
        if skips or batch.y is None:
            what = "the decoder sees an auxiliary latent" if skips else "the label is summed out where it is not given"
            raise ValueError(f"chains are for latents that are continuous numbers, but {what}; score it by weights")
    y = model.network_condition(batch.y)

    def generated(z: Tensor) -> Drawn:
        own = model.split(z)
        return model.generate(y, lambda name, _: own[name])

    def prior(z: Tensor) -> Tensor:
        return _log_prob(generated(z))

    def joint(z: Tensor) -> Tensor:
        return prior(z) + observed_log_prob(model.likelihood_of(z, y), batch.x, batch.observed)

    # Of latents that are drawn apart the encoder's answer is the same for all z.
    with torch.no_grad():
        known = model.infer(batch, lambda _, q: _continuous(q).sample()) if model.apart else {}

    def inferred(z: Tensor) -> Drawn:
        own = model.split(z)
        if known:
            return {name: (known[name][0], own[name]) for name in known}
        return model.infer(batch, lambda name, _: own[name])

    def draw(count: int) -> Tensor:
        def drawn(_: str, p: Distribution) -> Tensor:
            return _continuous(p).sample(torch.Size((count, len(batch))[: 2 - len(p.batch_shape)]))

        found = model.generate(y, drawn) if how.start == "prior" else model.infer(batch, drawn)
        return model.side_by_side(found)

    first = prior if how.start == "prior" else lambda z: _log_prob(inferred(z))
    return _Path(first, joint, draw, sum_type(model.scale.device))


def _continuous(distribution: Distribution) -> Distribution:
    """A distribution of numbers without limits; `ValueError` for any other."""
    if getattr(distribution, "deterministic", False) or distribution.has_enumerate_support:
        raise ValueError("chains are for latents that are continuous numbers, this model has classes or codes")
    try:
        support = distribution.support
    except NotImplementedError:  # of a flow, which has none of its own
        return distribution
    while (base := getattr(support, "base_constraint", None)) is not None:  # of vectors, of mixtures
        support = base
    if support not in (None, constraints.real):
        raise ValueError(f"chains are for latents without limits, not of {type(elements(distribution)).__name__}")
    return distribution


def _log_prob(found: Drawn) -> Tensor:
    """log of the density of all z, (S, B)."""
    return sum(distribution.log_prob(z) for distribution, z in found.values())  # type: ignore[return-value]


def _tuned(path: _Path, how: Chains) -> _Tuned:
    """Step sizes that are accepted as often as they should be, by chains that count for nothing else."""
    z = path.draw(how.chains if how.chains > 1 else 4)
    scale = z.std(0).clamp_min(1e-6)
    betas, steps = how.betas, []
    size = torch.full(z.shape[1:2], FIRST_STEP * z.shape[-1] ** -0.25, dtype=z.dtype, device=z.device)
    with working("tuning chains", how.temperatures) as step:
        for t in range(1, how.temperatures):
            z, probability = _moved(path, z, betas[t], how.leapfrogs, size, scale)
            steps.append(size)
            size = size * (ADAPTED * (probability.mean(0) - ACCEPTED)).exp().to(size.dtype)
            step(t)
    return _Tuned(torch.stack(steps) if steps else z.new_zeros(0, z.shape[1]), scale)


def _walked(path: _Path, how: Chains, tuned: _Tuned, z: Tensor, back: bool = False) -> tuple[Tensor, Tensor]:
    """The log-weights (S, B) of chains that begin at z (S, B, D), and how likely a step was to be accepted, (B,): from
    the first distribution to the last, or `back`, where the weights are one over those of the way there.
    """
    betas, last = how.betas, how.temperatures
    weight = torch.zeros(z.shape[:2], dtype=path.type, device=z.device)
    accepted = torch.zeros(z.shape[1], dtype=path.type, device=z.device)
    with working("annealing backwards" if back else "annealing", last) as step:
        for done, t in enumerate(range(last, 0, -1) if back else range(1, last + 1), 1):
            weight += float(betas[t] - betas[t - 1]) * _ratio(path, z)
            at = t - 1 if back else t
            if 0 < at < last:
                z, probability = _moved(path, z, betas[at], how.leapfrogs, tuned.steps[at - 1], tuned.scale)
                accepted += probability.mean(0)
            step(done)
    return -weight if back else weight, accepted / max(1, last - 1)


def _annealed(weight: Tensor, acceptance: Tensor) -> Annealed:
    chains, log_sum = len(weight), weight.logsumexp(0)
    squares = weight.softmax(0).square().sum(0)
    variance = log_mean_variance(weight.topk(kept_size(chains), 0).values, log_sum, squares, chains)
    return Annealed(log_sum - math.log(chains), variance.sqrt(), 1 / squares, acceptance)


@torch.no_grad()
def _ratio(path: _Path, z: Tensor) -> Tensor:
    return (path.last(z) - path.first(z)).to(path.type)


def _moved(path: _Path, z: Tensor, beta: float, leapfrogs: int, size: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """z (S, B, D) after a step of Hamiltonian Monte Carlo, and how likely it was to be accepted, (S, B).

    Steps are of `size` (B,) times the `scale` of each coordinate.
    """
    jitter = 1 + JITTER * (2 * torch.rand(z.shape[:2], dtype=z.dtype, device=z.device) - 1)
    step = (jitter * size).unsqueeze(-1) * scale
    momentum = torch.randn_like(z)
    log_prob, slope = _slope(path, z, beta)
    before, moving, now = log_prob - 0.5 * momentum.square().sum(-1), momentum, z
    for i in range(leapfrogs):
        moving = moving + (0.5 if i == 0 else 1.0) * step * slope
        now = now + step * moving
        log_prob, slope = _slope(path, now, beta)
    moving = moving + 0.5 * step * slope
    after = log_prob - 0.5 * moving.square().sum(-1)
    probability = (after - before).nan_to_num(-torch.inf).exp().clamp(max=1.0)
    taken = torch.rand_like(probability) < probability
    return torch.where(taken.unsqueeze(-1), now, z), probability.to(path.type)


def _slope(path: _Path, z: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """log of the density at b = `beta`, but for a constant, (S, B), and its gradient (S, B, D)."""
    with torch.enable_grad():
        given = z.detach().requires_grad_()
        log_prob = (1 - beta) * path.first(given) + beta * path.last(given)
        (slope,) = torch.autograd.grad(log_prob.sum(), given)
    return log_prob.detach(), slope
