"""What is asked of a run about its data and about new ones: where they lie, what is written, and what is beside it."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands_for_tests import QUICK, command, done
from sklearn.datasets import load_digits

from vaekit import train
from vaekit.data import Dataset
from vaekit.errors import RunError
from vaekit.runs.run import load_run

pytestmark = pytest.mark.usefixtures("_no_reports")


def refused(words: str, *argv: str | Path) -> None:
    """The command is an error of the user's, in one line."""
    result = command(*argv)
    assert (result.status, result.out, result.err.count("\n")) == (2, "", 1), result
    assert words in result.err


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a table with classes, of a conditional run on it, called run, and of new rows of the kind."""
    folder, rng = tmp_path_factory.mktemp("table"), np.random.default_rng(0)

    def write(name: str, columns: list[str], rows: int, more: str = "") -> None:
        lines = []
        for i in range(rows):
            cells = {"size": f"{rng.normal():.1f}", "mass": f"{rng.normal():.3f}", "kind": ("ant", "bee")[i % 2]}
            lines.append(",".join([cells.get(column, str(i)) for column in columns]) + more)
        (folder / name).write_text(",".join(columns) + "\n" + "\n".join(lines) + "\n")

    write("t.csv", ["size", "mass", "kind"], 60)
    write("new.csv", ["kind", "id", "mass", "size"], 6)
    write("unlabelled.csv", ["mass", "size"], 6)
    write("narrow.csv", ["size", "kind"], 6)
    given = ("--set=data.label=kind", "--set=training.batch_size=20", "--samples=1", *QUICK[:3], "--epochs=1")
    done("train", folder / "t.csv", "--out", folder / "run", "--set=model.condition=true", *given)
    done("train", folder / "t.csv", "--out", folder / "free", *given)
    return folder


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_samples_of_a_conditional_run_have_their_class(table: Path, tmp_path: Path) -> None:
    done("sample", table / "run", "--out", tmp_path / "a.csv", "-n5")
    assert list(rows_of(tmp_path / "a.csv")[0]) == ["size", "mass", "kind"], "as in the user's table"
    assert [row["kind"] for row in rows_of(tmp_path / "a.csv")] == ["ant", "bee", "ant", "bee", "ant"]
    done("sample", table / "run", "--out", tmp_path / "a.npz", "-n3", "--label=bee")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as found:
        assert found["x"].shape == (3, 2)
        assert found["y"].tolist() == ["bee"] * 3
    assert "without kind" in done("sample", table / "run", "--out", tmp_path / "a.npy")


def test_reconstructions_say_what_each_row_is_and_give_back_the_numbers(table: Path, tmp_path: Path) -> None:
    printed = done("reconstruct", table / "run", "--out", tmp_path / "a.csv", "-n10", "--samples=2")
    assert "-n is 10, but test has 6 data: that is all" in printed
    rows, given = rows_of(tmp_path / "a.csv"), rows_of(table / "t.csv")
    assert list(rows[0]) == ["row", "which", "size", "mass"]
    assert [row["which"] for row in rows] == ["data", "reconstruction 1", "reconstruction 2"] * 6
    for row in rows[::3]:
        original = given[int(row["row"])]
        assert [float(row[name]) for name in ("size", "mass")] == [float(original[name]) for name in ("size", "mass")]
        assert row["mass"] in (original["mass"], original["mass"].rstrip("0").rstrip("."))


def test_codes_of_all_splits_and_what_a_model_takes_each_datum_for(tmp_path: Path) -> None:
    labels = ("--set=data.labels=50", "--set=training.labelled=20", "--set=model.classifier={name='mlp', hidden=[8]}")
    semi = (*labels, "--set=objective.name=semi-supervised", "--set=data.train=200", "--epochs=1", "--samples=1")
    done("train", "digits", "--out", tmp_path / "run", *QUICK[:3], *semi)
    done("encode", tmp_path / "run", "--split=all", "--out", tmp_path / "a.csv")
    rows, run = rows_of(tmp_path / "a.csv"), load_run(tmp_path / "run")
    assert [row["split"] for row in rows] == ["train"] * 200 + ["valid"] * 200 + ["test"] * 300
    digits = load_digits()
    assert [int(row["label"]) for row in rows] == [int(digits.target[int(row["row"])]) for row in rows]
    assert len({row["row"] for row in rows}) == 700
    wrong = np.mean([row["label"] != row["predicted"] for row in rows if row["split"] == "test"])
    assert wrong == pytest.approx(run.evaluate("test", 1).labels["error"])


def test_new_data_are_scored_encoded_and_reconstructed(table: Path, tmp_path: Path) -> None:
    run = load_run(table / "run")
    new = rows_of(table / "new.csv")
    x = np.array([[float(row["size"]), float(row["mass"])] for row in new], np.float32)
    y = [("ant", "bee").index(row["kind"]) for row in new]
    given = ("--data", table / "new.csv")
    result = command("evaluate", table / "run", *given, "--samples=50", "--json", "--out", tmp_path / "a.csv")
    assert result.status == 0
    assert "columns of new that are not used: id" in result.err
    scores = json.loads(result.out)
    rows = rows_of(tmp_path / "a.csv")
    assert [row["row"] for row in rows] == [str(i) for i in range(6)]
    assert [row["label"] for row in rows] == [row["kind"] for row in new]
    assert np.mean([-float(row["log_prob"]) for row in rows]) == pytest.approx(scores["nll"])
    wanted = run.model.log_prob(x, y, samples=2000, seed=1).numpy()
    np.testing.assert_allclose([float(row["log_prob"]) for row in rows], wanted, atol=1.0)
    command("encode", table / "run", *given, "--out", tmp_path / "z.npz")
    with np.load(tmp_path / "z.npz", allow_pickle=False) as found:
        np.testing.assert_allclose(found["x"], run.model.encode(x, y).numpy(), atol=1e-6)
    command("reconstruct", table / "run", *given, "--out", tmp_path / "r.csv", "-n2", "--first")
    assert [float(row["size"]) for row in rows_of(tmp_path / "r.csv")[::2]] == [float(row["size"]) for row in new[:2]]


def test_new_data_that_are_not_of_the_kind(table: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "a.csv", "--overwrite")
    unlabelled = ("--data", table / "unlabelled.csv")
    refused("is conditional: unlabelled needs labels (kind)", "encode", table / "run", *unlabelled, *out)
    done("encode", table / "free", *unlabelled, *out)
    assert len(rows_of(tmp_path / "a.csv")) == 6
    refused("narrow has no column 'mass'", "encode", table / "free", "--data", table / "narrow.csv", *out)
    valid = ("--data", table / "new.csv", "--split=valid")
    refused("new data to the run, has no split 'valid'", "encode", table / "free", *valid, *out)
    refused("there is no file", "encode", table / "free", "--data", table / "no.csv", *out)
    (tmp_path / "other.csv").write_text((table / "new.csv").read_text().replace("ant", "emu"))
    words = "has the class 'emu', which it was not trained on; accepted: ant, bee"
    refused(words, "encode", table / "run", "--data", tmp_path / "other.csv", *out)
    np.save(tmp_path / "x.npy", np.zeros((3, 5)))
    refused("a datum of x has shape (5,)", "encode", table / "free", "--data", tmp_path / "x.npy", *out)


def test_a_run_whose_data_moved(table: Path, tmp_path: Path) -> None:
    shutil.copy(table / "t.csv", tmp_path / "t.csv")
    given = ("--set=data.label=kind", "--set=training.batch_size=20", "--samples=1", *QUICK[:3], "--epochs=1")
    done("train", tmp_path / "t.csv", "--out", tmp_path / "run", *given)
    (tmp_path / "t.csv").rename(tmp_path / "u.csv")
    run, place = tmp_path / "run", ("--data", tmp_path / "u.csv")
    for needs_none in (("plot", "--what=curves"), ("plot", "--what=model"), ("sample", "--out", tmp_path / "s.csv")):
        name, *rest = needs_none
        done(name, run, *rest)
    for needs in (("evaluate", "--samples=1"), ("encode", "--out", tmp_path / "z.csv"), ("plot", "--what=data")):
        name, *rest = needs
        refused("if they are elsewhere now, say where: --data PATH", name, run, *rest)
        done(name, run, *rest, *place)
    assert done("evaluate", run, "--samples=3", *place).startswith("test, 6 data")
    refused("is not what", "plot", run, "--what=data", "--data", table / "new.csv")
    refused("is not what", "train", "--resume", "--out", run, "--epochs=2", "--data", table / "new.csv")
    refused("--data", "train", "--resume", "--out", run, "--epochs=2", f"--set=data.name={tmp_path / 'u.csv'}")
    done("train", "--resume", "--out", run, "--epochs=2", "--samples=1", *place)
    done("evaluate", run, "--samples=1")


def test_what_is_asked_of_an_unfinished_run_says_so(table: Path, tmp_path: Path) -> None:
    shutil.copytree(table / "free", tmp_path / "run")
    (tmp_path / "run/weights.safetensors").unlink()
    for argv in (("evaluate", "--samples=1", "--json"), ("sample", "--out", tmp_path / "s.csv")):
        name, *rest = argv
        result = command(name, tmp_path / "run", *rest)
        assert result.status == 0
        assert result.err.count("\n") == 1
        words = "lacks weights.safetensors; its last state has them: it goes on with: vaekit train --resume --out "
        assert f"{words}{tmp_path}" in result.err
    assert command("evaluate", table / "free", "--samples=1").err == ""


def test_new_data_in_python(table: Path) -> None:
    run = load_run(table / "free")
    x = np.array([[0.5, 0.25], [-1.0, 3.0], [0.0, 0.0]])
    wanted = run.model.encode(x).numpy()
    np.testing.assert_allclose(run.encode(x)[0], wanted, rtol=1e-5)
    np.testing.assert_allclose(run.encode(run.data("test"))[0], run.encode("test")[0])
    assert (run.encode(table / "new.csv")[1] == [0, 1, 0, 1, 0, 1]).all()
    scores = run.evaluate(x, 5)
    assert (scores.split, scores.n) == ("new data", 3)
    shown = run.reconstructions(x, 2, first=True)
    np.testing.assert_allclose(shown[:, 0], x[:2])
    with pytest.raises(ValueError, match="a value that is no finite"):
        run.encode(np.array([[np.inf, 1.0]]))
    assert isinstance(run.dataset, Dataset)


def test_new_images_are_treated_as_those_of_the_run(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.choice(np.uint8([0, 255]), (60, 4, 4))
    np.save(tmp_path / "masks.npy", images)
    np.save(tmp_path / "new.npy", images[:7])
    np.save(tmp_path / "grey.npy", images[:7] // 2)
    given = (*QUICK[:3], "--set=training.batch_size=20", "--samples=1", "--epochs=1")
    done("train", tmp_path / "masks.npy", "--out", tmp_path / "run", *given)
    run = load_run(tmp_path / "run")
    codes = run.encode(tmp_path / "new.npy")[0]
    np.testing.assert_allclose(codes, run.model.encode(images[:7, None] // 255).numpy(), atol=1e-6)
    with pytest.raises(ValueError, match="other than binary 0/1"):
        run.encode(tmp_path / "grey.npy")


# -- runs of tables before their columns had kinds -------------------------------------------------------------------

ROWS = np.arange(60)
OLDER: dict[str, tuple[list[str], np.ndarray, list[str] | None, str | None]] = {
    "whole numbers": (
        ["", "id", "level", "height", "flag"],
        np.stack([ROWS, ROWS + 7, ROWS % 5, 1.7e9 + ROWS / 8, ROWS % 2], 1),
        ["10", "2", "1"],
        None,
    ),
    "names that are numbers": (["2019", "2020"], np.stack([ROWS / 2, ROWS * 1.5], 1), ["a", "b"], None),
    "zeros and ones": (["1", "b"], np.stack([ROWS % 2, ROWS % 3 % 2], 1), None, None),
    "counts, one of them constant": (["a", "b"], np.stack([ROWS % 4, 0 * ROWS + 5], 1), None, "count"),
}


@pytest.mark.parametrize("case", OLDER)
def test_a_run_from_before_columns_had_kinds_finds_its_table_unchanged(case: str, tmp_path: Path) -> None:
    """Such a run says of its table the columns alone; its rows were those of an array of the same numbers."""
    columns, x, kinds, domain = OLDER[case]
    labels = None if kinds is None else np.array(kinds)[ROWS % len(kinds)]
    np.savez(tmp_path / "x.npz", x=x.astype(float), **({} if labels is None else {"y": labels.astype("U2")}))
    if labels is not None and labels[0].isdecimal():
        np.savez(tmp_path / "x.npz", x=x.astype(float), y=labels.astype(int))
    sets = [each.removeprefix("--set=") for each in QUICK[:3]] + ([] if domain is None else [f"data.domain={domain}"])
    run = train(tmp_path / "x.npz", tmp_path / "run", sets=sets, epochs=1)
    cells = x.tolist() if labels is None else [[*row, name] for row, name in zip(x.tolist(), labels, strict=True)]
    texts = [[f"{each:.15g}" if isinstance(each, float | int) else each for each in row] for row in cells]
    path, names = tmp_path / "x.csv", [*columns, *([] if labels is None else ["kind"])]
    path.write_text("\n".join(map(",".join, [names, *texts])) + "\n")
    saved = json.loads((run.path / "spec.json").read_text())
    del saved["sha256"]
    saved["schema"] |= {"columns": columns, "stored": None}
    del saved["schema"]["table"]
    saved["spec"]["data"] |= {"name": str(path), "label": None if labels is None else "kind"}
    (run.path / "spec.json").write_text(json.dumps(saved))
    found = load_run(run.path)
    assert found.dataset.columns == tuple(columns)
    assert found.dataset.domain.kind == run.schema.domain.kind
    for split, rows in run.dataset.splits.items():
        assert rows.x.dtype == found.dataset.splits[split].x.dtype
        np.testing.assert_array_equal(rows.x, found.dataset.splits[split].x)
    assert found.evaluate("test", 5).nll == run.evaluate("test", 5).nll
    assert found.evaluate(path, 5).nll == pytest.approx(run.evaluate(tmp_path / "x.npz", 5).nll)
    assert list(found.impute(path, samples=5).table.columns) == names
    path.write_text(path.read_text().replace("\n" + ",".join(texts[7]), "\n" + ",".join(texts[6]), 1))
    with pytest.raises(RunError, match="its values have changed"):
        load_run(run.path).dataset  # noqa: B018
