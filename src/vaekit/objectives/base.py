"""What an objective is: a loss read off a trace. And what it is for several to be one: their sum."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import lru_cache
from inspect import signature
from typing import Any, get_type_hints

import torch
from torch import Tensor, nn

from ..distributions.discrete import RelaxedOneHot
from ..errors import check_least, shown, wrong_kind
from ..models.trace import Trace
from ..schedules import Constant, Schedule, check_schedule, may_be_schedule


@dataclass(frozen=True)
class Loss:
    """The `loss` to minimise, a scalar with gradients, and the `terms` worth recording, detached scalars or numbers.

    Losses add up. What parts of inference, q(z given x), minimise in its place is `inference`, where that is another.
    """

    loss: Tensor
    terms: dict[str, Tensor | float]
    inference: Tensor | None = None

    def __add__(self, other: Loss) -> Loss:
        inference = None
        if self.inference is not None or other.inference is not None:
            mine, theirs = (each.loss if each.inference is None else each.inference for each in (self, other))
            inference = mine + theirs
        return Loss(self.loss + other.loss, self.terms | other.terms, inference)


Objective = Callable[[Trace, float], Loss]
"""Called on a trace and the progress of the run, in [0, 1].

What else it may have: `samples`, how many it wants of a trace; `at_means`, whether it wants the mean of each q in place
of draws; `augment`, which changes a batch whose latents are to be
compared with the trace's; `opponent`, a module that it plays against, with `opponent_loss`, called as it is itself, and
`opponent_rate` (see `training.opponents`); `balanced`, which in a sum is called last, with the loss of all others as a
third argument, to be weighed against it; `among_others`, which in a sum of several is called in its place; `coupled`,
why the loss of a batch is no mean over its rows, "" where it is.
"""


def samples_of(objective: Objective) -> int:
    """S, the samples that an objective wants of a trace: its attribute `samples`, or 1 for one that has none.

    >>> from vaekit.objectives import IWAE
    >>> samples_of(IWAE(samples=7)), samples_of(lambda trace, progress: Loss(-trace.log_weight.mean(), {}))
    (7, 1)
    """
    return getattr(objective, "samples", 1)


def at_means(objective: Objective) -> bool:
    """Whether an objective, or a part of a sum, wants the mean of each posterior in place of draws.

    >>> from vaekit.objectives import ELBO, Autoencoder, Discrepancy
    >>> at_means(Sum((Autoencoder(), Discrepancy()))), at_means(ELBO())
    (True, False)
    """
    return any(getattr(each, "at_means", False) for each in leaves(objective))


def coupled(part: object) -> str:
    """Why what an objective, or a part of a model, makes of a batch is no mean over its rows; "" where it is one, as of
    those that do not say.

    >>> from vaekit.objectives import ELBO
    >>> coupled(ELBO()), coupled(ELBO(free_bits=0.5))
    ('', "free_bits hold the batch's average of a KL")
    """
    if isinstance(part, nn.modules.batchnorm._BatchNorm):
        return "batch normalisation compares the rows of a batch"
    if getattr(part, "opponent", None) is not None:
        return f"{type(part).__name__} plays against an opponent"
    return getattr(part, "coupled", "")


class Composed:
    """What is the sum of other objectives, its `parts`: bounds, and terms beside them."""

    @property
    def parts(self) -> Sequence[Objective]:
        """What is added up."""
        raise NotImplementedError

    def __call__(self, trace: Trace, progress: float = 1.0) -> Loss:
        parts = sorted(self.parts, key=_balanced)
        found = _checked(parts[0], _among(parts[0], len(parts))(trace, progress))
        for other in parts[1:]:
            given = (trace, progress, found.loss) if _balanced(other) else (trace, progress)
            found = found + _checked(other, _among(other, len(parts))(*given))
        terms = found.terms
        if "elbo" not in terms and {"reconstruction", "kl"} <= terms.keys():
            terms = {"elbo": terms["reconstruction"] - terms["kl"]} | terms
        return replace(found, terms=terms)

    @property
    def coupled(self) -> str:
        """Why one of the parts is no mean over rows, "" where all are."""
        return next(filter(None, map(coupled, self.parts)), "")

    @property
    def augment(self) -> Callable[[Any], Any] | None:
        """The one `augment` among the parts; `ValueError` where two have one: a trace has one set of changed data."""
        found = [each for part in self.parts if (each := getattr(part, "augment", None)) is not None]
        if len(found) > 1:
            raise ValueError(f"{len(found)} parts of an objective change data, each in its own way; accepted: one")
        return found[0] if found else None


def _name(objective: Objective) -> str:
    return getattr(objective, "__name__", type(objective).__name__)


def _among(objective: Objective, others: int) -> Objective:
    """What is called of a part of a sum of so many."""
    return getattr(objective, "among_others", objective) if others > 1 else objective


def _checked(objective: Objective, result: Loss) -> Loss:
    check_loss(objective, result)
    return result


def check_called(objective: Objective) -> None:
    """`ValueError`, one line, for an objective, or a part of one, that can't be called as such."""
    for part in leaves(objective):
        try:
            signature(part.forward if isinstance(part, nn.Module) else part).bind(
                None, 0.0, *([None] if _balanced(part) else [])
            )
        except TypeError as error:
            raise ValueError(f"{_name(part)} is called with (trace, progress), but {error}") from None


def check_loss(objective: Objective, result: Any) -> None:
    """`ValueError`, one line, for what an objective gives that is no `Loss` of single numbers."""
    of = _name(objective)
    if not isinstance(result, Loss):
        raise ValueError(f"{of} gives {type(result).__name__}; accepted: vaekit.objectives.Loss(loss, terms)")
    for name, each in (("loss", result.loss), ("inference", result.inference), *result.terms.items()):
        number = each.dim() == 0 if isinstance(each, Tensor) else isinstance(each, int | float) and name in result.terms
        if number or (each is None and name == "inference"):
            continue
        has = f"a tensor of shape {tuple(each.shape)}" if isinstance(each, Tensor) else shown(each)
        if isinstance(each, int | float):
            raise ValueError(f"{of}: its {name!r} is {has}; accepted: a tensor, whose gradients train the model")
        raise ValueError(f"{of}: its {name!r} is {has}; accepted: one number, the mean over the data")


def _balanced(objective: Objective) -> bool:
    return getattr(objective, "balanced", False)


@dataclass(frozen=True)
class Sum(Composed):
    """The sum of objectives: a bound, and terms that are added to it.

    >>> from vaekit.objectives import IWAE, Classification
    >>> objective = Sum((IWAE(samples=5), Classification(weight=60.0)))
    >>> objective.samples
    5
    """

    terms: tuple[Objective, ...]

    def __post_init__(self) -> None:
        if not self.terms:
            raise ValueError("a sum of no objectives; give at least one")

    @property
    def parts(self) -> Sequence[Objective]:
        return self.terms

    @property
    def samples(self) -> int:
        """As many as the part wants that wants most."""
        return max(samples_of(part) for part in self.terms)


def leaves(objective: Objective) -> Iterator[Objective]:
    """An objective, or the parts of a `Sum`, and theirs."""
    if isinstance(objective, Sum):
        for part in objective.terms:
            yield from leaves(part)
    else:
        yield objective


def with_modules(objective: Objective) -> list[nn.Module]:
    """Those parts of an objective that have weights of their own."""
    return [each for each in leaves(objective) if isinstance(each, nn.Module)]


def schedules_of(objective: Objective) -> dict[str, Schedule]:
    """The schedules among an objective's fields by name, those of the second part of a sum as "1.weight" and so on.

    What is the same throughout is none. In a recording the values of schedules are inputs.
    """
    if isinstance(objective, Sum):
        parts = enumerate(objective.terms)
        return {f"{i}.{name}": each for i, part in parts for name, each in schedules_of(part).items()}
    values = {name: getattr(objective, name, None) for name in _coefficients(type(objective))}  # type: ignore[arg-type]
    return {name: value for name, value in values.items() if callable(value) and not isinstance(value, Constant)}


@lru_cache
def _coefficients(kind: type) -> tuple[str, ...]:
    """The fields of a kind of objective that may be schedules."""
    if not is_dataclass(kind):
        return ()
    hints = get_type_hints(kind)
    return tuple(field.name for field in fields(kind) if field.init and may_be_schedule(hints[field.name]))


def at_values(objective: Any, values: Mapping[str, Any]) -> Any:
    """`objective` with constants in place of those of its schedules that are among `values`, by the same names."""
    if isinstance(objective, Sum):
        own = [
            {name.partition(".")[2]: value for name, value in values.items() if name.partition(".")[0] == str(i)}
            for i in range(len(objective.terms))
        ]
        return Sum(tuple(at_values(part, given) for part, given in zip(objective.terms, own, strict=True)))
    return replace(objective, **{name: Constant(value) for name, value in values.items()}) if values else objective


def bound_terms(trace: Trace) -> dict[str, Tensor | float]:
    """What every bound records, detached scalars: elbo = reconstruction - kl, and each latent's KL if several."""
    reconstruction = trace.average(trace.log_px).detach()
    kls = kl_record({name: trace.average(kl) for name, kl in trace.kl.items()})
    return {"elbo": reconstruction - kls["kl"], "reconstruction": reconstruction} | kls


def kl_record(kls: Mapping[str, Tensor]) -> dict[str, Tensor | float]:
    """The KL of all latents, and of each if there are several, detached."""
    own = {name: kl.detach() for name, kl in kls.items()}
    if len(own) == 1:
        return {"kl": next(iter(own.values()))}
    return {"kl": torch.stack(list(own.values())).sum(), **{f"kl/{name}": value for name, value in own.items()}}


def with_penalties(found: Loss, trace: Trace) -> Loss:
    """A loss with what posteriors add to it, each by name among its terms, and what else they say of themselves."""
    penalties = {name: trace.average(each) if each.dim() else each for name, each in trace.penalties.items()}
    for each in penalties.values():
        found = found + Loss(each, {})
    return replace(
        found, terms=found.terms | {name: each.detach() for name, each in (penalties | trace.figures).items()}
    )


def log_mean_exp(log_weight: Tensor) -> Tensor:
    """log of the mean of exp over the first dimension: (S, …) to (…)."""
    return log_weight.logsumexp(0) - math.log(log_weight.shape[0])


def check_drawn(objective: Objective, trace: Trace) -> None:
    """`ValueError` unless all latents are drawn from densities: the score that is left out has a mean of 0 there alone.

    A relaxed class is drawn from one density and weighed by the mass of another variable, the class, so that without
    its score the gradient is biased.
    """
    name = type(objective).__name__
    if trace.cases is not None:
        what = "is for models whose latents are all drawn, this one sums out a label"
        raise ValueError(f"{name} {what}; accepted: elbo, semi-supervised")
    check_random(objective, trace)
    drawn = [latent for latent in trace.latents if not latent.enumerated]
    if relaxed := [latent.name for latent in drawn if isinstance(latent.q, RelaxedOneHot)]:
        what = f"is for latents that are drawn from a density, {relaxed[0]!r} is of classes"
        raise ValueError(f"{name} {what}; accepted: elbo, iwae")


def check_random(objective: Objective, trace: Trace) -> None:
    """`ValueError` where a latent is a code, of which all draws are the same, and with them all weights."""
    if fixed := [latent.name for latent in trace.latents if latent.deterministic]:
        what = f"is for latents that are drawn, {fixed[0]!r} is a code, of which all draws are the same"
        raise ValueError(f"{type(objective).__name__} {what}; accepted: elbo")


def constant(coefficient: float | Schedule) -> float | None:
    """The value of a coefficient that is the same throughout, None of one that a schedule or a recording gives."""
    value = getattr(coefficient, "value", None)
    return value if isinstance(value, float) else None


def at(coefficient: float | Schedule, progress: float) -> float:
    """The value of a coefficient at that progress of the run."""
    return coefficient(progress) if callable(coefficient) else coefficient


def take_schedule(objective: Objective, name: str) -> None:
    """Make a coefficient that is a number a constant schedule; `ValueError` for a negative one, and for a schedule that
    is below 0 or no number, `TypeError` for what is neither.
    """
    value = getattr(objective, name)
    if isinstance(value, type) or not (isinstance(value, (int, float)) or callable(value)):
        raise wrong_kind(name, value, "a number, or a schedule, such as vaekit.schedules.Linear()")
    if isinstance(value, (int, float)):
        check_least(name, value, 0)
        object.__setattr__(objective, name, Constant(float(value)))
    elif not isinstance(getattr(value, "value", None), Tensor):  # as a recording is given them
        check_schedule(name, value, least=0.0)
