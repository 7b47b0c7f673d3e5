"""Metrics of images: against direct computations, SciPy and closed forms; what is asked for that cannot be had."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from models_for_tests import refuses
from runs_for_tests import small_run
from scipy.linalg import sqrtm
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

pytest.importorskip("torchmetrics")

from vaekit import Run, train
from vaekit.cli import main
from vaekit.cli.judging import OF_IMAGES
from vaekit.evaluation.images import table_of
from vaekit.interop import torchmetrics
from vaekit.interop.torchmetrics import METRICS, frechet_distance, kernel_distance, quality
from vaekit.models import VAE
from vaekit.networks.lpips import LPIPS
from vaekit.networks.vgg import WIDTHS, shapes
from vaekit.runs import imaging
from vaekit.runs.imaging import pairs
from vaekit.seeding import seeded
from vaekit.show.report import write_report
from vaekit.show.worded import Table


def normal(n: int, mean: Tensor, root: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return mean + torch.randn(n, len(mean), dtype=torch.float64, generator=generator) @ root.T


ROOT = torch.tensor([[1.0, 0, 0], [0.5, 2.0, 0], [-1.0, 0.3, 0.4]], dtype=torch.float64)
OTHER = torch.tensor([[0.7, 0, 0], [0.0, 1.0, 0], [0.2, 1.3, 1.4]], dtype=torch.float64)
ZERO, MEAN = torch.zeros(3, dtype=torch.float64), torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)


def frechet(mean: np.ndarray, one: np.ndarray, other_mean: np.ndarray, other: np.ndarray) -> float:
    return float(np.square(mean - other_mean).sum() + np.trace(one + other - 2 * sqrtm(one @ other).real))


@pytest.mark.parametrize("far", [0.0, 1e5])
def test_the_frechet_distance_is_that_of_means_and_covariances(far: float) -> None:
    one, other = normal(60, ZERO, ROOT, 0) + far, normal(90, MEAN, OTHER, 1) + far
    arrays = one.numpy() - far, other.numpy() - far
    wanted = frechet(arrays[0].mean(0), np.cov(arrays[0].T), arrays[1].mean(0), np.cov(arrays[1].T))
    assert frechet_distance(one, other) == pytest.approx(wanted, rel=1e-7)
    assert frechet_distance(other, one) == pytest.approx(wanted, rel=1e-7)


def test_the_frechet_distance_of_many_data_is_that_of_their_normals() -> None:
    wanted = frechet(ZERO.numpy(), (ROOT @ ROOT.T).numpy(), MEAN.numpy(), (OTHER @ OTHER.T).numpy())
    found = frechet_distance(normal(40_000, ZERO, ROOT, 0), normal(40_000, MEAN, OTHER, 1))
    assert found == pytest.approx(wanted, rel=0.02)


def test_with_few_data_the_frechet_distance_is_too_high_by_one_over_their_number() -> None:
    def mean_distance(n: int) -> float:
        both = [(normal(n, ZERO, ROOT, 2 * i), normal(n, ZERO, ROOT, 2 * i + 1)) for i in range(60)]
        return float(np.mean([frechet_distance(*each) for each in both]))

    few, more = mean_distance(25), mean_distance(100)
    assert few > 2 * float((ROOT @ ROOT.T).trace()) / 25, "that of the means alone"
    assert few / more == pytest.approx(4, rel=0.3)


def test_fewer_data_than_features_have_a_distance_nevertheless() -> None:
    x = torch.randn(4, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-4)
    assert frechet_distance(x, 3 * x) == pytest.approx(frechet(*moments(x), *moments(3 * x)), abs=1e-4)
    with refuses("a covariance is of 2 data at least"):
        frechet_distance(x, x[:1])


def moments(x: Tensor) -> tuple[np.ndarray, np.ndarray]:
    return x.numpy().mean(0), np.cov(x.numpy().T)


def direct_kernel_distance(one: Tensor, other: Tensor) -> float:
    """The unbiased estimate, pair by pair."""

    def kernel(a: Tensor, b: Tensor) -> float:
        return float((a @ b / len(a) + 1) ** 3)

    def within(x: Tensor) -> float:
        return float(np.mean([kernel(x[i], x[j]) for i in range(len(x)) for j in range(len(x)) if i != j]))

    return within(one) + within(other) - 2 * float(np.mean([kernel(a, b) for a in one for b in other]))


def test_the_kernel_distance_is_the_unbiased_estimate() -> None:
    one, other = normal(24, ZERO, ROOT, 0), normal(24, 0.3 * MEAN, OTHER, 1)
    found, stderr = kernel_distance(one, other, subsets=2000)
    of_subsets = stderr / math.sqrt(1 + 1 / 2000) / math.sqrt(2000)  # half of the data each
    assert found == pytest.approx(direct_kernel_distance(one, other), abs=5 * of_subsets)


def test_the_kernel_distance_of_like_data_is_as_often_below_zero_and_its_error_is_how_far_it_moves() -> None:
    found = [
        kernel_distance(normal(60, ZERO, ROOT, 2 * i), normal(60, MEAN, ROOT, 2 * i + 1), seed=i) for i in range(40)
    ]
    values, errors = np.array(found).T
    assert values.std() / errors.mean() == pytest.approx(1, abs=0.45)
    like = [kernel_distance(normal(60, ZERO, ROOT, 2 * i), normal(60, ZERO, ROOT, 2 * i + 1))[0] for i in range(40)]
    assert abs(np.mean(like)) < 4 * np.std(like) / math.sqrt(40)


def test_subsets_are_those_of_the_seed_and_leave_torch_as_it_was() -> None:
    one, other = normal(20, ZERO, ROOT, 0), normal(30, MEAN, OTHER, 1)
    state = torch.get_rng_state()
    assert kernel_distance(one, other, seed=1) == kernel_distance(one, other, seed=1)
    assert kernel_distance(one, other, seed=1) != kernel_distance(one, other, seed=2)
    assert torch.equal(torch.get_rng_state(), state)
    with refuses("a kernel distance is of 4 data at least, got 3"):
        kernel_distance(one[:3], other)


# -- of a run ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return small_run(tmp_path_factory.mktemp("imaged") / "run", "model.condition=true")


def test_reconstructions_are_compared_image_by_image(run: Run) -> None:
    found = {each.metric: each for each in quality(run, "valid", "psnr,ssim").numbers}
    data = run.data("valid")
    x, made, _ = next(pairs(run, data, np.arange(len(data))))
    one, two = x.double().numpy()[:, 0] / 16, made.double().numpy()[:, 0] / 16
    assert made.equal(run.reconstructions("valid", len(data))[:, 1])
    psnr = -10 * np.log10(np.square(one - two).mean((1, 2)))

    def smooth(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values, 1.5, truncate=3.5, mode="mirror", axes=(1, 2))

    a, b = smooth(one), smooth(two)
    spread, both = smooth(one**2) - a**2 + smooth(two**2) - b**2, smooth(one * two) - a * b
    ssim = ((2 * a * b + 1e-4) * (2 * both + 9e-4) / ((a**2 + b**2 + 1e-4) * (spread + 9e-4))).mean((1, 2))
    for name, values in {"psnr": psnr, "ssim": ssim}.items():
        assert found[name].of == "reconstructions"
        assert found[name].value == pytest.approx(values.mean(), rel=1e-4)
        assert found[name].stderr == pytest.approx(values.std(ddof=1) / math.sqrt(len(data)), rel=1e-3)


def test_sets_are_compared_in_features_that_are_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Tensor] = []
    sample = VAE.sample

    def spy(self: VAE, n: int, y: Tensor, *others: object, **more: object) -> Tensor:
        given.append(y)
        return sample(self, n, y, *others, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(VAE, "sample", spy)
    names = ("frechet-pixels", "kernel-pixels", "frechet-classes")
    found = quality(run, "test", names, n=50, seed=3)
    with seeded(99):
        assert quality(run, "test", names, n=50, seed=3) == found
    assert quality(run, "test", names, n=50, seed=4) != found
    assert found.n == 50
    assert found.peak == 16
    kinds = ["reconstructions", "samples", "means of samples", "train"]
    assert [(each.metric, each.of) for each in found.numbers] == [(name, kind) for name in names for kind in kinds]
    for each in found.numbers:
        assert ("64 principal components" if "pixels" in each.metric else "classifier of the labels") in each.features
        assert (each.stderr is not None) == each.metric.startswith("kernel")
        if each.metric.startswith("frechet"):
            assert each.value > next(e.value for e in found.numbers if (e.metric, e.of) == (each.metric, "train")) / 2
    assert "50 images tell no covariance of 64 principal components" in found.caution
    own = run.data("test").y
    assert own is not None
    assert len(given[0]) == 50
    assert torch.bincount(given[0], minlength=10).le(torch.bincount(own, minlength=10)).all(), "labels of the data"


def test_the_command_knows_their_names() -> None:
    assert set(OF_IMAGES) == set(METRICS)


def test_the_names_fid_and_kid_are_of_inception_alone(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = run.path / "spec.json"  # any file

    class Network(nn.Module):
        """Some numbers of images from -1 to 1."""

        def __init__(self, tensors: object) -> None:
            super().__init__()

        def forward(self, x: Tensor) -> Tensor:
            assert x.shape[1] == 3
            assert -1 <= float(x.min()) < 0 < float(x.max()) <= 1
            return torch.cat([x.mean((2, 3)), x[:, 0, 3:5, 2]], 1)

    monkeypatch.setattr(imaging, "InceptionFeatures", Network)
    monkeypatch.setattr(imaging, "tensors_of", lambda path, what, advice: {})
    found = quality(run, "test", "fid,kid", weights={"inception": mine}, n=20)
    assert {each.features for each in found.numbers} == {"2,048 features of Inception-v3"}
    assert {each.metric for each in found.numbers} == {"fid", "kid"}


def test_lpips_is_that_of_the_objective(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (30, 3, 16, 16), dtype=np.uint8)
    np.save(tmp_path / "x.npy", images)
    sets = ["training.epochs=1", "model.latents.z.size=2", "model.encoder={name='mlp', hidden=[4]}"]
    run = train(tmp_path / "x.npy", tmp_path / "run", sets=[*sets, "model.decoder={name='mlp', hidden=[4]}"])
    generator = torch.Generator().manual_seed(0)
    tensors = {name: 0.05 * torch.randn(shape, generator=generator) for name, shape in shapes()}
    tensors |= {f"lin{i}.model.1.weight": torch.rand(1, stage[-1], 1, 1) for i, stage in enumerate(WIDTHS)}
    monkeypatch.setattr(torchmetrics, "tensors_of", lambda path, what, advice: tensors)
    found = quality(run, "train", "lpips", weights=f"lpips={tmp_path / 'x.npy'}").numbers[0]
    data = run.data("train")
    x, made, _ = next(pairs(run, data, np.arange(len(data))))
    with torch.no_grad():
        wanted = LPIPS(tensors, tensors)(*(each / 127.5 - 1 for each in (x, made)))
    assert found.value == pytest.approx(float(wanted.mean()), rel=1e-4)


def test_cells_that_are_missing_count_in_no_error(tmp_path: Path) -> None:
    images = np.random.default_rng(0).normal(5, 2, (40, 1, 6, 6))
    images[:, 0, 2:4] = np.nan
    np.save(tmp_path / "x.npy", images)
    sets = ["training.epochs=1", "model.latents.z.size=2", "model.encoder={name='mlp', hidden=[4]}"]
    run = train(tmp_path / "x.npy", tmp_path / "run", sets=[*sets, "model.decoder={name='mlp', hidden=[4]}"])
    both = run.reconstructions("train", 99).double()
    x, made = both[:, 0], both[:, 1]
    quality_of_all = quality(run, "train", "psnr")
    assert quality_of_all.peak == pytest.approx(float(x[x.isfinite()].max() - x[x.isfinite()].min()), rel=1e-5)
    error = (x - made).square()[:, :, [0, 1, 4, 5]].mean((1, 2, 3))
    wanted = 10 * (quality_of_all.peak**2 / error).log10().mean()
    assert quality_of_all.numbers[0].value == pytest.approx(float(wanted), rel=1e-5)
    with refuses("images of train lack cells, which no distance of sets is of; leave out frechet-pixels"):
        quality(run, "train", "psnr,frechet-pixels")


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda run: quality(run, metrics="psrn"), "unknown metric 'psrn' (did you mean 'psnr'?)"),
        (lambda run: quality(run, metrics="fid"), "fid needs weights, a file of yours: weights='inception=FILE'"),
        (lambda run: quality(run, metrics="fid", weights="inception=no.pth"), "no.pth is not there"),
        (lambda run: quality(run, metrics="fid", weights="vgg=no.pth"), "unknown weights 'vgg'"),
        (lambda run: quality(run, metrics="fid", weights=["inception"]), "weights 'inception' lack a file"),
        (
            lambda run: quality(run, metrics="fid", weights=f"inception={run.path / 'spec.json'}"),
            "is no .safetensors file",
        ),
        (
            lambda run: quality(run, metrics="lpips", weights=f"lpips={run.path / 'spec.json'}"),
            "of 16 rows and columns at least",
        ),
        (lambda run: quality(run, metrics=()), "no metric is named"),
        (lambda run: quality(run, n=3), "n is 3; accepted: 4 images or more"),
        (lambda run: quality(run, run.data("test").part(np.arange(2))), "2 images; metrics are of 4 at least"),
    ],
)
def test_what_cannot_be_had_is_said_in_a_line(run: Run, ask: Callable[[Run], object], words: str) -> None:
    with refuses(words):
        ask(run)


def test_the_command_says_them_and_the_report_where_it_is_asked_for(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = ["evaluate", str(run.path), "--samples", "1", "-n", "80", "--metrics", "psnr,kernel-pixels"]
    assert main([*ask, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["metrics"]
    assert said["n"] == 80
    assert [each["metric"] for each in said["numbers"]] == ["psnr"] + ["kernel-pixels"] * 4
    assert main(ask) == 0
    lines = capsys.readouterr().out.splitlines()
    head = next(line for line in lines if line.startswith("80 images of test"))
    assert head.split()[-3:] == ["80", "of", "train"]
    assert f"{said['numbers'][0]['value']:.2f} ± " in next(line for line in lines if line.startswith("PSNR"))
    for wrong, words in {
        "--weights=lpips=x": "--weights lpips=x is for --metrics",
        "--metrics=fid": "--weights inception=FILE",
    }.items():
        assert main(["evaluate", str(run.path), wrong]) == 2
        assert words in capsys.readouterr().err
    monkeypatch.setattr("vaekit.show.report.page._pictures", lambda run, trained: {})
    images = Table("Images", "", *table_of(quality(run, "test", "psnr", n=80)))
    page = write_report(run, run.evaluate("test", 1), [images])
    assert "80 images of test" in page.read_text(encoding="utf-8")
    assert "80 images of test" not in write_report(run, run.evaluate("test", 1)).read_text(encoding="utf-8")
    assert set(METRICS) <= set(" ".join(helped(capsys)).replace(",", " ").replace(".", " ").split())


def helped(capsys: pytest.CaptureFixture[str]) -> list[str]:
    main(["evaluate", "--help"])
    return re.sub(r"-\n\s*", "-", capsys.readouterr().out).split()


def test_without_torchmetrics_a_line_says_so(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchmetrics.functional.image", None)
    monkeypatch.delitem(sys.modules, "vaekit.interop.torchmetrics")
    monkeypatch.delattr("vaekit.interop.torchmetrics")
    assert main(["evaluate", str(run.path), "--metrics", "psnr"]) == 2
    assert "a metric of images needs TorchMetrics: pip install 'vaekit[metrics]'" in capsys.readouterr().err
