"""How many threads a step gets, where there are several: every other test has one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from models_for_tests import STRUCTURES, rows_for, structured
from torch import nn

from vaekit import fit
from vaekit.training.threads import SMALL_STEP, worthwhile_threads

pytestmark = pytest.mark.usefixtures("_float64_but_of_runs", "_two_threads")


@pytest.fixture(name="_two_threads")
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_every_structure_trains_with_two_threads(structure: str) -> None:
    model = structured(structure)
    data = rows_for(model)
    assert [worthwhile_threads(model, data, 1, rows) for rows in (1, SMALL_STEP)] == [1, 2]
    if model.condition:
        return  # `fit` wants labels; how many passes these take is tested with the model
    assert fit(model, data.x, epochs=1).epoch == 1
    assert torch.get_num_threads() == 2


def test_a_step_counts_its_products_forward_and_twice_backward() -> None:
    model = structured("hierarchical")
    products = sum(2 * each.weight.numel() for each in model.modules() if isinstance(each, nn.Linear))
    rows = SMALL_STEP // (3 * products)
    assert [worthwhile_threads(model, rows_for(model), 1, each) for each in (rows, rows + 1)] == [1, 2]
