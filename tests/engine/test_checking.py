"""When a recording is taken to give what Python gives."""

from __future__ import annotations

import pytest
import torch

from vaekit.engine.checking import TOLERANCES, Comparison, DiffersError
from vaekit.engine.surroundings import Surroundings

LOSS, BIAS = torch.tensor([100.0]), torch.tensor([3e-4, -2e-4, 1e-4])
"""A loss, and what is left of the gradient of a bias where a trained model's rows cancel."""


def compare(loss: torch.Tensor, off: float) -> None:
    """A function with these results, and a recording whose gradient is off by so much."""
    compared = Comparison(lambda: [loss, BIAS], Surroundings([]), TOLERANCES[torch.float32])
    compared.refuse(lambda: [loss, BIAS + off], [])


def test_what_cancels_is_known_to_no_more_digits_than_what_it_is_a_sum_of() -> None:
    compare(LOSS, 1e-5)  # a tenth of the gradient, a ten-millionth of the loss: rounding
    for loss, off in ((LOSS, 1e-3), (LOSS * 1e-6, 1e-5)):
        with pytest.raises(DiffersError, match="gives other numbers"):
            compare(loss, off)


def test_a_loss_that_is_off_by_a_thousandth_is_refused() -> None:
    compared = Comparison(lambda: [LOSS], Surroundings([]), TOLERANCES[torch.float32])
    with pytest.raises(DiffersError):
        compared.refuse(lambda: [LOSS * 1.001], [])
