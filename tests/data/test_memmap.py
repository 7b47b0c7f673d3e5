"""Large files of arrays: read as their rows are needed, and otherwise as if they were in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from models_for_tests import peak_bytes, refuses

import vaekit
from vaekit.data import Dataset, Preprocessing, formats, load
from vaekit.data import memmap as mapped
from vaekit.data.domains import Domain
from vaekit.data.memmap import MemmapRows, blocks
from vaekit.data.tensors import MappedTensor, to_device
from vaekit.runs.given import fingerprint

N = 60
RNG = np.random.default_rng(0)
ARRAYS = {
    "bytes": RNG.integers(0, 256, (N, 5), np.uint8),
    "images": RNG.integers(0, 2, (N, 3, 4), np.uint8),
    "booleans": RNG.random((N, 6)) < 0.5,
    "floats": RNG.normal(2.0, 3.0, (N, 2, 3, 4)).astype(np.float32),
    "doubles": RNG.normal(size=(N, 3)),
    "channels last": RNG.integers(0, 256, (N, 5, 6, 3), np.uint8),
    "by columns": np.asfortranarray(RNG.normal(size=(N, 3)).astype(np.float32)),
    "big-endian": RNG.normal(size=(N, 3)).astype(">f4"),
}
COPIED = {"doubles", "channels last", "by columns", "big-endian"}
"""What has to be changed to be kept, and so is in memory."""


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "MAPPED_BYTES", 0)
    monkeypatch.setattr(mapped, "BLOCK", 50)


def both(path: Path, monkeypatch: pytest.MonkeyPatch, **options: int) -> tuple[Dataset, Dataset]:
    """A file's dataset with its rows left in the file, and in memory."""
    found = load(path, **options)  # type: ignore[arg-type]
    with monkeypatch.context() as patch:
        patch.setattr(formats, "MAPPED_BYTES", 10**9)
        return found, load(path, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{}, {"validation": 0, "test": 0}, {"train": 20, "test": 7, "seed": 3}])
@pytest.mark.parametrize("name", ARRAYS)
def test_a_mapped_file_is_the_dataset_that_it_is_in_memory(
    name: str, options: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "x.npy", ARRAYS[name])
    before = (tmp_path / "x.npy").read_bytes()
    one, other = both(tmp_path / "x.npy", monkeypatch, **options)
    assert fingerprint(one) == fingerprint(other)
    assert one.domain == other.domain
    assert one.event_shape == other.event_shape
    assert list(one.splits) == list(other.splits)
    for split, rows in one.splits.items():
        assert isinstance(rows.x, MemmapRows) == (name not in COPIED)
        assert isinstance(other.splits[split].x, np.ndarray)
        np.testing.assert_array_equal(np.asarray(rows.x), other.splits[split].x)
        assert (rows.x.shape, rows.x.dtype, rows.x.size) == (np.asarray(rows.x).shape, rows.x.dtype, rows.x[:].size)
        mine, theirs = (to_device(each, split, Preprocessing()) for each in (one, other))
        assert isinstance(mine.x, MappedTensor) == (name not in COPIED)
        assert mine.x.shape == theirs.x.shape
        index = torch.tensor([3, 0, 3])
        assert torch.equal(mine.batch(index).x, theirs.batch(index).x)
        assert all(torch.equal(a.x, b.x) for a, b in zip(mine.blocks(), theirs.blocks(), strict=True))
    assert (tmp_path / "x.npy").read_bytes() == before


@pytest.mark.parametrize("binarize", ["static", "stochastic", "threshold"])
def test_a_training_from_a_file_is_the_one_from_memory(
    binarize: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "x.npy", RNG.integers(0, 256, (N, 4, 5), np.uint8))
    sets = [f"data.binarize='{binarize}'", "training.device='cpu'", "training.epochs=2"]
    sets += [f"model.{part}.hidden=[6]" for part in ("encoder", "decoder")]
    losses = []
    for name, size in (("mapped", 0), ("in-memory", 10**9)):
        monkeypatch.setattr(formats, "MAPPED_BYTES", size)
        run = vaekit.train("grey-mnist", tmp_path / name, data=str(tmp_path / "x.npy"), sets=sets)
        assert run.evaluate("test", 3).n == N // 10
        losses.append([record.terms["loss"] for record in run.history()])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_rows_of_a_file_take_no_memory_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "BLOCK", 1 << 16)
    array = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.uint8, (100_000, 300))
    array[::2, 7] = 1
    array.flush()
    split = to_device(load(tmp_path / "x.npy"), "train", Preprocessing())
    assert peak_bytes(lambda: split.batch(torch.arange(0, 80_000, 800))) < 10**6


def test_what_is_wrong_with_a_mapped_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    x = RNG.normal(size=(N, 3)).astype(np.float32)
    x[47, 1] = np.inf
    np.save(path, x)
    with refuses("x.npy: x has a value that is no finite 32-bit number: inf at index (47, 1)"):
        load(path)
    np.save(path, ARRAYS["bytes"])
    with refuses("values other than binary 0/1; the first is"):
        load(path, domain="binary")
    path.write_bytes(path.read_bytes()[:-40])
    with refuses("x.npy is no whole NumPy file of numbers"):
        load(path)
    np.save(path, np.array([{}, {}], dtype=object), allow_pickle=True)
    with refuses("x.npy is no whole NumPy file of numbers: Python objects are refused"):
        load(path)


@pytest.mark.parametrize("kind", ["grey", "count", "positive"])
def test_values_outside_a_domain_are_counted_over_all_blocks(kind: str) -> None:
    x = np.ones((40, 7), np.float32)
    x[23, 4], x[31, 2] = -1.5, -2.5
    domain = Domain(kind, levels=4 if kind == "grey" else None)  # type: ignore[arg-type]
    with refuses(f"data has 2 values other than {domain}; the first is -1.5 at index (23, 4)"):
        domain.check(x)


def test_blocks_are_all_rows_in_order() -> None:
    x = np.arange(60).reshape(20, 3)
    found = list(blocks(x))
    assert [start for start, _ in found] == [0, 16]
    np.testing.assert_array_equal(np.concatenate([block for _, block in found]), x)
    assert [start for start, _ in blocks(np.zeros((2, 500)))] == [0, 1]
