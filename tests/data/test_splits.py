from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vaekit.data import Dataset, Split
from vaekit.data.domains import Domain
from vaekit.data.splits import hold_out


def rows(n: int, classes: int | None = None) -> Split:
    x = np.arange(n, dtype=np.float32)[:, None]
    return Split(x, None if classes is None else np.arange(n, dtype=np.int64) ** 2 % classes)


@given(
    n=st.integers(1, 60),
    validation=st.integers(0, 60),
    test=st.integers(0, 60),
    classes=st.sampled_from([None, 1, 7]),
    seed=st.integers(0, 5),
)
def test_every_row_is_in_one_split_in_order_and_classes_keep_their_share(
    n: int, validation: int, test: int, classes: int | None, seed: int
) -> None:
    assume(validation + test < n)
    given_rows = rows(n, classes)
    splits = hold_out({"train": given_rows}, validation, test, seed)
    assert {name: len(split) for name, split in splits.items()} == {
        name: size
        for name, size in (("train", n - validation - test), ("valid", validation), ("test", test))
        if size or name == "train"
    }
    places = [split.x[:, 0] for split in splits.values()]
    assert sorted(np.concatenate(places)) == list(range(n))
    assert all((np.diff(place) > 0).all() for place in places)
    if given_rows.y is None:
        return
    for split in splits.values():
        assert split.y is not None
        np.testing.assert_array_equal(split.y, given_rows.y[split.x[:, 0].astype(int)])
    if test:
        held = np.bincount(splits["test"].y, minlength=7)
        assert (np.abs(held - np.bincount(given_rows.y, minlength=7) * test / n) < 1).all()


def test_a_tenth_each_by_default_and_the_seed_decides_which() -> None:
    first, again, other = (hold_out({"train": rows(100)}, None, None, seed) for seed in (0, 0, 1))
    assert [len(split) for split in first.values()] == [80, 10, 10]
    np.testing.assert_array_equal(first["valid"].x, again["valid"].x)
    assert not np.array_equal(first["valid"].x, other["valid"].x)
    assert list(hold_out({"train": rows(9)}, None, None, 0)) == ["train"]


def test_any_row_can_be_held_out() -> None:
    held = np.concatenate([hold_out({"train": rows(20, 3)}, 4, 0, seed)["valid"].x[:, 0] for seed in range(200)])
    counts = np.bincount(held.astype(int), minlength=20)
    assert (np.abs(counts - 40) < 5 * np.sqrt(200 * 0.2 * 0.8)).all()


def test_the_test_rows_do_not_depend_on_the_validation_rows() -> None:
    one, two = (hold_out({"train": rows(50)}, validation, 10, 0) for validation in (5, 20))
    np.testing.assert_array_equal(one["test"].x, two["test"].x)


def test_own_splits_stay() -> None:
    own = {"train": rows(20), "valid": rows(5), "test": rows(3)}
    for validation in (None, 5):
        kept = hold_out(own, validation, None, 0)
        assert {name: split.x is own[name].x for name, split in kept.items()} == dict.fromkeys(own, True)
    assert list(hold_out(own, 0, None, 0)) == ["train", "test"]
    with pytest.raises(
        ValueError, match=r"validation=6, but the dataset has 5 validation rows of its own; accepted: 0"
    ):
        hold_out(own, 6, None, 0)


def test_some_rows_of_an_own_split_are_of_all_classes_and_the_others_of_none() -> None:
    own = {"train": rows(20, 5), "test": rows(90, 3)}
    kept = hold_out(own, 4, 30, 0)
    assert {name: len(split) for name, split in kept.items()} == {"train": 16, "valid": 4, "test": 30}
    held = kept["test"]
    assert held.y is not None
    assert own["test"].y is not None
    np.testing.assert_array_equal(held.y, own["test"].y[held.x[:, 0].astype(int)])
    assert (np.abs(np.bincount(held.y, minlength=3) - np.bincount(own["test"].y, minlength=3) / 3) < 1).all()
    assert (np.diff(held.x[:, 0]) > 0).all()
    # What of the test rows is left out is not trained on.
    assert sorted(np.concatenate([kept[name].x[:, 0] for name in ("train", "valid")])) == list(range(20))


@given(n=st.integers(3, 40), train=st.integers(1, 40), seed=st.integers(0, 3))
def test_fewer_training_rows_are_some_of_them_and_move_no_others(n: int, train: int, seed: int) -> None:
    whole = hold_out({"train": rows(n, 3)}, 1, 1, seed)
    if train > n - 2:
        with pytest.raises(ValueError, match=rf"train={train}, but {n - 2} training rows are left"):
            hold_out({"train": rows(n, 3)}, 1, 1, seed, train)
        return
    some = hold_out({"train": rows(n, 3)}, 1, 1, seed, train)
    assert len(some["train"]) == train
    assert set(some["train"].x[:, 0]) <= set(whole["train"].x[:, 0])
    for name in ("valid", "test"):
        np.testing.assert_array_equal(some[name].x, whole[name].x)


@pytest.mark.parametrize("train", [0, -1, True, 1.0])
def test_refuses_no_number_of_training_rows(train: int) -> None:
    with pytest.raises(ValueError, match=r"accepted: 1\.\.8|a number of rows is needed"):
        hold_out({"train": rows(10)}, 1, 1, 0, train)


@pytest.mark.parametrize(("validation", "test"), [(10, 0), (0, 10), (5, 5), (11, None), (-1, 0), (True, 0), (1.0, 0)])
def test_refuses(validation: int, test: int | None) -> None:
    with pytest.raises(ValueError, match=r"none of the 10 training rows|a number of rows is needed"):
        hold_out({"train": rows(10)}, validation, test, 0)


def test_a_split_checks_its_labels() -> None:
    x = np.zeros((3, 2), np.float32)
    with pytest.raises(ValueError, match="x has 3 rows but y has 2"):
        Split(x, np.zeros(2, np.int64))
    for y in (np.zeros(3), np.zeros((3, 1), np.int64), np.zeros(3, np.float32)):
        with pytest.raises(ValueError, match="accepted: int64 labels"):
            Split(x, y)


def test_a_dataset_checks_its_splits() -> None:
    train = rows(4, 3)
    assert Dataset("mine", Domain("real"), {"train": train}, classes=("a", "b", "c")).event_shape == (1,)
    with pytest.raises(ValueError, match=r"labels of train are 0\.\.1; accepted: 0\.\.0, there being 1 class"):
        Dataset("mine", Domain("real"), {"train": train}, classes=("a",))
    with pytest.raises(ValueError, match=r"a datum of test has shape \(2,\), one of train \(1,\)"):
        Dataset("mine", Domain("real"), {"train": rows(4), "test": Split(np.zeros((4, 2)))})
    for names in ({"test"}, {"train", "dev"}):
        with pytest.raises(ValueError, match="needed: train; accepted: valid, test"):
            Dataset("mine", Domain("real"), {name: rows(4) for name in names})
