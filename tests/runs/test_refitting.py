"""Priors that are fitted to the codes of a finished run: all else of it stays what it is, and the prior comes near."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from commands_for_tests import command, done
from models_for_tests import linear_gaussian, refuses
from runs_for_tests import assert_same_run, equal, small_run
from scipy.stats import multivariate_normal
from torch import Tensor

from vaekit import Callbacks, fit, refit_prior, train
from vaekit.distributions.normals import TriangularNormal
from vaekit.models import VAE
from vaekit.priors import DiagonalNormal, Mixture
from vaekit.runs.refitting import refitted, unconverged
from vaekit.runs.run import Run, load_run
from vaekit.training.records import Epoch
from vaekit.training.weights import model_tensors

FEW = ("data.train=300", "data.validation=50", "data.test=100", "training.epochs=1")
MIXED = "model.latents.z.prior.components=5"


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return small_run(tmp_path_factory.mktemp("refit") / "first", "training.epochs=5", "data.test=100")


def of_part(model: VAE, *parts: str) -> dict[str, Tensor]:
    return {name: each for name, each in model_tensors(model).items() if name.startswith(parts)}


FIXED = ("encoder.", "decoder.", "likelihood.", "posteriors.z.")


@pytest.mark.parametrize(
    ("prior", "sets"), [("mixture", [MIXED, "model.latents.z.prior.full=true"]), ("flow", []), ("vae", [])]
)
def test_all_but_the_prior_stays_and_held_out_rows_are_no_less_likely(
    prior: str, sets: list[str], first: Run, tmp_path: Path
) -> None:
    found = refit_prior(first, prior, tmp_path / "made", sets=sets, samples=20, epochs=4)
    made = load_run(tmp_path / "made")
    assert found.runs[1].path == made.path
    assert equal(of_part(made.model, *FIXED), of_part(first.model, *FIXED))
    size, x = first.model.sizes["z"], first.data("test").x
    assert torch.equal(made.model.encode(x)[:, :size], first.model.encode(x))
    z = first.model.encode(x)
    code = torch.cat([z, torch.zeros_like(z)], -1) if prior == "vae" else z
    assert torch.equal(made.model.decode(code), first.model.decode(z))
    assert found.rows[0].nll_difference == 0
    assert found.rows[1].nll_difference < 2 * found.rows[1].nll_difference_stderr
    assert made.spec.training.start == str(first.path.resolve())
    assert made.model.sample(3, seed=0).shape == (3, 1, 8, 8)
    assert list(first.spec.model.latents) == ["z"]
    assert made.history()[-1].terms["elbo"] == pytest.approx(-made.history()[-1].terms["loss"], rel=1e-5)


def test_what_parts_keep_of_data_stays_too(tmp_path: Path) -> None:
    """A codebook follows the codes of a training by itself, without gradients."""
    kept = "model.latents.z={size=4, posterior={name='vq', codes=6, dim=2}, prior='uniform-tokens'}"
    first = small_run(tmp_path / "first", *FEW, kept)
    made = refit_prior(first, "categorical-tokens", samples=2, epochs=2).runs[1]
    assert made.path == tmp_path / "first-categorical-tokens"
    assert equal(of_part(made.model, *FIXED), of_part(first.model, *FIXED))
    assert made.model.priors["z"].training is False


@pytest.mark.parametrize("full", [False, True])
def test_the_prior_comes_near_the_aggregate_posterior_of_a_linear_gaussian_model(full: bool) -> None:
    """q(z given x) = N(a + B E[z given x], C): of data of the model q(z) is N(a, B (1 - C) Bᵀ + C)."""
    known = linear_gaussian()
    model, x = known.model(), known.draw(4000)
    gain, covariance = known.posterior()
    mix, shift = torch.tensor([[2.0, 0.5], [-1.0, 1.0]], dtype=torch.float64), torch.tensor([1.0, -0.5])
    head = model.posteriors["z"].head
    with torch.no_grad():
        head.weight[:2] = mix @ gain
        head.bias[:2] = shift - mix @ gain @ known.bias
    aggregate = mix @ (torch.eye(2) - covariance) @ mix.T + covariance
    prior = Mixture(2, components=1, fit_after=0.0, full=True) if full else DiagonalNormal(2)
    model.priors["z"] = prior.double()
    before = {name: each.clone() for name, each in model_tensors(model).items() if not name.startswith("priors")}
    rate = {"name": "cosine", "start": 0.08, "end": 1e-3}
    fit(model, x, only=("priors",), epochs=1 if full else 16, learning_rate=1e-4 if full else rate, batch_size=400)
    assert equal({name: model_tensors(model)[name] for name in before}, before)
    assert all(each.requires_grad for each in model.encoder.parameters())
    found = model.priors["z"]()
    spread = aggregate.diagonal().sqrt()
    assert float(((found.mean.detach() - shift) / spread).abs().max()) < 0.1
    np.testing.assert_allclose(found.stddev.detach(), spread, rtol=0.05)
    if full:
        made = found.component_distribution.covariance_matrix[0].detach()
        np.testing.assert_allclose(made / spread / spread[:, None], aggregate / spread / spread[:, None], atol=0.06)


def test_a_mixture_with_covariances_is_the_one_that_scipy_has() -> None:
    torch.manual_seed(0)
    prior = Mixture(3, components=2, full=True).double()
    with torch.no_grad():
        prior.start += torch.randn_like(prior.start)
    p, z = prior(), torch.randn(5, 3, dtype=torch.float64)
    each: TriangularNormal = p.component_distribution  # type: ignore[assignment]
    weights = p.mixture_distribution.probs.detach().numpy()
    density = sum(
        w * multivariate_normal(m, c).pdf(z)
        for w, m, c in zip(weights, each.mean.detach().numpy(), each.covariance_matrix.detach().numpy(), strict=True)
    )
    np.testing.assert_allclose(p.log_prob(z).detach(), np.log(density), rtol=1e-10)


def test_resuming_is_exact_and_needs_the_first_run_no_more(first: Run, tmp_path: Path) -> None:
    below = Path(shutil.copytree(first.path, tmp_path / "first"))
    refit_prior(below, "mixture", tmp_path / "whole", sets=[MIXED], samples=2, epochs=3)

    def stop(records: list[Epoch]) -> None:
        if records[0].epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refit_prior(below, "mixture", tmp_path / "cut", sets=[MIXED], epochs=3, callbacks=Callbacks(on_epoch=stop))
    shutil.rmtree(below)
    made = train(None, tmp_path / "cut", resume=True)
    assert_same_run(tmp_path / "cut", tmp_path / "whole")
    assert made.spec.training.only == ("priors.z",)


def test_a_run_can_begin_with_the_weights_of_another(first: Run, tmp_path: Path) -> None:
    same = ["training.epochs=1", "training.learning_rate=1e-12", f"training.start={first.path}"]
    made = small_run(tmp_path / "made", "data.test=100", *same)
    for name, tensor in model_tensors(first.model).items():
        assert torch.allclose(model_tensors(made.model)[name], tensor, atol=1e-6), name
    for other, words in (
        ("model.encoder.hidden=[17]", "encoder is to be that of"),
        ("model.encoder.activation=tanh", "'tanh'"),
        ("data.train=200", "was trained on other data"),
        ("training.only=['encodr']", "did you mean 'encoder'"),
        ("training.only=['likelihood']", "no weights that could be trained"),
    ):
        with refuses(words):
            small_run(tmp_path / "other", "data.test=100", *same, other)
        assert not (tmp_path / "other").exists()
    with refuses("name another folder"):
        small_run(first.path, "data.test=100", *same)


def test_what_can_not_be_is_one_line(first: Run, tmp_path: Path) -> None:
    given = ("refit-prior", first.path, "--out", tmp_path / "made", "--samples", "2", "--epochs", "1")
    for prior, words in (
        ("mixtrue", "did you mean 'mixture'"),
        ("standard-normal", "--prior standard-normal has no weights that could be fitted to codes; accepted: one that"),
        ("categorical-tokens", "(--prior standard-normal)"),
    ):
        result = command(*given, "--prior", prior)
        assert (result.status, result.out) == (2, ""), result
        assert words in result.err
        assert result.err.count("\n") == 1
    taken = Path(shutil.copytree(first.path, tmp_path / "taken"))
    there = command(*given[:2], "--prior", "flow", "--out", taken).err
    assert "taken holds a run already; name another folder, or add --overwrite to replace it; one that was" in there
    assert "--resume" not in there.partition("goes on with: vaekit train")[0]
    typed = ("--prior", "flow", "--out", taken, "--set", "objective=stll")
    assert "unknown objective 'stll'" in command(*given[:2], *typed).err  # what was typed, before the folder
    itself = (*given[:2], "--prior", "flow", "--out", first.path)
    assert "encoder is to be that of" in command(*itself, "--set", "model.encoder.hidden=[17]").err
    assert "is the run that RUN names; name another folder" in command(*itself).err
    wider = command(*given, "--prior", "flow", "--set", "model.encoder.hidden=[17]").err
    assert f"encoder is to be that of {first.path}, RUN, but is another: " in wider
    assert "training." not in wider
    assert "unknown latent 'w'" in command(*given, "--prior", "flow", "--latent", "w").err
    cut = Path(shutil.copytree(first.path, tmp_path / "cut"))
    (cut / "weights.safetensors").unlink()
    for path in sorted((cut / "checkpoints").glob("epoch-*"))[-1:]:
        path.unlink()
    assert "it goes on with: vaekit train --resume" in command("refit-prior", cut, "--prior", "flow").err
    assert not (tmp_path / "made").exists()


def test_a_fit_goes_as_the_first_training_and_says_where_it_had_not_converged(
    first: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = first.spec.training.model_copy(update={"clip": 2.0, "learning_rate": 0.01})
    made = refitted(replace(first, spec=first.spec.model_copy(update={"training": training})), "flow").training
    assert (made.clip, made.learning_rate, made.optimizer) == (2.0, 0.01, first.spec.training.optimizer)

    record = first.history()[0]

    def history(*losses: float) -> list[Epoch]:
        return [replace(record, epoch=i + 1, terms={"loss": loss}) for i, loss in enumerate(losses)]

    for losses, said in (
        ([90, 80, 60, 50, 49, 48, 47, 46, 45, 44], "in the last 2 epochs of 10 its loss fell by 2.00 nats; more"),
        ([90, 50, 48.02, 48.01, 48], ""),
        ([90, 80], "in the last 1 epoch of 2 its loss fell by 10.00 nats"),
        ([90], ""),
    ):
        monkeypatch.setattr(Run, "history", lambda self, losses=losses: history(*losses))
        assert said in unconverged(first)
        assert bool(said) == bool(unconverged(first))


def test_groups_of_classes_are_those_of_the_posterior(tmp_path: Path) -> None:
    two = "{{name='{}-categorical', groups=2}}".format
    kept = f"model.latents.z={{size=6, posterior={two('relaxed')}, prior={two('uniform')}}}"
    made = refitted(small_run(tmp_path / "first", *FEW, kept), "categorical")
    assert made.model.latents["z"].prior.options == {"groups": 2}


def test_a_mixture_is_fitted_by_expectation_maximisation_wherever_the_prior_is_given_nothing(tmp_path: Path) -> None:
    counted = tmp_path / "counts.csv"
    x = np.random.default_rng(0).poisson(3.0, (200, 3))
    rows = [f"{a},{b},{c},{total}" for (a, b, c), total in zip(x, x.sum(1) + 1, strict=True)]
    counted.write_text("a,b,c,total\n" + "\n".join(rows) + "\n")
    exposure = ["data.exposure=total", "data.domain=count", "model.likelihood=poisson"]
    exposed = train(str(counted), tmp_path / "exposed", epochs=1, sets=exposure)
    assert refitted(exposed, "mixture").model.latents["z"].prior.options == {"fit_after": 0.0}
    # Labels that are summed out are given to priors too, though nobody is asked for them.
    labelled = small_run(tmp_path / "labelled", *FEW, "model.classifier=mlp", "objective=semi-supervised")
    made = refit_prior(labelled, "mixture", samples=2, epochs=1, sets=[MIXED]).runs[1]
    assert made.spec.model.latents["z"].prior.options == {"components": 5}
    above = ["model.structure=hierarchical", "model.latents.z.prior=diagonal-normal", "model.latents.w.size=2"]
    in_turn = small_run(tmp_path / "in-turn", *FEW, *above)
    assert refitted(in_turn, "mixture").model.latents["w"].prior.options == {"fit_after": 0.0}
    assert refitted(in_turn, "mixture", "z").model.latents["z"].prior.options == {}


def test_the_command_says_both_scores(first: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaekit.show.report.write_report", lambda run, scores: run.path / "report.html")
    given = ("--prior", "diagonal-normal", "--out", tmp_path / "made", "--samples", "2", "--epochs", "1")
    out = done("refit-prior", first.path, *given)
    assert "NLL less the first's" in out
    assert f"report: {tmp_path / 'made' / 'report.html'}" in out
