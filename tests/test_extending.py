"""Parts from outside of the package, as the examples have them: each trains on digits, is scored, saved, loaded, gone
on with bit for bit, and drawn. And each is the law that it says it is.
"""

from __future__ import annotations

import ast
import math
from pathlib import Path

import pytest
import torch
from models_for_tests import data_of, model_of, moved, refuses, standard_errors_apart
from runs_for_tests import assert_same_run, cut_short, pieces, small_run
from torch.distributions import kl_divergence

from vaekit import draw, load_run, train
from vaekit.data.batch import Batch
from vaekit.models.trace import Trace
from vaekit.objectives import ELBO, IWAE, STL, Sum
from vaekit.seeding import seeded
from vaekit.show.pictures.drawing import offers
from vaekit.spec.own import parts_from
from vaekit.spec.parts import PARTS, Parts
from vaekit.training.step import traced

FOLDER = Path(__file__).parent.parent / "examples" / "extending"
LINES = {"HeavyTailed": 15, "Renyi": 12, "TotalCorrelation": 20, "Factor": 30}
SPHERE = [
    "model.latents.z.posterior=power-spherical",
    "model.latents.z.prior=sphere",
]
M2 = ["model.classifier={name='mlp', hidden=[16]}", "data.labels=200", "training.labelled=20"]
EXAMPLES: dict[str, tuple[str, list[str]]] = {
    "renyi": ("bounds", ["objective.name=my-renyi", "objective.alpha=0.3"]),
    "renyi with classification": (
        "bounds",
        ["objective.name=my-renyi", "objective.terms.classification.weight=2", *M2],
    ),
    "total correlation": ("bounds", ["objective.terms.my-correlation.weight=3"]),
    "total correlation of m2": (
        "bounds",
        # All rows are compared with all others, of which a label that is not seen makes ten.
        ["objective.name=semi-supervised", "objective.terms.my-correlation={}", *M2, "training.batch_size=40"],
    ),
    "factor": ("bounds", ["objective.terms.factor={hidden=[20]}"]),
    "factor beside iwae": ("bounds", ["objective.name=iwae", "objective.terms.factor={hidden=[20]}"]),
    "sphere": ("sphere", SPHERE),
    "network": ("residual", ["model.encoder=residual", "model.decoder={name='residual', width=32}"]),
}


LONG = {"total correlation of m2", "factor beside iwae"}
"""What puts together what others have one by one."""


def parts_of(file: str) -> Parts:
    return parts_from(f"{FOLDER / file}.py:PARTS")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in LONG else []) for name in EXAMPLES]
)
def test_it_trains_is_scored_saved_loaded_gone_on_with_and_drawn(name: str, tmp_path: Path) -> None:
    file, sets = EXAMPLES[name]
    parts = parts_of(file)
    small_run(tmp_path / "whole", *sets, "training.epochs=3", parts=parts)
    train(out=cut_short(tmp_path / "whole", tmp_path / "run"), resume=True, parts=parts)
    assert_same_run(tmp_path / "run", tmp_path / "whole")
    run = load_run(tmp_path / "run", parts=parts)
    scores = run.evaluate("test", 10)
    assert scores.nll <= -scores.elbo + 4 * scores.nll_mc_stderr
    losses = [each.terms["loss"] for each in run.history() if each.split == "train"]
    assert losses[-1] < losses[0]
    for offer in offers(run):
        if not offer.lacks and offer.name in ("samples", "reconstructions", "latents", "kl", "history"):
            draw(run, offer.name)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_is_as_short_as_it_is_said_to_be(path: Path) -> None:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name in LINES:
            source = path.read_text(encoding="utf-8").splitlines()[node.lineno - 1 : node.end_lineno]
            code = [line for line in source if line.strip()]
            assert len(code) <= LINES[node.name], node.name


def test_the_renyi_bound_goes_from_iwae_to_the_elbo() -> None:
    renyi = parts_of("bounds").objectives["my-renyi"]
    model = model_of(by=0.5)
    x = data_of(model.domain, (6, 4))

    def value(objective: object) -> float:
        with seeded(0):
            return float(objective(model.trace(Batch(x), samples=6)).loss.detach())  # type: ignore[operator]

    assert value(renyi(alpha=0.0, samples=6)) == pytest.approx(value(IWAE(6)), rel=1e-12)
    near_one = value(renyi(alpha=1 - 1e-6, samples=6))
    with seeded(0):
        bound = float(-model.trace(Batch(x), samples=6).log_weight.mean().detach())
    assert near_one == pytest.approx(bound, rel=1e-4)
    values = [value(renyi(alpha=alpha, samples=6)) for alpha in (0.0, 0.3, 0.6, 0.9)]
    assert values == sorted(values)


@pytest.mark.parametrize("posterior", ["diagonal-normal", "full-rank-normal"])
def test_total_correlation_is_that_of_the_mixture_of_posteriors(posterior: str) -> None:
    """By numerical integration of a mixture of normals in the plane."""
    term = parts_of("bounds").terms["my-correlation"](weight=1.0)
    model = model_of(posterior=posterior, latents={"z": 2}, by=0.7)
    x = data_of(model.domain, (5, 4), 3)
    with seeded(0), torch.no_grad():
        trace = model.trace(Batch(x), samples=40_000)
        found = float(term(trace).loss)
        q = trace.latents[0].q
        grid = torch.linspace(-14, 14, 701, dtype=torch.float64)
        z = torch.stack(torch.meshgrid(grid, grid, indexing="ij"), -1)
        density = q.log_prob(z.unsqueeze(-2)).exp().mean(-1)
        cell = float(grid[1] - grid[0])
        first, second = density.sum(1) * cell, density.sum(0) * cell
        want = density * (density / (first[:, None] * second)).clamp_min(1e-300).log()
        exact = float(want.nan_to_num().sum()) * cell**2
    assert found == pytest.approx(exact, abs=0.01)


def test_total_correlation_of_classes_summed_out_is_that_of_their_draws() -> None:
    """A label summed out weighs each of its cases as often as it would have been drawn: so says the same mixture,
    put together from q(y given x) and q(z given x, y) by hand.
    """
    term = parts_of("bounds").terms["my-correlation"](weight=1.0)
    model = moved(pieces("model.classifier={name='mlp', hidden=[8]}", "model.latents.z.size=2").model, by=0.2)
    with seeded(0), torch.no_grad():
        batch = Batch(torch.rand(6, 1, 8, 8).mul(16).round(), torch.tensor([3, 1]))
        trace = model.trace(batch, samples=300)
        found = float(term(trace).loss)
    assert trace.cases is not None
    assert len(trace.log_share) == 2 + 4 * 10
    probabilities = torch.cat([torch.ones(2), model.classify(batch.x[2:]).T.flatten()]) / 6
    torch.testing.assert_close(trace.log_share.exp(), probabilities, rtol=1e-4, atol=1e-6)
    q, z = trace.latents[0].q.base_dist, trace.latents[0].z  # type: ignore[attr-defined]
    terms = torch.distributions.Normal(q.loc, q.scale).log_prob(z.unsqueeze(-2))
    mixed = (terms.sum(-1) + probabilities.log()).logsumexp(-1)
    alone = (terms + probabilities.log()[:, None]).logsumexp(-2).sum(-1)
    want = ((mixed - alone).mean(0) * probabilities).sum()
    assert found == pytest.approx(float(want), rel=1e-3)
    assert found > 1e-4


def test_a_posterior_without_densities_of_dimensions_is_refused_by_name() -> None:
    term = parts_of("bounds").terms["my-correlation"]()
    model = model_of(posterior="flow", latents={"z": 2})
    with refuses("the posterior of 'z' has no densities of single dimensions"):
        term(model.trace(Batch(data_of(model.domain, (4, 4)))))


def test_the_discriminator_and_the_model_leave_each_others_weights_alone(tmp_path: Path) -> None:
    factor = parts_of("bounds").terms["factor"](latent=3, hidden=(8,))
    model = model_of(latents={"z": 3})
    objective = Sum((ELBO(), factor.double()))
    batch = Batch(data_of(model.domain, (20, 4)))
    loss = objective(traced(model, objective, batch), 0.5).loss
    assert all(each is not None for each in torch.autograd.grad(loss, list(model.posteriors.parameters())))
    with torch.no_grad():
        trace = traced(model, objective, batch)
    opposing = factor.opponent_loss(trace, 0.5).loss
    found = torch.autograd.grad(opposing, list(model.parameters()), allow_unused=True, retain_graph=True)
    assert all(each is None for each in found)
    assert all(each is not None for each in torch.autograd.grad(opposing, list(factor.parameters())))


def test_an_opponent_learns_and_its_terms_are_recorded(tmp_path: Path) -> None:
    run = small_run(tmp_path / "run", *EXAMPLES["factor"][1], "training.epochs=4", parts=parts_of("bounds"))
    own = [each.terms for each in run.history() if each.split == "train"]
    assert {"opponent", "total_correlation", "elbo"} <= own[0].keys()
    assert own[-1]["opponent"] < own[0]["opponent"]


def test_codes_on_a_sphere_are_on_it_and_its_densities_are_what_they_say() -> None:
    parts = parts_of("sphere")
    model = model_of(posterior="power-spherical", prior="sphere", latents={"z": 3}, parts=parts, by=0.5)
    x = data_of(model.domain, (4, 4))
    with seeded(0), torch.no_grad():
        (latent,) = model.trace(Batch(x), samples=50_000).latents
    q, p = latent.q, latent.p
    torch.testing.assert_close(latent.z.norm(dim=-1), torch.ones(50_000, 4, dtype=torch.float64))
    torch.testing.assert_close(model.encode(x).norm(dim=-1), torch.ones(4, dtype=torch.float64))
    assert latent.closed_form
    assert standard_errors_apart(latent.log_q - latent.log_p, kl_divergence(q, p)).max() < 4.5
    with seeded(1):
        uniform = p.sample(torch.Size((200_000,)))
    volume = q.log_prob(uniform[:, None]).exp() * 4 * math.pi
    assert standard_errors_apart(volume, torch.ones(4, dtype=torch.float64)).max() < 4.5
    mean = q.kappa / (q.kappa + 2)
    assert standard_errors_apart((latent.z * q.center).sum(-1), mean).max() < 4.5


def test_gradients_of_draws_on_a_sphere_are_those_of_the_expectation() -> None:
    """E z = kappa / (kappa + 2) m, whose derivatives are known."""
    kind = type(parts_of("sphere").posteriors["power-spherical"](2)(torch.zeros(1, 2)))
    center = torch.tensor([[0.6, 0.0, 0.8]], dtype=torch.float64)
    kappa = torch.tensor([2.5], dtype=torch.float64, requires_grad=True)
    with seeded(0):
        z = kind(center, kappa).rsample(torch.Size((100_000,)))
    (found,) = torch.autograd.grad((z * center).sum(-1).mean(), kappa)
    want = 2 / (kappa + 2) ** 2
    assert float(found) == pytest.approx(float(want.detach()), abs=0.01)


_ONE = torch.Size()


class Choice(torch.distributions.Distribution):
    """-1 or 1, with probability sigmoid(logit) of the latter: draws without any gradient, and what they lack."""

    arg_constraints = {}
    has_rsample = True

    def __init__(self, logit: torch.Tensor) -> None:
        self.logit = logit
        super().__init__(logit.shape[:-1], logit.shape[-1:], validate_args=False)

    def rsample(self, sample_shape: torch.Size = _ONE) -> torch.Tensor:
        p = self.logit.detach().sigmoid().expand(self._extended_shape(sample_shape))
        return 2 * torch.bernoulli(p) - 1

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.logsigmoid(value * self.logit).sum(-1)

    score_correction = log_prob

    @property
    def mean(self) -> torch.Tensor:
        return 2 * self.logit.sigmoid() - 1


class Choosing(torch.nn.Module):
    def __init__(self, features: int = 6, latent: int = 1) -> None:
        super().__init__()
        self.head = torch.nn.Linear(features, latent)

    def forward(self, features: torch.Tensor) -> Choice:
        return Choice(self.head(features))


class Fair(torch.nn.Module):
    def __init__(self, latent: int = 1) -> None:
        super().__init__()
        self.register_buffer("logit", torch.zeros(latent))

    def forward(self, y: object = None) -> Choice:
        return Choice(self.logit)


def test_what_draws_do_not_carry_of_a_gradient_is_added() -> None:
    parts = PARTS.extended(posteriors={"choice": Choosing}, priors={"fair": Fair})
    model = model_of(posterior="choice", prior="fair", latents={"z": 1}, parts=parts, by=0.5)
    x = data_of(model.domain, (3, 4))
    weights = [model.posteriors["z"].head.weight, model.posteriors["z"].head.bias]
    # Exactly, by both values of z.
    q = model.posterior(Batch(x))["z"]
    values = torch.tensor([[-1.0], [1.0]], dtype=torch.float64).unsqueeze(1).expand(2, 3, 1)
    log_px = model.likelihood(model.decoder(values)).log_prob(x)
    log_q, log_p = q.log_prob(values), model.priors["z"]().log_prob(values)
    exact = (log_q.exp() * (log_px + log_p - log_q)).sum(0).mean()
    want = torch.autograd.grad(exact, weights)
    found = []
    for seed in range(200):
        with seeded(seed):
            loss = ELBO()(model.trace(Batch(x), samples=100)).loss
        found.append(torch.cat([each.flatten() for each in torch.autograd.grad(-loss, weights)]))
    wanted = torch.cat([each.flatten() for each in want])
    assert standard_errors_apart(torch.stack(found), wanted).max() < 4.5
    with refuses("carry a part of their gradient alone"):
        STL(3)(model.trace(Batch(x), samples=3))
    with torch.no_grad():
        assert model.log_prob(x, samples=5).isfinite().all()


def test_weights_of_an_objective_that_nothing_trains_are_refused(tmp_path: Path) -> None:
    class Lonely(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(()))

        def forward(self, trace: Trace, progress: float = 1.0) -> object:
            return ELBO()(trace)

    with refuses("the objective's weight 'scale' is none of its `opponent`'s"):
        small_run(tmp_path / "run", "objective.name=lonely", parts=PARTS.extended(objectives={"lonely": Lonely}))


def test_an_opponent_that_fails_is_told_before_anything_is_written(tmp_path: Path) -> None:
    class Failing(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.opponent = torch.nn.Linear(2, 2)

        def forward(self, trace: Trace, progress: float = 1.0) -> object:
            return ELBO()(trace)

        def opponent_loss(self, trace: Trace, progress: float) -> object:
            raise ValueError("not today")

    with refuses("not today"):
        small_run(tmp_path / "run", "objective.name=failing", parts=PARTS.extended(objectives={"failing": Failing}))
    assert not (tmp_path / "run" / "weights.safetensors").exists()


def test_a_picture_from_a_file_is_drawn(tmp_path: Path) -> None:
    run = small_run(tmp_path / "run", 'pictures.every_epoch=["norms"]', parts=parts_of("norms"))
    assert (run.path / "pictures" / "norm_2.png").exists()
    assert len(draw(run, "norms", bins=5).axes[0].patches) == 5
