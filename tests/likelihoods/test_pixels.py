"""Mixtures of discretised logistics as a likelihood of images of bytes, from the decoder's numbers to bits."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from models_for_tests import float64, model_of, refuses
from scipy import special, stats

from vaekit.data.batch import Batch
from vaekit.data.domains import Domain
from vaekit.data.tensors import as_split
from vaekit.engine import Use, record
from vaekit.evaluation.anomalies import anomalies
from vaekit.evaluation.evaluation import evaluate
from vaekit.evaluation.imputation import impute
from vaekit.likelihoods import LevelsLogisticMixture
from vaekit.models import VAE
from vaekit.seeding import seeded
from vaekit.training.fitting import fit

BYTES, NAME = Domain("grey", levels=256), "discretized-logistic-mixture"


def model(**changes: object) -> VAE:
    given = {"event_shape": (3, 4, 4), "encoder": "conv", "decoder": "conv", "by": 0.1}
    return model_of(likelihood=NAME, domain=BYTES, **{**given, **changes})  # type: ignore[arg-type]


def colours(n: int, seed: int = 0, size: int = 4) -> np.ndarray:
    """Images of pixels each of which has any red, much the same green, and a blue that is about the mean of both."""
    rng = np.random.default_rng(seed)
    red = rng.integers(0, 256, (n, 1, size, size))
    green = red + rng.normal(0, 6, red.shape)
    blue = (red + green) / 2 + rng.normal(0, 6, red.shape)
    return np.concatenate([red, green, blue], 1).round().clip(0, 255).astype(np.uint8)


def published(raw: np.ndarray, x: np.ndarray, components: int) -> float:
    """log p of x (3, H, W), as PixelCNN++ has it, of numbers between -1 and 1; `raw` (P, H, W) are the decoder's."""
    k, image, total = components, x / 127.5 - 1, 0.0
    for i, j in np.ndindex(x.shape[1:]):
        own, parts = raw[:, i, j], []
        logits, places = own[:k], own[k : 4 * k].reshape(k, 3)
        log_scales, moves = own[4 * k : 7 * k].reshape(k, 3), np.tanh(own[7 * k :].reshape(k, 3))
        red, green, blue = image[:, i, j]
        for c in range(k):
            # Places are in fifths of the range, from ones in its middle quarter on; scales of a seventh of it.
            means = 2 * (0.2 * places[c] + 0.5 + 0.25 * ((c + 0.5) / k - 0.5)) - 1
            means += np.array([0, moves[c, 0] * red, moves[c, 1] * red + moves[c, 2] * green])
            log_p = 0.0
            for value, mean, log_scale in zip((red, green, blue), means, log_scales[c], strict=True):
                part = stats.logistic(mean, 2 * math.exp(log_scale - 2))
                high, low = value + 1 / 255, value - 1 / 255
                low, high = -np.inf if value < -0.999 else low, np.inf if value > 0.999 else high
                log_p += math.log(part.sf(low) - part.sf(high) if value > mean else part.cdf(high) - part.cdf(low))
            parts.append(log_p)
        total += special.logsumexp(np.log(special.softmax(logits)) + parts)
    return float(total)


def test_it_is_that_of_pixelcnn() -> None:
    with float64():
        likelihood = LevelsLogisticMixture((3, 2, 2), BYTES, components=4)
    rng = np.random.default_rng(0)
    raw, x = rng.normal(0, 0.5, likelihood.parameter_shape), rng.integers(0, 256, (3, 2, 2)).astype(float)
    x[:, 0, 0], x[:, 1, 1] = 0.0, 255.0
    got = likelihood(torch.from_numpy(raw)).log_prob(torch.from_numpy(x))
    assert float(got) == pytest.approx(published(raw, x, 4), rel=1e-10)


@pytest.mark.parametrize(
    ("shape", "parameters"),
    [
        ((3, 8, 6), (100, 8, 6)),
        ((1, 8, 6), (30, 1, 8, 6)),
        ((2, 8, 6), (60, 8, 6)),
        ((5,), (30, 5)),
        ((8, 6), (30, 8, 6)),
    ],
)
def test_any_number_of_channels_and_data_of_any_shape(shape: tuple[int, ...], parameters: tuple[int, ...]) -> None:
    network = "conv" if len(shape) == 3 else "mlp"
    made = model(event_shape=shape, encoder=network, decoder=network)
    assert made.likelihood.parameter_shape == parameters
    with seeded(0):
        x = torch.randint(0, 256, (3, *shape)).double()
    assert made.log_prob(x, samples=2).isfinite().all()
    for found in (made.reconstruct(x), made.sample(3), made.decode(made.encode(x), draw=True)):
        assert found.shape == x.shape
        assert found.min() >= 0
        assert found.max() <= 255
    drawn = made.sample(3)
    BYTES.check(drawn.numpy())
    assert made.decode(made.encode(x)).shape == x.shape


def test_less_than_a_component_is_refused() -> None:
    with refuses("components must be at least 1, got 0"):
        LevelsLogisticMixture((3, 2, 2), BYTES, components=0)


def test_a_step_is_recorded_as_it_is() -> None:
    likelihood = LevelsLogisticMixture((3, 2, 2), BYTES, components=4)
    with seeded(0):
        raw = torch.randn(5, *likelihood.parameter_shape, requires_grad=True)
        x, others = (torch.randint(0, 256, (5, 3, 2, 2)).float() for _ in range(2))

    def step(x: torch.Tensor) -> list[torch.Tensor]:
        log_p = likelihood(raw).log_prob(x)
        return [log_p, *torch.autograd.grad(log_p.sum(), [raw])]

    recording = record(step, [x], Use("steps", engine="replay"), reads=[likelihood])
    assert recording is not None
    for each in (x, others):
        for got, want in zip(recording.at(0)(each), step(each), strict=True):
            torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-4)


def test_gradients_are_finite_wherever_a_decoder_leads() -> None:
    likelihood = LevelsLogisticMixture((3, 1, 1), BYTES, components=2)
    far = torch.tensor([-1e30, -1e4, -30.0, 0.0, 30.0, 1e4, 1e30])
    with seeded(0):
        raw = far[torch.randint(0, 7, (2000, *likelihood.parameter_shape))].requires_grad_()
        x = torch.tensor([0.0, 1.0, 128.0, 255.0])[torch.randint(0, 4, (2000, 3, 1, 1))]
    p = likelihood(raw)
    (gradient,) = torch.autograd.grad(p.log_prob(x).sum(), raw)
    assert p.log_prob(x).isfinite().all()
    assert gradient.isfinite().all()
    with torch.no_grad():
        assert p.mean.isfinite().all()
        BYTES.check(p.sample().numpy())


def test_bits_are_those_of_a_byte() -> None:
    made, x = model(), colours(20)
    scores = evaluate(made, x, samples=5)
    assert scores.bits_per_dim == pytest.approx(scores.nll / (math.log(2) * 3 * 4 * 4), rel=1e-6)
    likelihood = LevelsLogisticMixture((3, 4, 4), BYTES, components=1)
    raw = torch.zeros(likelihood.parameter_shape)
    with seeded(0):
        sampled = likelihood(raw).sample((500,))
    bits = -likelihood(raw).log_prob(sampled).mean() / (math.log(2) * 48)
    levels = torch.arange(256.0)[:, None, None, None].expand(-1, 3, 4, 4)
    masses = likelihood(raw).log_probs(levels)[:, 0, 0, 0].exp()
    assert float(bits) == pytest.approx(float(stats.entropy(masses, base=2)), abs=0.02)


def test_channels_that_hang_together_take_fewer_bits_than_each_alone() -> None:
    x = colours(1000, size=2)
    options = {"mlp": {"hidden": [8]}, NAME: {"components": 3}}
    made = model(event_shape=(3, 2, 2), encoder="mlp", decoder="mlp", by=0.0, options=options).float()
    fit(made, x, epochs=30, batch_size=100, learning_rate=2e-2, seed=0)
    got = evaluate(made, colours(200, seed=1, size=2), samples=5).bits_per_dim
    # Of red there are 8 bits, of a normal of deviation 6 about it there are 4.6; a little less where it is cut off.
    best = (8 + 2 * math.log2(6 * math.sqrt(2 * math.pi * math.e))) / 3
    assert best - 0.1 < got < 6.4
    alone = [stats.entropy(np.bincount(x[:, c].ravel(), minlength=256), base=2) for c in range(3)]
    assert np.mean(alone) > 7.8


# -- missing channels ------------------------------------------------------------------------------------------------


def test_pixels_whose_last_channels_are_missing_are_scored_filled_and_judged() -> None:
    made, x = model(), torch.from_numpy(colours(6)).double()
    gaps = x.clone()
    gaps[:, :, 0, 0], gaps[:, 1:, 1, 1], gaps[:, 2, 2, 2] = torch.nan, torch.nan, torch.nan
    observed = ~gaps.isnan()
    scores = evaluate(made, gaps.numpy(), samples=5)
    assert scores.bits_per_dim == pytest.approx(scores.nll / (math.log(2) * (48 - 6)), rel=1e-6)
    batch = Batch(torch.where(observed, gaps, 0.0), observed=observed)
    filled = impute(made, batch, samples=20, draws=3)
    assert torch.equal(filled.x[observed], x[observed])
    BYTES.check(filled.x.numpy())
    assert filled.draws is not None
    BYTES.check(filled.draws.numpy())
    odd = anomalies(made, batch, samples=20)
    assert odd.contributions.isfinite().all()
    assert not odd.contributions[~observed].any()


def test_what_is_filled_is_given_the_other_channels_of_its_pixel() -> None:
    """A decoder that says nothing, of two components: red tells which of them a pixel is of, and so its green."""
    made = model(options={NAME: {"components": 2}}, event_shape=(2, 1, 1), encoder="mlp", decoder="mlp")
    with torch.no_grad():
        for parameter in made.decoder.parameters():
            parameter.zero_()
        bias = made.decoder.layers[-1].bias  # type: ignore[union-attr, index]
        # In fifths of the range from 0.4375 and 0.5625 of it: red and green of the one at 0.25 and 0.65, of the other
        # at 0.75 and 0.35.
        bias[2:6], bias[6:10] = torch.tensor([-0.9375, 1.0625, 0.9375, -1.0625]), -2.5
    x = torch.tensor([[64.0, 0.0], [191.0, 0.0]]).double()[..., None, None]
    observed = torch.tensor([True, False])[:, None, None].expand(2, 2, 1, 1)
    filled = impute(made, Batch(x, observed=observed), samples=50, draws=50)
    assert filled.draws is not None
    green = filled.x[:, 1].flatten()
    assert green[0] == pytest.approx(0.65 * 255, abs=4)
    assert green[1] == pytest.approx(0.35 * 255, abs=4)
    assert (filled.draws[:, 0, 1] > filled.draws[:, 1, 1]).all()


def test_a_channel_missing_before_one_that_is_not_is_refused() -> None:
    made, x = model(), colours(30).astype(float)
    x[3, 0, 2, 2] = np.nan
    for ask in (lambda: fit(made, x, epochs=1), lambda: evaluate(made, x, samples=2), lambda: made.log_prob(x)):
        with refuses("of 1 pixel of the data a channel is missing and one after it is not"):
            ask()
    hidden = replace(as_split(colours(30), "train", BYTES), mask=0.5)
    with refuses("data.mask is 0.5, but LevelsLogisticMixture has no probability of pixels with any of their channels"):
        fit(made, hidden, epochs=1)
    one = model(event_shape=(1, 4, 4))
    assert evaluate(one, x[:, :1], samples=2).n == 30
