"""Work that takes a while says how far it is, where somebody looks, and costs nothing where nobody does."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from commands_for_tests import QUICK, command, done
from rich.console import Console
from runs_for_tests import small_run

import vaekit
from vaekit import composed
from vaekit.runs.given import fingerprint
from vaekit.runs.keeping import Callbacks
from vaekit.runs.run import Run
from vaekit.show import terminal
from vaekit.show.plots.latents import embed
from vaekit.show.terminal import Works
from vaekit.system import progress
from vaekit.system.progress import shown, working


class Watched:
    """What work has said, by its name: the number in all, and each number done."""

    def __init__(self) -> None:
        self.said: dict[str, tuple[int | None, list[int]]] = {}

    @contextmanager
    def __call__(self, what: str, total: int | None) -> Iterator[Callable[[int], None]]:
        self.said[what] = total, []
        yield self.said[what][1].append


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return small_run(tmp_path_factory.mktemp("progress") / "run")


def test_a_notebook_shows_first_what_is_trained_unless_there_are_callbacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "in_a_notebook", lambda: False)
    monkeypatch.setattr(composed, "in_a_notebook", lambda: True)
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"size": rng.normal(size=60), "city": rng.choice(["Rome", "Oslo", "Bern"], 60)})
    small = {"epochs": 1, "sets": ["model.encoder.hidden=[4]", "model.decoder.hidden=[4]"]}
    made = vaekit.train(table, tmp_path / "run", **small)
    shown_lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "city categorical, 3 categories 3 values" in shown_lines
    assert made.kinds.to_numpy().tolist() == [
        ["size", "real", "numbers"],
        ["city", "categorical, 3 categories", "3 values"],
    ]
    vaekit.train(table, tmp_path / "other", callbacks=Callbacks(), **small)
    assert not capsys.readouterr().out
    monkeypatch.setattr(composed, "in_a_notebook", lambda: False)
    vaekit.train(table, tmp_path / "plain", **small)
    assert not capsys.readouterr().out


def test_the_rate_of_small_tables_is_in_rows() -> None:
    bar = terminal.Bar()
    for rate, said in ((43.0, "43 rows/s"), (999.4, "999 rows/s"), (2345.0, "2.3k rows/s")):
        bar.rate = rate
        assert bar._terms({"elbo": -1.0}) == f"ELBO -1.0 {said}"


def test_what_takes_long_says_so_in_order_and_to_its_end(run: Run) -> None:
    watched = Watched()
    with shown(watched):
        run.evaluate("test", 3)
        run.encode("train")
        run.model.sample(2500)
        fingerprint(run.dataset)
        embed(np.random.default_rng(0).normal(size=(30, 3)))
    assert set(watched.said) >= {
        "scoring test",
        "encoding train",
        "sampling",
        "checking train data",
        "t-SNE of 30 codes",
    }
    for what, (total, numbers) in watched.said.items():
        assert numbers == sorted(numbers), what
        assert total is None or numbers[-1] == total, what


def test_a_training_that_nobody_follows_reports_nothing_and_one_in_a_notebook_does(
    run: Run, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaekit.training.loop.POLL_SECONDS", 0.0)
    watched = Watched()
    with shown(watched):
        small_run(tmp_path / "run", "training.epochs=2")
    total, numbers = watched.said["training, step"]
    assert numbers == list(range(1, 27))
    assert total == 26


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A notebook's kernel, as far as this package sees it: the lines that it shows, one after another."""
    lines: list[str] = []
    shell = type("ZMQInteractiveShell", (), {})()

    def display(text: dict[str, str], raw: bool, display_id: bool) -> SimpleNamespace:
        lines.append(text["text/plain"])
        return SimpleNamespace(update=lambda text, raw: lines.append(text["text/plain"]))

    for name, content in {"IPython": {"get_ipython": lambda: shell}, "IPython.display": {"display": display}}.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    return lines


def test_a_notebook_shows_a_line_that_goes_away(notebook: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with working("quick", 3) as step:
        step(3)
    assert not notebook, "nothing is shown of what is done at once"
    monkeypatch.setattr(progress, "DELAY", 0.0)
    monkeypatch.setattr(progress, "EVERY", -1.0)
    with working("slow", 1000) as step:
        until(lambda: bool(notebook))
        step(250)
        assert notebook[-1].startswith("slow: 250 of 1,000, ")
    assert notebook[0] == "slow: 0 s"
    assert notebook[-1] == ""


def until(happens: Callable[[], bool]) -> None:
    for _ in range(20_000):
        if happens():
            return
        time.sleep(0.001)
    pytest.fail("it does not happen")


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a terminal gets, of a console that takes it for one."""
    made = io.StringIO()
    monkeypatch.setattr(terminal, "err", Console(file=made, force_terminal=True, width=80, legacy_windows=False))
    return made


def test_a_terminal_shows_work_within_work_and_clears_it_away(
    screen: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = Works()
    with works("quick", 3):
        pass
    assert screen.getvalue() == ""
    monkeypatch.setattr(terminal, "DELAY", 0.0)
    with works("outer", 7) as step:
        until(lambda: "outer" in screen.getvalue())
        step(4)
        with works("inner"):
            until(lambda: "inner" in screen.getvalue())
        until(lambda: "4/7" in screen.getvalue())
    assert works.shown == 0
    assert screen.getvalue().rstrip().endswith("\x1b[2K\x1b[?25h")  # the line is empty, the cursor there again


def test_where_there_is_no_terminal_a_line_is_printed_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Works()("scoring", 10) as step:
        step(5)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(terminal, "WORK_SECONDS", -1.0)
    with Works()("scoring", 10) as step:
        step(5)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("scoring: 5 of 10, 0 s left")


def test_a_line_soon_says_what_is_going_on_where_nothing_says_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal, "QUIET_SECONDS", 0.0)
    said: list[str] = []
    with Works()("compiling the training step"):
        until(lambda: bool(said.append(capsys.readouterr().err) or "".join(said)))
    assert "".join(said) == "compiling the training step: 0 s\n"


@pytest.mark.usefixtures("_no_report")
def test_a_training_says_what_it_waits_for_before_its_first_step_and_where_in_a_long_epoch_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "QUIET_SECONDS", 0.0)
    monkeypatch.setattr(terminal, "WORK_SECONDS", -1.0)
    monkeypatch.setattr("vaekit.training.loop.POLL_SECONDS", -1.0)
    result = command("train", "digits", "--out", tmp_path / "run", *QUICK, "--samples=1", "--epochs=1")
    assert "getting ready for the first step: 0 s\n" in result.err
    steps = [line.partition(":")[0] for line in result.out.splitlines() if line.startswith("epoch 1, step")]
    assert steps == [f"epoch 1, step {i} of 13" for i in range(1, 14)]


def test_scoring_after_a_training_and_by_evaluate_is_shown(
    run: Run, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched()
    monkeypatch.setattr("vaekit.cli.Works", lambda: watched)
    done("train", "digits", "--out", tmp_path / "run", *QUICK, "--samples=2", "--epochs=1")
    assert watched.said["scoring test"] == (300, [300])
    assert watched.said["drawing pictures"][1]
    done("evaluate", run.path, "--samples=2", "--split=valid", "--json")
    assert watched.said["scoring valid"] == (200, [200])
