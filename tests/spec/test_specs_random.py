"""A few random specs over all named parts; benchmarks/fuzz.py tries thousands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from checks_for_tests import check
from specs_for_tests import spec_of, write_data

from vaekit.priors import mixtures


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_data(folder)
    return folder


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One thread, and few starts of a mixture that is fitted to codes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(mixtures, "SHORT_RUNS", 2)
    monkeypatch.setattr(mixtures, "LONG_RUNS", 2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("number", range(15))
def test_a_random_spec_is_trained_and_is_what_it_was_or_is_refused_in_a_line(
    number: int, data: Path, tmp_path: Path
) -> None:
    found = check(number, spec_of(number, data), tmp_path / "run")
    assert found.faults == []
