"""What takes more memory than there is, is refused in a line before it takes any."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from runs_for_tests import SMALL

from vaekit import train
from vaekit.runs.run import Run
from vaekit.show import plots
from vaekit.system import memory


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train("digits", tmp_path_factory.mktemp("memory") / "run", sets=[*SMALL, "training.epochs=1"])


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine with 10 MB that are free."""
    monkeypatch.setattr(memory, "SMALL", 10**6)
    monkeypatch.setattr(memory, "available", lambda device="cpu": 10**7)


def test_memory_that_is_free_is_part_of_what_there_is() -> None:
    free = memory.available()
    assert free is not None
    assert 10**6 < free < 10**15


def test_the_limit_of_a_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {"max": "5000000\n", "current": "2000000\n", "stat": "anon 5\ninactive_file 500000\n"}.items():
        (tmp_path / name).write_text(text)
    paths = tuple(str(tmp_path / name) for name in ("max", "current", "stat"))
    monkeypatch.setattr(memory, "GROUPS", (paths,))
    assert memory.available() == 3_500_000
    (tmp_path / "max").write_text("max\n")
    free = memory.available()
    assert free is not None
    assert free > 5_000_000


def test_no_system_that_says_is_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda device="cpu": None)
    memory.check_memory(10**18, "all", "less")


@pytest.mark.usefixtures("small")
def test_a_model_too_large_to_train_is_refused_before_it_is_made(tmp_path: Path) -> None:
    sets = [*SMALL, "model.encoder.hidden=[8000]", "model.decoder.hidden=[8000]"]
    words = r"not enough memory: 1,\d\d\d,\d\d\d weights, .* take about 1\d MB, and 10 MB is free; .*model.encoder=conv"
    with pytest.raises(ValueError, match=words):
        train("digits", tmp_path / "run", sets=sets)
    assert not (tmp_path / "run/spec.json").exists()
    train("digits", tmp_path / "run", sets=[*SMALL, "training.epochs=1"])


@pytest.mark.usefixtures("small")
def test_samples_and_reconstructions_beyond_memory_are_refused(run: Run) -> None:
    assert len(run.sample(1000)) == 1000
    for n in (100_000, 10**11, 10**20):
        with pytest.raises(ValueError, match=rf"not enough memory: {n:,} data of shape \(1, 8, 8\).*ask for fewer"):
            run.sample(n)
        with pytest.raises(ValueError, match=f"not enough memory: {n:,} data"):
            run.model.sample(n)
    with pytest.raises(ValueError, match="not enough memory"):
        run.reconstructions("test", 300, samples=100)


def test_pictures_larger_than_pictures_can_be() -> None:
    with pytest.raises(ValueError, match=r"a picture of 20,000 images would be of 1,\d\d\d x 325,000 pixels; accepted"):
        plots.image_grid(np.zeros((20_000, 4, 4), np.float32), columns=8)
    assert plots.image_grid(np.zeros((400, 4, 4), np.float32), columns=8).get_size_inches()[1] > 10
