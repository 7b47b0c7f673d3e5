from __future__ import annotations

import numpy as np
import pytest
import torch

from vaekit.data import Dataset, Preprocessing, Split
from vaekit.data.domains import Domain
from vaekit.data.memmap import MemmapRows
from vaekit.data.tensors import TensorSplit, partly_labelled, to_device
from vaekit.data.windows import draw_windows, middle, windowed
from vaekit.seeding import seeded

IMAGES = np.arange(40 * 2 * 5 * 7, dtype=np.float32).reshape(40, 2, 5, 7)


def split_of(preprocessing: Preprocessing, x: object = IMAGES, **beside: np.ndarray) -> TensorSplit:
    own = Split(x, **beside)  # type: ignore[arg-type]
    return to_device(Dataset("images", Domain("real"), {"train": own}, ("a", "b")), "train", preprocessing)


@pytest.mark.parametrize("flip", [False, True])
def test_each_image_of_a_batch_shows_a_window_of_its_own(flip: bool) -> None:
    x = torch.from_numpy(IMAGES)
    with seeded(0):
        found = windowed(x, *draw_windows(x, (3, 4), flip))
    shown = set()
    for image, part in zip(x, found, strict=True):
        places = [
            (top, left, mirrored)
            for top in range(3)
            for left in range(4)
            for mirrored in (False, True)
            if torch.equal(part, (lambda p: p.flip(-1) if mirrored else p)(image[:, top : top + 3, left : left + 4]))
        ]
        assert len(places) == 1, "all channels show one window"
        shown.add(places[0])
    assert {top for top, _, _ in shown} == {0, 1, 2}
    assert {left for _, left, _ in shown} == {0, 1, 2, 3}
    assert {mirrored for _, _, mirrored in shown} == ({False, True} if flip else {False})


def test_all_windows_are_drawn_alike() -> None:
    x, n = torch.zeros(1, 1, 6, 4).expand(12_000, -1, -1, -1), 12_000
    with seeded(1):
        rows, columns = draw_windows(x, (4, 3), flip=True)
    top = torch.bincount(rows[:, 0], minlength=3) / n
    mirrored = (columns[:, 0] > columns[:, -1]).double().mean()
    left = torch.bincount(columns.min(1).values, minlength=2) / n
    for found, p in ((top, 1 / 3), (left, 1 / 2), (mirrored, 1 / 2)):
        assert (torch.as_tensor(found) - p).abs().max() < 4 * (p * (1 - p) / n) ** 0.5


def test_evaluation_shows_the_middle_and_draws_nothing() -> None:
    data = split_of(Preprocessing(crop=(3, 4), flip=True))
    expected = torch.from_numpy(IMAGES)[:, :, 1:4, 1:5]
    before = torch.get_rng_state()
    torch.testing.assert_close(torch.cat([batch.x for batch in data.blocks()]), expected, rtol=0, atol=0)
    torch.testing.assert_close(data.batch(torch.tensor([3, 1])).x, expected[[3, 1]], rtol=0, atol=0)
    torch.testing.assert_close(data.rows(np.array([5])).x, expected[[5]], rtol=0, atol=0)
    torch.testing.assert_close(data.part(np.array([5, 2])).x, expected[[5, 2]], rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), before)
    assert data.x.shape[1:] == (2, 3, 4)
    np.testing.assert_array_equal(middle(torch.from_numpy(IMAGES), (5, 7)), IMAGES)


def test_what_is_observed_and_the_labels_go_with_the_pixels() -> None:
    seen, y = np.random.default_rng(0).random(IMAGES.shape) < 0.5, np.arange(40) % 2
    data = split_of(Preprocessing(crop=3, flip=True), observed=seen, y=y)
    index = torch.arange(39, -1, -1)
    with seeded(0):
        batch = data.training_batch(index)
    pixels = batch.x.long()
    assert batch.observed is not None
    assert batch.y is not None
    np.testing.assert_array_equal(batch.observed, seen.reshape(-1)[pixels])
    np.testing.assert_array_equal(pixels[:, 0, 0, 0] // IMAGES[0].size, index)
    np.testing.assert_array_equal(batch.y, y[::-1])
    assert batch.rows == 40


def test_a_partly_labelled_batch_is_varied_and_an_array_on_disk_too() -> None:
    how = Preprocessing(crop=(3, 4), flip=True)
    partly = partly_labelled(split_of(how, y=np.arange(40) % 2), 4, 2, 2)
    assert partly.training_batch(torch.arange(10)).x.shape == (10, 2, 3, 4)
    mapped, index = split_of(how, MemmapRows(IMAGES)), torch.arange(10)
    for take in (TensorSplit.batch, TensorSplit.training_batch):
        with seeded(3):
            own = take(split_of(how), index).x
        with seeded(3):
            torch.testing.assert_close(take(mapped, index).x, own, rtol=0, atol=0)


def test_a_crop_of_everything_and_no_flip_change_nothing() -> None:
    data, index = split_of(Preprocessing(crop=(5, 7))), torch.arange(40)
    torch.testing.assert_close(data.training_batch(index).x, torch.from_numpy(IMAGES), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("how", "shape", "words"),
    [
        (
            Preprocessing(crop=(6, 4)),
            (2, 5, 7),
            r"crop=\(6, 4\), but the images are 5 pixels high and 7 wide; accepted",
        ),
        (Preprocessing(crop=6), (2, 5, 7), r"crop=6, but .*\[1, 1\] to \[5, 7\]"),
        (Preprocessing(crop=2), (9,), r"crop=2 is for images; the data have the shape \(9,\)"),
        (Preprocessing(flip=True), (9,), "flip=True is for images"),
    ],
)
def test_what_cannot_be_cropped_or_flipped(how: Preprocessing, shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        split_of(how, np.zeros((3, *shape), np.float32))
