"""Settings and fixtures that every test shares: no window, light pages, the same examples on each run."""

from __future__ import annotations

import logging
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import hypothesis
import pytest
import torch
from models_for_tests import float64

from vaekit.engine import inductor, recording
from vaekit.priors import mixtures
from vaekit.show import report, terminal
from vaekit.show.plots import LIGHT, latents
from vaekit.show.report import frame, page

# A deadline, or a check that drawing is quick, would fail on a busy machine and nowhere else.
hypothesis.settings.register_profile(
    "deterministic", derandomize=True, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("deterministic")


def pytest_collection_finish() -> None:
    """pytest listens, anew for each phase of each test, to every logger that does not propagate, of which torch has
    fifty: that takes a millisecond or two a test. And for one, torch.__trace, torch then describes every tensor of a
    recording, which it does for nobody else. What they log is heard at the root, and still said once.
    """
    for each in logging.root.manager.loggerDict.values():
        if isinstance(each, logging.Logger) and not each.propagate:
            each.propagate = True
            if each.name != "torch":
                each.handlers.clear()


def pytest_runtest_setup(item: pytest.Item) -> None:
    rehearsed = os.environ.get("VAEKIT_REHEARSE")  # they run on the CPU, to find what is wrong in themselves
    if item.get_closest_marker("gpu") and not (torch.cuda.is_available() or rehearsed):
        pytest.skip("needs a CUDA device")
    if item.get_closest_marker("public_data") and not os.environ.get("VAEKIT_DATA"):
        pytest.skip("needs VAEKIT_DATA")
    if item.get_closest_marker("ray") and not os.environ.get("VAEKIT_RAY"):
        pytest.skip("needs VAEKIT_RAY")


@pytest.fixture
def _interrupts() -> Iterator[None]:
    """A suite that is started in the background ignores Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


DRAWN = page.drawn


@pytest.fixture
def _drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of the pictures of reports: in others none is drawn, which takes most of a report's time."""
    monkeypatch.setattr(page, "drawn", DRAWN)


def no_report(patch: pytest.MonkeyPatch) -> None:
    """Have commands end without a report, which takes long."""
    patch.setattr(report, "write_report", lambda run, *given: run.path / "report.html")


@pytest.fixture
def _no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of commands that end with a report."""
    no_report(monkeypatch)


@pytest.fixture(scope="module")
def _no_reports() -> Iterator[None]:
    """The same for all tests of a file, and for the runs that they share."""
    with pytest.MonkeyPatch.context() as patch:
        no_report(patch)
        yield


@pytest.fixture
def _recorded_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorded are steps after the first few, however few there are to come."""
    monkeypatch.setattr(recording, "WORTHWHILE", 0)
    monkeypatch.setattr(recording, "WORTHWHILE_WITHOUT", 0)


@pytest.fixture
def _float64() -> Iterator[None]:
    """Mathematics is in float64."""
    with float64():
        yield


@pytest.fixture
def _float64_but_of_runs(request: pytest.FixtureRequest) -> Iterator[None]:
    """Mathematics is in float64; runs, which have a folder, are of float32."""
    with nullcontext() if "tmp_path" in request.fixturenames else float64():
        yield


@pytest.fixture(autouse=True, scope="session")
def _quick() -> Iterator[None]:
    """Mixtures are fitted by few runs and t-SNE takes few steps: what more find is for real data. A busy machine may
    take its time. Reports have no pictures, and where a test asks for them none for dark pages, which differ in their
    colours alone. Nothing waits for the disk: only a computer that fails would show whether it did.
    """
    png = frame._png
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        patch.setattr(inductor, "SECONDS", 600)
        patch.setattr(terminal, "WORK_SECONDS", 1e9)
        patch.setattr(mixtures, "SHORT_RUNS", 4)
        patch.setattr(mixtures, "LONG_RUNS", 2)
        patch.setattr(latents, "STEPS", 250)
        patch.setattr(page, "drawn", lambda prepared: frame.Drawn(prepared, b"", b"", 0, 0))
        patch.setattr(frame, "_png", lambda prepared, theme: png(prepared, theme) if theme is LIGHT else (b"", ()))
        yield


@pytest.fixture(scope="module")  # no longer: beside it asyncio runs nothing else
def browser() -> Iterator[Any]:
    """Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    named = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if named is None:
        pytest.skip("no Chromium: install it, or name it by CHROMIUM")
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=named, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()
