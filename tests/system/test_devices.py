"""What a library's user is told of the machine."""

from __future__ import annotations

import logging
import os
import sys

import pytest
import torch
from models_for_tests import data_of, model_of
from torch.backends import cudnn

from vaekit.data import Preprocessing
from vaekit.data.tensors import TensorSplit
from vaekit.evaluation.evaluation import evaluate
from vaekit.system import devices
from vaekit.system.devices import WAITING, repeatable, say_if_threads_wait_busily, threads

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere torch has other threads")


@pytest.fixture(autouse=True)
def _busy(monkeypatch: pytest.MonkeyPatch) -> None:
    devices._say_once.cache_clear()
    monkeypatch.setattr(os, "getloadavg", lambda: (99.0, 0.0, 0.0))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    for name in WAITING:
        monkeypatch.delenv(name, raising=False)


def test_threads_that_wait_busily_on_a_busy_machine_are_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    for number in (1, 2, 3):
        say_if_threads_wait_busily(number)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "torch's threads wait for each other" in record.getMessage()
    assert "GOMP_SPINCOUNT=1000" in record.getMessage()


@pytest.mark.parametrize("why", ["quiet", "unknown", *WAITING])
def test_nothing_is_said_where_there_is_nothing_to_do(
    why: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown() -> tuple[float, ...]:
        raise OSError

    if why in WAITING:
        monkeypatch.setenv(why, "1000")
    else:
        monkeypatch.setattr(os, "getloadavg", unknown if why == "unknown" else lambda: (2.0, 99.0, 99.0))
    say_if_threads_wait_busily(2)
    assert not caplog.records


def test_an_evaluation_by_several_threads_says_so(caplog: pytest.LogCaptureFixture) -> None:
    model = model_of().float()
    data = TensorSplit(data_of(model.domain, (5, 4)).float(), None, model.domain, Preprocessing())
    with threads(2):
        evaluate(model, data, 2)
        assert torch.get_num_threads() == 2
    assert [record.name for record in caplog.records] == ["vaekit.system.devices"]


def test_what_is_repeatable_leaves_cudnn_on_and_its_settings_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("enabled", True), ("deterministic", False), ("benchmark", True)):
        monkeypatch.setattr(cudnn, name, value)
    with repeatable():
        assert (cudnn.enabled, cudnn.deterministic, cudnn.benchmark) == (True, True, False)
    assert (cudnn.enabled, cudnn.deterministic, cudnn.benchmark) == (True, False, True)
