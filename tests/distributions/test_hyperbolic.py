"""The wrapped normal of hyperbolic space against geodesics that are integrated, the Lorentz model, and its own laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from models_for_tests import refuses, standard_errors_apart
from scipy.integrate import solve_ivp
from torch import Tensor
from torch.distributions import Independent, Normal
from torch.func import jacrev, vmap

from vaekit.distributions.hyperbolic import WrappedNormal, log_volume, moved
from vaekit.distributions.noise import from_noise
from vaekit.posteriors import WrappedNormal as Posterior
from vaekit.seeding import seeded

pytestmark = pytest.mark.usefixtures("_float64")


def points(*shape: int, scale: float = 1.0, seed: int = 0) -> Tensor:
    with seeded(seed):
        return scale * torch.randn(*shape)


def lorentz(z: Tensor) -> Tensor:
    """The point of the hyperboloid of normal coordinates z."""
    r = z.norm(dim=-1, keepdim=True)
    return torch.cat([r.cosh(), z * r.sinh() / r], -1)


@pytest.mark.parametrize("size", [2, 3, 9])
@pytest.mark.parametrize("scale", [1e-5, 0.3, 2.0])
def test_lengths_from_a_moved_origin_are_those_of_the_hyperboloid(size: int, scale: float) -> None:
    a, b, c = (points(50, size, scale=scale, seed=i) for i in range(3))
    # Distances from the point a are lengths of coordinates around it; moving the origin changes no distance.
    product = -(lorentz(b)[:, 0] * lorentz(a)[:, 0]) + (lorentz(b)[:, 1:] * lorentz(a)[:, 1:]).sum(-1)
    found = moved(-a, b).norm(dim=-1)
    if scale < 1e-3:  # where the hyperboloid's digits are lost, space is flat
        torch.testing.assert_close(found, (b - a).norm(dim=-1), rtol=1e-8, atol=0)
    else:
        torch.testing.assert_close(found, (-product).acosh(), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(moved(-a, moved(a, b)), b, rtol=1e-9, atol=1e-14)
    torch.testing.assert_close(moved(-moved(a, b), moved(a, c)).norm(dim=-1), moved(-b, c).norm(dim=-1))


def test_moved_follows_the_geodesic_of_the_ball_and_the_parallel_transport_of_its_start() -> None:
    """The geodesic equation of the ball's metric 4 |dx|² / (1 - |x|²)², integrated from m with the velocity that is v
    carried along: the exponential map of Mathieu et al. 2019, section 3.1.
    """
    m, v = np.array([0.9, -0.4]), np.array([0.5, 1.3])

    def ball(z: np.ndarray) -> np.ndarray:
        r = np.linalg.norm(z)
        return np.tanh(r / 2) * z / r

    def slope(_: float, state: np.ndarray) -> np.ndarray:
        x, u = state[:2], state[2:]
        factor = 2 / (1 - x @ x)
        # Of a conformal metric: x'' = -2 (u · grad log f) u + |u|² grad log f, grad log f = f x.
        return np.concatenate([u, factor * (-2 * (u @ x) * u + (u @ u) * x)])

    start = ball(m)
    velocity = v * (1 - start @ start) / 2  # of length |v| in the metric at m
    run = solve_ivp(slope, (0, 1), np.concatenate([start, velocity]), rtol=1e-11, atol=1e-13)
    found = moved(torch.tensor(m), torch.tensor(v)).numpy()
    np.testing.assert_allclose(ball(found), run.y[:2, -1], rtol=1e-8)


@pytest.mark.parametrize("curvature", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("size", [2, 5])
def test_its_density_is_that_of_the_noise_times_the_jacobian(curvature: float, size: int) -> None:
    q = WrappedNormal(points(size, seed=1), points(size, seed=2).exp() * 0.5, curvature)
    noise = points(40, size, seed=3)
    z = q.from_noise(noise)
    jacobian = vmap(jacrev(q.from_noise))(noise)
    normal = Independent(Normal(torch.zeros(size), 1.0), 1)
    want = normal.log_prob(noise) - jacobian.det().abs().log()
    torch.testing.assert_close(q.log_prob(z), want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("loc", "scale"), [((2.0, -1.0), (0.7, 0.3)), ((0.1, 4.0), (1.0, 1.5))])
def test_it_integrates_to_one(loc: tuple[float, float], scale: tuple[float, float]) -> None:
    q = WrappedNormal(torch.tensor(loc), torch.tensor(scale))
    radius, angle = torch.linspace(0, 16, 601)[1:], torch.linspace(0, 2 * math.pi, 1201)[:-1]
    z = radius[:, None, None] * torch.stack([angle.cos(), angle.sin()], -1)
    total = (q.log_prob(z).exp().sum(-1) * radius).sum() * (radius[1] - radius[0]) * (angle[1] - angle[0])
    assert float(total) == pytest.approx(1, abs=2e-4)


def test_around_zero_it_is_a_normal_and_so_it_is_where_space_is_flat() -> None:
    scale, z = points(4, seed=1).exp(), points(20, 4, seed=2)
    normal = Independent(Normal(torch.zeros(4), scale), 1)
    torch.testing.assert_close(WrappedNormal(torch.zeros(4), scale).log_prob(z), normal.log_prob(z))
    loc = points(4, seed=3)
    flat = WrappedNormal(loc, scale, curvature=1e-10)
    torch.testing.assert_close(flat.log_prob(z), Independent(Normal(loc, scale), 1).log_prob(z), rtol=1e-6, atol=1e-6)


def test_the_density_is_smooth_at_every_scale() -> None:
    """Also at its own middle, at 0, and where series take over."""
    scale, steps = torch.tensor([0.4, 0.9]), 1e-6 * torch.eye(2)
    for at in (0.0, 1e-9, 0.00999, 0.01001, 0.5, 6.0):
        z = torch.tensor([at, 0.0], requires_grad=True)
        for middle in (torch.zeros(2), z.detach(), torch.tensor([-0.3, 0.1])):
            loc = middle.clone().requires_grad_()
            of_z, of_loc = torch.autograd.grad(WrappedNormal(loc, scale).log_prob(z), (z, loc))
            assert of_loc.isfinite().all()
            q = WrappedNormal(middle, scale)
            numeric = (q.log_prob(z.detach() + steps) - q.log_prob(z.detach() - steps)) / 2e-6
            torch.testing.assert_close(of_z, numeric, rtol=1e-5, atol=1e-5)
    assert torch.equal(log_volume(torch.zeros(3)), torch.tensor(0.0))


def test_draws_are_spread_as_the_density_says() -> None:
    q = WrappedNormal(torch.tensor([1.2, 0.0, 0.0]), torch.tensor([0.9, 1.1, 1.2]))
    p = WrappedNormal(torch.tensor([1.5, -0.5, 0.2]), torch.tensor([0.3, 0.6, 0.5]))
    with seeded(0):
        ratio = (p.log_prob(z := q.sample((20_000,))) - q.log_prob(z)).exp()
    assert standard_errors_apart(ratio, 1.0) < 4.5  # E_q[p / q] = 1
    assert torch.equal(q.center, q.loc)


@pytest.mark.parametrize("size", [2, 20])
def test_float32_has_its_digits_up_to_where_middles_are_kept(size: int) -> None:
    with seeded(6), torch.no_grad():
        posterior = Posterior(features=3, latent=size)
        posterior.head.weight.mul_(100)
        loc = posterior(torch.randn(500, 3)).loc
        noise = torch.randn(500, size).float()
    assert float(loc.norm(dim=-1).max()) == pytest.approx(8.0)
    single = WrappedNormal(loc.float(), torch.full_like(loc, 0.1).float())
    double = WrappedNormal(single.loc.double(), single.scale.double())
    z = from_noise(single, noise)
    assert z.dtype == torch.float32
    assert (single.log_prob(z) - double.log_prob(z.double())).abs().max() < 1e-4
    exact = double.log_prob(from_noise(double, noise.double()))
    assert (single.log_prob(z) - exact).abs().max() < 0.01


def test_what_it_can_not_be_is_refused() -> None:
    with refuses("hyperbolic space is of latents of size 2 or more, got 1; choose diagonal-normal"):
        Posterior(features=3, latent=1)
    for curvature in (0.0, -1.0, math.inf, math.nan):
        with refuses("curvature must be above 0"):
            Posterior(features=3, latent=2, curvature=curvature)
