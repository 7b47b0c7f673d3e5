"""Weights that others trained: what a run made of them gives is what their own modules, written out here, give."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models_for_tests import refuses
from safetensors.torch import save_file
from torch import Tensor, nn

from vaekit import explore, refit_prior, train
from vaekit.errors import RunError
from vaekit.interop.weights import CONFIG, from_pythae, from_pytorch_example
from vaekit.runs.asked import asked
from vaekit.runs.given import NEW
from vaekit.runs.run import Run, load_run


class Example(nn.Module):
    """PyTorch's examples/vae/main.py."""

    def __init__(self, size: int = 784, width: int = 400, latent: int = 20) -> None:
        super().__init__()
        self.fc1, self.fc21, self.fc22 = nn.Linear(size, width), nn.Linear(width, latent), nn.Linear(width, latent)
        self.fc3, self.fc4 = nn.Linear(latent, width), nn.Linear(width, size)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.fc1(x.flatten(1)).relu()
        return self.fc21(h), self.fc22(h)

    def decode(self, z: Tensor) -> Tensor:
        return self.fc4(self.fc3(z).relu()).sigmoid()


class Pythae(nn.Module):
    """pythae's Encoder_VAE_MLP and Decoder_AE_MLP, by the names of their tensors."""

    def __init__(self, size: int, latent: int) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Module(), nn.Module()
        self.encoder.layers = nn.ModuleList([nn.Sequential(nn.Linear(size, 512), nn.ReLU())])
        self.encoder.embedding, self.encoder.log_var = nn.Linear(512, latent), nn.Linear(512, latent)
        out = nn.Sequential(nn.Linear(512, size), nn.Sigmoid())
        self.decoder.layers = nn.ModuleList([nn.Sequential(nn.Linear(latent, 512), nn.ReLU()), out])

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.encoder.layers[0](x.flatten(1))  # type: ignore[index, operator]
        return self.encoder.embedding(h), self.encoder.log_var(h)  # type: ignore[operator]

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder.layers[1](self.decoder.layers[0](z))  # type: ignore[index, operator]


def same(run: Run, theirs: Any, x: Tensor) -> None:
    model = run.model
    with torch.no_grad():
        mean, log_variance = theirs.encode(x)
        q = model.posterior(model.asked(model_batch(x)))["z"]
        assert torch.allclose(q.mean, mean, atol=1e-6)
        assert torch.allclose(2 * q.stddev.log(), log_variance, atol=1e-5)
        assert torch.allclose(model.decode(mean).flatten(1), theirs.decode(mean), atol=1e-6)


def model_batch(x: Tensor) -> Any:
    from vaekit.data import Batch

    return Batch(x)


@pytest.mark.parametrize("from_a_file", [True, False])
def test_the_example_vae_of_pytorch_is_a_run(tmp_path: Path, from_a_file: bool) -> None:
    torch.manual_seed(0)
    theirs, path = Example(), tmp_path / "vae.safetensors"
    save_file(theirs.state_dict(), path)
    run = from_pytorch_example(path if from_a_file else theirs.state_dict(), tmp_path / "run")
    x = torch.rand(5, 1, 28, 28)
    same(run, theirs, x)
    same(load_run(tmp_path / "run"), theirs, x)
    bytes_ = torch.randint(0, 256, (6, 1, 28, 28), dtype=torch.uint8)
    codes, _ = run.encode(bytes_.numpy())
    assert np.allclose(codes, theirs.encode(bytes_ / 255)[0].detach(), atol=1e-5)
    with pytest.raises(RunError, match="was trained elsewhere and has no data"):
        run.evaluate("test", 1)
    scores = run.evaluate(bytes_.numpy(), 10)
    mean, log_variance = theirs.encode(bytes_ / 255)
    kl = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1).mean()
    assert scores.kl == pytest.approx(kl.item(), rel=1e-5)


@pytest.mark.parametrize("loss", ["bce", "mse"])
def test_a_model_that_pythae_saved_is_a_run(tmp_path: Path, loss: str) -> None:
    torch.manual_seed(1)
    theirs = Pythae(2 * 6 * 5, 3)
    config = {"name": "BetaVAEConfig", "input_dim": [2, 6, 5], "latent_dim": 3, "reconstruction_loss": loss}
    (tmp_path / CONFIG).write_text(json.dumps(config | {"uses_default_encoder": True, "uses_default_decoder": True}))
    save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    run, x = from_pythae(tmp_path, tmp_path / "run"), torch.rand(4, 2, 6, 5)
    same(run, theirs, x)
    trace = run.model.trace(run.model.asked(model_batch(x)))
    z, decoded = trace.latents[0].z[0], theirs.decode(trace.latents[0].z[0])
    wanted = torch.distributions.Normal(decoded, 1.0).log_prob(x.flatten(1))
    if loss == "bce":
        wanted = -nn.functional.binary_cross_entropy(decoded, x.flatten(1), reduction="none")
    assert z.shape == (4, 3)
    assert torch.allclose(trace.px.log_prob(x)[0], wanted.sum(1), rtol=1e-4)


@pytest.mark.parametrize("before", ["module.", "model.", "_orig_mod."])
def test_what_others_put_before_names_and_around_state_dicts_is_left_out(tmp_path: Path, before: str) -> None:
    theirs = Example(16, 8, 2)
    named = {f"{before}{name}": each for name, each in theirs.state_dict().items()}
    run = from_pytorch_example({"state_dict": named, "epoch": 3, "optimizer": {"state": {}}}, tmp_path / "run")
    same(run, theirs, torch.rand(5, 1, 4, 4))
    save_file(named, tmp_path / "vae.safetensors")
    same(from_pytorch_example(tmp_path / "vae.safetensors", tmp_path / "b"), theirs, torch.rand(5, 1, 4, 4))
    with refuses("the state dict has 'a', 'b'; give one of them"):
        from_pytorch_example({"a": named, "b": named}, tmp_path / "c")
    with refuses("has 'epoch', which is no tensor"):
        from_pytorch_example({**named, "epoch": 3}, tmp_path / "c")


def test_images_between_0_and_1_are_told_what_to_do(tmp_path: Path) -> None:
    run = from_pytorch_example(Example(16, 8, 2), tmp_path / "run")
    with refuses("all are between 0 and 1: if they are levels divided by 255, multiply by 255"):
        run.encode(np.random.default_rng(0).random((5, 1, 4, 4)))


def test_other_weights_are_refused_in_a_line(tmp_path: Path) -> None:
    tensors = Example(16, 8, 2).state_dict()
    with refuses("lacks 'fc22.weight'; needed: fc1, fc21, fc22, fc3, fc4"):
        from_pytorch_example({name: each for name, each in tensors.items() if "fc22" not in name}, tmp_path / "a")
    with refuses("has 'fc5.weight' beside"):
        from_pytorch_example(tensors | {"fc5.weight": torch.zeros(2, 2)}, tmp_path / "a")
    with refuses("'fc21' takes 9 numbers, but is given 8"):
        from_pytorch_example(tensors | {"fc21.weight": torch.zeros(2, 9)}, tmp_path / "a")
    with refuses("event_shape is (3,), but a datum has 16 numbers"):
        from_pytorch_example(tensors, tmp_path / "a", (3,))
    (tmp_path / "vae.pt").write_bytes(b"\x80\x04N.")
    with refuses("is no .safetensors file; of a file of torch's it is made by"):
        from_pytorch_example(tmp_path / "vae.pt", tmp_path / "a")
    with refuses("nothing.safetensors is not there; accepted: a module"):
        from_pytorch_example(tmp_path / "nothing.safetensors", tmp_path / "a")
    with refuses(f"has no {CONFIG}"):
        from_pythae(tmp_path, tmp_path / "a")
    save_file(Pythae(16, 3).state_dict(), tmp_path / "model.safetensors")
    (tmp_path / CONFIG).write_text(json.dumps({"input_dim": [4, 4], "latent_dim": 5}))
    with refuses("latent_dim is 5, but the weights of model.safetensors have 3"):
        from_pythae(tmp_path, tmp_path / "a")
    (tmp_path / "model.safetensors").unlink()
    for config, said in {
        "networks of its own, as pickled code": {"uses_default_encoder": False},
        "unknown model 'VQVAEConfig'": {"name": "VQVAEConfig"},
        "unknown reconstruction_loss 'l1'": {"reconstruction_loss": "l1"},
        "has no .safetensors file of weights; of model.pt, a pickle": {},
    }.items():
        (tmp_path / CONFIG).write_text(json.dumps(said))
        with refuses(config):
            from_pythae(tmp_path, tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_weights_of_others_are_looked_at_with_the_data_that_are_given(tmp_path: Path) -> None:
    out = tmp_path / "run"
    theirs = Example(64, 9, 2)
    from_pytorch_example(theirs, out)
    images = np.random.default_rng(0).integers(0, 256, (60, 1, 8, 8)).astype(np.uint8)
    np.save(tmp_path / "images.npy", images)
    page = tmp_path / "page.html"
    explore(load_run(out, data=tmp_path / "images.npy"), page)
    assert page.stat().st_size > 100_000
    found = asked(load_run(out), tmp_path / "images.npy")
    assert list(found.splits) == [NEW]
    assert len(found.splits[NEW]) == 60
    with refuses("was trained elsewhere and has no data of its own: give some"):
        explore(load_run(out), tmp_path / "other.html")
    with refuses("was trained elsewhere: there is no training of it to go on with"):
        train(out=out, resume=True, data=tmp_path / "images.npy")
    with refuses("was trained elsewhere: a prior is fitted to codes of the data that a run was trained on"):
        refit_prior(out, "mixture", data=tmp_path / "images.npy")
    for odd in (12, (-8, -8), ()):
        given: Any = odd
        with refuses(f"event_shape is {odd}; accepted: the sides of a datum"):
            from_pytorch_example(theirs, tmp_path / "odd", given)
