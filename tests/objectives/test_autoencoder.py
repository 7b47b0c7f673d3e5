"""Autoencoders without noise: the loss by hand, the penalty of the decoder against its Jacobian, a prior afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from models_for_tests import data_of, gradient, linear_gaussian, model_of, refuses, standard_errors_apart
from runs_for_tests import small_run
from torch import Tensor
from torch.func import jacrev, vmap

from vaekit import refit_prior
from vaekit.data import Preprocessing
from vaekit.data.batch import Batch
from vaekit.data.domains import Domain
from vaekit.data.tensors import TensorSplit
from vaekit.distributions.moments import mean
from vaekit.models.trace import Trace
from vaekit.objectives import ELBO, AdversarialDiscrepancy, Autoencoder, DecoderGradient, Discrepancy, Loss, Sum
from vaekit.objectives.images import of_order_one
from vaekit.runs.course import beside_the_bound
from vaekit.seeding import seeded
from vaekit.training.opponents import Opponents
from vaekit.training.step import rehearse, terms_of, traced
from vaekit.training.together import Part

NO_NOISE = "model.latents.z.posterior={name='fixed-normal', scale=0.2}"


pytestmark = pytest.mark.usefixtures("_float64_but_of_runs")


def small(**options: Any) -> Any:
    return model_of(posterior="fixed-normal", **options)


def test_the_loss_is_of_the_means_by_hand() -> None:
    model = small(latents={"z": 2, "w": 1})
    x = data_of(model.domain, (6, 4))
    with seeded(0):
        found = Autoencoder(weight=0.7)(traced(model, Autoencoder(), Batch(x)))
    z = model.encode(x)
    log_px = model.likelihood_of(z, None).log_prob(x)
    assert float(found.loss.detach()) == pytest.approx(float((-log_px.detach() + 0.35 * z.square().sum(-1)).mean()))
    assert float(found.terms["code_norm"]) == pytest.approx(float(0.5 * z.square().sum(-1).mean()))
    together = Sum((Autoencoder(weight=0.0), Discrepancy(1.0)))
    with seeded(0):
        assert torch.equal(traced(model, together, Batch(x)).latents[0].z[0], z[:, :2])


def test_the_scale_is_of_scores_alone() -> None:
    found = []
    for scale in (0.1, 3.0):
        model = small(options={"fixed-normal": {"scale": scale}})
        x = data_of(model.domain, (6, 4))
        with seeded(0):
            found.append(gradient(Autoencoder()(traced(model, Autoencoder(), Batch(x))).loss, model))
    for name in found[0]:
        assert torch.equal(found[0][name], found[1][name]), name


def test_who_plays_against_an_autoencoder_sees_its_codes() -> None:
    """In its own steps, too, where draws would be far from them."""

    class Seeing(AdversarialDiscrepancy):
        def opponent_loss(self, trace: Trace, progress: float = 1.0) -> Loss:
            seen.append(trace.latents[0].z[0])
            return super().opponent_loss(trace, progress)

    seen: list[Tensor] = []
    model = small(options={"fixed-normal": {"scale": 3.0}})
    x = data_of(model.domain, (6, 4))
    objective = Sum((Autoencoder(weight=0.0), Seeing(latent=2, width=4, layers=1)))
    data = TensorSplit(x, None, model.domain, Preprocessing())
    rehearse(model, objective, data)
    opponents = Opponents(model, objective, data)
    terms = terms_of(objective(traced(model, objective, Batch(x))))
    opponents(terms, Part(torch.arange(6)), 0.5)
    assert [len(each) for each in seen] == [2, 6]
    for each in seen:
        torch.testing.assert_close(each, model.encode(x[: len(each)]))


@pytest.mark.parametrize("likelihood", ["bernoulli", "normal"])
def test_the_penalty_of_a_decoder_is_that_of_its_jacobian_on_average(likelihood: str) -> None:
    model = small(likelihood=likelihood)
    x, term = data_of(model.domain, (3, 4)), DecoderGradient(model.domain, weight=2.0)

    def decoded(z: torch.Tensor) -> torch.Tensor:
        return of_order_one(model.domain, mean(model.likelihood_of(z[None], None))[0])

    z = model.encode(x)
    exact = vmap(jacrev(decoded))(z).square().sum()
    wanted = gradient(exact / len(x), model)
    draws: list[torch.Tensor] = []
    values = []
    with seeded(0):
        for _ in range(150):
            loss = term(traced(model, Autoencoder(), Batch(x))).loss
            values.append(loss.detach())
            draws.append(torch.cat([g.flatten() for name, g in gradient(loss, model).items() if "decoder" in name]))
    assert float(standard_errors_apart(torch.stack(values), float(exact.detach() / len(x)))) < 4
    expected = torch.cat([g.flatten() for name, g in wanted.items() if "decoder" in name])
    apart = (torch.stack(draws).mean(0) - expected).norm() / expected.norm()
    assert float(apart) < 0.25
    with torch.no_grad():
        assert float(term(traced(model, Autoencoder(), Batch(x))).loss) == 0
    with refuses("whose mean has a gradient"):
        DecoderGradient(Domain("categorical", levels=3))


def test_a_linear_decoder_has_the_same_penalty_everywhere() -> None:
    known = linear_gaussian()
    model, term = known.model(), DecoderGradient(known.domain)
    with seeded(0):
        draws = torch.stack([term(traced(model, ELBO(), Batch(known.draw(50)))).loss.detach() for _ in range(100)])
    assert float(standard_errors_apart(draws, float(0.5 * known.weight.square().sum()))) < 4


def test_a_prior_comes_afterwards(tmp_path: Path) -> None:
    sets = ["objective={name='autoencoder', weight=0.05, terms={decoder-gradient={weight=0.001}}}", "training.epochs=5"]
    first = small_run(tmp_path / "rae", NO_NOISE, "data.test=100", *sets)
    assert "autoencoder" in beside_the_bound(first)
    assert {"reconstruction", "code_norm"} <= first.history()[-1].terms.keys()
    found = refit_prior(
        first,
        "mixture",
        sets=["model.latents.z.prior={name='mixture', components=4, full=true, fit_after=0.0}"],
        samples=50,
        epochs=4,
    )
    assert found.rows[1].nll_difference < -3 * found.rows[1].nll_difference_stderr
    assert beside_the_bound(found.runs[1]) == ""
