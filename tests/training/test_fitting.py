"""Models put together in Python, of parts and of modules that know nothing of vaekit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from models_for_tests import refuses
from runs_for_tests import equal, weights
from torch import Tensor, nn

from vaekit import VAE, Dataset, Domain, Split, evaluate, fit, load_dataset
from vaekit.data import Preprocessing
from vaekit.likelihoods import Bernoulli, Binomial, FixedNormal
from vaekit.networks.mlp import MLP
from vaekit.objectives.weighted import DReG
from vaekit.posteriors import DiagonalNormal
from vaekit.priors.normal import StandardNormal
from vaekit.seeding import seeded
from vaekit.training.records import Epoch

GREY = Domain("grey", levels=17)


def vae(encoder: nn.Module | None = None, decoder: nn.Module | None = None, domain: Domain = GREY) -> VAE:
    p = (Bernoulli if domain.kind == "binary" else Binomial)((1, 8, 8), domain)
    return VAE(
        encoder=encoder or MLP((1, 8, 8), hidden=(16,)),
        posteriors={"z": DiagonalNormal(16, 3)},
        priors={"z": StandardNormal(3)},
        decoder=decoder or MLP((3,), p.parameter_shape, hidden=(16,)),
        likelihood=p,
    )


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


def test_a_model_of_objects_learns_from_a_dataset_or_an_array(digits: Dataset) -> None:
    for data in (digits, digits.splits["train"].x, torch.from_numpy(digits.splits["train"].x)):
        torch.manual_seed(0)
        model = vae()
        before = evaluate(model, digits, 5).elbo
        epochs: list[int] = []
        state = fit(model, data, DReG(3), epochs=3, learning_rate=1e-2, on_epoch=lambda r, e=epochs: e.append(len(r)))
        assert state.epoch == 3
        assert epochs == [2 if data is digits else 1] * 3
        assert evaluate(model, digits, 5).elbo > before + 50


def test_states_of_a_model_of_objects_resume_to_the_same_bits(digits: Dataset, tmp_path: Path) -> None:
    def fresh() -> VAE:
        torch.manual_seed(1)
        return vae()

    whole, parts = fresh(), fresh()
    fit(whole, digits, epochs=3, folder=tmp_path / "whole")
    with pytest.raises(RuntimeError, match="now"):
        fit(parts, digits, epochs=3, folder=tmp_path / "parts", on_epoch=stop_at(2))
    parts = fresh()
    fit(parts, digits, epochs=3, folder=tmp_path / "parts", resume=True)
    assert equal(weights(whole), weights(parts))


def stop_at(epoch: int) -> Callable[[list[Epoch]], None]:
    def on_epoch(records: list[Epoch]) -> None:
        if records[0].epoch == epoch:
            raise RuntimeError("now")

    return on_epoch


def test_networks_may_be_any_modules(digits: Dataset) -> None:
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU())
    decoder = nn.Sequential(nn.Linear(3, 64), nn.Unflatten(-1, (1, 1, 8, 8)))
    assert fit(vae(encoder, decoder), digits, epochs=1).epoch == 1
    with refuses("the decoder gives (64,), but the likelihood wants (1, 1, 8, 8)"):
        fit(vae(encoder, nn.Linear(3, 64)), digits, epochs=1)


class Normed(nn.Module):
    """An encoder with state of its own, which any look at the model in training mode would change."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.Dropout(0.2))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def test_state_of_networks_survives_looks_and_resuming(digits: Dataset, tmp_path: Path) -> None:
    torch.set_num_threads(2)  # counting operations looks at the model only where there are threads to choose from
    try:
        torch.manual_seed(2)
        model = vae(Normed())
        fit(model, digits, epochs=1, folder=tmp_path)
        again = vae(Normed())
        fit(again, digits, epochs=1, folder=tmp_path, resume=True)
        assert equal(weights(model), weights(again))
    finally:
        torch.set_num_threads(1)
    x = digits.splits["test"].x[:6]
    for training in (True, False):
        model.train(training)
        before = weights(model)
        assert torch.equal(model.encode(x), model.encode(x))
        evaluate(model, digits, 2)
        assert equal(before, weights(model))
        assert all(each.training is training for each in model.modules())


def test_a_folder_is_of_one_training(digits: Dataset, tmp_path: Path) -> None:
    fit(vae(), digits, epochs=2, folder=tmp_path / "fit")
    states = sorted((tmp_path / "fit/checkpoints").iterdir())
    with refuses("has states of a training; go on with it by resume=True, or name another folder"):
        fit(vae(), digits, epochs=1, folder=tmp_path / "fit")
    assert sorted((tmp_path / "fit/checkpoints").iterdir()) == states
    with refuses("resume=True needs the folder of the training that is to go on; give folder=…"):
        fit(vae(), digits, epochs=1, resume=True)
    with refuses("has no training state that is whole"):
        fit(vae(), digits, epochs=1, folder=tmp_path / "other", resume=True)


def test_a_training_without_gradients_is_refused(digits: Dataset) -> None:
    for off in (torch.no_grad(), torch.inference_mode()):
        with refuses("gradients are switched off here"), off:
            fit(vae(), digits, epochs=1)


def test_a_model_is_fitted_and_asked_where_it_is_wherever_torch_makes_tensors(digits: Dataset) -> None:
    found = []
    for device in (None, "meta"):
        with seeded(0):
            model = vae()
        torch.set_default_device(device)
        try:
            fit(model, digits, epochs=1)
            scores = model.score(digits.splits["test"].x[:3], samples=10, seed=0)
            found.append((weights(model), scores.log_prob.tolist(), evaluate(model, digits, 300).nll))
        finally:
            torch.set_default_device(None)
    assert equal(found[0][0], found[1][0])
    assert found[0][1:] == found[1][1:]


def test_float64_models_fit_and_are_scored(digits: Dataset) -> None:
    model = vae().double()
    fit(model, digits, epochs=1)
    assert model.encode(digits.splits["test"].x[:2]).dtype == torch.float64
    assert np.isfinite(evaluate(model, digits, 3).nll)


def test_data_of_another_domain_or_shape_are_refused(digits: Dataset) -> None:
    with refuses("Bernoulli is a density of binary data, but was given grey levels 0..16"):
        VAE(
            encoder=MLP((1, 8, 8), hidden=(16,)),
            posteriors={"z": DiagonalNormal(16, 3)},
            priors={"z": StandardNormal(3)},
            decoder=MLP((3,), (1, 1, 8, 8), hidden=(16,)),
            likelihood=Bernoulli((1, 8, 8), GREY),
        )
    binary = vae(domain=Domain("binary"))
    for use in (lambda: fit(binary, digits, epochs=1), lambda: evaluate(binary, digits, 2)):
        with refuses("the model is one of binary 0/1 of shape (1, 8, 8), but the data are grey levels 0..16"):
            use()
    fit(binary, digits, preprocessing=Preprocessing("stochastic"), epochs=1)
    assert evaluate(binary, digits, 2, preprocessing=Preprocessing("stochastic")).is_likelihood
    small = Dataset("small", GREY, {"train": Split(np.zeros((5, 1, 4, 4), np.uint8))})
    with refuses("of shape (1, 8, 8), but the data are grey levels 0..16 of shape (1, 4, 4)"):
        fit(vae(), small, epochs=1)
    with refuses("data has 64 values other than grey levels 0..16"):
        fit(vae(), np.full((1, 1, 8, 8), 99), epochs=1)
    with refuses("unknown training key 'epoch' (did you mean 'epochs'?)"):
        fit(vae(), digits, epoch=1)


def test_a_tiny_array_is_one_batch() -> None:
    p = FixedNormal((2,), Domain("real"))
    model = VAE(
        MLP((2,), hidden=(4,)),
        {"z": DiagonalNormal(4, 1)},
        {"z": StandardNormal(1)},
        MLP((1,), p.parameter_shape, hidden=(4,)),
        p,
    )
    assert fit(model, np.random.default_rng(0).normal(size=(7, 2)), epochs=2).step == 2
