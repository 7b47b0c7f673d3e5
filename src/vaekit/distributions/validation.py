"""Distributions made by others: whether they check what they are given, and what they lack."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch.distributions import Distribution, Independent


@contextmanager
def unvalidated() -> Iterator[None]:
    """Inside, distributions made by others don't read their arguments back to check them."""
    before = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(before)


def lacking(error: NotImplementedError) -> str:
    """What a distribution has not that was asked of it, by the error that PyTorch raises there without a word.

    >>> try:
    ...     Distribution(validate_args=False).rsample()
    ... except NotImplementedError as error:
    ...     print(lacking(error))
    the distribution Distribution has no rsample, which is asked of it here
    """
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    owner = None if at is None else at.tb_frame.f_locals.get("self")
    if at is None or not isinstance(owner, Distribution):
        return str(error) or "a part lacks a method that is asked of it"
    return f"the distribution {type(owner).__name__} has no {at.tb_frame.f_code.co_name}, which is asked of it here"


def draws(distribution: Distribution) -> bool:
    """Whether a distribution says how it is drawn from.

    >>> from torch.distributions import Normal
    >>> draws(Independent(Normal(0.0, 1.0).expand((2,)), 1)), draws(Distribution(validate_args=False))
    (True, False)
    """
    kind = type(elements(distribution))
    plain = (getattr(kind, "sample", None), getattr(kind, "rsample", None))
    return plain != (Distribution.sample, Distribution.rsample)


def elements(distribution: Distribution) -> Distribution:
    """What an `Independent` has of its numbers, any other distribution as it is."""
    while isinstance(distribution, Independent):
        distribution = distribution.base_dist
    return distribution
