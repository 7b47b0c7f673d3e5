"""Random streams of rows' own: the draws of rows that are computed together are those of each alone."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch import distributions as td
from torch.distributions import Distribution

from vaekit.data.batch import Batch
from vaekit.distributions.discrete import RelaxedOneHot
from vaekit.evaluation import alike
from vaekit.evaluation.alike import row_by_row_apart
from vaekit.evaluation.streams import row_seeds, streamed
from vaekit.seeding import seeded

DISTRIBUTIONS = {
    "normal": lambda x: td.Normal(x, 1 + x),
    "normal of every row": lambda x: td.Normal(torch.zeros(3), torch.ones(3)),
    "full-rank normal": lambda x: td.MultivariateNormal(x, torch.eye(3) + 0.1),
    "log-normal": lambda x: td.LogNormal(x, 0.5),
    "uniform": lambda x: td.Uniform(x, x + 2),
    "gamma": lambda x: td.Gamma(1 + x, 1.0),
    "Student's t": lambda x: td.StudentT(3 + x),
    "exponential": lambda x: td.Exponential(1 + x),
    "Laplace": lambda x: td.Laplace(x, 1.0),
    "Cauchy": lambda x: td.Cauchy(x, 1.0),
    "Gumbel": lambda x: td.Gumbel(x, 1.0),
    "Weibull": lambda x: td.Weibull(1 + x, 1 + x),
    "Bernoulli": lambda x: td.Bernoulli(x),
    "binomial": lambda x: td.Binomial(10, x),
    "geometric": lambda x: td.Geometric(0.1 + 0.8 * x),
    "Poisson": lambda x: td.Poisson(5 * x),
    "negative binomial": lambda x: td.NegativeBinomial(1 + x, x),
    "categorical": lambda x: td.Categorical(logits=torch.stack([x, 2 * x, -x], -1)),
    "one-hot": lambda x: RelaxedOneHot(x),
    "mixture": lambda x: td.MixtureSameFamily(td.Categorical(logits=x), td.Normal(x, 0.1)),
}


def refuse(*given: object) -> object:
    raise AssertionError("rows were not computed together")


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_draws_are_to_the_bit_those_that_a_row_has_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn(batch: Batch) -> tuple[Tensor, ...]:
        p: Distribution = DISTRIBUTIONS[name](batch.x)
        sample = p.sample(torch.Size((20,)))
        return (sample.reshape(1, 20, -1),)

    x, seeds = torch.rand(7, 3, generator=torch.Generator().manual_seed(0)), [5, 3, 9, 3, 2**60, 0, 1]
    own = []
    for seed, row in zip(seeds, x, strict=True):
        with seeded(seed):
            own += drawn(Batch(row[None]))
    monkeypatch.setattr(alike, "_in_turn", refuse)
    (together,) = row_by_row_apart(drawn, Batch(x), 4, seeds)
    assert torch.equal(together, torch.cat(own))


def test_methods_functions_and_tensors_in_between_draw_as_alone() -> None:
    def drawn(batch: Batch) -> tuple[Tensor, ...]:
        x = batch.x
        filled = torch.empty(1, 4)
        filled.normal_(1.0, 2.0)
        among = torch.zeros_like(x).bernoulli_(0.5), x.bernoulli(), torch.bernoulli(x), torch.rand_like(x)
        others = torch.normal(x, 2.0), torch.normal(0.0, std=1.0, size=(1, 2)), torch.randint(0, 9, (1, 2)).float()
        return torch.cat([filled, torch.randperm(5)[None].float(), *among, *others], -1), x.clone().uniform_(2, 3)

    x, seeds = torch.rand(6, 3, generator=torch.Generator().manual_seed(0)), list(range(6))
    every = row_by_row_apart(drawn, Batch(x), 3, seeds)
    for i, seed in enumerate(seeds):
        with seeded(seed):
            own = drawn(Batch(x[i : i + 1]))
        assert all(torch.equal(one[0], many[i]) for one, many in zip(own, every, strict=True))


def test_what_vmap_can_t_take_is_drawn_row_after_row_from_the_same_streams() -> None:
    """A Dirichlet, whose sampler is an autograd function, and a model that looks at values."""
    x, seeds = 1 + torch.rand(5, 3, generator=torch.Generator().manual_seed(0)), [4, 3, 2, 1, 0]
    for drawn in (
        lambda batch: (td.Dirichlet(batch.x).sample(),),
        lambda batch: (torch.randn(1, 3) * float(batch.x.sum()),),
    ):
        (together,) = row_by_row_apart(drawn, Batch(x), 2, seeds)
        for i, seed in enumerate(seeds):
            with seeded(seed):
                assert torch.equal(drawn(Batch(x[i : i + 1]))[0][0], together[i])


def test_draws_follow_their_distribution_and_are_unrelated_between_rows_draws_and_seeds() -> None:
    rows, draws = 500, 40
    batch = Batch(torch.arange(rows, dtype=torch.float32)[:, None])

    def normals(seed: int) -> np.ndarray:
        seeds = list(row_seeds(batch, seed))
        return row_by_row_apart(lambda batch: (torch.randn(1, draws),), batch, 32, seeds)[0].double().numpy()

    one, other = normals(0), normals(1)
    assert stats.kstest(one.ravel(), stats.norm.cdf).pvalue > 1e-3
    assert stats.kstest(one[:, 0], stats.norm.cdf).pvalue > 1e-3  # of the first draw of each stream alone
    assert stats.kstest(one.mean(1) * np.sqrt(draws), stats.norm.cdf).pvalue > 1e-3  # were rows alike it would be wide
    assert stats.kstest(one.mean(0) * np.sqrt(rows), stats.norm.cdf).pvalue > 1e-3
    for left, right in ((one[1:], one[:-1]), (one[:, 1:], one[:, :-1]), (one, other)):
        assert abs(np.corrcoef(left.ravel(), right.ravel())[0, 1]) < 4.5 / np.sqrt(left.size)
    between_rows = np.corrcoef(one)[np.triu_indices(rows, 1)]
    assert np.abs(between_rows).max() < 6.5 / np.sqrt(draws)
    assert np.mean(between_rows**2) == pytest.approx(1 / (draws - 1), rel=0.1)


def test_counts_and_gammas_of_many_streams_are_those_of_scipy() -> None:
    x = torch.zeros(2000, 1)

    def drawn(batch: Batch) -> tuple[Tensor, ...]:
        return td.Gamma(2.5 + batch.x, 1.0).sample(), td.Poisson(3.0 + batch.x).sample()

    gammas, counts = (each[:, 0].numpy() for each in row_by_row_apart(drawn, Batch(x), 64, list(range(2000))))
    assert stats.kstest(gammas, stats.gamma(2.5).cdf).pvalue > 1e-3
    expected = 2000 * np.append(stats.poisson(3).pmf(np.arange(8)), stats.poisson(3).sf(7))
    found = np.bincount(counts.astype(int).clip(max=8), minlength=9)
    assert stats.chisquare(found, expected).pvalue > 1e-3


def test_a_row_lies_at_its_own_place_whatever_is_beside_it() -> None:
    """Of 19 inputs in float32 a matrix product rounds by where a row lies."""
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(300, 19, generator=generator), torch.randn(19, 8, generator=generator)
    seeds = torch.randint(2**62, (300,), generator=generator)
    (every,) = row_by_row_apart(lambda batch: (batch.x @ weight,), Batch(x), 16, seeds.tolist())
    torch.testing.assert_close(every, x @ weight, rtol=1e-4, atol=1e-5)
    for some in (torch.randperm(300, generator=generator)[:50], torch.tensor([17])):
        (found,) = row_by_row_apart(lambda batch: (batch.x @ weight,), Batch(x[some]), 16, seeds[some].tolist())
        assert torch.equal(found, every[some])


def test_how_far_it_is_is_told() -> None:
    told: list[int] = []
    row_by_row_apart(lambda batch: (batch.x,), Batch(torch.zeros(6, 1)), 2, [0, 1, 2, 3, 4, 5], told.append)
    assert told == [2, 4, 6]


def test_streams_are_for_rows_that_vmap_maps() -> None:
    streams = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    noisy = streamed(lambda x: x + torch.randn(2), streams)
    with pytest.raises(RuntimeError, match="vmap maps over the rows"):
        noisy(torch.arange(2), torch.zeros(2, 2))

    def within(x: Tensor) -> Tensor:
        return torch.func.vmap(torch.bernoulli, randomness="different")(x)

    with pytest.raises(RuntimeError, match="no streams"):
        torch.func.vmap(streamed(within, streams), randomness="error")(torch.arange(2), torch.full((2, 2), 0.5))


def test_a_seed_is_of_what_is_observed_of_a_row_and_of_the_seed() -> None:
    x, observed = torch.tensor([[1.0, 2.0], [1.0, 3.0], [1.0, 2.0]]), torch.tensor([[1, 0], [1, 0], [1, 1]]).bool()
    first, same, seen = row_seeds(Batch(x, observed=observed), 0)
    assert first == same != seen
    assert first != next(row_seeds(Batch(x, observed=observed), 1))
    assert first != next(row_seeds(Batch(x, torch.tensor([1, 1, 1]), observed), 0))
    times = Counter[bytes]()
    apart = [*row_seeds(Batch(x, observed=observed), 0, times), *row_seeds(Batch(x, observed=observed), 0, times)]
    assert len(set(apart)) == 6
    assert apart[0] == first
