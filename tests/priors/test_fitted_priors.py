"""A mixture prior that is fitted to the codes of the training data on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models_for_tests import refuses
from runs_for_tests import SMALL, assert_same_run
from torch import Tensor

from vaekit import Callbacks, train
from vaekit.priors.mixtures import Mixture
from vaekit.runs.run import Run
from vaekit.training import loop as training

FEW = "data.train=200"
PRIOR = "model.latents.z.prior={name='mixture', components=3, fit_after=0.5}"


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The codes of each fit."""
    found: list[Tensor] = []
    whole = Mixture.fit

    def fit(self: Mixture, codes: Tensor, seed: int, time: int = 0) -> None:
        assert time >= len(found)  # more where two times are in one epoch
        found.append(codes)
        whole(self, codes, seed, time)

    monkeypatch.setattr(Mixture, "fit", fit)
    return found


def fitted(folder: Path, *sets: str, **options: object) -> Run:
    return train("digits", folder, sets=[*SMALL, PRIOR, *sets], **options)  # type: ignore[arg-type]


def test_the_fit_finds_components() -> None:
    draws = np.random.default_rng(0)
    centers, scales, weights = np.array([[-5.0, 0.0], [5.0, 3.0]]), np.array([[1.0, 0.3], [0.5, 2.0]]), [0.3, 0.7]
    which = draws.choice(2, 4000, p=weights)
    codes = torch.from_numpy(centers[which] + scales[which] * draws.normal(size=(4000, 2)))
    prior = Mixture(latent=2, components=2, fit_after=0.5)
    start = prior()
    assert start.component_distribution.mean.tolist() == [[0.0, 0.0], [0.0, 0.0]]
    prior.fit(codes, seed=0)
    found = prior()
    order = found.component_distribution.mean[:, 0].argsort()
    np.testing.assert_allclose(found.component_distribution.mean[order].detach(), centers, atol=0.15)
    np.testing.assert_allclose(found.component_distribution.stddev[order].detach(), scales, rtol=0.1)
    np.testing.assert_allclose(found.mixture_distribution.probs[order].detach(), weights, atol=0.03)


@pytest.mark.parametrize(("epochs", "after"), [(10, 0.2), (5, 0.4), (4, 0.5), (3, 0.9), (10, 0.7)])
def test_it_is_fitted_once_or_never(epochs: int, after: float, fits: list[Tensor], tmp_path: Path) -> None:
    sets = (f"model.latents.z.prior.fit_after={after}", FEW)
    fitted(tmp_path / "run", *sets, epochs=epochs)
    begins = (epochs - 1) / epochs >= after  # an epoch, after it
    assert len(fits) == begins


def test_it_is_fitted_at_each_of_several_times(fits: list[Tensor], tmp_path: Path) -> None:
    fitted(tmp_path / "run", "model.latents.z.prior.fit_after=[0.2, 0.5, 0.55]", FEW, epochs=10)
    assert len(fits) == 3
    assert not torch.equal(fits[0], fits[1])
    fits.clear()
    fitted(tmp_path / "few", "model.latents.z.prior.fit_after=[0.2, 0.5, 0.55]", FEW, epochs=3)
    assert len(fits) == 2  # before the epochs 2 and 3


def test_codes_are_draws_of_the_posteriors(fits: list[Tensor], tmp_path: Path) -> None:
    run = fitted(tmp_path / "run", "training.learning_rate=1e-12", epochs=2)
    x = run.data("train").x.float()
    means = run.model.encode(x)
    spread = run.model.encode(x, samples=200, seed=0).var(0).mean(0) + means.var(0)
    np.testing.assert_allclose(fits[0].var(0), spread, rtol=0.25)


def test_resuming_is_exact(tmp_path: Path) -> None:
    fitted(tmp_path / "whole", "training.ema=0.9", epochs=4)
    for cut in (1, 2, 3):
        state = {"stopped": False}

        def stop(records: list[training.Epoch], cut: int = cut, state: dict[str, bool] = state) -> None:
            if records[0].epoch == cut + 1 and not state["stopped"]:
                state["stopped"] = True
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fitted(tmp_path / str(cut), "training.ema=0.9", epochs=4, callbacks=Callbacks(on_epoch=stop))
        train(None, tmp_path / str(cut), resume=True)
        assert_same_run(tmp_path / str(cut), tmp_path / "whole")


def test_averaged_weights_have_the_fitted_prior(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(training, "update_average", lambda *args: None)  # so that only the fit moves it
    run = fitted(tmp_path / "run", "training.ema=0.999", "training.learning_rate=1e-12", epochs=2)
    assert run.model.priors["z"]().component_distribution.mean.abs().sum() > 0


def test_more_components_than_rows_are_refused(tmp_path: Path) -> None:
    with refuses("accepted: at most"):
        fitted(tmp_path / "run", "model.latents.z.prior.components=2000")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("after", [1.0, -1.0])
def test_a_time_outside_the_run_is_refused(after: float) -> None:
    with refuses("fit_after is fractions"):
        Mixture(latent=2, fit_after=after)


def test_a_broken_training_leaves_the_model_as_users_have_it() -> None:
    import vaekit
    from vaekit.spec.building import build_model, schema_of
    from vaekit.spec.parsing import parse

    digits = vaekit.load_dataset("digits")
    spec = parse({"model": {"likelihood": "binomial"}})
    model = build_model(spec.model, schema_of(digits, spec.data.preprocessing))

    def broken(records: object) -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        vaekit.fit(model, digits, epochs=1, precision="bfloat16", on_epoch=broken)
    assert model.precision is None
    assert not model.training


def test_fewer_components_at_a_time_leave_the_others_without_weight(tmp_path: Path) -> None:
    torch.manual_seed(0)
    codes = torch.randn(300, 2) + 8 * torch.arange(2.0).repeat(150)[:, None]
    prior = Mixture(latent=2, components=5, fit_after=(0.3, 0.6), fit_components=(5, 2))
    prior.fit(codes, seed=0, time=0)
    assert (prior().mixture_distribution.probs > 0).all()
    prior.fit(codes, seed=0, time=1)
    weights = prior().mixture_distribution.probs
    assert weights[:2].sum() == 1
    assert not weights[2:].any()
    prior().log_prob(codes).sum().backward()
    assert prior.start.grad is not None
    assert not prior.start.grad[2:].any()  # nor do they get any
    assert (prior().responsibilities(100 * codes).argmax(-1) < 2).all()
    run = fitted(
        tmp_path / "run",
        "model.latents.z.prior.fit_after=[0.3, 0.6]",
        "model.latents.z.prior.fit_components=[3, 2]",
        epochs=4,
    )
    assert run.model.clusters(run.data("test").x.float()).max() < 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fit_after": (0.2, 0.4), "fit_components": (3,)}, "fit_components has 1 numbers for 2 times"),
        ({"fit_after": (0.2,), "fit_components": (11,)}, "fit_components must be from 1 to components=10, got [11]"),
        ({"fit_components": (3,)}, "fit_components has 1 numbers for 0 times"),
    ],
)
def test_what_components_to_fit_are_refused(options: dict[str, Any], message: str) -> None:
    with refuses(message):
        Mixture(latent=2, **options)
