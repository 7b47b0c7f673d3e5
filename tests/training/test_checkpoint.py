from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from runs_for_tests import equal, metrics, pieces, small_run, weights
from safetensors.torch import save_file
from torch import nn

import vaekit
from vaekit import Callbacks, train
from vaekit.errors import RunError
from vaekit.runs.run import load_run
from vaekit.spec.parts import PARTS
from vaekit.system import disk
from vaekit.system.disk import append, drop_temporaries, is_temporary, lock, read_text, write_atomic
from vaekit.training.checkpoint import Checkpoints, State, state_tensors
from vaekit.training.weights import check_whole, load_tensors, model_tensors, save_tensors, set_model_tensors


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
        state = State(epoch=epoch, step=10 * epoch, best_loss=float(epoch))
        checkpoints.save(state, state_tensors({"model": model}, {"optimizer": optimizer}))
    return checkpoints


def model_of(folder: Path) -> tuple[Checkpoints, nn.Linear, torch.optim.Optimizer]:
    model = nn.Linear(2, 2)
    return Checkpoints(folder), model, torch.optim.Adam(model.parameters())


def loaded(checkpoints: Checkpoints, model: nn.Module, optimizer: torch.optim.Optimizer) -> State:
    """The newest state, in model and optimizer; what it does not need is dropped."""
    saved = checkpoints.last()
    saved.load({"model": model}, {"optimizer": optimizer})
    checkpoints.drop_for(saved)
    return saved.state


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
        train("digits", tiny_disk / "run", **options, callbacks=Callbacks(on_epoch=fill))  # type: ignore[arg-type]
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


def test_only_files_that_a_write_leaves_are_dropped(tmp_path: Path) -> None:
    for folder in (tmp_path / "checkpoints", tmp_path / "deep", tmp_path / ".folder.1-0123abcd.vaekit.tmp"):
        folder.mkdir()
    kept = [".hidden", "a.tmp", ".notes.tmp", ".swap.7.tmp", "weights.safetensors", "deep/.a.1-0123abcd.vaekit.tmp"]
    kept.append(".folder.1-0123abcd.vaekit.tmp")
    left = [".weights.safetensors.123.tmp", "checkpoints/.best.safetensors.9.tmp", ".a.1-0123abcd.vaekit.tmp"]
    for name in [*kept[:-1], *left]:
        (tmp_path / name).touch()
    (tmp_path / "outside").touch()
    (tmp_path / ".link.1-0123abcd.vaekit.tmp").symlink_to(tmp_path / "outside")
    (tmp_path / "linked").symlink_to(tmp_path / "deep")
    drop_temporaries(tmp_path, tmp_path / "checkpoints", tmp_path / "linked", tmp_path / "none")
    assert all((tmp_path / name).exists() for name in [*kept, "outside", ".link.1-0123abcd.vaekit.tmp"])
    assert not any((tmp_path / name).exists() for name in left)


def test_what_a_killed_write_leaves_is_known_by_its_name(tmp_path: Path) -> None:
    names = []

    def note(temporary: Path) -> None:
        names.append(temporary.name)
        temporary.write_text("half")

    for name in ("a", "weights.safetensors", "x" * 255, "é" * 120):
        write_atomic(tmp_path / name, note)
    assert all(map(is_temporary, names))
    assert not any(map(is_temporary, (".a.tmp", ".a.12.tmp", "a.1-0123abcd.vaekit.tmp", ".a.1-0123abcd.vaekit.tmp.b")))


# -- training states ---------------------------------------------------------------------------------------------------


def test_two_states_are_kept_and_the_newest_is_loaded(tmp_path: Path) -> None:
    checkpoints = states(tmp_path)
    assert [path.name for path in checkpoints.all()] == ["epoch-000001.safetensors", "epoch-000002.safetensors"]
    _, model, optimizer = model_of(tmp_path)
    state = loaded(checkpoints, model, optimizer)
    assert asdict(state) == asdict(State(epoch=2, step=20, best_loss=2.0))
    assert model.bias.tolist() == [2.0, 2.0]


def test_a_state_too_many_that_a_killed_training_left_is_dropped_when_it_goes_on(tmp_path: Path) -> None:
    checkpoints = states(tmp_path)
    kept = checkpoints.all()
    shutil.copy(kept[0], kept[0].with_name("epoch-000000.safetensors"))
    torn = kept[1].with_name("epoch-000003.safetensors")
    torn.write_bytes(b"half")
    _, model, optimizer = model_of(tmp_path)
    assert loaded(checkpoints, model, optimizer).epoch == 2
    assert checkpoints.all() == [*kept, torn]


def test_states_are_in_the_order_of_their_epochs_beyond_a_million(tmp_path: Path) -> None:
    checkpoints, model, optimizer = model_of(tmp_path)
    for epoch in (999_999, 1_000_000, 1_000_001):
        checkpoints.save(State(epoch=epoch), state_tensors({"model": model}, {"optimizer": optimizer}))
    assert [path.name for path in checkpoints.all()] == ["epoch-1000000.safetensors", "epoch-1000001.safetensors"]
    assert loaded(checkpoints, model, optimizer).epoch == 1_000_001


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
    assert loaded(checkpoints, model, optimizer).epoch == 1
    assert model.bias.tolist() == [1.0, 1.0]


def test_a_state_that_is_damaged_falls_back_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    checkpoints = states(tmp_path)
    newest = checkpoints.all()[-1]
    content = bytearray(newest.read_bytes())
    content[-3] ^= 1
    newest.write_bytes(content)
    _, model, optimizer = model_of(tmp_path)
    assert loaded(checkpoints, model, optimizer).epoch == 1
    assert re.search(r"epoch-000002.safetensors is damaged.*the state before it is taken", caplog.text)


def test_a_state_is_that_of_its_name(tmp_path: Path) -> None:
    older, newer = states(tmp_path).all()
    shutil.copy(older, newer)
    assert (found := Checkpoints(tmp_path).newest()) is not None
    assert found.path == older


@pytest.mark.parametrize(
    "state",
    [
        "[" * 50_000,
        "5",
        '{"epoch": 2, "pickle": 1}',
        '{"epoch": -1}',
        '{"epoch": "2"}',
        '{"epoch": 2, "step": true}',
        '{"epoch": 2, "best_loss": NaN}',
        '{"epoch": 1e400}',
        '{"epoch": ' + "9" * 400 + "}",
        '{"epoch": 2, "step": null}',
    ],
)
def test_what_is_no_state_is_none(state: str, tmp_path: Path) -> None:
    checkpoints = states(tmp_path)
    save_tensors(checkpoints.all()[-1], load_tensors(checkpoints.all()[-1]), {"state": state})
    assert (found := checkpoints.newest()) is not None
    assert found.state.epoch == 1


def other_optimizer(change: Callable[[dict[str, torch.Tensor]], object], kind: type, folder: Path) -> str:
    """What is said of a state whose tensors, those of two updates, were changed by one who writes the sum, too."""
    model = nn.Linear(3, 2)
    optimizer = kind(model.parameters(), lr=0.1, **({"momentum": 0.9} if kind is torch.optim.SGD else {"fused": True}))
    for _ in range(2):
        model(torch.ones(3)).sum().backward()
        optimizer.step()
    checkpoints = Checkpoints(folder)
    checkpoints.save(State(), state_tensors({"model": model}, {"optimizer": optimizer}))
    loaded(checkpoints, model, optimizer)
    (path,) = checkpoints.all()
    tensors = load_tensors(path)
    change(tensors)
    save_tensors(path, tensors, {"state": json.dumps(asdict(State()))})
    with pytest.raises(RunError) as caught:
        loaded(checkpoints, model, optimizer)
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.update({"optimizer/0/exp_avg": torch.zeros(1)}), r"'0/exp_avg' of the optimizer has shape \(1,\)"),
        (lambda t: t.update({"optimizer/1/exp_avg_sq": torch.zeros(3)}), "'1/exp_avg_sq'"),
        (lambda t: t.update({"optimizer/0/step": torch.zeros(7)}), r"'0/step'.*needed: shape \(\)"),
        (lambda t: t.update({"optimizer/0/exp_avg": torch.zeros(2, 3).double()}), "type float64; needed.*float32"),
        (lambda t: t.update({"optimizer/0/exp_avg": torch.zeros(2, 3).int()}), "type int32"),
        (lambda t: t.pop("optimizer/0/step"), "tensor 0 lacks 'step'"),
        (lambda t: t.update({"optimizer/2/exp_avg": t.pop("optimizer/0/exp_avg")}), "'2/exp_avg' is no state"),
        (lambda t: t.update({"optimizer/x/exp_avg": torch.zeros(2)}), "'x/exp_avg' is no state"),
        (lambda t: t.update({"optimizer/01/exp_avg": torch.zeros(2)}), "'01/exp_avg' is no state"),
        (lambda t: t.update({"optimizer/0/more": torch.zeros(9)}), "'0/more' of the optimizer has shape"),
        (lambda t: t.update({"other/weight": torch.zeros(9)}), "has 'other/weight', which a state of this training"),
        (lambda t: t.update({"model/bias": torch.tensor([1.0, math.nan])}), "'bias' that are not finite"),
    ],
)
def test_an_optimizers_state_that_is_not_of_its_weights_is_refused(
    change: Callable[[dict[str, torch.Tensor]], object], words: str, tmp_path: Path
) -> None:
    said = other_optimizer(change, torch.optim.Adam, tmp_path)
    assert re.search(words, said), said
    assert "\n" not in said


def test_every_optimizers_state_is_looked_at(tmp_path: Path) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors["optimizer/0/momentum_buffer"] = torch.zeros(1)

    assert "'0/momentum_buffer' of the optimizer has shape (1,)" in other_optimizer(change, torch.optim.SGD, tmp_path)


class Keeping(torch.optim.SGD):
    """Counts its steps as a number of Python's, or keeps something else of each weight."""

    def __init__(self, params: Any, lr: float, fused: bool | None = None, keeps: str = "number") -> None:
        super().__init__(params, lr)
        self.keeps = keeps

    def step(self, closure: Any = None) -> Any:
        super().step()
        for weight in self.param_groups[0]["params"]:
            own = self.state[weight]
            if self.keeps == "number":
                own["share"] = own.get("share", 0.0) + 0.1
                assert type(own["share"]) is float
            else:
                own.setdefault("before", []).append(weight.grad)


OWN = PARTS.extended(
    optimizers={"keeping": Keeping, "lbfgs": lambda params, lr, fused=None: torch.optim.LBFGS(params, lr)}
)


def test_an_optimizer_of_ones_own_goes_on_with_what_it_was_and_the_numbers_that_it_keeps(tmp_path: Path) -> None:
    small_run(tmp_path / "whole", "training.optimizer=keeping", "training.epochs=4", parts=OWN)
    small_run(tmp_path / "run", "training.optimizer=keeping", "training.epochs=2", parts=OWN)
    train("digits", tmp_path / "run", resume=True, epochs=4, parts=OWN)
    last = "checkpoints/epoch-000004.safetensors"
    assert equal(load_tensors(tmp_path / "run" / last), load_tensors(tmp_path / "whole" / last))


@pytest.mark.parametrize(
    ("optimizer", "words"),
    [
        ("{name='keeping', keeps='list'}", "the optimizer Keeping keeps 'before' of a weight, a list, which can't be"),
        ("lbfgs", "the optimizer LBFGS takes no step: "),
    ],
)
def test_an_optimizer_that_can_t_be_saved_is_refused_before_the_training(
    optimizer: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(words)}.*; accepted: "):
        small_run(tmp_path / "run", f"training.optimizer={optimizer}", parts=OWN)
    assert not (tmp_path / "run").exists()


def test_no_state_is_an_error(tmp_path: Path) -> None:
    checkpoints, model, optimizer = model_of(tmp_path)
    with pytest.raises(RunError, match="no training state"):
        loaded(checkpoints, model, optimizer)
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


def test_a_state_is_added_up_once_by_a_run_that_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_run(tmp_path / "run", "training.epochs=1")
    newest, summed = Checkpoints(tmp_path / "run" / "checkpoints").all()[-1], []

    def counted(path: Path) -> None:
        summed.append(path)
        check_whole(path)

    for module in ("checkpoint", "weights"):
        monkeypatch.setattr(f"vaekit.training.{module}.check_whole", counted)
    train("digits", tmp_path / "run", resume=True, epochs=2)
    assert summed.count(newest) == 1


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
        (
            {"bias": torch.ones(2, dtype=torch.int32)},
            r"'bias' of type torch.int32, the model of the spec torch.float32",
        ),
        ({"bias": torch.ones(2, dtype=torch.float64)}, r"'bias' of type torch.float64"),
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
    texts = {path: path.read_text(encoding="utf-8") for path in Path(vaekit.__file__).parent.rglob("*.py")}
    assert len(texts) > 100
    assert not [
        name
        for name, text in texts.items()
        # But for advice in words, how to make a file of tensors of a pickle.
        if re.search(r"import pickle|(?<!save_file\()torch\.(load|save)\(|allow_pickle=True", text)
    ]


# -- damage ------------------------------------------------------------------------------------------------------------


@given(data=st.data())
def test_no_damage_of_tensors_goes_unseen(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever byte changes, what is read is what was written, or nothing."""
    folder = tmp_path_factory.mktemp("damage")
    tensors = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(3), "c": torch.ones(2, dtype=torch.bfloat16)}
    save_tensors(folder / "w", tensors, {"epoch": "3"})
    content = bytearray((folder / "w").read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] = data.draw(st.integers(0, 255))
    (folder / "w").write_bytes(content)
    found = tensors
    with contextlib.suppress(RunError):
        found = load_tensors(folder / "w")
    assert equal(found, tensors)


def test_the_same_tensors_are_the_same_bytes(tmp_path: Path) -> None:
    for i in range(8):
        save_tensors(tmp_path / f"{i}", {"b": torch.ones(3), "é": torch.zeros(())}, {"state": "{}", "epoch": "3"})
    assert len({(tmp_path / f"{i}").read_bytes() for i in range(8)}) == 1
    assert sorted(load_tensors(tmp_path / "0")) == ["b", "é"]


def test_files_without_a_sum_are_taken_as_they_are(tmp_path: Path) -> None:
    for metadata in ({}, {"epoch": "1"}, {"format": "pt"}):
        save_file({"x": torch.ones(2)}, tmp_path / "w", metadata)
        assert load_tensors(tmp_path / "w")["x"].tolist() == [1, 1]
    save_file({"x": torch.ones(2)}, tmp_path / "w", {"shb256": "0" * 64})
    with pytest.raises(RunError, match="its metadata have 'shb256', which nothing writes"):
        load_tensors(tmp_path / "w")


@pytest.mark.skipif(os.name != "posix", reason="needs pipes")
def test_a_pipe_is_no_file_to_wait_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "w")
    with pytest.raises(RunError, match="w is a pipe, not a file"):
        load_tensors(tmp_path / "w")


# -- file systems that can less ----------------------------------------------------------------------------------------


@pytest.fixture
def untold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "_said", set())


@pytest.mark.skipif(os.name != "posix", reason="needs flock")
@pytest.mark.usefixtures("untold")
@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK, errno.EIO])
def test_where_there_are_no_locks_one_trains_and_is_told_once(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import fcntl

    def refused(*args: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refused)
    small_run(tmp_path / "run", "training.epochs=1")
    train(out=tmp_path / "run", resume=True, epochs=2)
    assert [record.message for record in caplog.records] == [
        f"{tmp_path / 'run'}: the file system has no locks ({os.strerror(code)}): let no other process write there"
    ]
    assert not (tmp_path / "run" / ".lock").exists()


@pytest.mark.skipif(os.name != "posix", reason="needs flock")
def test_a_lock_that_another_has_is_no_lack_of_locks(tmp_path: Path) -> None:
    with lock(tmp_path / "a"), pytest.raises(TimeoutError), lock(tmp_path / "a", timeout=0):
        pass
    with lock(tmp_path / "a", timeout=0):
        pass


@pytest.mark.usefixtures("untold")
@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_where_nothing_can_be_flushed_one_trains_and_is_told_once(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refused)
    small_run(tmp_path / "run", "training.epochs=1")
    (said,) = [record.message for record in caplog.records]
    assert said == f"{tmp_path / 'run'}: the file system cannot flush ({os.strerror(code)}): " + (
        "a crash may lose what was written"
    )


def test_lines_that_can_not_be_added_name_their_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        append(tmp_path / "a", "line\n")
    assert caught.value.filename == str(tmp_path / "a")


@pytest.mark.skipif(os.name != "posix", reason="needs links")
def test_lines_are_not_added_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("years of work")
    (tmp_path / "a").symlink_to(tmp_path / "theirs")
    with pytest.raises(OSError, match="symbolic links"):
        append(tmp_path / "a", "line\n")
    assert (tmp_path / "theirs").read_text() == "years of work"


def test_writing_replaces_a_link_and_not_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("years of work")
    (tmp_path / "a").symlink_to(tmp_path / "theirs")
    write_atomic(tmp_path / "a", "new")
    assert (tmp_path / "theirs").read_text() == "years of work"
    assert (tmp_path / "a").read_text() == "new"


@pytest.mark.parametrize("content", [b"a" * 101, b"\xff"])
def test_texts_of_a_bounded_size_in_utf_8(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ValueError, match=r"a has 101 bytes; accepted: at most 100|is not a text file in UTF-8"):
        read_text(tmp_path / "a", 100)
    (tmp_path / "a").write_bytes(content[:-1])
    assert read_text(tmp_path / "a", 100) == content[:-1].decode()
