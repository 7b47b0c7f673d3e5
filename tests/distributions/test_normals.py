"""Normals and mixtures that know their own draws, against torch's and against closed forms."""

from __future__ import annotations

import pytest
import torch
from models_for_tests import standard_errors_apart
from torch import Tensor
from torch.distributions import (
    Distribution,
    Independent,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
    kl_divergence,
)

from vaekit.distributions.divergences import kl, kl_terms
from vaekit.distributions.flows import KINDS, FlowKind, flow_of, inverse_flowing, start_as_identity
from vaekit.distributions.mixtures import Mixture, NormalMixture
from vaekit.distributions.moments import marginal_log_probs
from vaekit.distributions.noise import from_noise
from vaekit.distributions.normals import LowRankNormal, ReflectedNormal, UnitNormal
from vaekit.distributions.shapes import independent
from vaekit.posteriors import POSTERIORS
from vaekit.seeding import seeded

B, D = 3, 4
CORRELATED = {
    "rank 1": lambda: LowRankNormal(torch.randn(B, D), torch.rand(B, D) + 0.2, torch.randn(B, D, 1)),
    "rank 3": lambda: LowRankNormal(torch.randn(B, D), torch.rand(B, D) + 0.2, 2 * torch.randn(B, D, 3)),
    "one reflection": lambda: ReflectedNormal(torch.randn(B, D), torch.rand(B, D) + 0.2, torch.randn(B, 1, D)),
    "three reflections": lambda: ReflectedNormal(torch.randn(B, D), torch.rand(B, D) + 0.2, torch.randn(B, 3, D)),
}


pytestmark = pytest.mark.usefixtures("_float64")


def made(name: str) -> tuple[Distribution, MultivariateNormal]:
    with seeded(0):
        q = CORRELATED[name]()
    return q, MultivariateNormal(q.mean, q.covariance_matrix)


def mixture(seed: int = 0, apart: float = 1.0, components: int = 3, size: int = 3) -> NormalMixture:
    with seeded(seed):
        logits = torch.randn(components)
        loc, scale = apart * torch.randn(components, size), torch.rand(components, size) + 0.4
    return NormalMixture(*(each.requires_grad_() for each in (logits, loc, scale)))


@pytest.mark.parametrize("name", CORRELATED)
def test_densities_moments_and_entropies_are_torch_s(name: str):
    q, theirs = made(name)
    with seeded(1):
        z = 2 * torch.randn(5, B, D)
    torch.testing.assert_close(q.log_prob(z), theirs.log_prob(z))
    torch.testing.assert_close(q.entropy(), theirs.entropy())
    torch.testing.assert_close(q.variance, theirs.variance)
    torch.testing.assert_close(q.expand((2, B)).log_prob(z[:2]), theirs.log_prob(z[:2]))
    marginal = Normal(theirs.mean, theirs.variance.sqrt()).log_prob(z)
    torch.testing.assert_close(marginal_log_probs(q, z), marginal)


@pytest.mark.parametrize("name", CORRELATED)
def test_draws_are_a_linear_map_of_noise_whose_square_is_the_covariance(name: str):
    q, theirs = made(name)
    zero = from_noise(q, torch.zeros(B, D))
    torch.testing.assert_close(zero, q.mean)
    columns = from_noise(q, torch.eye(D).unsqueeze(1).expand(D, B, D)) - zero  # (D, B, D)
    torch.testing.assert_close(columns.permute(1, 2, 0) @ columns.permute(1, 0, 2), theirs.covariance_matrix)
    with seeded(2):
        noise = torch.randn(B, D)
    torch.testing.assert_close(from_noise(q, noise), zero + torch.einsum("dbe,bd->be", columns, noise))


@pytest.mark.parametrize("name", CORRELATED)
def test_the_kl_from_a_diagonal_normal_is_torch_s(name: str):
    q, theirs = made(name)
    with seeded(3):
        loc, scale = torch.randn(D), torch.rand(D) + 0.5
    for p in (independent(Normal(loc, scale)), independent(UnitNormal(torch.zeros(D), torch.ones(D)))):
        want = kl_divergence(theirs, MultivariateNormal(p.mean, torch.diag_embed(p.variance)))
        torch.testing.assert_close(kl(q, p), want)
    # Turning changes nothing of a KL from what is the same in all directions: a term for each dimension.
    assert kl_terms(q, p).shape == (B, D if name.endswith(("reflection", "reflections")) else 1)
    assert kl(q, independent(Normal(torch.zeros(2, D), torch.ones(2, D)), 2)) is None


def test_a_low_rank_is_torch_s():
    q, _ = made("rank 3")
    theirs = LowRankMultivariateNormal(q.loc, q.scale.unsqueeze(-1) * q.factor, q.scale.square())
    z = q.sample((4,))
    torch.testing.assert_close(q.log_prob(z), theirs.log_prob(z))


def test_reflections_are_orthogonal_and_in_their_order():
    q, _ = made("three reflections")
    eye = torch.eye(D).expand(B, D, D)
    torch.testing.assert_close(q.matrix @ q.matrix.mT, eye)
    by_hand = eye
    for v in q.mirrors.unbind(-2):
        by_hand = (eye - 2 * v.unsqueeze(-1) * v.unsqueeze(-2)) @ by_hand
    torch.testing.assert_close(q.matrix, by_hand)


# -- a mixture ---------------------------------------------------------------------------------------------------------


def test_a_mixture_of_one_is_a_normal_with_its_gradient():
    loc, scale = torch.tensor([[0.3, -1.0]], requires_grad=True), torch.tensor([[0.5, 2.0]], requires_grad=True)
    q = NormalMixture(torch.zeros(1), loc, scale)
    with seeded(0):
        z = q.rsample((7,))
    found = torch.autograd.grad(z.sum(0), (loc, scale), torch.tensor([1.0, 2.0]))
    noise = ((z - loc) / scale).detach()
    torch.testing.assert_close(found[0], 7 * torch.tensor([[1.0, 2.0]]))
    torch.testing.assert_close(found[1], (noise * torch.tensor([1.0, 2.0])).sum(0, keepdim=True))


@pytest.mark.parametrize("apart", [0.5, 1.5])
def test_gradients_of_an_expectation_under_a_mixture_are_exact(apart: float):
    """E[exp(a · z)] = sum_k pi_k exp(a · mu_k + |a sigma_k|² / 2)."""
    q = mixture(apart=apart)
    a = torch.tensor([0.7, -0.5, 0.4])
    exact = (q.logits.softmax(-1) * (q.loc @ a + 0.5 * (q.scale * a).square().sum(-1)).exp()).sum()
    own = (q.logits, q.loc, q.scale)
    want = torch.autograd.grad(exact, own)
    rows = []
    for seed in range(60):
        with seeded(seed):
            rows.append(torch.autograd.grad((q.rsample((500,)) @ a).exp().mean(), own))
    for found, exactly in zip(zip(*rows, strict=True), want, strict=True):
        assert standard_errors_apart(torch.stack(found) - exactly, 0.0).max() < 4
        assert exactly.abs().max() > 0.02


def test_a_draw_of_a_mixture_moves_as_its_quantile_does():
    """In one dimension z = F⁻¹(u): its derivatives are differences of quantiles, found by halving."""
    q = mixture(apart=2.0, size=1)
    own = (q.logits, q.loc, q.scale)
    with seeded(1):
        z = q.rsample((6,))
    u = _distribution(own, z.detach()).detach()

    def quantile(parameters: tuple[Tensor, ...]) -> Tensor:
        low, high = torch.full_like(u, -50.0), torch.full_like(u, 50.0)
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (
                torch.where(_distribution(parameters, middle) < u, middle, low),
                torch.where(_distribution(parameters, middle) < u, high, middle),
            )
        return (low + high) / 2

    for i, parameter in enumerate(own):
        for j in range(3):
            step = torch.zeros_like(parameter)
            step.view(-1)[j] = 1e-5
            up, down = (
                quantile(tuple(each + (sign * step if k == i else 0) for k, each in enumerate(own))).detach()
                for sign in (1, -1)
            )
            found = [torch.autograd.grad(one, parameter, retain_graph=True)[0].view(-1)[j] for one in z[:, 0]]
            torch.testing.assert_close(torch.stack(found), (up - down)[:, 0] / 2e-5, rtol=1e-5, atol=1e-6)


def _distribution(parameters: tuple[Tensor, ...], z: Tensor) -> Tensor:
    logits, loc, scale = parameters
    return (logits.softmax(-1) * torch.special.ndtr((z - loc.squeeze(-1)) / scale.squeeze(-1))).sum(-1, keepdim=True)


def test_in_a_far_tail_a_draw_moves_as_the_nearest_component_in_float32():
    logits, loc, scale = torch.zeros(2), torch.tensor([[0.0], [1.0]]), torch.ones(2, 1)
    q = NormalMixture(logits.float().requires_grad_(), loc.float().requires_grad_(), scale.float())
    # Wherever a draw is of, it is at 9 and at -9.
    q._of = lambda which: (torch.tensor([[9.0], [-9.0]]), torch.zeros(2, 1))  # type: ignore[method-assign]
    z = q.rsample((2,))
    up, down = (torch.autograd.grad(one, q.loc, retain_graph=True)[0] for one in z[:, 0])
    assert float(up.sum()) == pytest.approx(1, abs=1e-3)  # all moved by as much, so is z
    assert float(down.sum()) == pytest.approx(1, abs=1e-3)
    assert up[1] > 0.9
    assert down[0] > 0.9


def test_a_mixture_made_of_noise_is_distributed_as_its_draws():
    q = mixture(apart=2.0)
    with seeded(0), torch.no_grad():
        z, want = from_noise(q, torch.randn(8000, 3)), q.sample((8000,))
    for power in (1, 2, 3):
        assert standard_errors_apart(z**power, want**power).max() < 4.5
    assert standard_errors_apart(z * z.roll(1, -1), want * want.roll(1, -1)).max() < 4.5


def test_a_mixture_s_marginals_and_copies_are_its_own():
    q = mixture()
    with seeded(0):
        z = torch.randn(5, 3)
    for d in range(3):
        own = Mixture(q.logits, Independent(Normal(q.loc[:, d : d + 1], q.scale[:, d : d + 1]), 1))
        torch.testing.assert_close(marginal_log_probs(q, z)[:, d], own.log_prob(z[:, d : d + 1]))
    assert isinstance(q.expand((5,)), NormalMixture)
    torch.testing.assert_close(q.expand((5,)).log_prob(z), q.log_prob(z))


# -- flows -------------------------------------------------------------------------------------------------------------


def flow_at(kind: FlowKind, size: int = 4, seed: int = 0) -> Distribution:
    with seeded(seed):
        posterior = POSTERIORS["flow"](5, size, transforms=2, hidden=(6,), kind=kind)
        for parameter in posterior.parameters():
            parameter.data += 0.3 * torch.randn_like(parameter)
        return posterior(torch.randn(B, 5))


@pytest.mark.parametrize("kind", KINDS)
def test_a_flow_s_density_is_that_of_the_noise_that_makes_it(kind: FlowKind):
    """Of noise n, log q(z) = log N(n) - log |det dz/dn|, the matrix by autograd."""
    q = flow_at(kind)
    with seeded(1):
        noise = torch.randn(B, 4)
    z = from_noise(q, noise)
    jacobian = torch.autograd.functional.jacobian(lambda n: from_noise(q, n).sum(0), noise)  # (4, B, 4)
    want = Normal(0.0, 1.0).log_prob(noise).sum(-1) - torch.linalg.slogdet(jacobian.transpose(0, 1))[1]
    torch.testing.assert_close(q.log_prob(z), want, rtol=1e-6, atol=1e-6)


def test_an_inverse_flow_draws_in_one_pass_and_knows_what_it_drew(monkeypatch: pytest.MonkeyPatch):
    from zuko.transforms import AutoregressiveTransform

    passes = []
    meta = AutoregressiveTransform.call_and_ladj
    inverse = AutoregressiveTransform._inverse
    monkeypatch.setattr(
        AutoregressiveTransform, "call_and_ladj", lambda self, x: (passes.append("one"), meta(self, x))[1]
    )
    monkeypatch.setattr(
        AutoregressiveTransform, "_inverse", lambda self, y: (passes.append("all"), inverse(self, y))[1]
    )
    q = flow_at("iaf")
    z = q.rsample((2,))
    own = q.log_prob(z)
    assert passes == ["one", "one"]
    torch.testing.assert_close(q.log_prob(z.clone()), own)
    assert "all" in passes


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind].inverse])
def test_the_density_of_an_inverse_flow_s_own_draws_has_the_gradient_of_any(kind: FlowKind):
    with seeded(0):
        flow = flow_of(3, 2, 2, (5,), kind)
        context, loc, scale = torch.randn(B, 2), torch.randn(B, 3), torch.rand(B, 3) + 0.5
    for each in (context, loc, scale):
        each.requires_grad_()
    q = inverse_flowing(flow.transform, flow.base, context, loc, scale)
    of = [context, loc, scale, *(p for p in flow.parameters() if p.requires_grad)]
    z = q.rsample((4,))

    def slopes(at: Tensor) -> list[Tensor]:
        return list(torch.autograd.grad(q.log_prob(at).sum(), of, retain_graph=True, materialize_grads=True))

    for one, other in zip(slopes(z), slopes(z.clone()), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8)
    # What is drawn without gradients is any number: its density moves with the parameters, not with the noise.
    z = q.sample((4,))
    for one, other in zip(slopes(z), slopes(z.clone()), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_flow_starts_as_the_identity(kind: FlowKind):
    with seeded(0):
        flow = flow_of(3, 2, 2, (5,), kind)
        start_as_identity(flow.transform)
        context, z = torch.randn(B, 2), torch.randn(4, B, 3)
    torch.testing.assert_close(flow(context).log_prob(z), Normal(0.0, 1.0).log_prob(z).sum(-1), rtol=1e-6, atol=1e-6)
