"""The probabilistic program of a model: with the same noise Pyro's bounds and gradients are ours; Pyro trains it."""

from __future__ import annotations

import copy
import itertools
import subprocess
import sys
from typing import Any

import pytest
import torch
from models_for_tests import (
    CONDITIONS,
    QUANTISED,
    TABLES_ALONE,
    alternately,
    data_of,
    fits,
    float64,
    gradient,
    model_of,
    one_hot,
    refuses,
    standard_errors_apart,
    tried,
)
from rounding_for_tests import close_in_ulps
from torch import Tensor, nn
from torch.distributions import Distribution, Exponential

pytest.importorskip("pyro")
import pyro
from pyro import poutine
from pyro.infer import SVI, Predictive, RenyiELBO, Trace_ELBO, TraceMeanField_ELBO

from vaekit import VAE, load_dataset
from vaekit.data.batch import Batch
from vaekit.data.tensors import as_split
from vaekit.distributions.bernoulli import IndependentBernoulli
from vaekit.interop.pyro import Program, Wrapped
from vaekit.models import Dynamics, HamiltonianVAE, SemiSupervisedVAE
from vaekit.networks.mlp import MLP
from vaekit.objectives.elbo import ELBO
from vaekit.objectives.weighted import IWAE
from vaekit.seeding import seeded
from vaekit.spec.parts import PARTS

IMAGE = (1, 5, 4)
OF_IMAGES = [name for name in PARTS.likelihoods if name not in TABLES_ALONE]
CASES: dict[str, dict[str, Any]] = (
    {
        f"{posterior} and {prior}": {"posterior": posterior, "prior": prior}
        for posterior, prior in itertools.product(PARTS.posteriors, PARTS.priors)
        if fits(posterior, prior) and tried(posterior, prior) and posterior not in QUANTISED
    }
    | {f"likelihood {name}": {"likelihood": name} for name in PARTS.likelihoods}
    | {f"likelihood {name} of images": {"likelihood": name, "event_shape": IMAGE} for name in OF_IMAGES}
    | {
        f"one dimension: {posterior} and {prior}": {"posterior": posterior, "prior": prior, "latents": {"z": 1}}
        for posterior, prior in zip(
            ["diagonal-normal", "full-rank-normal", "flow"], ["mixture", "vamp", "flow"], strict=True
        )
    }
    | {"two latents": {"posterior": "full-rank-normal", "prior": "vamp", "latents": {"style": 1, "content": 3}}}
    | {
        f"a hierarchy of {name}": {
            "structure": "hierarchical",
            "prior": name,
            "posterior": posterior,
            "latents": {"z1": 3, "z2": 2, "z3": 1},
        }
        for name, posterior in (
            ("diagonal-normal", "diagonal-normal"),
            ("mixture", "full-rank-normal"),
            ("flow", "flow"),
        )
    }
    | {"convolutions": {"encoder": "conv", "decoder": "conv", "event_shape": IMAGE}}
)
EVERY_CASE = pytest.mark.parametrize("case", CASES)


@pytest.fixture(autouse=True)
def _float64_and_an_empty_store():
    pyro.clear_param_store()
    with float64():
        yield
    pyro.clear_param_store()


def made(case: str, condition: int = 0, rows: int = 5) -> tuple[VAE, Tensor, Tensor | None]:
    """The model of a case, data and their condition."""
    model = model_of(**CASES[case], condition=condition)
    return model, data_of(model.domain, (rows, *model.event_shape)), one_hot(rows, condition) if condition else None


def loss(estimator: Any, program: Program, *data: Tensor | None, seed: int = 1) -> float:
    with seeded(seed):
        return estimator.loss(program.model, program.guide, *data)


def many(particles: int) -> dict[str, Any]:
    """What makes an estimator of Pyro draw all its samples at once, as a trace does."""
    return {"num_particles": particles, "vectorize_particles": True, "max_plate_nesting": 1}


# -- Pyro's numbers are ours ------------------------------------------------------------------------------------------


@alternately(0, tuple(CASES))
def test_bound_and_its_gradient_are_ours_with_the_same_noise(case: str, condition: int):
    model, x, y = made(case, condition)
    program = Program(model)
    with seeded(1):
        trace = model.trace(Batch(x, y))
    bound = trace.log_weight_at(1.0, scored=True).sum()
    with seeded(1):
        got = Trace_ELBO().loss_and_grads(program.model, program.guide, x, y)
    assert got == pytest.approx(-bound.item(), rel=1e-10)
    # By the score both have noise, each its own.
    for name, want in gradient(-bound, model).items() if trace.log_score is None else ():
        found = model.get_parameter(name).grad
        found = torch.zeros_like(want) if found is None else found
        assert torch.allclose(found, want, rtol=1e-8, atol=1e-10), name


@alternately(1, tuple(CASES))
def test_bounds_of_many_samples_are_ours_with_the_same_noise(case: str, condition: int):
    model, x, y = made(case, condition)
    if case.startswith(("normal-mixture", "semi-implicit")):
        pytest.skip("a mixture draws components and places in turn, so that noise for many lies in another order")
    with seeded(1):
        trace = model.trace(Batch(x, y), samples=6)
    bounds = {
        Trace_ELBO(**many(6)): trace.log_weight_at(1.0, scored=True).mean(0).sum(),
    }
    if trace.log_score is None:
        bounds[RenyiELBO(alpha=0.0, **many(6))] = -IWAE(6)(trace).loss * 5
    if model.apart and trace.log_score is None:
        bounds[TraceMeanField_ELBO(**many(6))] = -ELBO(samples=6)(trace).loss * 5
    for estimator, want in bounds.items():
        assert loss(estimator, Program(model), x, y) == pytest.approx(-want.item(), rel=1e-10), estimator


@EVERY_CASE
def test_bound_is_ours_on_average_with_other_noise(case: str):
    model, x, _ = made(case)
    if "resampled" in case or "semi-implicit" in case:  # in training a part of them is drawn anew each time
        model.eval()
    with seeded(2), torch.no_grad():
        ours = model.trace(Batch(x), samples=1000).log_weight.sum(1)
        theirs = -loss(Trace_ELBO(**many(1000)), Program(model), x)
    assert abs(theirs - ours.mean()) < 4 * (2 * ours.var() / 1000).sqrt()


@pytest.mark.parametrize("posterior", ["diagonal-normal", "full-rank-normal"])
def test_closed_form_is_used_and_leaves_the_noise_of_the_likelihood_alone(posterior: str):
    model, x, _ = made(f"{posterior} and standard-normal")
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.zero_()
    program = Program(model)
    closed = [loss(TraceMeanField_ELBO(), program, x, seed=seed) for seed in range(3)]
    assert closed == pytest.approx([closed[0]] * 3, rel=1e-12)
    assert closed[0] == pytest.approx(-float(model.score(x, samples=1).elbo.sum()), rel=1e-12)
    assert len({loss(Trace_ELBO(), program, x, seed=seed) for seed in range(3)}) == 3


def test_labels_stand_for_their_one_hot_vectors():
    model, x, y = made("two latents", condition=3)
    program = Program(model)
    assert loss(Trace_ELBO(), program, x, y) == pytest.approx(loss(Trace_ELBO(), program, x, y.argmax(-1)), rel=1e-12)
    assert loss(Trace_ELBO(), program, x, y) != loss(Trace_ELBO(), program, x, y.roll(1, 0))


def test_size_counts_a_batch_as_all_data():
    model, x, _ = made("flow and vamp")
    batch = loss(Trace_ELBO(), Program(model), x)
    assert loss(Trace_ELBO(), Program(model, size=5), x) == pytest.approx(batch, rel=1e-12)
    assert loss(Trace_ELBO(), Program(model, size=100), x) == pytest.approx(20 * batch, rel=1e-12)
    assert loss(TraceMeanField_ELBO(), Program(model, size=100), x) == pytest.approx(20 * batch, rel=1e-12)


# -- what Pyro sees ---------------------------------------------------------------------------------------------------


@CONDITIONS
def test_sites_their_shapes_and_the_plate(condition: int):
    model, x, y = made("two latents", condition)
    program = Program(model, size=50)
    guide = poutine.trace(program.guide).get_trace(x, y)
    joint = poutine.trace(poutine.replay(program.model, guide)).get_trace(x, y)
    joint.compute_log_prob()
    assert guide.stochastic_nodes == joint.stochastic_nodes == ["data", "style", "content"]
    assert joint.observation_nodes == ["x"]
    for name, shape in {"style": (1,), "content": (3,), "x": (4,)}.items():
        site = joint.nodes[name]
        assert site["value"].shape == (5, *shape)
        assert site["fn"].batch_shape == site["log_prob"].shape == (5,)
        assert site["fn"].event_shape == shape
        assert (site["scale"], [frame.name for frame in site["cond_indep_stack"]]) == (10, ["data"])
    assert torch.equal(joint.nodes["x"]["value"], x)
    assert torch.equal(joint.nodes["style"]["value"], guide.nodes["style"]["value"])
    assert torch.equal(joint.nodes["_RETURN"]["value"], x)
    assert {name: z.shape for name, z in guide.nodes["_RETURN"]["value"].items()} == {
        "style": (5, 1),
        "content": (5, 3),
    }
    assert {f"vae$$${name}" for name, _ in model.named_parameters()} == set(pyro.get_param_store())


@CONDITIONS
@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("case", ["diagonal-normal and mixture", "two latents", "likelihood normal of images"])
def test_model_without_data_draws_them(case: str, condition: int, parallel: bool):
    model, _, y = made(case, condition)
    rows, many = len(y) if condition else 1, 1000 if parallel else 200  # one at a time takes seconds
    drawn = Predictive(Program(model).model, num_samples=many, parallel=parallel)(None, y)
    assert {name: tuple(z.shape) for name, z in drawn.items()} == (
        {name: (many, rows, n) for name, n in model.sizes.items()} | {"x": (many, rows, *model.event_shape)}
    )
    for row in range(rows):
        ours = model.sample(1000, None if y is None else y[row : row + 1], seed=1)
        assert standard_errors_apart(drawn["x"][:, row], ours).max() < 4.5


def test_data_can_be_drawn_given_the_posterior_and_latents_given():
    model, x, _ = made("full-rank-normal and vamp")
    program = Program(model)
    drawn = Predictive(poutine.uncondition(program.model), guide=program.guide, num_samples=300)(x)["x"]
    assert standard_errors_apart(drawn, model.reconstruct(x, samples=1000, draw=True)).max() < 4.5
    z = torch.ones(2, 2)
    at = Predictive(pyro.condition(program.model, data={"z": z[:1]}), num_samples=300)()["x"][:, 0]
    assert standard_errors_apart(at, model.decode(z[:1].expand(1000, -1), draw=True)).max() < 4.5


class Gumbels(Distribution):
    """A distribution of somebody else's, without what is optional."""

    arg_constraints = {}
    has_rsample = True

    def __init__(self) -> None:
        self.rate = Exponential(torch.ones(2))
        super().__init__(event_shape=torch.Size((2,)), validate_args=False)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.rate.rsample(torch.Size(sample_shape)).log()

    def log_prob(self, value: Tensor) -> Tensor:
        return (self.rate.log_prob(value.exp()) + value).sum(-1)


class GumbelPrior(nn.Module):
    def forward(self, y: Tensor | None = None) -> Distribution:
        return Gumbels()


def test_somebody_elses_distribution_will_do():
    given, x, _ = made("diagonal-normal and standard-normal")
    model = VAE(given.encoder, given.posteriors, {"z": GumbelPrior()}, given.decoder, given.likelihood)
    with seeded(1):
        trace = model.trace(Batch(x), samples=6)
    assert loss(Trace_ELBO(**many(6)), Program(model), x) == pytest.approx(-trace.log_weight.mean(0).sum().item())
    assert Predictive(Program(model).model, num_samples=7)()["z"].shape == (7, 1, 2)


def test_wrapped_distribution_is_what_it_wraps():
    base = IndependentBernoulli(torch.randn(3, 1, 2))
    wrapped = Wrapped(base)
    assert (wrapped.batch_shape, wrapped.event_shape, wrapped.has_rsample) == ((3, 1), (2,), False)
    assert wrapped.support.event_dim == 1
    wide = wrapped.expand([4, 3, 5])
    assert type(wide) is Wrapped
    assert wide.batch_shape == (4, 3, 5)
    x = wide.sample((7,))
    assert x.shape == (7, 4, 3, 5, 2)
    torch.testing.assert_close(wide.log_prob(x), base.log_prob(x))  # sums of parts that lie otherwise


# -- training ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("posterior", "prior", "size"), [("diagonal-normal", "standard-normal", None), ("flow", "vamp", 1197)]
)
def test_pyro_trains_a_model_of_digits_in_place(posterior: str, prior: str, size: int | None):
    digits = load_dataset("digits")
    options = {"mlp": {"hidden": [32]}, "vamp": {"components": 10}, "flow": {"transforms": 1, "hidden": [16]}}
    chosen = {"posterior": posterior, "prior": prior, "likelihood": "binomial", "options": options}
    model = model_of(domain=digits.domain, event_shape=(1, 8, 8), latents={"z": 4}, **chosen)
    before = copy.deepcopy(model)
    program = Program(model, size)
    svi = SVI(program.model, program.guide, pyro.optim.Adam({"lr": 6e-3}), Trace_ELBO())
    train, test = (as_split(digits, split, model.domain).x for split in ("train", "test"))
    scores = before.score(test, samples=20, seed=0), model.score(test, samples=20, seed=0)
    assert close_in_ulps(scores[0].elbo, scores[1].elbo)
    with seeded(0):
        losses = [svi.step(train[rows]) for _ in range(6) for rows in torch.randperm(len(train)).split(100)[:-1]]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
    for (name, old), new in zip(before.named_parameters(), model.parameters(), strict=True):
        assert not torch.equal(old, new), name
    after = model.score(test, samples=20, seed=0)
    # Of nearly every datum: the first bounds have so long a tail that its standard error says little.
    assert (after.elbo > scores[0].elbo).double().mean() > 0.97
    assert after.elbo.mean() > scores[0].elbo.mean()
    assert after.log_prob.mean() > scores[0].log_prob.mean()


# -- what is refused --------------------------------------------------------------------------------------------------


def test_two_models_in_one_process_do_not_train_each_other():
    (first, x, _), (second, _, _) = made("two latents"), made("two latents")
    Program(first).guide(x)
    with refuses("'vae': give a `name`, or pyro.clear_param_store()"):
        Program(second).guide(x)
    with refuses("'vae'"):
        Program(second).model(x)
    Program(first).model(x)
    other = Program(second, name="other")
    old = copy.deepcopy((first, second))
    SVI(other.model, other.guide, pyro.optim.Adam({"lr": 0.1}), Trace_ELBO()).step(x)
    assert all(torch.equal(a, b) for a, b in zip(old[0].parameters(), first.parameters(), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(old[1].parameters(), second.parameters(), strict=True))
    pyro.clear_param_store()
    Program(second).guide(x)


def test_a_frozen_part_is_not_trained():
    model, x, _ = made("flow and vamp")
    model.eval().decoder.requires_grad_(False)
    old = copy.deepcopy(model)
    program = Program(model)
    SVI(program.model, program.guide, pyro.optim.Adam({"lr": 0.1}), Trace_ELBO()).step(x)
    for (name, before), after in zip(old.named_parameters(), model.parameters(), strict=True):
        assert torch.equal(before, after) == name.startswith("decoder"), name


def test_what_is_not_of_the_model_is_refused():
    model, x, y = made("flow and vamp", condition=3)
    program = Program(model)
    for site in (program.model, program.guide):
        with refuses("x has shape (5, 3); accepted: (B, 4)"):
            site(x[:, :3], y)
        with refuses("x has 20 values other than binary 0/1"):
            site(x + 2, y)
        with refuses("this model is conditional: it needs y"):
            site(x)
        with refuses("y has shape (4, 3)"):
            site(x, y[:4])
        with refuses("at least that of a batch, 5, got 4"):
            getattr(Program(model, size=4), site.__name__)(x, y)
    with refuses("this model is conditional: it needs y"):
        program.model()
    with refuses("a latent is named 'x'"):
        Program(model_of(latents={"z": 1, "x": 1}))


def test_a_model_that_sums_its_label_out_is_refused():
    given, _, _ = made("two latents", condition=3)
    parts = given.encoder, given.posteriors, given.priors, given.decoder, given.likelihood
    with refuses("accepted: a VAE"):
        Program(SemiSupervisedVAE(*parts, classes=3, classifier=MLP((4,), (3,), hidden=(6,))))


def test_a_model_whose_draws_have_no_density_of_codes_alone_is_refused():
    given, _, _ = made("diagonal-normal and mixture")
    parts = given.encoder, given.posteriors, given.priors, given.decoder, given.likelihood
    with refuses("a HamiltonianVAE's draws have no density"):
        Program(HamiltonianVAE(*parts, Dynamics(given.latent_size)))


# -- the import -------------------------------------------------------------------------------------------------------


def printed(code: str) -> str:
    """What `code` prints in a Python of its own."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def validating(validate: bool) -> str:
    """What prints if an import leaves the validation of distributions as it was; with torch's a start takes seconds."""
    return (
        "\nfrom torch.distributions import Distribution, Normal;"
        f"Distribution.set_default_validate_args({validate}); import vaekit.interop.pyro;"
        "print(Distribution._validate_args, Normal(0.0, 1.0)._validate_args)"
    )


@pytest.mark.parametrize("validate", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_vaekit_needs_no_pyro_says_what_to_install_shadows_none_and_leaves_validation_as_it_was(validate: bool):
    code = (
        "import sys, vaekit, vaekit.runs, vaekit.cli; print('pyro' in sys.modules)\n"
        "sys.modules['pyro'] = None\n"
        "try: import vaekit.interop.pyro\nexcept ImportError as error: print(error)\n"
        "del sys.modules['pyro']"
    )
    code += validating(validate) + "\nimport vaekit.interop.pyro as ours, pyro; print(ours.pyro is pyro, pyro.__name__)"
    said = "vaekit.interop.pyro needs Pyro: pip install 'vaekit[pyro]'"
    assert printed(code).splitlines() == ["False", said, f"{validate} {validate}", "True pyro"]


def test_quantised_latents_are_refused():
    with refuses("latent 'z' is quantised"):
        Program(model_of(posterior="fsq"))
