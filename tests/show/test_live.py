"""A training that is shown while it goes on: the same bits, a page that grows, an end of both."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands_for_tests import AT_A_TERMINAL, QUICK, SECONDS, environment
from explorer_for_tests import KINDS, run_of
from runs_for_tests import SMALL

from vaekit import train
from vaekit.runs.keeping import Callbacks
from vaekit.show.explorer import live as module
from vaekit.show.explorer.live import Live, Looking, live_page

FEW = (*SMALL, "pictures.report=[]")


class Open(Live):
    """One whose page is always open, and that may take all the time."""

    def _may_look(self) -> bool:
        return True


def bits(folder: Path) -> tuple[bytes, list[Any]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return (folder / "weights.safetensors").read_bytes(), [
        {k: v for k, v in line.items() if k not in ("seconds", "crc32")} for line in lines
    ]


@pytest.mark.parametrize("sets", [(), ("training.ema=0.9", "data.validation=0", "training.epochs=1")])
def test_a_run_that_is_shown_is_the_same_to_the_bit(tmp_path: Path, sets: tuple[str, ...]) -> None:
    shown = Open()
    train("digits", tmp_path / "plain", sets=[*FEW, *sets])
    before = torch.get_rng_state()
    train("digits", tmp_path / "shown", sets=[*FEW, *sets], callbacks=shown.callbacks(Callbacks()))
    assert bits(tmp_path / "plain") == bits(tmp_path / "shown")
    assert torch.equal(before, torch.get_rng_state())
    told = json.loads(shown.told(1))
    assert (told["stage"], told["count"]) == ("training", len(shown.records))
    assert told["records"] == json.loads(shown.told(0))["records"][1:]
    assert told["version"] == told["epochs"], "the model was asked after each epoch"
    assert json.loads(shown.look)["epoch"] == told["epochs"]


@pytest.mark.parametrize("kind", KINDS)
def test_any_model_can_be_looked_at(kind: str) -> None:
    looking = Looking(run_of(kind), "valid")
    points, look = looking.scene().points, looking.look(1)
    assert look.xy.shape == (points.n, 2)
    assert np.isfinite(look.xy).all()
    assert look.data.shape == look.reconstructions.shape
    assert look.data.shape[1:] == look.samples.shape[1:]


def test_places_do_not_jump_where_components_swap() -> None:
    looking, rng = Looking(run_of("mlp"), "valid"), np.random.default_rng(0)
    codes = rng.normal(size=(100, 5)) * [3.0, 1.01, 1.0, 0.1, 0.1]
    before = looking._plane(codes)
    after = looking._plane(codes * [-1.0, 1.0, 1.02, 1.0, 1.0])
    assert np.abs(np.corrcoef(before[:, 0], after[:, 0])[0, 1]) > 0.99
    again = looking._plane(codes * [-1.0, 1.0, 1.02, 1.0, 1.0])
    np.testing.assert_allclose(after, again, atol=1e-5)


def test_the_model_is_asked_while_a_page_is_open_and_for_a_part_of_the_time() -> None:
    shown = Live()
    shown.began = time.monotonic() - 100.0
    assert not shown._may_look(), "no page has asked"
    shown.told()
    assert shown._may_look()
    shown.spent = 6.0
    assert not shown._may_look()


def test_a_model_that_cannot_be_looked_at_is_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(*given: object) -> None:
        raise RuntimeError("no\nmemory")

    monkeypatch.setattr(Looking, "look", failing)
    run = train("digits", tmp_path / "run", sets=FEW, callbacks=Open().callbacks(Callbacks()))
    assert len(run.history()) == 4
    said = [each for each in caplog.messages if "live page" in each]
    assert said == ["the live page shows no codes and samples: no memory; the training goes on"]


def asked(address: str, path: str, body: bytes | None = None) -> Any:
    base, _, token = address.partition("/?token=")
    request = urllib.request.Request(f"{base}/api/{path}", body, {"X-Token": token})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def test_after_the_training_the_page_is_the_explorer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EXPLORED", 50)
    with live_page(browser=False) as page:
        address = page.served.address
        run = train("digits", tmp_path / "run", sets=FEW, callbacks=page.live.callbacks(Callbacks()))
        assert asked(address, "scene")["stage"] == "training"
        with pytest.raises(urllib.error.HTTPError, match="409"):
            asked(address, "decode", b'{"z": [[0, 0, 0]]}')
        with pytest.raises(urllib.error.HTTPError, match="409"):
            asked(address, "stop", b"{}")
        exploring = threading.Thread(target=page.explore, args=(run,))
        exploring.start()
        while asked(address, "training/now?since=4")["stage"] != "ready":
            time.sleep(0.05)
        assert asked(address, "scene")["points"]["n"] == 50
        assert asked(address, "decode", b'{"z": [[0, 0, 0]]}')["x"]["shape"] == [1, 64]
        asked(address, "stop", b"{}")
        exploring.join(SECONDS)
        assert not exploring.is_alive()


@pytest.fixture
def training(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [*AT_A_TERMINAL, "train", "digits", "--out", str(tmp_path / "run"), *QUICK, "--epochs=100000", "--live"]
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment()}
    with subprocess.Popen(command, **given) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.slow
@pytest.mark.browser
def test_a_page_grows_and_ctrl_c_ends_both(training: subprocess.Popen[str], browser: Any, tmp_path: Path) -> None:
    assert training.stdout is not None
    line = next(each for each in training.stdout if each.startswith("live: "))
    assert line.endswith(" (then the explorer, until Ctrl-C)\n")
    page, wrong = browser.new_page(viewport={"width": 1280, "height": 800}), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(line.split()[1])
    page.wait_for_selector("main[data-epoch]")

    def epoch() -> int:
        return int(page.locator(".chart").get_attribute("aria-label").rpartition(" ")[2])

    first, at = epoch(), page.locator(".state").inner_text()
    page.wait_for_function("n => +document.querySelector('.chart').ariaLabel.split(' ').pop() > n", arg=first)
    assert page.locator(".state").inner_text() != at
    for name in ("KL", "Reconstruction"):
        page.get_by_role("radio", name=name).click()
        assert page.locator(".chart").get_attribute("aria-label").startswith(f"{name}, nats: training ")
    assert page.locator(".film canvas").count() == 32
    page.locator("#map").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator(".tip").is_visible()
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    training.send_signal(signal.SIGINT)
    _, said = training.communicate(timeout=SECONDS)
    assert (training.returncode, said.startswith("vaekit: interrupted; go on with: ")) == (130, True), said
    page.wait_for_selector("body.ended")
    assert "interrupted" in page.locator(".state").inner_text()
    page.close()
    assert wrong == []
    # On which the run goes on, to the bits of one that nobody looked at.
    folder = tmp_path / "run"
    done = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])["epoch"]
    assert train(out=folder, resume=True, epochs=done + 2).history()[-1].epoch == done + 2
