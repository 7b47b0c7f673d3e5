"""The log-probability of what of a datum is observed: the one place where missing cells meet likelihoods."""

from __future__ import annotations

from typing import TypeGuard

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

from ..errors import UndefinedError


def observed_log_prob(p: Distribution, x: Tensor, observed: Tensor | None) -> Tensor:
    """log p of the cells of x (…, *event) that are `observed`, a mask of bool that broadcasts with x: (…), nats.

    A distribution of independent cells leaves the others out. Any other is asked for its own
    `marginal_log_prob(x, observed)`. Raises `ValueError` for one that has none: it can't be scored with missing cells.

    >>> p = Independent(torch.distributions.Normal(torch.zeros(2), torch.ones(2)), 1)
    >>> x = torch.tensor([0.0, 99.0])
    >>> observed_log_prob(p, x, torch.tensor([True, False]))
    tensor(-0.9189)
    """
    if observed is None:
        return p.log_prob(x)
    if (own := getattr(p, "marginal_log_prob", None)) is not None:
        return own(x, observed)
    if _of_cells(p):
        cells = torch.where(observed, p.base_dist.log_prob(x), 0.0)
        return cells.flatten(cells.dim() - len(p.event_shape)).sum(-1)
    raise ValueError(
        f"{type(p).__name__} is no density of cells that are independent of each other, and has no marginal_log_prob: "
        "it can't be scored where cells are missing; choose another likelihood"
    )


def cell_log_probs(p: Distribution, x: Tensor) -> Tensor:
    """log p of each cell of x (…, *event), (…, *event) nats, whose sum is log p(x): alone where cells are independent,
    else given those before it, where p has such `log_probs(x)`.

    Raises `UndefinedError` for any other distribution.
    """
    if (own := getattr(p, "log_probs", None)) is not None:
        return own(x)
    if _of_cells(p):
        return p.base_dist.log_prob(x)
    raise UndefinedError(
        f"{type(p).__name__} is no density of cells that are independent of each other: it has no parts"
    )


def given_missing(p: Distribution, x: Tensor, observed: Tensor | None) -> Distribution:
    """What cells that are missing are drawn from, given those of x that are `observed`, all for None: p, unless it says
    more of them, as its `given_missing(x, observed)`.
    """
    own = getattr(p, "given_missing", None)
    return p if own is None else own(x, observed)


def whole(p: Distribution) -> Distribution:
    """The distribution of a datum of which nothing is said to be missing: p, or what it has as `whole`."""
    return getattr(p, "whole", p)


def _of_cells(p: Distribution) -> TypeGuard[Independent]:
    return isinstance(p, Independent) and not p.base_dist.event_shape
