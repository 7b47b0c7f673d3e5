"""Parts of one's own by name, from a file that is named on the command line."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from commands_for_tests import command, done
from scipy import stats

from vaekit.runs.run import load_run

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "extending" / "student_t.py"
QUICK = ("--set", "model.encoder.hidden=[8]", "--set", "model.decoder.hidden=[8]", "--set", "model.latents.z.size=2")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs."""
    folder = tmp_path_factory.mktemp("own")
    x = np.random.default_rng(0).standard_t(3, size=(80, 3))
    np.savetxt(folder / "table.csv", x, delimiter=",", header="a,b,c", comments="")
    sets = (*QUICK, "--set", "model.likelihood.name=heavy-tailed", "--set", "model.likelihood.df=3.5")
    options = ("--epochs", "2", "--samples", "2", *sets, f"--parts={EXAMPLE}:PARTS")
    done("train", folder / "table.csv", "--out", folder / "run", *options)
    return folder / "run"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of it, for each test."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_a_likelihood_from_a_file_is_trained_scored_drawn_and_gone_on_with(run: Path, tmp_path: Path) -> None:
    own = ("--parts", f"{EXAMPLE}:PARTS")
    assert "NLL" in done("evaluate", run, "--samples", "5", *own)
    done("sample", run, "-n", "3", "--out", tmp_path / "drawn.csv", *own)
    assert np.loadtxt(tmp_path / "drawn.csv", delimiter=",", skiprows=1).shape == (3, 3)
    done("train", "--resume", "--out", run, "--epochs", "3", "--samples", "2", *own)
    assert "heavy-tailed" in done("parts", "likelihoods", *own)
    assert "heavy-tailed" not in done("parts", "likelihoods")


def test_its_density_is_that_of_scipy(run: Path) -> None:
    from vaekit.spec.own import parts_from

    loaded = load_run(run, parts=parts_from(f"{EXAMPLE}:PARTS"))
    x, z = loaded.data("test").x, torch.zeros(1, 2)
    likelihood = loaded.model.likelihood
    loc, log_scale = likelihood.split(loaded.model.decoder(z).detach())
    location, scale = np.asarray(loaded.schema.domain.location), np.asarray(loaded.schema.domain.scale)
    expected = stats.t(3.5, location + scale * loc.numpy(), scale * log_scale.exp().numpy()).logpdf(x.numpy()).sum(-1)
    found = likelihood(loaded.model.decoder(z)).log_prob(x).detach().numpy()
    assert np.allclose(found, expected, rtol=1e-4)


def test_a_run_remembers_which_file_it_needs_and_runs_none_by_itself(run: Path) -> None:
    result = command("evaluate", run)
    assert result.status == 2
    assert "unknown likelihood 'heavy-tailed'" in result.err
    assert "it was made with parts of 'student_t.py:PARTS', which have to be given again" in result.err
    assert "--parts student_t.py:PARTS" in result.err
    assert str(EXAMPLE.parent) not in (run / "spec.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (None, "PARTS", "there is no file"),
        ("PARTS = {}", "", "accepted: FILE.py:NAME, such as my_parts.py:PARTS"),
        ("PARTS = {}", "MINE", "MINE of {file} is not there; needed: a vaekit.Parts, or a table of families"),
        ("MINE = 3", "MINE", "MINE of {file} is a int; needed: a vaekit.Parts"),
        ("PARTS = {'prior': {}}", "PARTS", "unknown family of parts 'prior' (did you mean 'priors'?)"),
        ("PARTS = {'priors': {'mine': 3}}", "PARTS", "prior 'mine' is 3; accepted: a class, or a function"),
        ("PARTS = {'priors': {'vamp': dict}}", "PARTS", "prior 'vamp' is one of vaekit's own; give yours another name"),
        ("x = 1\ny = 1 / 0", "PARTS", "{file}, line 2: ZeroDivisionError: division by zero"),
        ("x = 1\n\nclass:", "PARTS", "{file}, line 3: SyntaxError: invalid syntax"),
        ("import not_there", "PARTS", "{file}, line 1: ModuleNotFoundError: No module named 'not_there'"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_a_line(
    content: str | None, name: str, words: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine.py"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    result = command("parts", "--parts", f"{file}:{name}")
    assert result.status == 2
    assert words.format(file=file) in result.err
    assert result.err.count("\n") == 1


def test_a_module_beside_the_file_is_found_where_the_line_says(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("X = 1", encoding="utf-8")
    (tmp_path / "mine.py").write_text("import helper\nPARTS = {}", encoding="utf-8")
    result = command("parts", "--parts", f"{tmp_path / 'mine.py'}:PARTS")
    assert f"No module named 'helper'; it lies beside mine.py: set PYTHONPATH={tmp_path} for it" in result.err


def test_of_two_files_of_parts_none_is_passed_over() -> None:
    result = command("parts", "--parts", f"{EXAMPLE}:PARTS", f"--parts={EXAMPLE}:PARTS")
    assert result.status == 2
    assert "--parts is given 2 times; accepted: one file" in result.err
