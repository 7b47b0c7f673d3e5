"""What users give to a model: arrays, checked in one place, as tensors of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ..data.batch import Batch
from ..data.domains import Domain
from ..distributions.discretized import out_of_order
from ..errors import check_least, number_of, shown, unknown, wrong_kind
from ..networks.base import one_hots
from ..settings import option, setting
from ..system.memory import check_memory

if TYPE_CHECKING:
    from .vae import VAE


def checked(model: VAE, x: ArrayLike | Tensor | Batch, y: ArrayLike | Tensor | None) -> Batch:
    """x (B, *event) and its condition as a batch of tensors of `model`; `ValueError` where they are not of its kind.

    A cell that is NaN is one that is not observed. Of a batch its y is taken where `model` is conditional.
    """
    observed: Tensor | None = None
    if isinstance(x, Batch):
        batch = x if y is not None else model.asked(x)
        x, observed, y = batch.x, batch.observed, batch.y if y is None else y
    given = x if isinstance(x, Tensor) else torch.from_numpy(np.asarray(x))
    if given.dim() != len(model.event_shape) + 1 or tuple(given.shape[1:]) != model.event_shape or not len(given):
        accepted = f"(B, {', '.join(map(str, model.event_shape))}), B > 0"
        raise ValueError(f"x has shape {tuple(given.shape)}; accepted: {accepted}")
    if observed is None and given.is_floating_point() and bool((gaps := given.isnan()).any()):
        observed = ~gaps
    if observed is not None:
        filler = torch.as_tensor(model.domain.filler, dtype=given.dtype, device=given.device)
        given = torch.where(observed, given, filler)
    model.domain.check(given.detach().cpu().numpy(), "x")
    refuse_unscored(model, given, observed)
    condition = checked_condition(model, y, len(given)) if model.conditional or y is not None else None
    if model.exposed and condition is not None:
        counted = (given.flatten(1) != 0).any(1).cpu()
        if bool((counted & (condition[:, -1].cpu() == 0)).any()):
            raise ValueError("a row with counts has the exposure of a row without any, 0; accepted: numbers above 0")
    given = given.cpu() if model.scale.device.type == "mps" else given  # which has no float64
    device = model.scale.device
    seen = None if observed is None else observed.to(device)
    return model.typed(Batch(given.to(device), condition, seen))


def unchecked(model: VAE, x: Tensor, y: Tensor | None) -> Batch:
    """x (B, *event) and its condition as a batch, by operations on tensors alone: a cell that is NaN is not observed,
    and no value is looked at.
    """
    observed = ~x.isnan()
    x = torch.where(observed, x, torch.as_tensor(model.domain.filler, dtype=x.dtype, device=x.device))
    return model.typed(Batch(x, model.one_hot(y), observed))


def checked_condition(model: VAE, y: ArrayLike | Tensor | None, n: int) -> Tensor | None:
    """The condition (n, C) of n data, None of a model that takes none; `ValueError` for any other y."""
    size = model.condition
    if not size:
        if y is not None:
            raise ValueError("y was given to a model without a condition; leave it out, or train with a condition")
        return None
    accepted = f"({n}, {size}) or ({n},) whole numbers below {size}"
    if model.exposed:
        accepted = f"({n}, {size}), the last of them the exposure of a row"
    if y is None:
        raise ValueError(f"this model is conditional: it needs y, {accepted}")
    try:
        given = _numbers(model, torch.as_tensor(y, device=model.scale.device))
    except (TypeError, ValueError) as error:
        raise ValueError(f"y is not of numbers ({error}); accepted: {accepted}") from None
    if given.dim() != 2 or given.shape[1] != size or len(given) not in (1, n):
        raise ValueError(f"y has shape {tuple(given.shape)}; accepted: {accepted}")
    if given.is_floating_point() and not given.isfinite().all():
        raise ValueError("y has values that are no finite numbers")
    if model.exposed and not (given[:, -1] >= 0).all():
        raise ValueError("the last of y is the exposure of a row, which must be at least 0")
    return given.to(model.scale.dtype).expand(n, -1)


def _numbers(model: VAE, y: Tensor) -> Tensor:
    """Labels as one-hots, an exposure alone as a column."""
    if model.exposed and model.condition == 1 and y.dim() == 1:
        return y[:, None]
    if y.dim() != 1 or y.is_floating_point():
        return y
    if len(y) and (int(y.min()) < 0 or int(y.max()) >= model.condition):
        raise ValueError(f"y has labels {int(y.min())}..{int(y.max())}; accepted: 0..{model.condition - 1}")
    return one_hots(y, model.condition, model.scale)


def checked_codes(model: VAE, z: ArrayLike | Tensor) -> Tensor:
    """z (…, D) as a tensor of `model`; `ValueError` for another D than it decodes."""
    given = torch.as_tensor(z, dtype=model.scale.dtype, device=model.scale.device)
    if given.dim() == 0 or given.shape[-1] not in (model.latent_size, *model.prefixes):
        accepted = f"(…, {model.latent_size}), the latents {model.sizes}"
        for size, names in model.prefixes.items():
            alone = ", ".join(names if len(names) < 4 else [names[0], "…", names[-1]])
            accepted += "" if len(names) == len(model.sizes) else f", or (…, {size}), {alone} alone"
        raise ValueError(f"z has shape {tuple(given.shape)}; accepted: {accepted}")
    return given


def checked_count(n: int | None, y: ArrayLike | Tensor | None) -> int:
    """n, or where it is left out one for each row of y; `ValueError` for less than 1."""
    if n is None:
        n = 1 if y is None else len(torch.as_tensor(y))
    given: object = n  # whatever the signature says
    if not isinstance(given, Integral):
        raise wrong_kind("n", given, "a whole number, how many samples")
    check_least("n, the number of samples,", n)
    return n


def check_samples(samples: object) -> None:
    """`ValueError` for samples below 1, `TypeError` for what is no number of them."""
    if not isinstance(samples, Integral):
        raise wrong_kind("samples", samples, "a whole number of at least 1")
    check_least("samples", samples)


def refuse_number(name: str, n: object, least: int = 1) -> None:
    """`ValueError` unless n, called `name`, is a whole number of that size at least."""
    if isinstance(n, bool) or not isinstance(n, Integral) or n < least:
        raise ValueError(f"{name} is {n!r}; accepted: a whole number from {least} on")


def refuse_too_many(n: int, event_shape: tuple[int, ...], like: Tensor) -> None:
    """`ValueError` where n data of a shape, of the type and on the device of a tensor, are more than memory takes."""
    refuse_number("n", n, least=0)
    # Twice, since what is made is also written.
    needed = 2 * n * math.prod(event_shape) * like.element_size()
    check_memory(needed, f"{n:,} data of shape {event_shape}", f"ask for fewer by {option('n', 'N')}", like.device)


def chooses_data(model: VAE, holes: bool) -> bool:
    """Whether data of the domain, in which cells may be missing (`holes`), may have to be refused, see
    `refuse_unscored`: only then all are looked at before the first step.
    """
    likelihood = model.likelihood
    return getattr(likelihood, "open", False) or (holes and getattr(likelihood, "in_order", False))


def refuse_unscored(model: VAE, x: Tensor, observed: Tensor | None, what: str = "the data") -> None:
    """`ValueError` where data (B, *event) are of the domain, but the likelihood of `model` can't score them: where x of
    a unit interval are at an end of it, and it is a density of what is between; where of a pixel a channel is missing
    and one after it is `observed`, and it knows each given those before it alone.
    """
    if getattr(model.likelihood, "open", False):
        _refuse_ends(model, x, what)
    if observed is not None and getattr(model.likelihood, "in_order", False):
        count = int(out_of_order(observed).sum())
        if count:
            other = setting("model.likelihood", "discretized-logistic")
            raise ValueError(
                f"of {number_of(count, 'pixel')} of {what} a channel is missing and one after it is not, which "
                f"{type(model.likelihood).__name__} has no probability of: the last channels or all may be missing; "
                f"choose another likelihood ({other})"
            )


def _refuse_ends(model: VAE, x: Tensor, what: str) -> None:
    u = (x - model.inputs.location.to(x.dtype)) / model.scale.to(x.dtype)
    if ends := int(((u <= 0) | (u >= 1)).sum()):
        name = type(model.likelihood).__name__
        others = " or ".join(setting("model.likelihood", each) for each in ("continuous-bernoulli", "truncated-normal"))
        raise ValueError(
            f"{number_of(ends, 'value')} of {what} at an end of the interval, where the density of {name} is 0 "
            f"or infinite; choose {others}"
        )


def condition_units(
    condition: int, location: Sequence[float] | None, scale: Sequence[float] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Location and scale (C,) of the condition, single numbers 0 and 1 where they are not given; `ValueError` for what
    is none.
    """
    found = []
    for name, values, usual in (("location", location, 0.0), ("scale", scale, 1.0)):
        if values is None:
            found.append(np.asarray(usual))
            continue
        own = np.asarray(values, float)
        if own.shape != (condition,) or not np.isfinite(own).all() or (name == "scale" and not (own > 0).all()):
            accepted = f"{condition} finite numbers{' above 0' if name == 'scale' else ''}, one for each of y"
            raise ValueError(f"condition_{name} is {shown(values)}; accepted: {accepted}")
        found.append(own)
    return found[0], found[1]


def class_of(label: str | int, names: tuple[str, ...]) -> int:
    """The index of a class: by its name, or by its number where no name could be taken for one."""
    if isinstance(label, str) and label in names:
        return names.index(label)
    number = int(label) if isinstance(label, int) or (label.isdecimal() and not any(map(str.isdecimal, names))) else -1
    if not 0 <= number < len(names):
        raise ValueError(unknown("label", str(label), names))
    return number


def refuse_other_data(model: VAE, event_shape: tuple[int, ...], domain: Domain) -> None:
    """`ValueError` unless the likelihood of `model` is a density of data of this shape and domain."""
    if tuple(event_shape) != model.event_shape or not model.domain.same_values(domain):
        own, given = f"{model.domain} of shape {model.event_shape}", f"{domain} of shape {tuple(event_shape)}"
        treat = {"binary": "binarize='static'", "unit": "dequantize=True"}.get(model.domain.kind)
        hint = f"; preprocess them, such as by Preprocessing({treat})" if domain.kind == "grey" and treat else ""
        raise ValueError(f"the model is one of {own}, but the data are {given}{hint}")
    refuse_no_density(model)


def refuse_no_density(model: VAE) -> None:
    """`ValueError` where the likelihood of `model` is no density of its data, as an older version took it for."""
    if not getattr(model.likelihood, "is_density", True):
        name = type(model.likelihood).__name__
        raise ValueError(
            f"{name} is no density of {model.domain}, since some of its mass is on other numbers: a run of an older "
            "version, which can be looked at but not scored; train it again with another likelihood"
        )
