"""How good images of a run are, by TorchMetrics (`pip install 'vaekit[metrics]'`): reconstructions beside data, samples
as a set beside a set of data.

A distance of sets is one of their features, and says which: `fid` and `kid` are in those of Inception-v3 alone, whose
weights are a file of the user's; distances in other features have other names, and their numbers are not to be compared
with published ones.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..data.domains import Domain
from ..data.tensors import TensorSplit
from ..errors import number_of, unknown
from ..evaluation.features import Features
from ..evaluation.images import DATA, MEANS, RECONSTRUCTIONS, SAMPLES, ImageQuality, Measured
from ..networks.lpips import LEAST, LPIPS
from ..networks.weights import tensors_of
from ..objectives.images import of_order_one
from ..runs.given import NEW
from ..runs.imaging import BATCH, image_features, images, others, pairs, samples
from ..runs.run import Data, Run
from ..seeding import chosen, seeded, stream
from ..settings import option, standing
from ..system.extras import needing
from ..system.progress import working

with needing("a metric of images", "TorchMetrics", "metrics"):
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.kid import KernelInceptionDistance

OF_PAIRS = ("psnr", "ssim", "lpips")
DISTANCES = {
    "fid": ("frechet", "inception"),
    "kid": ("kernel", "inception"),
    "frechet-pixels": ("frechet", "pixels"),
    "kernel-pixels": ("kernel", "pixels"),
    "frechet-classes": ("frechet", "classes"),
    "kernel-classes": ("kernel", "classes"),
}
"""Distances of sets of images: which, and in which features."""
METRICS = (*OF_PAIRS, *DISTANCES)
NEEDS = {"lpips": "lpips", "fid": "inception", "kid": "inception"}
"""The metrics that need weights, and what these are called."""
WEIGHTS = (*dict.fromkeys(NEEDS.values()), "lpips-heads")
SIDES = {"ssim": 6, "lpips": LEAST}
"""The fewest rows and columns of images: the window of SSIM reaches five beyond a pixel, mirrored at the border."""
IMAGES, FEWEST = 10_000, 4
SUBSETS, SUBSET = 100, 1000
"""Of a kernel distance (Bińkowski et al. 2018)."""
Weights = Mapping[str, str | Path] | Sequence[str]
"""Files of weights by what they are of, or texts such as "inception=FILE"."""


def check(run: Run, metrics: str | Sequence[str], weights: Weights = (), n: int = IMAGES) -> None:
    """What `quality` needs, before anything is computed: `ValueError`, one line, for unknown metrics, or such that
    these data or files do not allow.
    """
    shape, domain = run.model.event_shape, run.model.domain
    if len(shape) != 3 or domain.kind == "categorical":
        raise ValueError(f"these metrics are of images (C, H, W), the data are {domain} of shape {shape}")
    if n < FEWEST:
        raise ValueError(f"n is {n}; accepted: {FEWEST} images or more")
    files = _files(weights)
    for name in _named(metrics):
        _check_metric(run, name, files)


def _check_metric(run: Run, name: str, weights: Mapping[str, str]) -> None:
    shape, domain, need = run.model.event_shape, run.model.domain, NEEDS.get(name)
    instead = (
        f"without them there is {DISTANCES[name][0]}-pixels" if name in DISTANCES else "without them there is ssim"
    )
    if need and need not in weights:
        raise ValueError(f"{name} needs weights, a file of yours: {_weights(need)}; {instead}")
    if need and not Path(weights[need]).is_file():
        raise ValueError(f"weights {need!r}: {weights[need]} is not there, or no file; {_weights(need)}")
    if need and shape[0] not in (1, 3):
        raise ValueError(f"{name} is of images of 1 or 3 channels, not of {shape}")
    if need == "inception" and domain.limits is None:
        raise ValueError(f"{name} is of pixels between two ends, not of {domain}")
    if min(shape[1:]) < SIDES.get(name, 1):
        raise ValueError(f"{name} is of images of {SIDES[name]} rows and columns at least, not of {shape}")
    if name.endswith("-classes") and not run.schema.classes:
        raise ValueError(f"{name} needs data with class labels; {instead}")


@standing("spec")
def quality(
    run: Run,
    split: str | Data = "test",
    metrics: str | Sequence[str] = ("psnr", "ssim"),
    *,
    weights: Weights = (),
    n: int = IMAGES,
    seed: int = 0,
) -> ImageQuality:
    """The `metrics` of a run on a split, or on new data, of at most `n` of its images, chosen by `seed`.

    psnr, ssim    of reconstructions, the mean of p(x given z) at the posterior mean: peak signal-to-noise ratio in dB
                  and structural similarity (Wang et al. 2004), averages over images
    lpips         their distance in features of VGG-16 (Zhang et al. 2018), with `weights` "lpips" as the term
                  `perceptual` takes them ("lpips-heads" for heads in a file of their own)
    fid, kid      the Fréchet distance (Heusel et al. 2017) and the squared kernel distance (Bińkowski et al. 2018) of
                  samples, and of reconstructions, to data, in features of Inception-v3, with `weights` "inception"
    frechet-pixels, kernel-pixels, frechet-classes, kernel-classes
                  the same distances in features of `evaluation.features`, which are learned from training images

    As many samples are drawn as there are data, with the data's own y where the model is conditioned. Beside each
    distance is that of as many other images of the run's data: with few images all distances are too high, and by how
    much is seen there. A cell that is not observed counts in no PSNR, and is what is reconstructed in SSIM and LPIPS.
    The same each time for one seed. Raises `ValueError` as `check` does, and for missing cells where sets are compared;
    `RunError` where the run's data are not there but needed.
    """
    metrics, files = _named(metrics), _files(weights)
    check(run, metrics, files, n)
    name, data = split if isinstance(split, str) else NEW, run.data(split)
    rows = chosen(len(data), n, seed)
    if len(rows) < FEWEST:
        raise ValueError(f"{name} has {number_of(len(rows), 'image')}; metrics are of {FEWEST} at least")
    distances = {each: DISTANCES[each] for each in metrics if each in DISTANCES}
    if distances and data.observed is not None and not bool(data.observed.all()):
        raise ValueError(
            f"images of {name} lack cells, which no distance of sets is of; leave out {', '.join(distances)}"
        )
    used = image_features(run, {each for _, each in distances.values()}, files, seed)
    low, peak = _ends(run.model.domain, data, rows)
    functions = _of_pairs(run, [each for each in metrics if each in OF_PAIRS], files, low, peak)
    scores: dict[str, list[Tensor]] = {each: [] for each in functions}
    seen = _Seen(used)
    with torch.no_grad(), working("reconstructing images", len(rows)) as step:
        done = 0
        for x, made, observed in pairs(run, data, rows):
            for each, function in functions.items():
                scores[each].append(function(x, made, observed).cpu().double())
            seen.add(DATA, x)
            seen.add(RECONSTRUCTIONS, made)
            step(done := done + len(x))
        if distances:
            for of, blocks in _sets(run, name, data, rows, seed).items():
                for block in blocks:
                    seen.add(of, block)
    found = [_mean(each, torch.cat(parts)) for each, parts in scores.items()]
    for each, (distance, features) in distances.items():
        found += seen.compared(each, distance, features, seed)
    return ImageQuality(name, len(rows), peak, tuple(found), _caution(used, len(rows)))


class _Seen:
    """The features of sets of images, which come some at a time."""

    def __init__(self, features: Mapping[str, Features]) -> None:
        self.features, self.parts = features, dict[tuple[str, str], list[Tensor]]()

    def add(self, of: str, images: Tensor) -> None:
        for name, each in self.features.items():
            self.parts.setdefault((name, of), []).append(each.of(images).cpu().double())

    def compared(self, metric: str, distance: str, name: str, seed: int) -> Iterator[Measured]:
        """A distance of each set to the data."""
        own = self.features[name]
        sets = {of: torch.cat(parts) for (each, of), parts in self.parts.items() if each == name}
        data = sets.pop(DATA)
        for of, made in sets.items():
            if distance == "frechet":
                yield Measured(metric, of, frechet_distance(data, made), None, own.what)
            else:
                yield Measured(metric, of, *kernel_distance(data, made, own.gamma, seed), own.what)


def frechet_distance(one: Tensor, other: Tensor) -> float:
    """The squared Fréchet distance of normals with the means and covariances of features (N, F) and (M, F).

    |m - m'|² + tr(C + C' - 2 (C C')^½) (Dowson & Landau 1982). With few data it is too high, by about the trace of both
    covariances over N and M and what else their errors add, in all directions.

    >>> x = torch.randn(100, 3, dtype=torch.float64)
    >>> round(frechet_distance(x, x + 2), 6)
    12.0
    """
    if min(len(one), len(other)) < 2:
        raise ValueError(f"a covariance is of 2 data at least, got {len(one)} and {len(other)}")
    metric, center = FrechetInceptionDistance(feature=_Given(one.shape[1])), one.double().mean(0)
    metric.update(one.double() - center, real=True)  # about 0, so that sums of squares keep their digits
    metric.update(other.double() - center, real=False)
    return float(metric.compute())


def kernel_distance(
    one: Tensor, other: Tensor, gamma: float | None = None, seed: int = 0, subsets: int = SUBSETS, subset: int = SUBSET
) -> tuple[float, float]:
    """The squared maximum mean discrepancy of features (N, F) and (M, F), unbiased, so that it may be below 0, with its
    standard error.

    The kernel is (gamma f · f' + 1)³, gamma one over F unless it is given; the estimate is the mean over random subsets
    of at most half of the data (Bińkowski et al. 2018). How these differ gives the standard error: that of the
    jackknife that leaves out all but a subset (Shao & Wu 1989), and that of the mean over so many subsets.
    """
    n = min(len(one), len(other))
    if n < FEWEST:
        raise ValueError(f"a kernel distance is of {FEWEST} data at least, got {n}")
    size = min(subset, n // 2)
    with warnings.catch_warnings(), seeded(stream(seed, "subsets")):
        warnings.simplefilter("ignore")  # that it keeps what it is given
        metric = KernelInceptionDistance(_Given(one.shape[1]), subsets, size, gamma=gamma)
        metric.update(one.double(), real=True)
        metric.update(other.double(), real=False)
        mean, deviation = (float(each) for each in metric.compute())
    return mean, deviation * math.sqrt(size / (n - size) + 1 / subsets)


class _Given(nn.Module):
    """Features that are there already."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.num_features = size

    def forward(self, features: Tensor) -> Tensor:
        return features


Paired = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""Images (B, C, H, W), their reconstructions, which cells are observed; a number for each."""


def _of_pairs(run: Run, names: Iterable[str], weights: Mapping[str, str], low: float, peak: float) -> dict[str, Paired]:
    def psnr(x: Tensor, made: Tensor, observed: Tensor | None) -> Tensor:
        found = peak_signal_noise_ratio(made, x, peak, reduction="none", dim=(1, 2, 3))
        # Of cells that are not observed there is no error: the mean is that of the others.
        return found if observed is None else found + 10 * observed.to(found.dtype).mean((1, 2, 3)).log10()

    def ssim(x: Tensor, made: Tensor, observed: Tensor | None) -> Tensor:
        one, two = (made - low) / peak, (x - low) / peak
        found = structural_similarity_index_measure(one, two, reduction="none", data_range=1.0)
        return torch.as_tensor(found).view(-1)

    known: dict[str, Paired] = {"psnr": psnr, "ssim": ssim}
    if "lpips" in names:
        known["lpips"] = _lpips(run, weights)
    return {name: known[name] for name in names}


def _lpips(run: Run, weights: Mapping[str, str]) -> Paired:
    domain, device = run.model.domain, run.model.scale.device
    tensors = tensors_of(weights["lpips"], "LPIPS", _weights("lpips"))
    heads = tensors_of(weights["lpips-heads"], "LPIPS", "") if "lpips-heads" in weights else tensors
    network = LPIPS(tensors, heads, domain.limits is None, _weights("lpips-heads")).to(device)

    def lpips(x: Tensor, made: Tensor, observed: Tensor | None) -> Tensor:
        both = zip(*(of_order_one(domain, each).float().split(BATCH) for each in (x, made)), strict=True)
        return torch.cat([network(*each) for each in both])

    return lpips


def _sets(run: Run, name: str, data: TensorSplit, rows: np.ndarray, seed: int) -> dict[str, Iterable[Tensor]]:
    """What is compared with the data beside reconstructions: samples, and other data."""
    found: dict[str, Iterable[Tensor]] = {
        SAMPLES: samples(run, data, rows, True, seed),
        MEANS: samples(run, data, rows, False, seed),
    }
    if (other := others(run, name)) is not None:
        found[other[0]] = images(other[1], chosen(len(other[1]), len(rows), seed))
    return found


def _ends(domain: Domain, data: TensorSplit, rows: np.ndarray) -> tuple[float, float]:
    """The least value of a pixel and how far the greatest is from it: the domain's, or the data's where it has none."""
    if domain.limits is not None:
        return domain.limits[0], domain.limits[1] - domain.limits[0]
    ends = [(float(each.min()), float(each.max())) for each in images(data, rows)]
    low, high = min(each[0] for each in ends), max(each[1] for each in ends)
    if not high > low:
        raise ValueError("images are of one value alone, which nothing can be measured by")
    return low, high - low


def _mean(name: str, values: Tensor) -> Measured:
    return Measured(name, RECONSTRUCTIONS, float(values.mean()), float(values.std() / math.sqrt(len(values))))


def _caution(used: Mapping[str, Features], n: int) -> str:
    few = [each.what for each in used.values() if each.size >= n]
    if not few:
        return ""
    return f"{n:,} images tell no covariance of {few[0]}: Fréchet distances are far too high, those of other data too"


def _weights(name: str) -> str:
    """How the user gives weights."""
    return option("weights", f"{name}=FILE")


def _named(metrics: str | Sequence[str]) -> tuple[str, ...]:
    """The metrics by name, each once; `ValueError` for unknown ones, or none."""
    given = metrics.split(",") if isinstance(metrics, str) else metrics
    found = tuple(dict.fromkeys(each.strip() for each in given))
    for name in found:
        if name not in METRICS:
            raise ValueError(unknown("metric", name, METRICS))
    if not found:
        raise ValueError(f"no metric is named; accepted: {', '.join(METRICS)}")
    return found


def _files(weights: Weights) -> dict[str, str]:
    """The files of weights by name; `ValueError` for unknown ones."""
    if isinstance(weights, Mapping):
        found = {name: str(path) for name, path in weights.items()}
    else:
        given = [weights] if isinstance(weights, str) else weights
        found = {name: path for name, _, path in (each.partition("=") for each in given)}
    for name, path in found.items():
        if name not in WEIGHTS:
            raise ValueError(unknown("weights", name, WEIGHTS))
        if not path:
            raise ValueError(f"weights {name!r} lack a file; accepted: {_weights(name)}")
    return found
