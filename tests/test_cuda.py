"""What only a CUDA device can show: recordings launched as graphs, streams of random numbers, resuming, precision.

Recorded steps of every part are compared on the CPU by tests/training/test_step.py, of every recipe by
benchmarks/gpu.py. With VAEKIT_REHEARSE=1 they run on the CPU where there is no such device.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models_for_tests import SMALL, data_of, model_of, moved
from PIL import Image
from runs_for_tests import assert_same_run, equal, small_run, weights
from torch import Tensor, nn

from vaekit import load_dataset, load_run, train
from vaekit.data import Preprocessing, images
from vaekit.data.loading import load
from vaekit.data.tensors import TensorSplit, to_device
from vaekit.engine import Use, capturing, record, recording, update
from vaekit.models import VAE
from vaekit.modules import move
from vaekit.objectives import IWAE
from vaekit.objectives.base import Objective, Sum
from vaekit.objectives.elbo import ELBO
from vaekit.seeding import seeded, streams
from vaekit.spec.own import parts_from
from vaekit.spec.parts import PARTS
from vaekit.system.devices import repeatable
from vaekit.training.meter import Meter
from vaekit.training.opponents import Opponents
from vaekit.training.step import Step
from vaekit.training.validation import Validation

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("_recorded_at_once")]

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
ON_CUDA = DEVICE.type == "cuda"
ROWS = 16
BOUNDS = Path(__file__).parents[1] / "examples/extending/bounds.py"
TOLERANCE = 1e-4
"""Of float32: kernels that are fused add in another order."""
BATCH_NORM = SMALL | {"mlp": {"hidden": [8, 6], "normalization": "batch"}}
CASES: dict[str, dict[str, Any]] = {
    "vae": {},
    "iwae": {"objective": "iwae"},
    "dreg": {"objective": "dreg"},
    "discrete": {"posterior": "relaxed-categorical", "prior": "uniform-categorical", "latents": {"c": 4}},
    "full rank": {"posterior": "full-rank-normal", "latents": {"z": 3}},
    "batch norm": {"options": BATCH_NORM},
    "pseudo-inputs": {"prior": "vamp", "options": BATCH_NORM},
    "flow": {"prior": "flow"},
    "two layers": {"structure": "hierarchical", "prior": "diagonal-normal", "latents": {"z": 3, "z2": 2}},
    "convolutions": {"encoder": "conv", "decoder": "conv", "event_shape": (1, 8, 8)},
    "residual": {"encoder": "resnet", "decoder": "resnet", "event_shape": (1, 8, 8)},
    "table": {"likelihood": "columns", "event_shape": (9,)},
    "cells missing not at random": {"likelihood": "self-masked-columns", "event_shape": (9,), "objective": "iwae"},
}


@contextmanager
def no_waiting() -> Iterator[None]:
    """Inside, whatever waits for the device raises."""
    if not ON_CUDA:
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")


def on_device(
    rows: int = 64, *, likelihood: str = "bernoulli", objective: str = "elbo", **options: Any
) -> tuple[VAE, TensorSplit, Objective]:
    model = model_of(likelihood=likelihood, by=0.0, **options).float().train()
    moved(model, by=0.1)
    move(model, DEVICE)
    x = data_of(model.domain, (rows, *model.event_shape))
    x = x.to(DEVICE) if likelihood.endswith("columns") else x.float().to(DEVICE)
    with seeded(0):
        observed = torch.rand(x.shape, device=DEVICE) < 0.8 if likelihood == "self-masked-columns" else None
    return model, TensorSplit(x, None, model.domain, Preprocessing(), observed=observed), PARTS.objectives[objective]()


def assert_launched(step: Step, caplog: pytest.LogCaptureFixture) -> None:
    assert step.recording is not None, caplog.text
    if ON_CUDA:
        assert "can't be captured" not in caplog.text
        assert "not compiled" not in caplog.text
        assert isinstance(step.recording.run, capturing.Captured) or step.chosen.get("backend") == "inductor"


def taken(case: dict[str, Any], engine: str, caplog: pytest.LogCaptureFixture, steps: int = 4) -> list[list[Tensor]]:
    """Terms, gradients, buffers and the streams after each of some updates."""
    model, data, objective = on_device(**case)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 1e-3, fused=True)
    step, advance, found = Step(model, objective, data, ROWS, engine=engine), update(optimizer), []
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    with seeded(1), repeatable():
        for number in range(steps):
            index = order[(number * ROWS) % 64 :][:ROWS]
            terms = step(index, 0.3, recording.SOON + number)
            kept = [terms.values, *(p.grad for p in model.parameters() if p.grad is not None), *model.buffers()]
            found.append([each.detach().clone() for each in (*kept, *streams())])
            advance()
    if engine != "python":
        assert_launched(step, caplog)
    return found


@pytest.mark.parametrize("name", CASES)
def test_steps_that_are_launched_are_those_of_python(name: str, caplog: pytest.LogCaptureFixture) -> None:
    for one, other in zip(taken(CASES[name], "python", caplog), taken(CASES[name], "replay", caplog), strict=True):
        torch.testing.assert_close(other, one, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("name", ["vae", "batch norm"])
def test_steps_that_are_compiled_are_those_of_python(name: str, caplog: pytest.LogCaptureFixture) -> None:
    if not ON_CUDA:
        pytest.skip("takes a minute")
    for one, other in zip(taken(CASES[name], "python", caplog), taken(CASES[name], "inductor", caplog), strict=True):
        torch.testing.assert_close(other, one, rtol=TOLERANCE, atol=TOLERANCE)


def test_random_numbers_of_a_launch_go_on_and_come_of_the_seed() -> None:
    x = torch.zeros(1000, device=DEVICE)

    def draw(x: Tensor) -> list[Tensor]:
        return [x + torch.randn_like(x), torch.rand(5, device=DEVICE), torch.bernoulli(x + 0.5)]

    run = record(draw, [x], Use("draws"))
    assert run is not None
    found = []
    for seed in (3, 3, 4):
        with seeded(seed):
            found.append([*run(x), *run(x), torch.rand(3, device=DEVICE), *streams()])
        with seeded(seed):
            wanted = [*draw(x), *draw(x), torch.rand(3, device=DEVICE), *streams()]
        torch.testing.assert_close(found[-1], wanted, rtol=0, atol=0)
    assert torch.equal(found[0][0], found[1][0])
    assert not torch.equal(found[0][0], found[2][0])
    assert not torch.equal(found[0][0], found[0][3])


def test_weights_that_lie_elsewhere_are_read_there() -> None:
    model, data, objective = on_device()
    step, index = Step(model, objective, data, ROWS, engine="replay"), torch.arange(ROWS, device=DEVICE)
    step(index, 0.5, recording.SOON)
    for parameter in model.parameters():
        parameter.data = parameter.data * 0.5
    results = []
    for number in (recording.SOON, 0):
        with seeded(1):
            terms = step(index, 0.5, number)
        found = [terms.values.clone(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]
        results.append(found)
    torch.testing.assert_close(*results, rtol=TOLERANCE, atol=TOLERANCE)


def test_recorded_again_and_again_the_memory_is_the_same() -> None:
    model, data, objective = on_device(encoder="conv", decoder="conv", event_shape=(1, 8, 8))
    index, used = torch.arange(ROWS, device=DEVICE), []
    for _ in range(8):
        step = Step(model, objective, data, ROWS, engine="replay")
        step(index, 0.5, recording.SOON)
        assert step.recording is not None
        del step
        for parameter in model.parameters():
            parameter.grad = None
        used.append(torch.cuda.memory_allocated() if ON_CUDA else 0)
    assert used[-1] <= used[2] + 2**16


@pytest.mark.parametrize("name", ["vae", "iwae", "discrete", "batch norm", "convolutions", "table"])
@pytest.mark.parametrize("engine", ["python", "replay"])
def test_no_step_waits_for_the_device(name: str, engine: str) -> None:
    if name == "discrete" and engine == "python":
        pytest.skip("torch's one-hot categories look at their values")
    model, data, objective = on_device(**CASES[name])
    parameters = list(model.parameters())
    optimizer = torch.optim.Adam(parameters, 1e-3, fused=True)
    step, advance, meter = Step(model, objective, data, ROWS, engine=engine), update(optimizer), Meter(DEVICE)
    order = torch.arange(64, device=DEVICE).split(ROWS)

    def take() -> None:
        for index in order * 20:
            meter.add(step(index, 0.3, recording.SOON), ROWS)
            nn.utils.clip_grad_norm_(parameters, 1.0)
            advance()

    take()
    with no_waiting():
        take()
    assert np.isfinite(meter.averages()["loss"])


def test_an_opponent_is_played_against(caplog: pytest.LogCaptureFixture) -> None:
    parts, found = parts_from(f"{BOUNDS}:PARTS"), []
    for engine in ("python", "replay"):
        model, data, _ = on_device()
        with seeded(0):
            factor: Any = parts.terms["factor"](latent=2, hidden=(8,)).to(DEVICE)
        objective = Sum((ELBO(), factor))
        step, others = Step(model, objective, data, ROWS, engine=engine), Opponents(model, objective, data)
        index = torch.arange(ROWS, device=DEVICE)
        with seeded(2):
            for number in range(3):
                terms = others(step(index, 0.5, recording.SOON + number), index, 0.5)
        found.append([terms.values, *(p.detach() for p in others.modules.parameters())])
    assert_launched(step, caplog)
    torch.testing.assert_close(*found, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_a_run_resumes_to_the_same_bits(network: str, tmp_path: Path) -> None:
    options = "channels=[4, 8], dense=16" if network == "conv" else "hidden=[16], normalization='batch'"
    sets = [f"model.{side}={{name='{network}', {options}}}" for side in ("encoder", "decoder")]
    sets += [f"training.device='{DEVICE}'", "training.engine='replay'", "training.ema=0.99", "training.clip=1.0"]
    small_run(tmp_path / "whole", *sets, "training.epochs=5")
    small_run(tmp_path / "run", *sets, "training.epochs=2")
    train(out=tmp_path / "run", resume=True, epochs=5)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize("optimizer", PARTS.optimizers)
def test_every_optimizer_trains_there(optimizer: str, tmp_path: Path) -> None:
    run = small_run(tmp_path / "run", f"training.optimizer={optimizer}", f"training.device='{DEVICE}'")
    first, *_, last = (each.terms["loss"] for each in run.history() if each.split == "train")
    assert last < first


def test_networks_compute_in_bfloat16_and_likelihoods_in_float32() -> None:
    model, data, objective = on_device(encoder="conv", decoder="conv", event_shape=(1, 16, 16))
    losses, kinds = [], []
    handle = next(each for each in model.decoder.modules() if isinstance(each, nn.ConvTranspose2d))
    hook = handle.register_forward_hook(lambda module, given, result: kinds.append(result.dtype))
    for precision in (None, torch.bfloat16):
        model.precision = precision
        with seeded(0):
            trace = model.trace(data.batch(torch.arange(ROWS, device=DEVICE)))
        assert trace.log_px.dtype == trace.log_weight.dtype == torch.float32
        losses.append(objective(trace, 1.0).loss)
    hook.remove()
    assert kinds == [torch.float32, torch.bfloat16]
    assert losses[0] != losses[1]
    torch.testing.assert_close(losses[1], losses[0], rtol=2e-2, atol=2e-2)
    step, index = Step(model, objective, data, ROWS, engine="replay"), torch.arange(ROWS, device=DEVICE)
    found = []
    for number in (0, recording.SOON):
        with seeded(0):
            found.append(step(index, 0.5, number).values.clone())
    assert step.recording is not None
    torch.testing.assert_close(found[1], found[0], rtol=2e-2, atol=2e-2)


def test_scores_and_looks_are_those_of_the_cpu() -> None:
    """Draws are others there: means agree to the last digits, averages of draws to a few standard errors."""
    model, data, _ = on_device(rows=40)
    there, here = model.eval(), model_of(by=0.0).float().eval()
    here.load_state_dict({name: each.cpu() for name, each in there.state_dict().items()})
    x = data.x.cpu()
    for one, other in ((there.encode(data.x), here.encode(x)), (there.reconstruct(data.x), here.reconstruct(x))):
        torch.testing.assert_close(one.cpu(), other, rtol=TOLERANCE, atol=TOLERANCE)
    scores = [each.score(batch, samples=3000, seed=0) for each, batch in ((there, data.x), (here, x))]
    assert standard_errors_apart_of(scores) < 5
    torch.testing.assert_close(scores[0].kl.cpu(), scores[1].kl, rtol=TOLERANCE, atol=TOLERANCE)
    own = TensorSplit(x, None, here.domain, Preprocessing())
    looks = [
        [Validation(each, rows, IWAE(20), ROWS, seed=seed)()["loss"] for seed in range(30)]
        for each, rows in ((there, data), (here, own))
    ]
    one, other = (torch.tensor(each, dtype=torch.float64) for each in looks)
    apart = (one.mean() - other.mean()) / ((one.var() + other.var()) / len(one)).sqrt()
    assert abs(float(apart)) < 4


def standard_errors_apart_of(scores: list[Any]) -> float:
    """How far the mean log p(x) of two scores are from each other."""
    one, other = scores
    error = (one.log_prob_variance.cpu().sum() + other.log_prob_variance.sum()).sqrt()
    return float((one.log_prob.cpu().sum() - other.log_prob.sum()).abs() / error)


def test_images_that_are_decoded_when_they_are_asked_for_arrive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "AT_ONCE", 0)
    pixels = np.random.default_rng(0).integers(0, 256, (60, 3, 8, 8), np.uint8)
    (tmp_path / "images").mkdir()
    for i, each in enumerate(pixels):
        Image.fromarray(each.transpose(1, 2, 0)).save(tmp_path / f"images/{i:02}.png")
    data = to_device(load(tmp_path / "images", validation=0, test=0), "train", Preprocessing(), DEVICE)
    for index in data.order(8):
        assert index.device.type == DEVICE.type
        assert torch.equal(data.training_batch(index).x.cpu(), torch.from_numpy(pixels).float()[index.cpu()])
    assert torch.equal(data.batch(slice(0, 60)).x.cpu(), torch.from_numpy(pixels).float())


def test_a_model_that_was_trained_there_is_loaded_on_the_cpu(tmp_path: Path) -> None:
    sets = ["model.encoder={name='conv', channels=[4, 8], dense=16}", f"training.device='{DEVICE}'"]
    own = small_run(tmp_path / "run", *sets).model
    x = load_dataset("digits").splits["test"].x[:20]
    loaded = load_run(tmp_path / "run").model
    assert loaded.scale.device.type == "cpu"
    assert equal(weights(loaded), {name: each.cpu() for name, each in weights(own).items()})
    torch.testing.assert_close(loaded.encode(x), own.encode(x).cpu(), rtol=1e-3, atol=1e-3)


def test_convolutions_lie_channels_last_there_and_cudnn_is_used() -> None:
    model, *_ = on_device(encoder="conv", decoder="conv", event_shape=(3, 8, 8))
    layer = next(each for each in model.encoder.modules() if isinstance(each, nn.Conv2d))
    assert layer.weight.is_contiguous(memory_format=torch.channels_last) == ON_CUDA
    with repeatable():
        assert torch.backends.cudnn.enabled
    if ON_CUDA:
        with torch.profiler.profile() as profiled, repeatable():
            model.encoder(torch.zeros(4, 3, 8, 8, device=DEVICE))
        assert any("cudnn_convolution" in each.key for each in profiled.key_averages())
