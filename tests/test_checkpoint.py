from __future__ import annotations

import errno
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from runs_for_tests import equal, metrics, pieces, small_run, weights
from torch import nn

from vaekit import checkpoint
from vaekit.checkpoint import (
    Checkpoints,
    State,
    drop_temporaries,
    load_tensors,
    model_tensors,
    save_tensors,
    set_model_tensors,
    write_atomic,
)
from vaekit.errors import RunError
from vaekit.runs import load_run, train


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("may not mount a disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def states(folder: Path) -> Checkpoints:
    """Checkpoints of epochs 0, 1, 2, of which two are kept; the model's bias is the epoch."""
    checkpoints, model, optimizer = model_of(folder)
    for epoch in range(3):
        nn.init.constant_(model.bias, epoch)
        checkpoints.save(State(epoch=epoch, step=10 * epoch, best_loss=float(epoch)), {"model": model}, optimizer)
    return checkpoints


def model_of(folder: Path) -> tuple[Checkpoints, nn.Linear, torch.optim.Optimizer]:
    model = nn.Linear(2, 2)
    return Checkpoints(folder), model, torch.optim.Adam(model.parameters())


# -- whole or not at all -----------------------------------------------------------------------------------------------


def test_write_atomic_replaces_the_old_content(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a", "old")
    write_atomic(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("fails", ["write", "fsync", "replace"])
def test_a_failed_write_keeps_the_old_content(fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_atomic(tmp_path / "a", "old")

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a name that the user does not know")

    def write(temporary: Path) -> None:
        temporary.write_text("half")
        if fails == "write":
            full()

    if fails != "write":
        monkeypatch.setattr(os, fails, full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_atomic(tmp_path / "a", write)
    monkeypatch.undo()
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(tmp_path / "a")
    assert (tmp_path / "a").read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


def test_an_interrupted_write_keeps_the_old_content(tmp_path: Path) -> None:
    def interrupt(temporary: Path) -> None:
        temporary.write_text("half")
        raise KeyboardInterrupt

    write_atomic(tmp_path / "a", "old")
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "a", interrupt)
    assert (tmp_path / "a").read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_full_disk_keeps_the_old_checkpoints(tiny_disk: Path) -> None:
    save_tensors(tiny_disk / "a.safetensors", {"x": torch.ones(10)})
    with pytest.raises(OSError, match="No space left") as caught:
        save_tensors(tiny_disk / "a.safetensors", {"x": torch.zeros(100_000)})
    assert caught.value.filename == str(tiny_disk / "a.safetensors")
    assert torch.equal(load_tensors(tiny_disk / "a.safetensors")["x"], torch.ones(10))
    assert os.listdir(tiny_disk) == ["a.safetensors"]


def test_a_training_on_a_disk_that_fills_up_goes_on_when_there_is_room(tiny_disk: Path) -> None:
    ballast = tiny_disk / "ballast"
    options = {
        "sets": [
            "model.encoder={name='mlp', hidden=[2]}",
            "model.decoder={name='mlp', hidden=[2]}",
            "training.epochs=3",
        ]
    }

    def fill(records: object) -> None:
        with pytest.raises(OSError, match="No space left"):
            ballast.write_bytes(bytes(100_000))

    with pytest.raises(OSError, match="No space left"):
        train("digits", tiny_disk / "run", **options, on_epoch=fill)  # type: ignore[arg-type]
    ballast.unlink()
    train("digits", tiny_disk / "run", resume=True)
    train("digits", tiny_disk.parent / "reference", **options)  # type: ignore[arg-type]
    assert metrics(tiny_disk / "run") == metrics(tiny_disk.parent / "reference")


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_files_have_the_permissions_that_the_user_gives_new_files(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        write_atomic(tmp_path / "text", "x")
        save_tensors(tmp_path / "tensors", {"x": torch.ones(1)})
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("text", "tensors")] == [0o666 & ~umask] * 2


def test_only_temporary_files_are_dropped(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    kept = [".hidden", "a.tmp", "weights.safetensors"]
    for name in [*kept, ".weights.safetensors.123.tmp", "checkpoints/.best.safetensors.9.tmp"]:
        (tmp_path / name).touch()
    drop_temporaries(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, "checkpoints"])
    assert not os.listdir(tmp_path / "checkpoints")


# -- training states ---------------------------------------------------------------------------------------------------


def test_two_states_are_kept_and_the_newest_is_loaded(tmp_path: Path) -> None:
    checkpoints = states(tmp_path)
    assert [path.name for path in checkpoints.all()] == ["epoch-000001.safetensors", "epoch-000002.safetensors"]
    _, model, optimizer = model_of(tmp_path)
    state = checkpoints.load({"model": model}, optimizer)
    assert asdict(state) == asdict(State(epoch=2, step=20, best_loss=2.0))
    assert model.bias.tolist() == [2.0, 2.0]


def test_states_are_in_the_order_of_their_epochs_beyond_a_million(tmp_path: Path) -> None:
    checkpoints, model, optimizer = model_of(tmp_path)
    for epoch in (999_999, 1_000_000, 1_000_001):
        checkpoints.save(State(epoch=epoch), {"model": model}, optimizer)
    assert [path.name for path in checkpoints.all()] == ["epoch-1000000.safetensors", "epoch-1000001.safetensors"]
    assert checkpoints.load({"model": model}, optimizer).epoch == 1_000_001


@pytest.mark.parametrize("content", ["half", "empty", "other", "no state", "folder"])
def test_a_torn_newest_state_falls_back_to_the_one_before(content: str, tmp_path: Path) -> None:
    checkpoints = states(tmp_path)
    newest = checkpoints.all()[-1]
    whole = newest.read_bytes()
    newest.unlink()
    if content == "folder":
        newest.mkdir()
    elif content == "no state":
        save_tensors(newest, {"x": torch.ones(1)})
    else:
        newest.write_bytes(
            {"half": whole[: len(whole) // 2], "empty": b"", "other": b"PK\x03\x04" + bytes(99)}[content]
        )
    _, model, optimizer = model_of(tmp_path)
    assert checkpoints.load({"model": model}, optimizer).epoch == 1
    assert model.bias.tolist() == [1.0, 1.0]


def test_no_state_is_an_error(tmp_path: Path) -> None:
    checkpoints, model, optimizer = model_of(tmp_path)
    with pytest.raises(RunError, match="no training state"):
        checkpoints.load({"model": model}, optimizer)
    assert checkpoints.newest() is None


def test_a_run_resumed_behind_a_torn_state_has_every_record_once(tmp_path: Path) -> None:
    small_run(tmp_path / "reference", "training.epochs=4")
    small_run(tmp_path / "run", "training.epochs=3")
    newest = Checkpoints(tmp_path / "run" / "checkpoints").all()[-1]
    newest.write_bytes(newest.read_bytes()[:-1])
    train("digits", tmp_path / "run", resume=True, epochs=4)
    assert metrics(tmp_path / "run") == metrics(tmp_path / "reference")
    assert (tmp_path / "run/weights.safetensors").read_bytes() == (
        tmp_path / "reference/weights.safetensors"
    ).read_bytes()


# -- weights -----------------------------------------------------------------------------------------------------------


def test_weights_that_a_prior_shares_are_saved_once_and_shared_again(tmp_path: Path) -> None:
    vamp = "model.latents.z.prior={name='vamp', components=3}"
    run = small_run(tmp_path / "run", vamp)
    saved = load_tensors(tmp_path / "run/weights.safetensors")
    assert [name for name in saved if name.startswith("priors.")] == ["priors.z.pseudo_inputs"]
    assert sum(tensor.numel() for tensor in saved.values()) == sum(p.numel() for p in run.model.parameters())
    loaded = load_run(tmp_path / "run").model
    assert equal(weights(loaded), weights(run.model))
    nn.init.zeros_(loaded.posteriors["z"].head.weight)  # type: ignore[arg-type]
    assert not loaded.priors["z"].posterior.head.weight.any()  # type: ignore[union-attr]


def test_constants_are_not_saved() -> None:
    assert set(model_tensors(pieces().model)) == {name for name, _ in pieces().model.named_parameters()}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bias": None}, "the file lack 'bias'.*1 missing"),
        ({"more": torch.ones(1)}, "the file have 'more'.*1 too many"),
        ({"bias": torch.ones(3)}, r"'bias' of shape \(3,\), the model of the spec \(2,\)"),
    ],
)
def test_weights_of_another_model_are_refused(change: dict[str, torch.Tensor | None], words: str) -> None:
    tensors = {
        name: tensor
        for name, tensor in ({"weight": torch.ones(2, 2), "bias": torch.ones(2)} | change).items()
        if tensor is not None
    }
    with pytest.raises(RunError, match=words):
        set_model_tensors(nn.Linear(2, 2), tensors, "the file")


@pytest.mark.parametrize("content", [b"", b"\x00" * 20, b"\xff" * 20, b"\x10" + bytes(7) + b'{"a": [[[[[[[[[['])
def test_a_file_that_is_no_safetensors_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(content)
    with pytest.raises(RunError, match=re.escape(f"{tmp_path / 'w'} is no whole safetensors file")) as caught:
        load_tensors(tmp_path / "w")
    assert "\n" not in str(caught.value)


def test_the_library_reads_and_writes_no_pickle() -> None:
    source = Path(checkpoint.__file__).parent
    texts = {path.name: path.read_text(encoding="utf-8") for path in source.rglob("*.py")}
    assert not [
        name for name, text in texts.items() if re.search(r"import pickle|torch\.(load|save)\(|allow_pickle=True", text)
    ]
