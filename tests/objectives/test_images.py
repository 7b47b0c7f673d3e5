"""Terms of what images look like: each against finite differences, a twin, and what it must not read."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models_for_tests import float64, refuses
from safetensors.torch import save_file
from scipy import stats
from torch import Tensor, nn
from torch.nn.functional import interpolate

from vaekit import Domain, Schema, build_model
from vaekit.data.batch import Batch
from vaekit.models import VAE
from vaekit.networks.vgg import WIDTHS, shapes
from vaekit.objectives import ELBO, TERMS, Adversarial, Multiscale, Perceptual, StructuralSimilarity, Sum
from vaekit.objectives.images import pyramid
from vaekit.objectives.similarity import SCALES, similarity
from vaekit.seeding import seeded
from vaekit.spec.keys import ModelSpec
from vaekit.training.step import traced

REAL = Domain("real", location=0.3, scale=0.7)
GREY = Domain("grey", levels=9)
SHAPE = (1, 8, 8)


@pytest.fixture(autouse=True)
def _float64():
    with float64(), seeded(0):
        yield


def model_of_images(shape: tuple[int, ...] = SHAPE, domain: Domain = REAL) -> VAE:
    network = {"name": "resnet", "channels": [4], "blocks": 1}
    likelihood = "normal-global" if domain.kind == "real" else "binomial"
    parts = {"encoder": network, "decoder": network, "likelihood": likelihood}
    spec = ModelSpec(**parts, latents={"z": {"size": 2, "maps": True}})  # type: ignore[arg-type]
    model = build_model(spec, Schema(event_shape=shape, domain=domain))
    for parameter in model.parameters():  # blocks add nothing at first
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def data_of(model: VAE, rows: int = 3) -> Tensor:
    if model.domain.kind == "real":
        return 0.3 + 0.7 * torch.randn(rows, *model.event_shape)
    return torch.randint(0, model.domain.levels or 2, (rows, *model.event_shape)).to(torch.get_default_dtype())


def vgg_tensors() -> dict[str, Tensor]:
    """Weights of no one's: of the size that keeps features of order one."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        tensors = {
            name: torch.randn(shape, dtype=torch.float32) * math.sqrt(2 / max(1, math.prod(shape[1:])))
            for name, shape in shapes()
        }
        widths = [stage[-1] for stage in WIDTHS]
        heads = {f"lin{i}.model.1.weight": torch.rand(1, n, 1, 1, dtype=torch.float32) for i, n in enumerate(widths)}
    return tensors | heads


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lpips") / "lpips.safetensors"
    save_file(vgg_tensors(), path)
    return path


TERMS_OF: dict[str, Callable[[VAE], Any]] = {
    "multiscale": lambda model: Multiscale(model.event_shape, model.domain, weight=0.7),
    "structural-similarity": lambda model: StructuralSimilarity(model.event_shape, model.domain, weight=0.7),
    "adversarial": lambda model: Adversarial(model.event_shape, model.domain, adaptive=False, channels=4),
}


SIDES = {"structural-similarity": (1, 12, 13)}
"""Of terms that need larger images."""


def loss_of(model: VAE, objective: Any, x: Tensor, progress: float = 1.0) -> Tensor:
    with seeded(7):
        return objective(traced(model, objective, Batch(x)), progress).loss


def check_slope(loss: Callable[[], Tensor], parameters: list[Tensor], step: float = 1e-6, within: float = 1e-5) -> None:
    """The gradient along a random direction against a difference of two losses."""
    directions = [torch.randn_like(each) for each in parameters]
    gradients = torch.autograd.grad(loss(), parameters, allow_unused=True)
    slope = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True) if g is not None)
    ends = []
    for sign in (1, -1):
        for parameter, direction in zip(parameters, directions, strict=True):
            parameter.data += sign * step * direction
        ends.append(float(loss().detach()))
        for parameter, direction in zip(parameters, directions, strict=True):
            parameter.data -= sign * step * direction
    assert slope == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=within)
    assert abs(slope) > 1e-4


@pytest.mark.parametrize("domain", [REAL, GREY], ids=["real", "grey"])
@pytest.mark.parametrize("name", TERMS_OF)
def test_a_term_has_its_gradient_in_every_weight_that_makes_the_image(name: str, domain: Domain) -> None:
    model = model_of_images(SIDES.get(name, SHAPE), domain)
    term, x = TERMS_OF[name](model), data_of(model)
    parameters = [*model.encoder.parameters(), *model.posteriors.parameters(), *model.decoder.parameters()]
    check_slope(lambda: loss_of(model, term, x), parameters)


def of_windows(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """The mean SSIM and the mean of its part without means of one image (H, W), window by window."""
    taps = stats.norm.pdf(np.arange(-5, 6), scale=1.5)
    share = np.outer(taps, taps) / taps.sum() ** 2
    whole, contrast = [], []
    for row in range(x.shape[0] - 10):
        for column in range(x.shape[1] - 10):
            at = np.s_[row : row + 11, column : column + 11]
            cov = np.cov(x[at].ravel(), y[at].ravel(), aweights=share.ravel(), ddof=0)
            means = [np.average(each[at], weights=share) for each in (x, y)]
            contrast.append((2 * cov[0, 1] + 0.06**2) / (cov[0, 0] + cov[1, 1] + 0.06**2))
            light = (2 * means[0] * means[1] + 0.02**2) / (means[0] ** 2 + means[1] ** 2 + 0.02**2)
            whole.append(light * contrast[-1])
    return float(np.mean(whole)), float(np.mean(contrast))


def test_structural_similarity_is_that_of_its_windows() -> None:
    x, noise = 2 * torch.rand(3, 1, 24, 30) - 1, torch.randn(3, 1, 24, 30)
    y = (0.7 * x + 0.3 * noise).clamp(-1, 1)
    y[2] = -x[2]  # opposed
    half = [each.view(3, 12, 2, 15, 2).mean((2, 4)).numpy() for each in (x, y)]
    first, second = SCALES[0] / (SCALES[0] + SCALES[1]), SCALES[1] / (SCALES[0] + SCALES[1])
    for i, found in enumerate(similarity(x, y)):
        contrast, whole = of_windows(x[i, 0].numpy(), y[i, 0].numpy())[1], of_windows(half[0][i], half[1][i])[0]
        want = (0.5 + 0.5 * contrast) ** first * (0.5 + 0.5 * whole) ** second
        assert float(found) == pytest.approx(want, rel=1e-9)
    assert torch.allclose(similarity(x, x), torch.ones(3))


def test_the_perceptual_term_has_its_gradient(weights: Path) -> None:
    model = model_of_images((3, 16, 16))
    term, x = Perceptual(model.event_shape, model.domain, str(weights), weight=0.5), data_of(model, 2)
    check_slope(lambda: loss_of(model, term, x), list(model.decoder.parameters()), within=1e-4)
    images = [torch.rand(2, 3, 16, 16, requires_grad=True) for _ in range(2)]
    check_slope(lambda: term.lpips(*images).sum(), images, within=1e-4)
    assert not [*term.parameters()], "nothing of it is trained"
    assert not term.state_dict(), "nothing of it is saved"


def test_the_discriminator_has_its_gradient() -> None:
    model = model_of_images()
    term, x = Adversarial(model.event_shape, model.domain, channels=4), data_of(model)
    with seeded(7):
        trace = traced(model, term, Batch(x))
    check_slope(lambda: term.opponent_loss(trace).loss, list(term.opponent.parameters()))


@pytest.mark.parametrize("domain", [REAL, GREY], ids=["real", "grey"])
def test_neither_players_gradient_reaches_the_other(domain: Domain) -> None:
    model = model_of_images(domain=domain)
    term, x = Adversarial(model.event_shape, model.domain, channels=4), data_of(model)
    objective = Sum((ELBO(1e-6), term))
    loss_of(model, objective, x).backward()
    assert all(parameter.grad is None for parameter in term.opponent.parameters())
    assert any(parameter.grad is not None for parameter in model.decoder.parameters())
    model.zero_grad()
    term.opponent_loss(traced(model, term, Batch(x))).loss.backward()
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(parameter.grad is not None for parameter in term.opponent.parameters())


@pytest.mark.parametrize("order", [1, -1])
def test_a_balanced_term_pulls_as_hard_as_all_others_at_the_last_layer(order: int) -> None:
    model = model_of_images()
    shape, domain, x = model.event_shape, model.domain, data_of(model)
    others = (ELBO(1e-6), Multiscale(shape, domain))
    term = Adversarial(shape, domain, weight=0.3, channels=4)
    both = Sum((*others, term)[::order])  # the balanced one is taken last wherever it stands
    last = model.decoder.out.weight  # type: ignore[union-attr]

    def pull(objective: Any) -> Tensor:
        return torch.autograd.grad(loss_of(model, objective, x), last)[0]

    without, alone = pull(Sum(others)), pull(both) - pull(Sum(others))
    assert float(alone.norm()) == pytest.approx(0.3 * float(without.norm()), rel=1e-2)


def test_before_its_start_and_without_gradients_a_discriminator_adds_nothing() -> None:
    model = model_of_images()
    x, bound = data_of(model), ELBO(1e-6)
    term = Adversarial(model.event_shape, model.domain, start=0.5, channels=4)
    objective = Sum((bound, term))
    assert loss_of(model, objective, x, 0.4) == loss_of(model, bound, x)
    assert loss_of(model, objective, x, 0.5) != loss_of(model, bound, x)
    assert loss_of(model, objective, x, torch.tensor(0.4)) == loss_of(model, bound, x)  # type: ignore[arg-type]
    assert float(term.opponent_loss(traced(model, term, Batch(x)), 0.4).loss.detach()) == 0
    with torch.no_grad():
        assert loss_of(model, objective, x) == loss_of(model, bound, x)


@pytest.mark.parametrize("name", TERMS_OF)
def test_terms_are_of_a_datum_however_many_there_are(name: str) -> None:
    model = model_of_images(SIDES.get(name, SHAPE))
    term, x = TERMS_OF[name](model), data_of(model)
    model.posteriors["z"].clamp = (-40.0, -40.0)  # next to no noise
    once, twice = (float(loss_of(model, term, each).detach()) for each in (x, torch.cat([x, x])))
    assert once == pytest.approx(twice, rel=1e-6)


@pytest.mark.parametrize("name", TERMS_OF)
def test_cells_that_are_not_observed_are_not_read(name: str) -> None:
    shape = SIDES.get(name, SHAPE)
    model, observed = model_of_images(shape), torch.rand(3, *shape) < 0.6
    term, x = TERMS_OF[name](model), data_of(model)
    found = []
    for filled in (x, torch.where(observed, x, 1e3)):
        with seeded(7):
            trace = traced(model, term, Batch(filled, observed=observed))
        terms = [term(trace, 1.0).loss, *([term.opponent_loss(trace).loss] if name == "adversarial" else [])]
        found.append([float(each.detach()) for each in terms])
    assert found[0] == found[1]


# -- the pyramid -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(8, 8), (13, 9), (3, 4), (32, 21)])
def test_a_pyramid_has_all_of_the_image(size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size)
    *details, rest = pyramid(x, 3)
    for detail in reversed(details):
        rest = detail + interpolate(rest, size=detail.shape[2:], mode="bilinear")
    torch.testing.assert_close(rest, x)


def test_a_constant_is_in_the_last_level_alone_and_noise_in_the_first() -> None:
    flat = [float(level.abs().mean()) for level in pyramid(torch.full((1, 1, 32, 32), 2.0), 3)]
    assert flat == pytest.approx([0, 0, 0, 2.0], abs=1e-12)
    noisy = [float(level.abs().mean()) for level in pyramid(torch.randn(8, 1, 32, 32), 3)]
    assert noisy == sorted(noisy, reverse=True)


# -- LPIPS -------------------------------------------------------------------------------------------------------------


def reference(tensors: dict[str, Tensor], x: Tensor, other: Tensor) -> Tensor:
    """LPIPS as its authors wrote it: torchvision's layers by their numbers, images between -1 and 1."""
    layers: list[nn.Module] = []
    for width in (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512):
        before = next((each.out_channels for each in reversed(layers) if isinstance(each, nn.Conv2d)), 3)
        if width == "M":
            layers.append(nn.MaxPool2d(2, 2))
        else:
            layers += [nn.Conv2d(before, int(width), 3, padding=1), nn.ReLU()]
    network = nn.Sequential(*layers)
    network.load_state_dict({k.removeprefix("features."): v for k, v in tensors.items() if k.startswith("features.")})
    shift = torch.tensor([-0.030, -0.088, -0.188]).view(-1, 1, 1)
    scale = torch.tensor([0.458, 0.448, 0.450]).view(-1, 1, 1)
    total, pair = torch.zeros(len(x)), [(x - shift) / scale, (other - shift) / scale]
    heads = iter(range(5))
    for i, layer in enumerate(network):
        pair = [layer(each) for each in pair]
        if i in (3, 8, 15, 22, 29):
            one, two = (each / (each.norm(dim=1, keepdim=True) + 1e-10) for each in pair)
            total += ((one - two) ** 2 * tensors[f"lin{next(heads)}.model.1.weight"]).sum(1).mean((1, 2))
    return total


def test_lpips_is_that_of_its_authors(weights: Path) -> None:
    domain, x, other = Domain("unit"), torch.rand(2, 3, 20, 16) * 2 - 1, torch.rand(2, 3, 20, 16) * 2 - 1
    term = Perceptual((3, 20, 16), domain, str(weights))
    with torch.no_grad():
        expected = reference({k: v.double() for k, v in vgg_tensors().items()}, x, other)
        torch.testing.assert_close(term.lpips(x, other), expected, rtol=1e-5, atol=0)
        assert float(term.lpips(x, x).abs().max()) == 0
        grey = x[:, :1]
        of_grey = Perceptual((1, 20, 16), domain, str(weights))
        coloured = term.lpips(*(each.expand(-1, 3, -1, -1) for each in (grey, -grey)))
        torch.testing.assert_close(of_grey.lpips(grey, -grey), coloured)


class Code:
    def __reduce__(self) -> Any:
        return (print, ("code of a file was run",))


def test_weights_that_are_none_are_refused_and_no_code_is_run(
    tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shape, mine = (3, 16, 16), tmp_path / "mine.safetensors"
    tensors = vgg_tensors()
    heads = {name: tensor for name, tensor in tensors.items() if name.startswith("lin")}
    save_file(heads, mine)
    bare = tmp_path / "vgg.safetensors"
    save_file({name: tensor for name, tensor in tensors.items() if name not in heads}, bare)
    assert Perceptual(shape, REAL, str(bare), heads=str(mine)).lpips
    torch.save({"features.0.weight": Code()}, tmp_path / "code.pt")  # noqa: TID251
    (tmp_path / "text.safetensors").write_text("no tensors")
    for given, words in {
        (mine, None): "'features.0.weight' lacks",
        (bare, None): "'lin0.model.1.weight' lacks",
        (tmp_path / "none.pt", None): "is not there",
        (tmp_path / "code.pt", None): "is no .safetensors file; of a file of torch's it is made by",
        (tmp_path / "text.safetensors", None): "is no file of tensors",
    }.items():
        with refuses(words):
            Perceptual(shape, REAL, str(given[0]), given[1])
    assert "was run" not in capsys.readouterr().out


def test_what_is_no_image_is_refused_by_name() -> None:
    for name in ("multiscale", "structural-similarity", "perceptual", "adversarial"):
        options = {"weights": "x.pt"} if name == "perceptual" else {}
        with refuses(f"the term {name!r} is of images"):
            TERMS[name](event_shape=(5,), domain=REAL, **options)
        with refuses(f"the term {name!r} is of images"):
            TERMS[name](event_shape=SHAPE, domain=Domain("categorical", levels=3, scale=2), **options)
    with refuses("sides from 16 on"):
        Perceptual((3, 8, 8), REAL, "x.pt")
    with refuses("sides from 11 on, not of (1, 10, 28); of smaller ones there is 'multiscale'"):
        StructuralSimilarity((1, 10, 28), REAL)
    with refuses("sides from 4"):
        Adversarial((1, 3, 8), REAL)
    with refuses("start must be at least 0 and below 1"):
        Adversarial(SHAPE, REAL, start=1.0)
    with refuses("levels must be at least 1"):
        Multiscale(SHAPE, REAL, levels=0)
