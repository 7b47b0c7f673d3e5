"""What users ask of a model: means that are means, draws that are drawn, shapes, seeds, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from models_for_tests import data_of, linear_gaussian, model_of, one_hot, refuses, standard_errors_apart
from rounding_for_tests import close_in_ulps
from scipy import stats
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from vaekit.data.batch import Batch
from vaekit.data.domains import Domain
from vaekit.likelihoods import Bernoulli, FixedNormal
from vaekit.models import VAE, Auxiliary, SemiSupervisedVAE
from vaekit.models.given import condition_units
from vaekit.networks.mlp import MLP
from vaekit.objectives import ELBO, IWAE
from vaekit.posteriors import DiagonalNormal, Flow
from vaekit.priors.mixtures import Mixture
from vaekit.priors.normal import StandardNormal
from vaekit.seeding import seeded
from vaekit.training.fitting import fit

pytestmark = pytest.mark.usefixtures("_float64")


def test_what_has_no_classifier_says_so():
    truth = linear_gaussian()
    with refuses("a VAE says nothing of labels; accepted: a model with a classifier"):
        truth.model().classify(truth.draw(4))


def test_encode_is_the_posterior_mean_and_random_only_where_asked():
    truth = linear_gaussian()
    model, x = truth.model(), truth.draw(4)
    gain, covariance = truth.posterior()
    scaled = (x - torch.tensor(truth.domain.location)) / torch.tensor(truth.domain.scale)
    want = (scaled - truth.bias) @ gain.T
    assert torch.allclose(model.encode(x), want)
    assert close_in_ulps(model.encode(x.numpy()), model.encode(x))
    assert close_in_ulps(model.encode(x.tolist()), model.encode(x))
    draws = model.encode(x, samples=20_000, seed=0)
    assert standard_errors_apart(draws - want, 0.0).max() < 4
    assert torch.allclose(draws.flatten(0, 1).sub(want.repeat(20_000, 1)).T.cov(), covariance, atol=0.02)
    assert torch.equal(model.encode(x, samples=3, seed=1), model.encode(x, samples=3, seed=1))
    assert not torch.equal(model.encode(x, samples=3, seed=1), model.encode(x, samples=3, seed=2))
    assert not torch.equal(model.encode(x, samples=3), model.encode(x, samples=3))


def test_decode_and_reconstruct_are_means_in_the_units_of_the_data():
    truth = linear_gaussian()
    model, x = truth.model(), truth.draw(4)
    z = model.encode(x)
    want = torch.tensor(truth.domain.location) + torch.tensor(truth.domain.scale) * (z @ truth.weight.T + truth.bias)
    assert torch.allclose(model.decode(z), want)
    assert close_in_ulps(model.reconstruct(x), model.decode(z))
    assert torch.allclose(model.decode(z[0]), want[0])
    drawn = model.decode(z.expand(20_000, -1, -1), draw=True, seed=0)
    assert standard_errors_apart(drawn - want, 0.0).max() < 4
    assert torch.allclose(drawn.std(0), truth.sigma * torch.tensor(truth.domain.scale).expand(4, 3), rtol=0.05)
    both = {"samples": 2, "draw": True}
    assert torch.equal(model.reconstruct(x, **both, seed=1), model.reconstruct(x, **both, seed=1))
    assert not torch.equal(model.reconstruct(x, **both, seed=1), model.reconstruct(x, **both, seed=2))


def test_samples_are_of_the_model():
    truth = linear_gaussian()
    samples = truth.model().sample(20_000, seed=0).numpy()
    spread = np.sqrt(np.diag(truth.covariance))
    assert (np.abs(samples.mean(0) - truth.mean) < 4 * spread / 20_000**0.5).all()
    scales = np.outer(spread, spread)
    assert np.allclose(np.cov(samples.T) / scales, truth.covariance / scales, atol=0.04)
    for column in range(3):
        oracle = stats.norm(truth.mean[column], spread[column])
        assert stats.kstest(samples[:, column], oracle.cdf).pvalue > 1e-4


def test_sample_gives_each_row_of_y_one_and_one_row_all():
    model = model_of(condition=3, prior="mixture")
    assert model.sample(y=[0, 1, 2, 2]).shape == (4, 4)
    assert model.sample(5, y=[1]).shape == (5, 4)
    assert model.sample(y=one_hot(3, 3)).shape == (3, 4)
    mean = {"draw": False, "seed": 0}
    assert close_in_ulps(model.sample(3, [2], **mean), model.sample(y=[2, 2, 2], **mean))
    assert close_in_ulps(model.sample(2, [2, 0], **mean), model.sample(2, one_hot(3, 3)[[2, 0]], **mean))


def test_labels_are_their_one_hot_vectors_everywhere():
    model, labels = model_of(condition=3, prior="vamp"), torch.tensor([2, 0, 1])
    x, y = data_of(model.likelihood.domain, (3, 4)), torch.eye(3)[labels]
    for kind in (labels, labels.numpy(), labels.to(torch.uint8), labels.tolist()):
        assert close_in_ulps(model.encode(x, kind), model.encode(x, y))
        assert close_in_ulps(model.log_prob(x, kind, samples=2, seed=0), model.log_prob(x, y, samples=2, seed=0))
    with seeded(0), torch.no_grad():
        by_label = model.trace(Batch(x, labels), 2).log_weight
    with seeded(0), torch.no_grad():
        assert close_in_ulps(by_label, model.trace(Batch(x, y), 2).log_weight)
    assert not torch.allclose(model.encode(x, y), model.encode(x, y.roll(1, 1)))


@pytest.mark.parametrize("prior", ["mixture", "vamp", "flow"])
def test_covariates_in_other_units_are_the_same_everywhere(prior: str):
    location, scale = (2000.0, -5.0), (10.0, 0.1)
    plain, model = (model_of(condition=2, prior=prior, condition_units=u) for u in (((), ()), (location, scale)))
    x, y = data_of(model.likelihood.domain, (3, 4)), torch.randn(3, 2, dtype=torch.float64)
    theirs = y * torch.tensor(scale) + torch.tensor(location)
    found, wanted = (
        {
            "codes": each.encode(x, given),
            "draws": each.encode(x, given, samples=2, seed=0),
            "decoded": each.decode(torch.zeros(3, 2), given),
            "reconstructed": each.reconstruct(x, given, samples=2, seed=0),
            "samples": each.sample(y=given, seed=0),
            "log p": each.log_prob(x, given, samples=3, seed=0),
            "kl": torch.stack([latent.q.mean for latent in each.latents(Batch(x, given))]) if prior != "flow" else x,
            **({} if prior == "flow" else {"clusters": each.clusters(x, given)}),
        }
        for each, given in ((model, theirs), (plain, y))
    )
    for name, value in found.items():
        torch.testing.assert_close(value, wanted[name], msg=name)
    assert not torch.allclose(plain.encode(x, theirs), wanted["codes"])


@pytest.mark.parametrize(("name", "values"), [("scale", (1.0, 0.0)), ("scale", (1.0,)), ("location", (1.0, math.nan))])
def test_units_of_covariates_that_make_no_sense(name: str, values: tuple[float, ...]):
    parts = model_of(condition=2)
    given = (parts.encoder, dict(parts.posteriors.items()), dict(parts.priors.items()), parts.decoder, parts.likelihood)
    with pytest.raises(ValueError, match=f"condition_{name} is .*accepted: 2 finite numbers"):
        VAE(*given, 2, **{f"condition_{name}": values})


def test_seeds_leave_the_stream_as_it_was():
    model = model_of(posterior="flow")
    x = data_of(model.likelihood.domain, (2, 4))
    before = torch.get_rng_state()
    model.encode(x)
    model.encode(x, samples=2, seed=0)
    model.sample(2, seed=0)
    model.reconstruct(x, samples=1, draw=True, seed=0)
    model.score(x, samples=2, seed=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_score_does_not_depend_on_the_memory_beyond_its_draws():
    truth = linear_gaussian()
    model, x = truth.model(), truth.draw(50)
    want = truth.log_prob(x).numpy()
    for memory in (0, 50_000, 10**9):  # a datum and a draw at a time; several of both; all at once
        scores = model.score(x, samples=40, seed=0, memory=memory)
        assert np.allclose(scores.log_prob, want, atol=1e-9)
        assert scores.kl_terms["z"].shape == (50, 1)
        assert scores.elbo.shape == (50,)


def test_split_undoes_the_order_of_the_latents():
    model = model_of(latents={"b": 1, "a": 3})
    z = model.encode(data_of(model.likelihood.domain, (2, 4)))
    parts = model.split(z)
    assert model.latent_size == 4
    assert list(parts) == ["b", "a"]
    assert torch.equal(torch.cat(list(parts.values()), -1), z)


X = np.zeros((2, 4))
REFUSED = {
    "x has shape (4,)": lambda m, c: m.encode(X[0]),
    "x has shape (2, 5); accepted: (B, 4), B > 0": lambda m, c: m.encode(np.zeros((2, 5))),
    "x has shape (0, 4)": lambda m, c: m.encode(X[:0]),
    "x has 8 values other than binary 0/1; the first is 0.5": lambda m, c: m.log_prob(X + 0.5),
    "x has 8 values other than finite": lambda m, c: m.log_prob(X + np.inf),
    "y was given to a model without a condition": lambda m, c: m.encode(X, [0, 1]),
    "this model is conditional: it needs y": lambda m, c: c.sample(3),
    "y has labels 0..3; accepted: 0..2": lambda m, c: c.encode(X, [0, 3]),
    "y has labels -1..0": lambda m, c: c.sample(y=[0, -1]),
    "y has shape (3, 3); accepted: (2, 3) or (2,)": lambda m, c: c.encode(X, np.eye(3)),
    "y has values that are no finite numbers": lambda m, c: c.encode(X, np.full((2, 3), np.nan)),
    "y has shape (2, 2)": lambda m, c: c.encode(X, np.eye(2)),
    "z has shape (2, 3); accepted: (…, 2)": lambda m, c: m.decode(np.zeros((2, 3))),
    "the number of samples, must be at least 1, got 0": lambda m, c: m.sample(0),
    "samples must be at least 1, got 0": lambda m, c: m.log_prob(X, samples=0),
}


def test_one_code_is_decoded_to_one_datum():
    one, many = model_of(), model_of(condition=3)
    assert one.decode(torch.zeros(2)).shape == (4,)
    assert many.decode(torch.zeros(2), [1]).shape == (4,)
    assert close_in_ulps(many.decode(torch.zeros(2), [1]), many.decode(torch.zeros(3, 2), [1])[0])


@pytest.mark.parametrize("message", REFUSED)
def test_what_models_refuse(message: str):
    with refuses(message):
        REFUSED[message](model_of(), model_of(condition=3))


MISTAKEN: dict[str, dict[str, Any]] = {
    "posteriors is a DiagonalNormal; accepted: modules by the names of their latents, such as": {
        "posteriors": DiagonalNormal(5, 2)
    },
    "priors is [StandardNormal()]; accepted: modules by the names": {"priors": [StandardNormal(2)]},
    "posteriors['z'] is 'diagonal-normal'; accepted: a torch.nn.Module": {"posteriors": {"z": "diagonal-normal"}},
    "priors['z'] is the class StandardNormal; accepted: a torch.nn.Module": {"priors": {"z": StandardNormal}},
    "encoder is 'mlp'; accepted: a torch.nn.Module": {"encoder": "mlp"},
    "decoder is a function; accepted: a torch.nn.Module": {"decoder": lambda z, y=None: z},
    "likelihood is the class Bernoulli; accepted: a torch.nn.Module": {"likelihood": Bernoulli},
}


@pytest.mark.parametrize("message", MISTAKEN)
def test_parts_that_are_another_kind_of_thing_are_named(message: str):
    model = model_of()
    given = {name: getattr(model, name) for name in ("encoder", "decoder", "likelihood")}
    given |= {name: dict(getattr(model, name).items()) for name in ("posteriors", "priors")}
    with refuses(message):
        VAE(**given | MISTAKEN[message])


def test_sizes_domains_and_coefficients_of_another_kind_are_named():
    for message, mistake in {
        "domain is 'real'; accepted: a vaekit.Domain": lambda: FixedNormal((3,), "real"),
        "event_shape is 3; accepted: whole numbers": lambda: FixedNormal(3, Domain("real")),
        "features is (8,); accepted: a whole number": lambda: DiagonalNormal((8,), 2),
        "beta is 'linear'; accepted: a number, or a schedule": lambda: ELBO(beta="linear"),
        "samples is '5'; accepted: a whole number": lambda: IWAE(samples="5"),
        "objective is 'elbo'; accepted: an objective": lambda: fit(model_of(), X, "elbo"),
        "objective is the class ELBO; accepted: an objective": lambda: fit(model_of(), X, ELBO),
        "batch is a Tensor; accepted: a vaekit.data.Batch": lambda: model_of().trace(torch.zeros(2, 4)),
        "samples must be at least 1, got 0": lambda: model_of().trace(Batch(torch.zeros(2, 4)), samples=0),
        "the model has no weights to train": lambda: fit(model_of().requires_grad_(False), X),
        "model is 'digits'; accepted: a vaekit.VAE": lambda: fit("digits", X),
    }.items():
        with refuses(message):
            mistake()


@pytest.mark.parametrize("names", [("z", "w"), ("a.b", "a.b"), ("type", "type"), ("", "")])
def test_latents_need_names_that_they_share(names: tuple[str, str]):
    made = model_of()
    posteriors, priors = {names[0]: made.posteriors["z"]}, {names[1]: made.priors["z"]}
    with refuses("latent"):
        VAE(made.encoder, posteriors, priors, made.decoder, made.likelihood)


def parts_of(condition: int = 0, **others: nn.Module) -> VAE:
    """A VAE of four numbers, two latent ones and three features, with other parts than those."""
    parts: dict[str, Any] = {
        "encoder": MLP((4,), (3,), condition, hidden=()),
        "posterior": DiagonalNormal(3, 2),
        "prior": StandardNormal(2),
        "decoder": MLP((2,), (1, 4), condition, hidden=()),
        "likelihood": Bernoulli((4,), Domain("binary")),
    } | others
    latents = {"posteriors": {"z": parts.pop("posterior")}, "priors": {"z": parts.pop("prior")}}
    return VAE(**parts, **latents, condition=condition)


def giving(made: Callable[[Tensor], Any], **attributes: Any) -> nn.Module:
    """A part of one's own that gives what `made` makes of its input, that of a prior without one of none."""

    class Own(nn.Module):
        def forward(self, x: Tensor | None = None, y: Tensor | None = None) -> Any:
            return made(torch.zeros(2) if x is None else x)

    own = Own()
    for name, value in attributes.items():
        setattr(own, name, value)
    return own


class Unconditional(nn.Module):
    """A prior that takes nothing, not even None."""

    def forward(self) -> Independent:
        return Independent(Normal(torch.zeros(2), 1.0), 1)


def broken(_: Tensor) -> Any:
    raise RuntimeError("it is broken\nin two lines")


MISFITS = {
    "the prior of 'z' gives Normal of single numbers (its event_shape is empty); accepted: one over codes, such as "
    "torch.distributions.Independent(Normal(…), 1)": lambda: parts_of(prior=giving(lambda x: Normal(x, 1.0))),
    "the posterior of 'z' gives Normal of single numbers": lambda: parts_of(
        posterior=giving(lambda x: Normal(x[:, :2], 1.0))
    ),
    "the posterior of 'z' gives Independent of the batch_shape () for one datum": lambda: parts_of(
        posterior=giving(lambda x: Independent(Normal(x[:, :2].mean(0), 1.0), 1))
    ),
    "the prior of 'z' gives Independent of the batch_shape (7,); accepted: one of all data, of the batch_shape ()": (
        lambda: parts_of(prior=giving(lambda x: Independent(Normal(torch.zeros(7, 2), 1.0), 1)))
    ),
    "the prior of 'z' gives Independent of the batch_shape (7,) for one condition; accepted: one of all data, of the "
    "batch_shape () or one of each condition, of the batch_shape (B,)": lambda: parts_of(
        3, prior=giving(lambda x: Independent(Normal(torch.zeros(7, 2), 1.0), 1))
    ),
    "the decoder takes codes (B, D), but not draws of them, (S, B, D): 'it gives (1, 1, 4) for (1, 1, 2)'; accepted: "
    "any dimensions before the last": lambda: parts_of(decoder=giving(lambda z: torch.zeros(len(z), 1, 4))),
    "the decoder takes codes (B, D), but not draws of them, (S, B, D): 'Expected 3D": lambda: parts_of(
        decoder=nn.Sequential(nn.Unflatten(-1, (2, 1, 1)), nn.ConvTranspose2d(2, 1, (1, 4)), nn.Flatten(1, 2))
    ),
    "the prior of 'z' gives Tensor; accepted: a distribution": lambda: parts_of(prior=giving(lambda x: x)),
    "the posterior of 'z' gives tuple; accepted: a distribution": lambda: parts_of(posterior=giving(lambda x: (x, x))),
    "the likelihood gives Tensor; accepted: a distribution": lambda: parts_of(
        likelihood=giving(lambda x: x, event_shape=(4,), domain=Domain("binary"), domains=("binary",))
    ),
    "the prior of 'z' fails without a condition: 'it is broken'": lambda: parts_of(prior=giving(broken)),
    "the prior of 'z' fails without a condition: 'Unconditional.forward() takes 1": lambda: parts_of(
        prior=Unconditional()
    ),
    "the encoder gives tuple; accepted: a tensor": lambda: parts_of(encoder=giving(lambda x: (x,))),
    "the decoder gives NoneType; accepted: a tensor": lambda: parts_of(decoder=giving(lambda x: None)),
    "the encoder gives (4,), but says that its out_shape is (3,)": lambda: parts_of(
        encoder=giving(lambda x: x, out_shape=(3,))
    ),
    "latent 'z': its posterior is of 2 dimensions, but its prior of 3": lambda: parts_of(prior=StandardNormal(3)),
    "latent 'z': its posterior is of 5 dimensions, but its prior of 2": lambda: parts_of(
        posterior=DiagonalNormal(3, 5)
    ),
    "its posterior is of 1 dimensions": lambda: parts_of(posterior=Flow(3, 1, 1, (4,))),
    "the posterior of 'z' does not take what it is given, of shape (3,), its first layer 7": lambda: parts_of(
        posterior=DiagonalNormal(7, 2)
    ),
    "the encoder was built for inputs of shape (5,), but is given (4,)": lambda: parts_of(encoder=MLP((5,))),
    "the encoder does not take what it is given, of shape (4,), its first layer 9": lambda: parts_of(
        encoder=nn.Linear(9, 3)
    ),
    "the encoder was built for condition 2, but is given 3": lambda: parts_of(3, encoder=MLP((4,), (3,), 2)),
    "the decoder was built for condition 2, but is given 0": lambda: parts_of(decoder=MLP((2,), (1, 4), 2)),
    "the decoder was built for inputs of shape (5,), but is given (2,)": lambda: parts_of(decoder=MLP((5,), (1, 4))),
    "the decoder gives (1, 3), but the likelihood wants (1, 4)": lambda: parts_of(decoder=MLP((2,), (1, 3))),
    "the prior of 'z' does not take what it is given, of shape (3,)": lambda: parts_of(3, prior=Mixture(2, 5)),
    "the classifier gives 3 logits, but the model has 4 classes": lambda: labelled(classifier=MLP((4,), (3,))),
    "the encoder was built for condition 4, but is given 5": lambda: labelled(a=1),
    "the auxiliary latent: its posterior is of 1 dimensions, but its prior of 2": lambda: labelled(a=1, other=2),
}


def labelled(classifier: nn.Module | None = None, a: int = 0, other: int = 0) -> SemiSupervisedVAE:
    """A model of four numbers of four classes, with an auxiliary latent of `a` numbers, `other` in its prior."""
    base = parts_of(4)
    auxiliary = None
    if a:
        above = MLP((4,), (3,), 6, hidden=())
        auxiliary = Auxiliary(MLP((4,), (3,)), DiagonalNormal(3, a), above, DiagonalNormal(3, other or a))
    parts = (base.encoder, base.posteriors, base.priors, base.decoder, base.likelihood)
    return SemiSupervisedVAE(*parts, 4, classifier or MLP((4,), (4,), a), auxiliary)


@pytest.mark.parametrize("message", MISFITS)
def test_parts_that_do_not_fit_are_found_when_the_model_is_made(message: str):
    with refuses(message):
        MISFITS[message]()


def test_parts_that_fit_are_made_without_a_draw_or_a_change():
    torch.manual_seed(0)
    before, mode = torch.get_rng_state(), nn.BatchNorm1d(3)
    model = parts_of(encoder=nn.Sequential(MLP((4,), (3,), hidden=()), mode))
    assert mode.training
    assert mode.num_batches_tracked == 0
    assert model.sizes == {"z": 2}
    torch.manual_seed(0)
    MLP((4,), (3,), hidden=())
    parts_of()  # draws its own weights, and nothing else
    after = torch.get_rng_state()
    torch.manual_seed(0)
    for made in (
        MLP((4,), (3,), hidden=()),
        MLP((4,), (3,), hidden=()),
        DiagonalNormal(3, 2),
        MLP((2,), (1, 4), hidden=()),
    ):
        assert made
    assert torch.equal(torch.get_rng_state(), after)
    assert not torch.equal(before, after)


@pytest.mark.parametrize("case", [{}, {"condition": 2, "prior": "vamp"}])
def test_lower_precision_is_of_the_networks_alone(case: dict):
    model = model_of(likelihood="normal", domain=Domain("real", scale=2.0), **case).float()
    x = data_of(model.likelihood.domain, (3, 4)).float()
    y = torch.eye(2)[[0, 1, 0]] if case else None
    with seeded(0), torch.no_grad():
        want = model.trace(Batch(x, y), 2).log_weight
    model.precision = torch.bfloat16
    with seeded(0):
        trace = model.trace(Batch(x, y), 2)
    assert trace.log_weight.dtype == trace.latents[0].z.dtype == torch.float32
    assert not torch.equal(trace.log_weight, want)
    assert torch.allclose(trace.log_weight, want, rtol=0.1, atol=0.5)
    trace.log_weight.mean().backward()
    assert all(p.grad.dtype == torch.float32 for p in model.parameters() if p.grad is not None)


def test_units_of_a_condition_that_are_not_given_take_no_room_whatever_its_size():
    """A spec may say any number of classes, and is refused for what it says, not for want of memory."""
    assert [each.shape for each in condition_units(10**12, None, None)] == [(), ()]
