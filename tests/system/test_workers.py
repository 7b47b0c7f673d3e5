"""Processes that do one job after another: answers, deaths, and that none of them stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from commands_for_tests import environment

from vaekit.system.workers import Workers

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs signals")

WORK = """
import os, signal, time
def work(line):
    print("noise, which is no answer")
    if line == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if line == "leave":
        raise SystemExit(3)
    if line == "fault":
        raise ZeroDivisionError("of the user's own")
    if line == "sleep":
        open(f"at-{os.getpid()}", "w").close()
        time.sleep(600)
    return f"{line} by {os.getpid()} with {os.environ['OMP_NUM_THREADS']}"
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "its_work.py").write_text(WORK)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), environment()["PYTHONPATH"]]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lines(*given: str) -> Iterator[tuple[int, str]]:
    return iter(enumerate(given))


def gone(pid: int) -> bool:
    """Whether no process of that number is there, but for one that nobody has waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return False


def wait_for(place: Path, many: int) -> list[int]:
    """The numbers of so many processes that are at work."""
    until = time.monotonic() + 60
    while len(found := list(place.glob("at-*"))) < many and time.monotonic() < until:
        time.sleep(0.02)
    return [int(each.name.removeprefix("at-")) for each in found]


def test_a_process_does_many_jobs_and_one_that_dies_costs_one(place: Path) -> None:
    workers: Workers[int] = Workers("its_work:work", 1, 7)
    found = dict(workers.answers(lines("a", "b", "die", "c", "leave", "fault", "d")))
    texts = [found[i].text.split() for i in (0, 1, 3, 6)]
    assert [each[0] for each in texts] == ["a", "b", "c", "d"]
    assert {each[-1] for each in texts} == {"7"}
    assert texts[0][2] == texts[1][2]
    assert texts[1][2] != texts[2][2]
    assert found[2].error == "its process was ended by SIGKILL, as where memory runs out"
    assert found[4].error == "its process ended with status 3: noise, which is no answer"
    assert found[5].error.endswith("ZeroDivisionError: of the user's own")
    assert all(gone(int(each[2])) for each in texts)


def test_jobs_are_asked_for_when_there_is_a_process_for_them(place: Path) -> None:
    asked: list[int] = []

    def given() -> Iterator[tuple[int, str]]:
        for i in range(6):
            asked.append(i)
            yield i, str(i)

    with closing(Workers[int]("its_work:work", 2, 1).answers(given())) as answers:
        for number, _ in enumerate(answers, 1):
            assert len(asked) <= number + 1
    assert asked == list(range(6))


def test_no_process_is_left_by_who_stops_taking_answers(place: Path) -> None:
    answers = Workers[int]("its_work:work", 3, 1).answers(lines("quick", "sleep", "sleep"))
    next(answers)
    pids = wait_for(place, 2)
    began = time.monotonic()
    answers.close()
    assert time.monotonic() - began < 4  # by their own way out
    assert len(pids) == 2
    assert all(map(gone, pids))


def test_no_process_outlives_one_that_is_killed(place: Path) -> None:
    program = "from vaekit.system.workers import Workers\n"
    program += "list(Workers('its_work:work', 2, 1).answers(iter([(0, 'sleep')] * 2)))"
    with subprocess.Popen([sys.executable, "-c", program]) as parent:
        pids = wait_for(place, 2)
        parent.send_signal(signal.SIGKILL)
    until = time.monotonic() + 30
    while not all(map(gone, pids)) and time.monotonic() < until:
        time.sleep(0.02)
    assert len(pids) == 2
    assert all(map(gone, pids))


def test_each_process_sees_its_own_device() -> None:
    assert Workers[int]("a:b", 3, 1, ("4", "6"))._devices() == ["4", "6", "4"]
    assert Workers[int]("a:b", 2, 1)._devices() == [None, None]
