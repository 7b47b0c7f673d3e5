"""Runs on folders of images: cropped, flipped, resized, decoded as they are needed."""

from __future__ import annotations

import shutil
import signal
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from commands_for_tests import command, done
from PIL import Image
from runs_for_tests import SMALL, assert_same_run, metrics

from vaekit import score, train
from vaekit.data import images
from vaekit.data.base import Dataset
from vaekit.data.decoding import ImageRows
from vaekit.errors import RunError
from vaekit.runs.keeping import Callbacks
from vaekit.runs.run import Run, load_run
from vaekit.training.records import Epoch, Progress

SETS = (*SMALL, "model.latents.z.maps=false", "training.batch_size=15", "data.validation=12", "data.test=12")
VARIED = (*SETS, "data.resize=[8, 9]", "data.crop=6", "data.flip=true")


@pytest.fixture(autouse=True)
def _decoded_as_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "AT_ONCE", 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs of two classes."""
    path, rng = tmp_path_factory.mktemp("images") / "photos", np.random.default_rng(0)
    for name in ("cat", "dog"):
        (path / name).mkdir(parents=True)
        for i in range(42):
            Image.fromarray(rng.integers(0, 256, (10, 12), np.uint8)).save(path / name / f"{i:02}.jpg")
    return path


def stop(records: list[Epoch]) -> None:
    raise KeyboardInterrupt


@pytest.mark.slow  # others here go on with such trainings, of images that are kept on disk, decoded anew, and of shards
def test_a_training_with_crops_and_flips_that_was_killed_goes_on_bit_for_bit(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sets = (*VARIED, "training.engine=replay", "training.epochs=5")
    whole = train(folder, tmp_path / "whole", sets=sets)
    with pytest.raises(KeyboardInterrupt):
        train(folder, tmp_path / "cut", sets=sets, callbacks=Callbacks(on_epoch=stop))
    train(out=tmp_path / "cut", resume=True)
    assert_same_run(tmp_path / "cut", whole.path)
    monkeypatch.setattr(images, "AT_ONCE", 500)
    train(folder, tmp_path / "at once", sets=sets)
    assert metrics(tmp_path / "at once") == metrics(whole.path), "when images are decoded changes nothing"
    assert "recorded" not in caplog.text


def test_no_image_is_decoded_before_the_first_epoch_but_a_few_to_look_at(tmp_path: Path) -> None:
    """The likelihood of colour images once looked at all of them first, for channels that files never lack."""
    (tmp_path / "photos").mkdir()
    for i in range(200):
        pixels = np.random.default_rng(i).integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{i:03}.png")
    decoded: list[int] = []

    def begun(folder: Path, spec: object, data: Dataset) -> None:
        decoded.extend(int(each.x.there.sum()) for each in data.splits.values())
        raise KeyboardInterrupt

    sets = ("training.epochs=1", "training.batch_size=8", "data.validation=8", "data.test=8")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "photos", tmp_path / "run", sets=sets, callbacks=Callbacks(on_start=begun))
    assert "mixture" in (tmp_path / "run" / "spec.json").read_text()
    assert sum(decoded) < 50


@pytest.mark.usefixtures("_interrupts")
def test_images_that_are_decoded_in_each_epoch_train_the_same_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Recorded and resumed within an epoch, of which the third step is the last before it ends."""
    sets = (*VARIED, "training.engine=replay", "training.epochs=7")
    kept = train(folder, tmp_path / "kept", sets=sets)
    monkeypatch.setattr(images, "_disk", lambda *given: (None, False))
    monkeypatch.setattr("vaekit.training.loop.POLL_SECONDS", -1.0)
    seen: list[int] = []

    def cut(where: Progress) -> None:
        seen.append(1)
        if len(seen) == 6:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(folder, tmp_path / "anew", sets=sets, callbacks=Callbacks(on_progress=cut))
    train(out=tmp_path / "anew", resume=True)
    assert_same_run(tmp_path / "anew", kept.path)
    assert "recorded" not in caplog.text
    assert load_run(tmp_path / "anew").evaluate("test", 3, seed=1).nll == kept.evaluate("test", 3, seed=1).nll


def test_shards_train_the_run_of_the_folder_bit_for_bit(folder: Path, tmp_path: Path) -> None:
    """Whole, as a pattern, as a folder, and killed and gone on with."""
    (tmp_path / "set").mkdir()
    files = sorted(folder.glob("*/*.jpg"))
    for i in range(2):
        with tarfile.open(tmp_path / f"set/photos-{i:02}.tar", "w") as archive:
            for file in files[42 * i : 42 * (i + 1)]:
                archive.add(file, f"{file.parent.name}/{file.name}")
                label = tmp_path / f"{file.stem}.cls"
                label.write_text(file.parent.name)
                archive.add(label, f"{file.parent.name}/{label.name}")
    sets = (*VARIED, "training.engine=replay", "training.epochs=3")
    plain = train(folder, tmp_path / "plain", sets=sets)
    pattern = str(tmp_path / "set/photos-{00..01}.tar")
    with pytest.raises(KeyboardInterrupt):
        train(pattern, tmp_path / "cut", sets=sets, callbacks=Callbacks(on_epoch=stop))
    made = train(out=tmp_path / "cut", resume=True)
    assert metrics(made.path) == metrics(plain.path)
    assert (made.path / "weights.safetensors").read_bytes() == (plain.path / "weights.safetensors").read_bytes()
    assert made.schema.classes == ("cat", "dog")
    (tmp_path / "set").rename(tmp_path / "moved")
    with pytest.raises(RunError, match="are not where they were: there is no file or folder"):
        load_run(made.path).dataset  # noqa: B018
    moved = load_run(made.path, data=tmp_path / "moved")
    assert moved.data("test").origin[0].startswith("photos-00.tar/cat/")  # type: ignore[index]
    assert "12 x 3" in done("encode", made.path, "--data", tmp_path / "moved", "--out", tmp_path / "codes.npz")


@pytest.fixture(scope="module")
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "AT_ONCE", 0)
        return train(folder, tmp_path_factory.mktemp("run") / "run", sets=(*VARIED, "training.epochs=3"))


def test_evaluation_sees_the_middle_of_each_image_each_time(run: Run, folder: Path) -> None:
    assert run.schema.event_shape == (1, 6, 6)
    first, again = (run.evaluate("test", 5, seed=1) for _ in range(2))
    assert (first.nll, first.elbo) == (again.nll, again.elbo)
    data = run.data("test")
    with Image.open(folder / data.origin[3]) as image:  # type: ignore[index]
        expected = np.asarray(image.resize((9, 8), Image.Resampling.BICUBIC))[1:7, 1:7]
    np.testing.assert_array_equal(data.x[3, 0], expected)
    loaded = load_run(run.path)
    np.testing.assert_array_equal(loaded.encode("train")[0], run.encode("train")[0])
    assert (loaded.spec.data.resize, loaded.spec.data.crop, loaded.spec.data.flip) == ((8, 9), 6, True)


def test_new_images_are_treated_as_those_of_the_run(run: Run, folder: Path, tmp_path: Path) -> None:
    new, own = run.data(folder), {name: run.data(name) for name in ("train", "valid", "test")}
    assert new.x.shape == (84, 1, 6, 6)
    torch.testing.assert_close(
        torch.cat([batch.x for batch in new.blocks()])[np.argsort(new.origin)],  # type: ignore[call-overload]
        torch.cat([batch.x for each in own.values() for batch in each.blocks()])[
            np.argsort(np.concatenate([each.origin for each in own.values()]))
        ],
    )
    cropped = run.data(np.asarray(own["test"].x))
    torch.testing.assert_close(cropped.x, own["test"].x, msg="what is as small as the crop is taken as it is")
    others = shutil.copytree(folder / "cat", tmp_path / "others")
    codes = done("encode", run.path, "--data", others, "--out", tmp_path / "codes.npz")
    assert "42 x 3" in codes
    done("evaluate", run.path, "--data", others, "--samples=2")
    done("reconstruct", run.path, "--data", others, "--out", tmp_path / "made.npz", "-n3")
    with np.load(tmp_path / "made.npz") as made:
        assert made["x"].shape[-3:] == (1, 6, 6)
    small = run.data(np.zeros((3, 1, 9, 9), np.uint8))
    assert small.x.shape == (3, 1, 6, 6)
    with pytest.raises(ValueError, match="the images are 5 pixels high"):
        run.data(np.zeros((3, 1, 5, 9), np.uint8))


def test_new_images_of_another_size_or_colour_are_refused_with_what_to_do(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "AT_ONCE", 500)
    run = train(folder, tmp_path / "run", sets=(*SETS, "training.epochs=1"))
    rng = np.random.default_rng(0)
    other = {"small": (9, 9), "colours": (10, 12, 3), "mixed": (8, 8)}
    for name, shape in other.items():
        (tmp_path / name).mkdir()
        for i in range(3):
            Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(tmp_path / name / f"{i}.png")
    Image.fromarray(rng.integers(0, 256, (5, 8), np.uint8)).save(tmp_path / "mixed" / "3.png")
    own = f"{run.path} is of data of shape (1, 10, 12)"
    does = "; a run that was trained with --set 'data.resize=[10, 12]' does so with whatever it is asked about\n"
    for name, words in {
        "small": f"has shape (1, 9, 9), but {own}; bring all to 12 pixels wide and 10 high first{does}",
        "colours": f"a datum of colours has shape (3, 10, 12), but {own}; convert its images to grey\n",
        "mixed": f"0.png is 8×8 L; bring all to 12 pixels wide and 10 high first{does}",
    }.items():
        found = command("evaluate", run.path, "--data", tmp_path / name)
        assert found.status == 2
        assert found.err.endswith(words), found.err


def test_folders_of_images_are_scored_each_a_file(run: Run, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder / "cat", other)
    found = score(run, [folder, other], tmp_path / "scores", samples=3)
    assert [(each.path.name, each.rows) for each in found] == [("photos.parquet", 84), ("other.parquet", 42)]
    frame = pd.read_parquet(found[1].path)
    assert frame["row"].tolist() == sorted(path.name for path in other.iterdir())
    assert frame["log_prob"].nunique() > 40
    assert all(each.kept for each in score(run, [folder, other], tmp_path / "scores", samples=3))
    shutil.copy(folder / "dog" / "00.jpg", other / "00.jpg")
    kept = [each.kept for each in score(run, [folder, other], tmp_path / "scores", samples=3)]
    assert kept == [True, False]


def test_shards_are_scored_each_a_file_as_the_folder_of_their_images_is(run: Run, folder: Path, tmp_path: Path) -> None:
    for number in (3, 4):
        with tarfile.open(tmp_path / f"s-{number}.tar", "w") as archive:
            for name in sorted((folder / "cat").iterdir())[number : number + 2]:
                archive.add(name, name.name)
    found = score(run, str(tmp_path / "s-{3..4}.tar"), tmp_path / "out", samples=3)
    assert [each.path.name for each in found] == ["s-3.tar.parquet", "s-4.tar.parquet"]
    first = pd.read_parquet(found[0].path)
    assert first["row"].tolist() == ["s-3.tar/03.jpg", "s-3.tar/04.jpg"]
    (tmp_path / "images").mkdir()
    for name in ("03.jpg", "04.jpg"):
        shutil.copy(folder / "cat" / name, tmp_path / "images" / name)
    (images_alone,) = score(run, tmp_path / "images", tmp_path / "other", samples=3)
    pd.testing.assert_series_equal(first["log_prob"], pd.read_parquet(images_alone.path)["log_prob"])
    assert len(score(run, tmp_path, tmp_path / "all", samples=3)) == 2


@pytest.mark.parametrize("at_once", [0, 500])
def test_grey_images_alone_are_what_they_are_beside_coloured_ones(
    at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "AT_ONCE", at_once)
    rng = np.random.default_rng(0)
    for name, shape in (("grey", (6, 5)), ("colours", (6, 5, 3))):
        (tmp_path / "all" / name).mkdir(parents=True)
        for i in range(8):
            Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(tmp_path / "all" / name / f"{i}.png")
    sets = (*SMALL, "model.latents.z.maps=false", "training.batch_size=7", "training.epochs=1")
    run = train(tmp_path / "all", tmp_path / "run", sets=sets)
    every, grey = run.data(tmp_path / "all"), run.data(tmp_path / "all" / "grey")
    assert every.origin is not None
    (blocks,) = every.blocks()
    (alone,) = grey.blocks()
    torch.testing.assert_close(alone.x, blocks.x[[name.startswith("grey") for name in every.origin]])
    with tarfile.open(tmp_path / "grey.tar", "w") as archive:
        archive.add(tmp_path / "all" / "grey" / "0.png", "0.png")
    found = score(run, [tmp_path / "all", tmp_path / "grey.tar"], tmp_path / "scores", samples=2)
    assert [each.rows for each in found] == [16, 1]


def test_flips_and_crops_change_what_is_learned_and_not_what_is_scored_before(folder: Path, tmp_path: Path) -> None:
    found = {}
    for name, more in {"plain": (), "flip": ("data.flip=true",)}.items():
        sets = (*SETS, "data.resize=6", "training.epochs=1", "training.learning_rate=1e-12", *more)
        made = train(folder, tmp_path / name, sets=sets)
        found[name] = {each.split: each.terms["loss"] for each in made.history()}
    assert found["plain"]["valid"] == pytest.approx(found["flip"]["valid"], rel=1e-6), "not in evaluation"
    assert found["plain"]["train"] != found["flip"]["train"]


def test_a_run_knows_its_files_and_one_from_before_its_pixels(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = shutil.copytree(folder, tmp_path / "mine")
    sets = (*SETS, "training.epochs=1")
    now = train(mine, tmp_path / "now", sets=sets)
    assert now.schema.fingerprint.startswith("files:")
    assert isinstance(load_run(now.path).dataset.splits["train"].x, ImageRows)
    with monkeypatch.context() as patch:
        patch.setattr(images, "AT_ONCE", 500)
        before = train(mine, tmp_path / "before", sets=sets)
    assert not before.schema.fingerprint.startswith("files:")
    assert len(load_run(before.path).dataset.splits["train"]) == 60
    (mine / "cat/03.jpg").write_bytes((mine / "cat/04.jpg").read_bytes())
    for each in (now, before):
        with pytest.raises(RunError, match=r"is not what .* was trained on"):
            load_run(each.path).dataset  # noqa: B018


def test_a_damaged_image_that_is_met_in_training_is_one_line(folder: Path, tmp_path: Path) -> None:
    mine = shutil.copytree(folder, tmp_path / "mine")
    for name in ("cat/30.jpg", "dog/41.jpg"):
        (mine / name).write_bytes((mine / name).read_bytes()[:200])
    result = command("train", mine, "--out", tmp_path / "run", *(f"--set={each}" for each in SETS))
    assert (result.status, result.err.count("\n")) == (2, 1), result
    assert "30.jpg cannot be read as an image" in result.err
    assert "1 more that won't do: 41.jpg" in result.err


def test_what_is_not_for_such_data_is_refused_before_anything_is_written(folder: Path, tmp_path: Path) -> None:
    for given, words in {
        "data.crop=[11, 4]": "data.crop=[11, 4], but the images are 10 pixels high and 12 wide; accepted: [1, 1] to",
        "data.crop=0": "data.crop",
        "data.resize=[3]": "data.resize",
    }.items():
        result = command("train", folder, "--out", tmp_path / "run", "--set", given)
        assert (result.status, result.err.count("\n"), words in result.err) == (2, 1, True), result
    result = command("train", "digits", "--out", tmp_path / "run", "--set=data.resize=4")
    assert "data.resize=4 is for a folder of images; digits is none" in result.err
    assert not (tmp_path / "run").exists()
