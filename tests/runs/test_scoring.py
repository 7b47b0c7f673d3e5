"""Scores of many files: those of an evaluation, the same however the rows lie, and each file whole or not there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from commands_for_tests import command, done
from models_for_tests import refuses
from PIL import Image
from runs_for_tests import small_run

from vaekit import load_dataset, score, train
from vaekit.data import tensors
from vaekit.runs import scoring
from vaekit.runs.run import Run

SAMPLES = 8


def table(rows: int, seed: int = 0) -> pd.DataFrame:
    draws = np.random.default_rng(seed)
    a = draws.normal(size=rows)
    city = np.where(draws.random(rows) < 0.5, "Rome", "Oslo")
    frame = pd.DataFrame({"a": a, "b": 2 * a + draws.normal(size=rows), "city": city, "n": draws.poisson(3, rows)})
    frame.loc[::7, "b"] = np.nan
    return frame


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    sets = ["model.latents.z.size=2", "training.epochs=2", "model.encoder={name='mlp', hidden=[8]}"]
    return train(table(200), tmp_path_factory.mktemp("table") / "run", sets=sets)


@pytest.fixture(autouse=True)
def _short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensors, "ROWS", 50)


def scores(run: Run, shards: Any, out: Path, **more: Any) -> list[pd.DataFrame]:
    return [pd.read_parquet(each.path) for each in score(run, shards, out, samples=SAMPLES, **more)]


def test_they_are_those_of_an_evaluation_of_each_block(run: Run, tmp_path: Path) -> None:
    table(50, seed=1).to_csv(tmp_path / "t.csv", index=False)
    (found,) = scores(run, tmp_path / "t.csv", tmp_path / "out", codes=True, seed=3)
    parts: list[Any] = []
    run.evaluate(Path(tmp_path / "t.csv"), SAMPLES, seed=3, on_scores=parts.append)
    for name in ("log_prob", "elbo", "reconstruction", "kl", "effective_samples"):
        np.testing.assert_allclose(found[name], getattr(parts[0], name).numpy(), rtol=1e-6, err_msg=name)
    np.testing.assert_allclose(found["log_prob_stderr"], parts[0].log_prob_variance.sqrt().numpy(), rtol=1e-6)
    codes, _ = run.encode(Path(tmp_path / "t.csv"))
    np.testing.assert_allclose(found[["z.0", "z.1"]], codes, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("group", [1000, 50, 13])
def test_they_do_not_depend_on_row_groups_or_the_kind_of_file(run: Run, tmp_path: Path, group: int) -> None:
    frame = table(120, seed=2)
    frame.to_parquet(tmp_path / "t.parquet", row_group_size=group)
    frame.to_csv(tmp_path / "t.csv", index=False)
    binary, text = scores(run, [tmp_path / "t.parquet", tmp_path / "t.csv"], tmp_path / "out", codes=True)
    pd.testing.assert_frame_equal(binary, text)
    assert binary["row"].tolist() == list(range(120))
    assert len(set(binary["log_prob"])) == 120
    # A row's scores are of its own: those of an earlier part of the file are the same without the rest.
    frame[:70].to_parquet(tmp_path / "part.parquet")
    (part,) = scores(run, tmp_path / "part.parquet", tmp_path / "out", codes=True)
    pd.testing.assert_frame_equal(part[:50], binary[:50])


def test_rows_keep_the_names_that_their_file_gives_them(run: Run, tmp_path: Path) -> None:
    frame = table(60, seed=3)
    frame.index = pd.Index([f"p{i}" for i in range(60)], name="patient")
    frame.to_parquet(tmp_path / "named.parquet")
    frame.set_axis(pd.MultiIndex.from_product([["u", "v"], range(30)])).to_parquet(tmp_path / "two.parquet")
    frame.set_axis(pd.RangeIndex(7, 187, 3, name="elbo")).to_parquet(tmp_path / "taken.parquet")
    named, taken, two = scores(run, tmp_path, tmp_path / "out")
    assert named["patient"].tolist() == [f"p{i}" for i in range(60)]
    assert two["row.0"].tolist() == ["u"] * 30 + ["v"] * 30
    assert taken["elbo_"].tolist() == list(range(7, 187, 3))
    np.testing.assert_array_equal(named["log_prob"], two["log_prob"])


def test_a_cell_that_no_column_has_makes_a_row_impossible(run: Run, tmp_path: Path) -> None:
    frame = table(55, seed=4)
    frame.loc[52, "city"] = "Atlantis"
    frame.to_parquet(tmp_path / "t.parquet")
    (found,) = scores(run, tmp_path / "t.parquet", tmp_path / "out")
    assert np.flatnonzero(np.isneginf(found["log_prob"])).tolist() == [52]
    assert np.isfinite(found["kl"]).all()
    assert found["log_prob_stderr"][52] == 0
    asked = command("score", run.path, tmp_path / "t.parquet", "--out", tmp_path / "again", "--samples", "2")
    said = (
        "log p is -inf for 1 of 55 rows, with a cell that its column can't have, as a category that was not in training"
    )
    assert said in asked.err
    cell = "'Atlantis' at row 52 (from 0), column 'city'; log p of its row is -inf"
    assert f"a cell of t.parquet is none that its column can have: {cell}" in asked.err
    odd = command("detect", run.path, tmp_path / "t.parquet", "--out", tmp_path / "odd.csv", "--samples", "2")
    assert said in odd.err


def test_images_with_random_preprocessing_are_the_same_each_time(tmp_path: Path) -> None:
    run = small_run(tmp_path / "run", "data.binarize=stochastic", "model.likelihood=bernoulli", "training.epochs=1")
    x = load_dataset("digits").splits["test"].x[:130]
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", x=x)
    one, other = scores(run, [tmp_path / "x.npy", tmp_path / "x.npz"], tmp_path / "out", codes=True)
    pd.testing.assert_frame_equal(one, other)
    codes, _ = run.encode(tmp_path / "x.npy")  # of the same binarisation, block by block
    np.testing.assert_allclose(one[["z.0", "z.1", "z.2"]], codes, rtol=1e-5, atol=1e-6)
    assert np.abs(codes[:50] - codes[50:100]).max() > 0


def test_files_are_whole_or_not_there_and_those_there_are_kept(run: Run, tmp_path: Path, monkeypatch: Any) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for i in range(3):
        table(60, seed=i).to_parquet(folder / f"{i}.parquet")
    (folder / ".hidden.csv").write_text("no")
    (folder / "_SUCCESS").touch()
    blocks, scored = 0, scoring._scored

    def cut_off(*given: Any) -> pd.DataFrame:
        nonlocal blocks
        blocks += 1
        if blocks == 4:  # the second of the second file
            raise KeyboardInterrupt
        return scored(*given)

    monkeypatch.setattr(scoring, "_scored", cut_off)
    with pytest.raises(KeyboardInterrupt):
        score(run, folder, out, samples=SAMPLES)
    assert [each.name for each in out.iterdir()] == ["0.parquet"]
    found = score(run, folder, out, samples=SAMPLES)
    assert [(each.path.name, each.rows, each.kept) for each in found] == [
        ("0.parquet", 60, True), ("1.parquet", 60, False), ("2.parquet", 60, False)
    ]  # fmt: skip
    assert all(each.kept for each in score(run, folder, out, samples=SAMPLES))
    table(61, seed=9).to_parquet(folder / "1.parquet")
    assert [each.rows for each in score(run, folder, out, samples=SAMPLES)] == [60, 61, 60]
    os.utime(folder / "2.parquet", (1, 1))
    assert [each.kept for each in score(run, folder, out, samples=SAMPLES)] == [True, True, False]


def test_another_answer_in_the_place_of_one_is_refused(run: Run, tmp_path: Path) -> None:
    table(20).to_csv(tmp_path / "t.csv", index=False)
    score(run, tmp_path / "t.csv", tmp_path / "out", samples=SAMPLES)
    for other, said in (
        ({"samples": 9}, f"samples is {SAMPLES} there, 9 here"),
        ({"samples": SAMPLES, "seed": 1}, "seed is 0 there, 1 here"),
        ({"samples": SAMPLES, "codes": True}, "codes is False there, True here"),
    ):
        with refuses(f"has scores that were asked for otherwise: {said}; name another folder"):
            score(run, tmp_path / "t.csv", tmp_path / "out", **other)
    (tmp_path / "folder" / "t.csv.parquet").mkdir(parents=True)
    with refuses("is a folder, where a file of scores is to be"):
        score(run, tmp_path / "t.csv", tmp_path / "folder", samples=SAMPLES)
    with refuses("is a run, no data; accepted after the run that scores: .npy"):
        score(run, run.path, tmp_path / "out")
    (tmp_path / "images").mkdir()
    Image.new("L", (3, 4)).save(tmp_path / "images" / "a.png")
    Image.new("L", (4, 4)).save(tmp_path / "images" / "b.png")
    with refuses("is a folder of images, but"):
        score(run, tmp_path / "images", tmp_path / "out")
    table(20).to_parquet(tmp_path / "out" / "t.csv.parquet")
    with refuses(
        "no scores that vaekit score has written; name another folder, or make all in it anew: overwrite=True"
    ):
        score(run, tmp_path / "t.csv", tmp_path / "out", samples=SAMPLES)
    (anew,) = score(run, tmp_path / "t.csv", tmp_path / "out", samples=SAMPLES, overwrite=True)
    assert (anew.rows, anew.kept) == (20, False)


def test_one_file_has_all_rows_in_order(run: Run, tmp_path: Path) -> None:
    for name, rows in (("b", 60), ("a", 10)):
        table(rows).to_parquet(tmp_path / f"{name}.parquet")
    given = [tmp_path / "b.parquet", tmp_path / "a.parquet"]
    (found,) = scores(run, given, tmp_path / "all.parquet")
    assert found["file"].tolist() == ["b.parquet"] * 60 + ["a.parquet"] * 10
    assert found["row"].tolist() == [*range(60), *range(10)]
    each = scores(run, given, tmp_path / "out")
    np.testing.assert_array_equal(found["log_prob"], np.concatenate([one["log_prob"] for one in each]))
    table(9).rename_axis("who").to_parquet(tmp_path / "c.parquet")
    with refuses("can't have all rows"):
        score(run, [*given, tmp_path / "c.parquet"], tmp_path / "more.parquet", samples=SAMPLES)
    assert not (tmp_path / "more.parquet").exists()


def test_shards_in_folders_of_splits_are_scored_each_into_its_own_file(tmp_path: Path) -> None:
    for name in ("train/0.tar", "train/1.tar", "val/0.tar", "other/0.tar", "train/.part.tar"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).touch()
    found = scoring.shards_of([tmp_path / "photos"])
    assert [str(each.relative_to(tmp_path / "photos")) for each in found] == ["train/0.tar", "train/1.tar", "val/0.tar"]
    names = [each.name for each in scoring.outputs_of(found, tmp_path)]
    assert names == ["train-0.tar.parquet", "train-1.tar.parquet", "val-0.tar.parquet"]


def test_what_can_not_be_scored_is_refused_in_a_line(run: Run, tmp_path: Path) -> None:
    table(5).to_csv(tmp_path / "t.csv", index=False)
    table(5).drop(columns="a").to_parquet(tmp_path / "less.parquet")
    table(5)[:0].to_parquet(tmp_path / "none.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 not")
    (tmp_path / "other").mkdir()
    table(5).to_csv(tmp_path / "other" / "t.csv", index=False)
    out = tmp_path / "out"
    for given, said in (
        ([tmp_path / "gone"], "there is no file or folder"),
        ([tmp_path / "t.csv", tmp_path / "t.csv"], "is given twice"),
        ([tmp_path / "t.csv", tmp_path / "other"], "would both be"),
        ([run.path / "spec.json"], "is no file to score"),
        ([run.path / "checkpoints"], "has no files to score"),
        ([tmp_path / "less.parquet"], "has no column 'a'"),
        ([tmp_path / "none.parquet"], "has no rows"),
        ([tmp_path / "bad.parquet"], "cannot be read as Parquet"),
    ):
        with refuses(said):
            score(run, given, out, samples=SAMPLES)
        assert not out.exists() or not list(out.iterdir()), given
    with refuses("is where less.parquet is read"):
        score(run, tmp_path / "less.parquet", tmp_path, samples=SAMPLES)
    with refuses("samples must be at least 1"):
        score(run, tmp_path / "t.csv", out, samples=0)


def test_the_command(run: Run, tmp_path: Path) -> None:
    table(12).to_csv(tmp_path / "t.csv", index=False)
    asked = ["score", run.path, tmp_path / "t.csv", "--out", tmp_path / "out", "--samples", "4", "--codes"]
    assert "t.csv.parquet: 12 rows" in done(*asked)
    assert "1 of 1 files were there already" in done(*asked)
    assert command("score", run.path, tmp_path / "no.csv", "--out", tmp_path / "out").status == 2


def test_of_a_file_that_memory_does_not_hold_rows_are_what_they_are_of_one_that_it_does(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "rows.parquet"
    table(50, seed=1).to_parquet(file, row_group_size=13)
    whole, parts, array = (tmp_path / name for name in ("whole.parquet", "parts.parquet", "parts.npy"))
    done("encode", run.path, file, "--out", whole, "--draw")
    monkeypatch.setattr("vaekit.runs.pieces.is_large", lambda path: True)
    done("encode", run.path, file, "--out", parts, "--draw")
    pd.testing.assert_frame_equal(pd.read_parquet(parts), pd.read_parquet(whole))
    done("encode", run.path, file, "--out", array)
    assert np.load(array).shape == (50, 2)
    monkeypatch.setattr("vaekit.runs.pieces.is_large", lambda path: False)
    odd = run.detect(file, samples=SAMPLES)
    monkeypatch.setattr("vaekit.runs.pieces.is_large", lambda path: True)
    pd.testing.assert_frame_equal(run.detect(file, samples=SAMPLES), odd)
    monkeypatch.setattr("vaekit.data.files.is_large", lambda path: True)
    monkeypatch.setattr("vaekit.system.memory.SMALL", 0)
    monkeypatch.setattr("vaekit.system.memory.available", lambda device: 3000)
    with refuses("all at once, take about 0 MB, and 0 MB is free; give its rows in several files; vaekit score and"):
        run.impute(file)
