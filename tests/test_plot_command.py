"""`vaekit plot`: pictures of a run by their names, to files by their endings."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from commands_for_tests import command, done
from matplotlib.image import imread
from runs_for_tests import small_run

from vaekit.runs.run import Run
from vaekit.show.pictures import PICTURES
from vaekit.show.pictures.drawing import draw
from vaekit.show.plots import save

STARTS = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF", ".PDF": b"%PDF"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return small_run(tmp_path_factory.mktemp("plot") / "run", "training.epochs=1")


def test_without_a_name_all_pictures_are_listed(run: Run) -> None:
    lines = done("plot", run.path).splitlines()[1:]
    assert [line.split()[0] for line in lines] == list(PICTURES)
    said = {line.split()[0]: line.rstrip() for line in lines}
    assert said["samples"].endswith(" yes")
    assert said["conditional-grid"].endswith("no, it needs a condition (train with --set model.condition=true)")


def test_by_default_a_picture_lies_in_the_run(run: Run, tmp_path: Path) -> None:
    assert done("plot", run.path, "--what", "kl").strip() == str(run.path / "pictures" / "kl.png")
    save(draw(run, "kl"), tmp_path / "kl.png")
    one, other = (imread(folder / "kl.png") for folder in (run.path / "pictures", tmp_path))
    np.testing.assert_allclose(one, other, atol=2 / 255)


@pytest.mark.parametrize("ending", STARTS)
@pytest.mark.parametrize("what", ["samples", "model"])
def test_the_ending_says_how(run: Run, tmp_path: Path, ending: str, what: str) -> None:
    first, second = tmp_path / f"a{ending}", tmp_path / f"b{ending}"
    for path in (first, second):
        done("plot", run.path, "--what", what, "--out", path)
    assert first.read_bytes().startswith(STARTS[ending])
    assert first.read_bytes() == second.read_bytes()


def test_an_svg_loads_nothing(run: Run, tmp_path: Path) -> None:
    done("plot", run.path, "--what", "samples", "--out", tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    links = re.findall(r'href="([^"]*)"', text)
    assert links
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in links)


def test_options_change_the_picture(run: Run, tmp_path: Path) -> None:
    def drawn(*options: str) -> np.ndarray:
        done("plot", run.path, "--what", "samples", "--out", tmp_path / "a.png", "--overwrite", *options)
        return imread(tmp_path / "a.png")[..., :3]

    plain = drawn()
    assert plain.shape[:2] == (1030, 1030)
    assert drawn("-n", "100").shape[:2] == (1290, 1290)
    assert (drawn("--set", "n=100") == drawn("-n", "100")).all()
    assert drawn("-n", "8", "--set", "columns=4").shape[:2] == (250, 510)
    assert (drawn("--seed", "0") == plain).all()
    assert not (drawn("--seed", "1") == plain).all()
    assert plain[125].min() > 0.9  # a gap
    assert drawn("--dark")[125].max() < 0.2


def test_a_dark_picture_is_kept_beside_the_light_one(run: Run) -> None:
    """Which the page of a run that is shared shows."""
    light = run.path / "pictures" / "samples.png"
    done("plot", run.path, "--what", "samples")
    before = light.read_bytes()
    assert "samples-dark.png" in done("plot", run.path, "--what", "samples", "--dark")
    assert light.read_bytes() == before
    assert imread(light.with_name("samples-dark.png"))[125, :, :3].max() < 0.2


def test_the_split_that_is_asked_for(run: Run, tmp_path: Path) -> None:
    found = []
    for split in ("train", "valid", "test"):
        done(
            "plot", run.path, "--what", "data", "-n", "1", "--split", split, "--out", tmp_path / "a.png", "--overwrite"
        )
        found.append(imread(tmp_path / "a.png")[4::15, 4::15, 0])
    for shown, split in zip(found, ("train", "valid", "test"), strict=True):
        rows = run.data(split).x.numpy().reshape(-1, 8, 8) / 16
        assert np.abs(rows - shown).max((1, 2)).min() < 0.01
    assert not (found[0] == found[2]).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--what", "smaples"], "unknown picture 'smaples' (did you mean 'samples'?); accepted: data, samples"),
        (["--what", "conditional-grid"], "picture 'conditional-grid' needs a condition"),
        (["--what", "curves", "-n", "3"], "unknown option of picture 'curves': 'n'; accepted: none"),
        (["--what", "samples", "--set", "n"], "cannot set 'n'"),
        (["--what", "samples", "--set", "n=few"], "option 'n' of picture 'samples' is 'few'"),
        (["--what", "cluster-grid", "--set", "show=all"], "option 'show' of picture 'cluster-grid' is 'all'"),
        (
            ["--what", "samples", "--out", "a.jpg"],
            "unknown ending '.jpg' (did you mean '.png'?); accepted: .png",
        ),
        (["--what", "samples", "--out", "no/a.png"], "there is no folder no; make it"),
        (["--what", "data", "--split", "tset"], "has no split 'tset'"),
        (["--what", "../samples"], "unknown picture '../samples'"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(run: Run, options: list[str], words: str) -> None:
    before = sorted(run.path.rglob("*"))
    result = command("plot", run.path, *options)
    assert (result.status, result.out) == (2, "")
    assert re.fullmatch(r"vaekit: [^\n]+\n", result.err)
    assert words in result.err
    assert sorted(run.path.rglob("*")) == before
