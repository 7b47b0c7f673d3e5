from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from vaekit.data import Dataset, Preprocessing, Split, tensors
from vaekit.data import memmap as mapped
from vaekit.data.domains import Domain
from vaekit.data.tensors import to_device

GREY = Domain("grey", levels=256)
DIGITS = Domain("grey", levels=17)
UNIT = Domain("unit", location=-1.0, scale=2.0)


def grey(n: int, levels: int = 256) -> np.ndarray:
    return np.random.default_rng(0).integers(0, levels, (n, 1, 4, 4), dtype=np.uint8)


@pytest.mark.parametrize(
    ("given", "stored", "expected"),
    [
        (Preprocessing(), DIGITS, DIGITS),
        (Preprocessing("static"), GREY, Domain("binary")),
        (Preprocessing("stochastic"), UNIT, Domain("binary")),
        (Preprocessing("threshold"), DIGITS, Domain("binary")),
        (Preprocessing("grey"), GREY, Domain("binary", relaxed=True)),
        (Preprocessing(dequantize=True), DIGITS, Domain("unit", location=0.0, scale=17.0)),
    ],
)
def test_domain_after_preprocessing(given: Preprocessing, stored: Domain, expected: Domain) -> None:
    assert given.domain(stored) == expected


BINARISED = [Preprocessing("static"), Preprocessing("stochastic"), Preprocessing("threshold"), Preprocessing("grey")]


@pytest.mark.parametrize("given", BINARISED)
def test_binary_data_stay_as_they_are_and_are_no_relaxation(given: Preprocessing) -> None:
    x, stored = np.array([[0, 1, 1, 0]], np.uint8), Domain("binary")
    assert given.domain(stored) == stored
    assert given.once(x, stored, "train") is x
    torch.manual_seed(0)
    before = torch.get_rng_state()
    assert given.batch(torch.from_numpy(x), stored).tolist() == [[0.0, 1.0, 1.0, 0.0]]
    assert torch.equal(torch.get_rng_state(), before)


NO_SENSE = [
    *((given, stored) for given in BINARISED for stored in (Domain("real"), Domain("categorical", levels=5))),
    *((given, Domain("binary", relaxed=True)) for given in BINARISED),
    *((Preprocessing(dequantize=True), Domain(kind)) for kind in ("binary", "real", "count")),
]


@pytest.mark.parametrize(("given", "stored"), NO_SENSE)
def test_domains_that_make_no_sense(given: Preprocessing, stored: Domain) -> None:
    with pytest.raises(ValueError, match=re.escape(str(stored))):
        given.domain(stored)
    with pytest.raises(ValueError, match=re.escape(str(stored))):
        given.once(np.zeros((2, 3), np.uint8), stored, "train")


def test_wrong_options() -> None:
    with pytest.raises(ValueError, match="unknown binarize='random'; accepted: static"):
        Preprocessing("random")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="exclude each other"):
        Preprocessing("static", dequantize=True)


def test_static_draws_have_the_probability_of_the_pixel() -> None:
    p = np.array([0.0, 0.2, 0.7, 1.0])
    x = np.tile((p * 255).astype(np.uint8), (20_000, 1))
    mean = Preprocessing("static").once(x, GREY, "train").mean(0)
    error = np.sqrt(p * (1 - p) / len(x))
    assert (np.abs(mean - x[0] / 255) <= 4 * error).all()


def test_static_uses_location_and_scale() -> None:
    x = np.repeat([[-1.0, 0.0, 1.0]], 10_000, axis=0)
    mean = Preprocessing("static").once(x, UNIT, "train").mean(0)
    assert mean[0] == 0
    assert mean[1] == pytest.approx(0.5, abs=4 * 0.5 / 100)
    assert mean[2] == 1


def test_static_draws_depend_on_seed_split_and_row_only(monkeypatch: pytest.MonkeyPatch) -> None:
    x = grey(50)
    drawn = Preprocessing("static").once(x, GREY, "train")
    assert drawn.dtype == np.uint8
    np.testing.assert_array_equal(drawn[:20], Preprocessing("static").once(x[:20], GREY, "train"))
    assert not np.array_equal(drawn, Preprocessing("static").once(x, GREY, "test"))
    assert not np.array_equal(drawn, Preprocessing("static", seed=1).once(x, GREY, "train"))
    monkeypatch.setattr(mapped, "BLOCK", 7 * 16)
    np.testing.assert_array_equal(drawn, Preprocessing("static").once(x, GREY, "train"))


def test_threshold() -> None:
    x = np.array([[0, 127, 128, 255]], np.uint8)
    assert Preprocessing("threshold").once(x, GREY, "train").tolist() == [[0, 0, 1, 1]]
    assert Preprocessing("threshold").once(np.array([[8, 9]], np.uint8), DIGITS, "train").tolist() == [[0, 1]]


@pytest.mark.parametrize(
    "given", [Preprocessing(), Preprocessing("grey"), Preprocessing("stochastic"), Preprocessing(dequantize=True)]
)
def test_nothing_is_copied_where_nothing_is_done_once(given: Preprocessing) -> None:
    x = grey(5)
    assert given.once(x, GREY, "train") is x


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64, torch.int64])
@pytest.mark.parametrize("given", [Preprocessing(), Preprocessing("static"), Preprocessing("threshold")])
def test_a_batch_is_floats_of_the_stored_values(given: Preprocessing, dtype: torch.dtype) -> None:
    x = torch.tensor([[0, 1, 1]]).to(dtype)
    batch = given.batch(x, GREY)
    # What is stored in float64 is so because float32 would lose its digits.
    assert batch.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert batch.tolist() == [[0.0, 1.0, 1.0]]


def test_a_grey_batch_is_the_probability() -> None:
    x = torch.tensor([[0, 51, 255]], dtype=torch.uint8)
    torch.testing.assert_close(Preprocessing("grey").batch(x, GREY), torch.tensor([[0.0, 0.2, 1.0]]))
    columns = Domain("unit", location=(0.0, -1.0), scale=(4.0, 2.0))
    torch.testing.assert_close(
        Preprocessing("grey").batch(torch.tensor([[1.0, 0.0]]), columns), torch.tensor([[0.25, 0.5]])
    )


def test_a_stochastic_batch_is_fresh_and_has_the_probability_of_the_pixel() -> None:
    torch.manual_seed(0)
    p = torch.tensor([0.0, 0.2, 0.6, 1.0])
    x = (p * 255).round().to(torch.uint8).expand(20_000, 4)
    first, second = (Preprocessing("stochastic").batch(x, GREY) for _ in range(2))
    assert set(first.unique().tolist()) == {0.0, 1.0}
    assert not torch.equal(first, second)
    assert ((first.mean(0) - p).abs() <= 4 * (p * (1 - p) / len(x)).sqrt()).all()
    torch.manual_seed(0)
    assert torch.equal(first, Preprocessing("stochastic").batch(x, GREY))


@pytest.mark.parametrize("levels", [2, 17, 256, 1000])
def test_dequantised_levels_stay_in_their_bin_and_inside_the_interval(
    levels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    domain = Domain("grey", levels=levels)
    x = torch.arange(levels).repeat(2_000, 1)
    y = Preprocessing(dequantize=True).batch(x, domain)
    noise = y - x
    assert noise.min() >= 0
    assert noise.max() <= 1
    assert abs(noise.mean() - 0.5) < 4 * (1 / 12 / noise.numel()) ** 0.5 + 1e-5
    # The draws that rounding takes to the ends of the interval: a logit of them must be finite.
    for extreme in (0.0, 1 - 2.0**-24):
        monkeypatch.setattr(torch, "rand_like", lambda x, extreme=extreme: torch.full_like(x, extreme))
        unit = Preprocessing(dequantize=True).batch(x, domain) / levels
        assert torch.logit(unit).isfinite().all()


def test_a_split_on_a_device_is_treated_once_and_keeps_its_labels() -> None:
    y = np.arange(6, dtype=np.int64)
    x = grey(6)
    x.flags.writeable = False
    data = Dataset("mine", GREY, {"train": Split(x, y), "test": Split(grey(3))}, classes=tuple("abcdef"))
    train = to_device(data, "train", Preprocessing("threshold"))
    assert train.x.dtype == torch.uint8
    batch = train.batch(slice(1, 4))
    seen, labels = batch.x, batch.y
    np.testing.assert_array_equal(seen.numpy(), x[1:4] > 127)
    assert labels is not None
    np.testing.assert_array_equal(labels.numpy(), y[1:4])
    assert to_device(data, "test", Preprocessing()).batch(torch.tensor([0])).y is None
    with pytest.raises(ValueError, match="has no split 'valid'; accepted: train, test"):
        to_device(data, "valid", Preprocessing())


@pytest.mark.parametrize(
    "given", [Preprocessing("stochastic"), Preprocessing(dequantize=True), Preprocessing("static"), Preprocessing()]
)
def test_a_row_is_the_same_whoever_reads_it(given: Preprocessing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensors, "ROWS", 4)
    data = to_device(Dataset("d", GREY, {"train": Split(grey(11))}), "train", given)
    whole = torch.cat([batch.x for batch in data.blocks()])
    wanted = np.array([10, 3, 4, 0, 9])
    assert torch.equal(data.rows(wanted).x, whole[wanted])
    assert torch.equal(data.rows(np.arange(11)).x, whole)


def test_rows_added_with_noise_are_the_same_whoever_reads_them() -> None:
    x = np.zeros((5, 2), np.float32)
    data = to_device(Dataset("d", Domain("real"), {"train": Split(x, None, np.ones_like(x))}), "train", Preprocessing())
    first, again = data.rows(np.array([3, 1])).x, data.rows(np.array([1, 3])).x
    assert torch.equal(first, again.flip(0))
    assert first.abs().max() > 0


@pytest.mark.parametrize("index", [[-1], [0, 5]])
def test_rows_that_are_not_there(index: list[int]) -> None:
    data = to_device(
        Dataset("d", Domain("binary"), {"train": Split(np.zeros((5, 2), np.uint8))}), "train", Preprocessing()
    )
    with pytest.raises(ValueError, match=r"accepted: 0\.\.4"):
        data.rows(np.array(index))
