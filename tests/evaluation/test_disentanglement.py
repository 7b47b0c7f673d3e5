"""Disentanglement: codes that are perfect, entangled and noise, and each number against another way to it."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from models_for_tests import refuses
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import mutual_info_score

from vaekit.cli import main
from vaekit.cli.judging import OF_FACTORS
from vaekit.data import load
from vaekit.data.sprites import sprites
from vaekit.evaluation import disentanglement
from vaekit.evaluation.disentanglement import METRICS, Measure, measured, mutual_informations

SIZES = (2, 3, 4)
FACTORS = np.array(list(product(*map(range, SIZES)))).repeat(30, 0)  # (720, 3)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


PERFECT = np.column_stack([FACTORS[:, [2, 0, 1]] * [1.0, -3.0, 0.5], 1e-4 * rng().standard_normal(len(FACTORS))])
NOISE = rng().standard_normal((len(FACTORS), 4))
ROTATED = (FACTORS - FACTORS.mean(0)) / FACTORS.std(0) @ (np.eye(3) - 2 / 3)
ROTATED += 0.2 * NOISE[:, :3]  # else one dimension would tell all 24 data apart


def values(codes: np.ndarray, *names: str) -> dict[str, float]:
    return {each.name: each.value for each in measured(codes, FACTORS, names or None)}


def test_perfect_codes_have_the_best_there_is() -> None:
    """Each dimension one factor, in another order, turned over and stretched, and one that says nothing."""
    found = values(PERFECT)
    sap = found.pop("sap")
    assert min(found.values()) > 0.97
    assert measured(PERFECT[:, [1, 3]], FACTORS[:, :1], ["mig"])[0].value > 0.97  # one factor alone
    # By lines, of which one tells two values and not the third of three.
    assert 0.3 < sap < 0.8
    two = FACTORS % 2
    assert measured(two + 0.0, two, ["sap"])[0].value > 0.45  # the next best is right half the time


def test_codes_that_know_nothing_have_what_chance_gives() -> None:
    found = values(NOISE)
    for name in ("mig", "sap", "dci disentanglement", "dci completeness"):
        assert found[name] < 0.12, name
    for name in ("factor-vae", "beta-vae"):
        assert abs(found[name] - 1 / 3) < 5 * (2 / 9 / 500) ** 0.5, name
    assert abs(found["dci informativeness"] - np.mean([1 / size for size in SIZES])) < 0.08


def test_codes_that_mix_factors_know_as_much_and_are_not_disentangled() -> None:
    worse = ("mig", "dci disentanglement", "dci completeness", "modularity")
    mixed = values(ROTATED, "mig", "dci", "modularity")
    assert mixed["dci informativeness"] > 0.9
    for name in worse:
        assert mixed[name] < 0.97 - 0.25, name


def test_mutual_informations_are_those_of_scikit_learn() -> None:
    known = mutual_informations(ROTATED, FACTORS)
    for d, f in product(range(3), range(3)):
        column = ROTATED[:, d]
        cells = np.digitize(column, np.linspace(column.min(), column.max(), 21)[1:-1])
        assert known[d, f] == pytest.approx(mutual_info_score(cells, FACTORS[:, f]), abs=1e-12)


def test_gap_and_modularity_are_as_their_papers_say() -> None:
    known = mutual_informations(ROTATED, FACTORS)
    gaps = []
    for f, size in enumerate(SIZES):
        second, first = sorted(known[:, f])[-2:]
        gaps.append((first - second) / np.log(size))  # all values are as frequent
    assert values(ROTATED, "mig")["mig"] == pytest.approx(np.mean(gaps))
    scores = []
    for row in known:
        template = np.where(row == row.max(), row, 0)
        scores.append(1 - np.square(row - template).sum() / (row.max() ** 2 * 2))
    assert values(ROTATED, "modularity")["modularity"] == pytest.approx(np.mean(scores))


def test_purity_is_one_less_the_entropy_of_shares() -> None:
    importance = rng().random((5, 4))
    expected = [1 - stats.entropy(row / row.sum(), base=4) for row in importance]
    np.testing.assert_allclose(disentanglement._purity(importance), expected)


def test_what_data_share_is_found_as_a_loop_would_find_it() -> None:
    """Codes of which the first two stand for a factor each, and the third for none."""
    codes = np.column_stack([FACTORS[:, 0], FACTORS[:, 1] + 0.9 * NOISE[:, 0], NOISE[:, 1]])
    draws, variances, chosen = rng(), codes.var(0), []
    for _ in range(600):
        f = int(draws.integers(3))
        like = FACTORS[:, f] == FACTORS[draws.integers(len(FACTORS)), f]
        rows = draws.choice(np.flatnonzero(like), 64)
        chosen.append((int((codes[rows].var(0) / variances).argmin()), f))
    table = np.zeros((3, 3))
    np.add.at(table, tuple(np.transpose(chosen[:300])), 1)
    right = np.mean([table[d].argmax() == f for d, f in chosen[300:]])
    found = values(codes, "factor-vae")["factor-vae"]
    assert abs(found - right) < 5 * (found * (1 - found) * (1 / 300 + 1 / 500)) ** 0.5 + 0.01


def test_pairs_have_a_value_of_their_own_as_a_loop_would_find_it() -> None:
    """A code that says nothing of two factors, and is as wide as one of them says."""
    factors = rng().integers(2, size=(4000, 2))
    codes = rng().standard_normal((4000, 1)) * (1 + 2 * factors[:, :1])
    draws, apart, shared = rng(), [], []
    alike = {(f, value): np.flatnonzero(factors[:, f] == value) for f in (0, 1) for value in (0, 1)}
    for _ in range(600):
        f, pairs = int(draws.integers(2)), []
        for first in draws.integers(4000, size=64):
            own = alike[f, factors[first, f]]
            pairs.append((first, own[draws.integers(len(own))]))
        apart.append(abs(codes[pairs, 0] @ [1, -1]).mean())
        shared.append(f)
    machine = LogisticRegression(C=100.0).fit(np.array(apart[:300])[:, None], shared[:300])
    right = machine.score(np.array(apart[300:])[:, None], shared[300:])
    found = disentanglement.beta_vae_score(codes, factors, rng())
    assert abs(found - right) < 5 * (found * (1 - found) * (1 / 300 + 1 / 500)) ** 0.5
    assert found < 0.65  # 0.75 where all pairs have one value


def test_standard_errors_are_those_of_new_data() -> None:
    draws = np.random.default_rng(1)
    codes = [FACTORS + draws.standard_normal(FACTORS.shape) for _ in range(12)]
    found = [measured(each, FACTORS, ["mig"])[0] for each in codes]
    ratio = np.mean([each.stderr for each in found]) / np.std([each.value for each in found], ddof=1)
    assert 0.5 < ratio < 2.5


def test_dimensions_that_do_not_vary_have_no_say() -> None:
    still = np.zeros((len(FACTORS), 1))
    assert values(np.hstack([PERFECT, still]), "factor-vae") == values(PERFECT, "factor-vae")
    nothing = values(still, "mig", "modularity", "sap", "factor-vae")
    assert nothing["mig"] == nothing["modularity"] == nothing["sap"] == 0
    assert nothing["factor-vae"] == pytest.approx(1 / 3)
    # A constant tells a factor as often as whoever says its commonest value; so does what is not there.
    two = FACTORS[:, :1]
    for codes in (np.hstack([two, 0 * two]), two):
        assert measured(codes, two, ["sap"])[0].value == pytest.approx(0.5, abs=0.05)


def test_what_can_not_be_measured_is_refused() -> None:
    for codes, factors, said in [
        (np.zeros(5), FACTORS, "codes have shape (5,)"),
        (NOISE[:9], FACTORS, "(9, 4)"),
        (NOISE, np.column_stack([FACTORS, np.full(len(FACTORS), 7)]), "factor 3 (from 0) has one value"),
        (NOISE, NOISE, "factor 0 (from 0) has 720 values in 720 data"),
        (NOISE[:20], np.arange(20)[:, None] % 2, "there are 20 data"),
        (np.where(NOISE > 2, np.nan, NOISE), FACTORS, "codes have numbers that are not finite"),
        (NOISE, np.where(np.arange(720) < 7, np.nan, FACTORS[:, 0])[:, None], "factor 0 (from 0) is missing of 7 of"),
        (NOISE, np.arange(720)[:, None] < 9, "factor 0 (from 0) has one value in all but 9 of 720 data; accepted: at"),
    ]:
        with refuses(said):
            measured(codes, factors)
    with refuses("did you mean 'mig'"):
        measured(NOISE, FACTORS, ["mige"])
    with refuses("modularity compares factors"):
        measured(NOISE, FACTORS[:, :1], ["modularity"])
    with refuses("beta-vae tells factors apart"):
        measured(NOISE, FACTORS[:, :1], ["beta-vae"])


def test_the_command_measures_a_run_and_its_report_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert set(OF_FACTORS) == set(METRICS)
    x, factors = sprites()
    small = (x[::9, :, ::4, ::4], factors[::9, :4])
    np.savez(tmp_path / "shapes.npz", x=small[0], y=small[1])
    options = ["--set", "training.epochs=1", "--set", "model.latents.z.size=3"]
    run = str(tmp_path / "run")
    assert main(["train", str(tmp_path / "shapes.npz"), "--out", run, *options]) == 0
    asked = ["evaluate", run, "--samples", "2", "--metrics", "mig,total-correlation"]
    assert main([*asked, "--report"]) == 0
    said = capsys.readouterr().out
    assert "of 4 factors" in said
    assert "I(x; z)" in said
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Disentanglement" in page
    assert "total correlation" in page
    assert main([*asked, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["disentanglement"]["numbers"][0]["name"] == "mig"
    assert found["decomposition"]["total_correlation"]["value"] > -0.1
    assert found["codes"] == {}  # those of quantised latents, of which there are none
    again = ["evaluate", run, str(tmp_path / "shapes.npz"), "--samples", "1", "--metrics", "mig", "-n", "600"]
    assert main(again) == 0  # factors of a file that the model was not trained on
    assert "600 data of new data" in capsys.readouterr().out
    np.savez(tmp_path / "one.npz", x=small[0][:1], y=small[1][:1])
    for metric, least in (("mig", 50), ("active-units", 2)):
        assert main(["evaluate", run, str(tmp_path / "one.npz"), "--metrics", metric]) == 2
        told = capsys.readouterr()
        assert told.err.splitlines()[-1] == f"vaekit: new data has 1 datum; {metric} is of {least} at least"
        assert "ELBO" not in told.out  # before anything is scored
    np.save(tmp_path / "bare.npy", small[0])
    assert main(["train", str(tmp_path / "bare.npy"), "--out", run, "--overwrite", *options]) == 0
    capsys.readouterr()
    assert main(asked) != 0
    assert "data made of factors" in capsys.readouterr().err


def test_sprites_are_what_their_factors_say() -> None:
    x, factors = sprites()
    assert {int(value) for value in np.unique(x)} == {0, 1}
    assert len({row.tobytes() for row in factors}) == len(x)
    mass, at = x.sum((1, 2, 3)), np.arange(64)
    right, down = (x.sum(axis) @ at / mass for axis in ((1, 2), (1, 3)))
    # A heart is not around its middle, the others are; each step to the side is of 4 pixels.
    others = factors[:, 0] < 2
    np.testing.assert_allclose(right[others], 13.5 + 4 * factors[others, 3], atol=1e-9)
    np.testing.assert_allclose(down[others], 13.5 + 4 * factors[others, 4], atol=1e-9)
    for shape in range(3):
        sizes = [mass[(factors[:, 0] == shape) & (factors[:, 1] == scale)].mean() for scale in range(5)]
        assert np.all(np.diff(sizes) > 10)
    # Shapes are whole: one place further they are the same pixels, moved.
    for axis, step in ((3, 10), (4, 1)):
        first = factors[:, axis] < 9
        moved = np.roll(x[first], 4, axis=2 + (axis == 3) * 1)
        assert np.array_equal(moved, x[np.flatnonzero(first) + step])
    assert [len(split) for split in load("sprites").splits.values()] == [15_000, 1000, 2000]


def test_of_a_value_that_few_data_have_numbers_are_known_and_so_are_their_errors() -> None:
    """A part of the data may have one value of a factor alone."""
    factors = (np.arange(50)[:, None] >= 40).astype(int)
    for seed in range(3):
        for name in ("mig", "sap"):
            (found,) = measured(NOISE[:50], factors, [name], seed=seed)
            assert 0 <= found.value < 0.6
            assert 0 <= found.stderr < 0.6
    told = disentanglement.sap(NOISE[:50], np.zeros((50, 1), int), rng())
    assert told == disentanglement.mig(NOISE[:50], np.zeros((50, 1), int), rng()) == 0


def test_a_measure_is_a_number_with_its_error() -> None:
    (found,) = measured(PERFECT[:, :3], FACTORS, ["mig"])
    assert found == Measure("mig", pytest.approx(1.0), pytest.approx(0.0, abs=2e-3))
