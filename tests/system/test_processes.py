"""What one of several processes knows of the others, and of its device."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import torch
from torch import distributed as dist

from vaekit.errors import LostProcessError
from vaekit.system import processes
from vaekit.system.devices import resolve_device
from vaekit.system.processes import Processes, join, may_say
from vaekit.system.torchrun import local, number


@pytest.fixture
def third(monkeypatch: pytest.MonkeyPatch) -> None:
    """The third of four processes, the first of two on the second machine."""
    told = {"RANK": 2, "WORLD_SIZE": 4, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 2, "MASTER_ADDR": "h", "MASTER_PORT": 1}
    for name, value in told.items():
        monkeypatch.setenv(name, str(value))


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[dist.Store]:
    found = dist.HashStore()
    monkeypatch.setattr(processes, "_store", [found])
    monkeypatch.setattr(processes, "PATIENCE", 0.0)
    return found


def test_alone_nothing_is_asked_of_anybody() -> None:
    alone = join()
    assert (number(), local(), alone) == (1, (0, 1), Processes())
    tensor = torch.arange(3.0)
    alone.add(tensor)
    alone.share([tensor])
    alone.wait()
    alone.check_same({"rows": 3})
    assert tensor.tolist() == [0, 1, 2]
    assert alone.gathered(tensor) == [tensor]
    assert alone.in_turn(lambda: 5) == alone.told(5) == 5
    assert may_say()


@pytest.mark.usefixtures("third")
def test_torchrun_says_who_is_who() -> None:
    assert (number(), local()) == (4, (0, 2))


def test_a_part_of_what_torchrun_says_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert join() == Processes()


@pytest.mark.usefixtures("third")
def test_a_notebook_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "in_a_notebook", lambda: True)
    with pytest.raises(ValueError, match="a notebook is one process, but the environment says WORLD_SIZE"):
        join()


@pytest.mark.usefixtures("third")
def test_one_process_says_why_all_end(monkeypatch: pytest.MonkeyPatch, store: dist.Store) -> None:
    assert may_say()  # the first has said nothing by now
    assert not may_say()
    monkeypatch.setenv("RANK", "0")
    assert not may_say()
    store.delete_key(processes.SAID)
    assert may_say()
    monkeypatch.setenv("RANK", "1")
    assert not may_say()


@pytest.mark.usefixtures("third")
def test_before_they_are_together_the_first_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not may_say()
    monkeypatch.setenv("RANK", "0")
    assert may_say()


@pytest.mark.usefixtures("third")
@pytest.mark.parametrize(
    ("name", "devices", "found"),
    [("auto", 0, "cpu"), ("cpu", 2, "cpu"), ("auto", 2, "cuda:0"), ("cuda", 3, "cuda:0")],
)
def test_each_process_has_a_device(monkeypatch: pytest.MonkeyPatch, name: str, devices: int, found: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: devices > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: devices)
    assert str(resolve_device(name)) == found


@pytest.mark.usefixtures("third")
@pytest.mark.parametrize(
    ("name", "devices", "message"),
    [
        ("cuda:1", 2, "device is 'cuda:1' of 4 processes; accepted: auto, cuda, cpu"),
        ("mps", 0, "device is 'mps' of 4 processes; accepted: auto, cuda, cpu"),
        ("cuda", 0, "2 processes of this machine have 0 CUDA devices; accepted: cpu"),
        ("auto", 1, "2 processes of this machine have 1 CUDA devices; start 1, or device='cpu'"),
    ],
)
def test_a_device_that_is_not_for_each_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, devices: int, message: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: devices > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: devices)
    with pytest.raises(ValueError, match="device") as found:
        resolve_device(name)
    assert str(found.value) == message


def test_a_list_of_devices_is_refused_with_what_to_do() -> None:
    with pytest.raises(ValueError, match="for several devices start torchrun --nproc-per-node 2 -m vaekit train"):
        resolve_device("cuda:0,cuda:1")


def test_others_than_the_first_warn_of_nothing(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("vaekit.here")
    for rank in (0, 1):
        with Processes(rank, 2).quiet():
            log.warning("rank %s", rank)
    assert [each.getMessage() for each in caplog.records] == ["rank 0"]
    log.warning("afterwards")
    assert caplog.records[-1].getMessage() == "afterwards"


def test_what_is_another_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Processes, "told", lambda self, value: {"training rows": "7"})
    with pytest.raises(ValueError, match="process 1 has training rows 8, but the first 7"):
        Processes(1, 2).check_same({"training rows": 8})


def test_what_gloo_raises_is_that_a_process_is_lost() -> None:
    with pytest.raises(LostProcessError, match="has ended, or does not answer"), processes._answering():
        raise RuntimeError("Connection closed by peer")
