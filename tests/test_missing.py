"""Cells that are not observed: nowhere read as data, and scored as if they were not there. Any kind of data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from models_for_tests import LinearGaussian, data_of, domain_of, float64, model_of, refuses, standard_errors_apart
from scipy.stats import multivariate_normal
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from vaekit import draw, evaluate, fit, train
from vaekit.data import Batch, Dataset, Preprocessing, Split, load
from vaekit.data.domains import KINDS, Domain
from vaekit.data.inputs import Inputs
from vaekit.data.tensors import as_split, to_device
from vaekit.distributions.observed import cell_log_probs, observed_log_prob
from vaekit.objectives import ELBO
from vaekit.runs.run import load_run
from vaekit.seeding import seeded
from vaekit.show.pictures.drawing import offers
from vaekit.spec.parts import PARTS

KIND_OF = {name: part.domains[0] for name, part in PARTS.likelihoods.items()}  # type: ignore[attr-defined]


def holes(shape: tuple[int, ...], seed: int = 0, share: float = 0.3) -> Tensor:
    with seeded(seed):
        return torch.rand(shape) > share


@pytest.mark.parametrize("likelihood", [name for name in PARTS.likelihoods if name != "self-masked-columns"])
def test_any_likelihood_leaves_out_what_is_not_observed(likelihood: str) -> None:
    model = model_of(likelihood=likelihood, by=0.4)
    x, observed = data_of(domain_of(KIND_OF[likelihood]), (5, 4), 1), holes((5, 4))
    with seeded(0), torch.no_grad():
        px = model.trace(Batch(x), samples=2).px
    alone = cell_log_probs(px, x)
    torch.testing.assert_close(observed_log_prob(px, x, observed), (alone * observed).sum(-1))
    torch.testing.assert_close(observed_log_prob(px, x, observed | True), px.log_prob(x))
    assert (observed_log_prob(px, x, observed & False) == 0).all()


@pytest.mark.parametrize("likelihood", PARTS.likelihoods)
def test_nothing_depends_on_what_stands_where_nothing_is_observed(likelihood: str) -> None:
    domain = domain_of(KIND_OF[likelihood])
    model = model_of(likelihood=likelihood, by=0.4)
    x, other, observed = data_of(domain, (5, 4), 1), data_of(domain, (5, 4), 2), holes((5, 4))
    results = []
    for filled in (x, torch.where(observed, x, other)):
        with seeded(0):
            loss = ELBO()(model.trace(Batch(filled, observed=observed), samples=2)).loss
        model.zero_grad()
        loss.backward()
        results.append([loss.detach(), *(p.grad for p in model.parameters())])
    for one, two in zip(*results, strict=True):
        assert torch.equal(one, two)
        assert one.isfinite().all()


def linear_gaussian() -> LinearGaussian:
    with float64(), seeded(4):
        domain = Domain("real", location=(1.0, -2.0, 0.5, 3.0), scale=(2.0, 0.5, 1.0, 3.0))
        return LinearGaussian(torch.randn(4, 2), torch.randn(4), 0.7, domain)


def test_log_p_is_that_of_the_marginal() -> None:
    truth = linear_gaussian()
    model, x = truth.model(wrong=0.3), truth.draw(6, seed=1)
    gaps = ~holes((6, 4), 3).numpy()
    gaps[0], gaps[1] = True, False
    given = x.numpy().copy()
    given[gaps] = np.nan
    wanted = np.zeros(6)
    for row in range(1, 6):
        seen = np.flatnonzero(~gaps[row])
        wanted[row] = multivariate_normal(truth.mean[seen], truth.covariance[np.ix_(seen, seen)]).logpdf(
            given[row, seen]
        )
    scores = model.score(given, samples=40_000, seed=0)
    error = scores.log_prob_variance.sqrt().numpy()
    assert (np.abs(scores.log_prob.numpy() - wanted) < 5 * error)[1:].all()
    assert (scores.elbo.numpy() < wanted + 1e-6).all()
    # A posterior that is wider than the prior covers it, so that the weights of nothing average to one.
    nothing = truth.model(wrong=2.0).score(given[:1], samples=40_000, seed=0)
    assert abs(float(nothing.log_prob)) < 5 * float(nothing.log_prob_variance.sqrt())


def test_a_column_that_is_never_observed_changes_nothing() -> None:
    truth = linear_gaussian()
    model, x = truth.model(wrong=0.2), truth.draw(40, seed=2).numpy()
    x[:, 2] = np.nan
    weight = model.decoder.layers[0].weight  # type: ignore[union-attr, index]
    before = model.log_prob(x, samples=50, seed=0)
    with torch.no_grad():
        weight[2] += 5.0  # what the decoder says of that column alone
    assert torch.equal(model.log_prob(x, samples=50, seed=0), before)


def test_scores_of_whole_data_are_the_same_with_a_mask_that_hides_nothing() -> None:
    model = model_of(by=0.4)
    x = data_of(model.domain, (7, 4))
    plain, masked = (model.score(batch, samples=20, seed=0) for batch in (Batch(x), Batch(x, observed=x.isfinite())))
    torch.testing.assert_close(plain.log_prob, masked.log_prob, rtol=1e-12, atol=0)
    torch.testing.assert_close(plain.elbo, masked.elbo, rtol=1e-12, atol=0)


class Joint(nn.Module):
    """A normal with correlated cells, `marginal` where it says what of it is observed is like."""

    domains = ("real",)

    def __init__(self, marginal: bool) -> None:
        super().__init__()
        self.event_shape, self.domain, self.parameter_shape = (4,), Domain("real"), (1, 4)
        self.marginal = marginal

    def forward(self, parameters: Tensor) -> MultivariateNormal:
        covariance = 0.5 * torch.eye(4, dtype=parameters.dtype) + 0.5
        return (WithMarginals if self.marginal else MultivariateNormal)(parameters.squeeze(-2), covariance)


class WithMarginals(MultivariateNormal):
    def marginal_log_prob(self, x: Tensor, observed: Tensor) -> Tensor:
        both = observed[..., :, None] & observed[..., None, :]
        kept = torch.where(both, self.covariance_matrix, torch.eye(4, dtype=x.dtype))
        z = torch.where(observed, x - self.loc, 0.0)
        plain = MultivariateNormal(torch.zeros(4, dtype=x.dtype), kept).log_prob(z)
        return plain + 0.5 * np.log(2 * np.pi) * (~observed).sum(-1)


def test_what_does_not_factorise_says_its_marginal_or_is_refused() -> None:
    plain = model_of(likelihood="normal", event_shape=(4,))
    x, observed = torch.randn(3, 4, dtype=torch.float64), holes((3, 4))
    for marginal in (True, False):
        with float64():
            plain.likelihood = Joint(marginal)
            plain.decoder = nn.Sequential(nn.Linear(2, 4), nn.Unflatten(-1, (1, 4)))
        batch = Batch(x, observed=observed)
        if not marginal:
            with refuses("MultivariateNormal is no density of cells that are independent"):
                _ = plain.trace(batch).log_px
            continue
        with seeded(0):
            trace = plain.trace(batch)
        for row in range(3):
            seen = observed[row].nonzero().squeeze(1)
            covariance = trace.px.covariance_matrix[0, row][seen][:, seen]  # type: ignore[attr-defined]
            want = MultivariateNormal(trace.px.mean[0, row, seen], covariance).log_prob(x[row, seen])
            torch.testing.assert_close(trace.log_px[0, row], want)


@pytest.mark.parametrize("shape", [(3,), (2, 4, 4)])
def test_encoders_see_zeros_and_a_bit_for_each_cell(shape: tuple[int, ...]) -> None:
    domain = Domain("real", location=3.0, scale=2.0, missing=True)
    x, observed = torch.randn(5, *shape), holes((5, *shape))
    inputs = Inputs(shape, domain)
    numbers, bits = inputs(x, observed).chunk(2, 1)
    assert inputs(x, observed).shape == (5, *inputs.shape)
    assert torch.equal(numbers, torch.where(observed, (x - 3) / 2, 0.0))
    assert torch.equal(bits, observed.float())
    assert torch.equal(inputs(x).chunk(2, 1)[1], torch.ones_like(x))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_data_trains_and_scores_with_missing_cells(kind: str) -> None:
    domain = domain_of(kind)
    x = data_of(domain, (60, 4), 5).numpy()
    x[~holes((60, 4), 6).numpy()] = np.nan
    name = next(name for name, part in PARTS.likelihoods.items() if kind in part.domains)  # type: ignore[attr-defined]
    model = model_of(likelihood=name, by=0.0, domain=domain)
    fit(model, x, epochs=2, batch_size=20)
    scores = evaluate(model, x, 5)
    assert np.isfinite(scores.nll)
    seen = np.isfinite(x).sum() / len(x)
    assert scores.bits_per_dim == pytest.approx(scores.nll / (seen * np.log(2)))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(400, 1))
    x = (z @ [[1.0, -2.0, 0.5]] + 0.1 * rng.normal(size=(400, 3)) + [10.0, 0.0, -5.0]).astype(np.float32)
    x[rng.random(x.shape) < 0.2] = np.nan
    path = tmp_path / "holes.npy"
    np.save(path, x)
    return path


def test_statistics_are_of_what_is_observed(table: Path) -> None:
    data = load(table, validation=0, test=0)
    x = np.load(table).astype(np.float64)
    assert data.domain.missing
    np.testing.assert_allclose(data.domain.location, np.nanmean(x, 0), rtol=1e-6)
    np.testing.assert_allclose(data.domain.scale, np.nanstd(x, 0), rtol=1e-6)
    assert any("not observed" in note for note in data.notes)
    split = data.splits["train"]
    assert split.observed is not None
    assert np.array_equal(split.observed, np.isfinite(x))
    assert np.isfinite(split.x).all()


def test_a_run_on_data_with_holes_trains_scores_loads_and_knows_what_is_missing(table: Path, tmp_path: Path) -> None:
    sets = ["training.epochs=40", "model.encoder.hidden=[32]", "model.decoder.hidden=[32]", "model.latents.z.size=1"]
    run = train(table, tmp_path / "run", sets=sets)
    again = load_run(tmp_path / "run")
    scores = again.evaluate("test", 20)
    assert scores == run.evaluate("test", 20)
    x = np.load(table).astype(np.float64)
    # Each column alone as a normal, which a code of what the others say must beat.
    alone = sum(0.5 * np.log(2 * np.pi * np.e * np.nanvar(x[:, i])) * np.isfinite(x[:, i]).mean() for i in range(3))
    assert run.evaluate("train", 20).nll < alone - 0.3
    pairs = run.reconstructions("test", 5)
    assert pairs[:, 0].isnan().any()
    assert pairs[:, 1].isfinite().all()
    assert run.encode("test")[0].shape[1] == 1
    for offer in offers(run):
        if not offer.lacks:
            draw(run, offer.name)


def test_rows_keep_what_of_them_is_observed_whatever_is_picked() -> None:
    x = np.arange(12.0).reshape(6, 2)
    x[[1, 4], [0, 1]] = np.nan
    split = as_split(x, "train", Domain("real"))
    assert split.observed is not None
    for rows in (np.array([4, 1]), np.array([0])):
        assert np.array_equal(split.rows(rows).observed, np.isfinite(x[rows]))  # type: ignore[arg-type]
    chosen = Split(np.ones((3, 2)), observed=np.eye(3, 2) > 0).where(np.array([True, False, True]))
    assert chosen.observed is not None
    assert chosen.observed.tolist() == [[True, False], [False, False]]
    data = Dataset(
        "d", Domain("binary", missing=True), {"train": Split(np.ones((3, 2), np.uint8), observed=np.eye(3, 2) > 0)}
    )
    assert to_device(data, "train", Preprocessing()).seen.missing


def test_noise_of_preprocessing_stays_within_what_is_observed() -> None:
    x = np.full((50, 4), 3, np.uint8)
    split = Split(x, observed=holes((50, 4), 2).numpy())
    data = Dataset("d", Domain("grey", levels=5, missing=True), {"train": split})
    batch = to_device(data, "train", Preprocessing(dequantize=True)).batch(slice(None))
    assert batch.observed is not None
    assert (batch.x[batch.observed] >= 3).all()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.full((4, 2), np.nan), "has no value at all"),
        (np.array([[1.0, np.nan], [np.inf, 2.0]]), "no finite 32-bit number"),
    ],
)
def test_what_is_refused(given: np.ndarray, words: str) -> None:
    with refuses(words):
        as_split(given, "train", Domain("real"))


def test_a_column_without_any_value_is_refused_by_name(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(30, 3))
    x[:, 1] = np.nan
    np.save(tmp_path / "x.npy", x)
    with refuses("nothing is observed in the training rows of column 1"):
        load(tmp_path / "x.npy")


def test_draws_where_cells_are_missing_are_of_the_posterior_given_the_others() -> None:
    """With an encoder of zeros in their place, the posterior is that of the exact gain at the mean of the column."""
    truth = linear_gaussian()
    model, x = truth.model(), truth.draw(1, seed=3)
    gap = x.clone()
    gap[0, 1] = torch.nan
    at_mean = x.clone()
    at_mean[0, 1] = truth.domain.location[1]  # type: ignore[index]
    drawn = model.encode(gap, samples=4000, seed=0)
    assert standard_errors_apart(drawn, model.encode(at_mean)[0]).max() < 4.5
