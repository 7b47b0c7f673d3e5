from __future__ import annotations

import itertools
import math

import pytest
import torch
from models_for_tests import TOKENS, model_of, one_hot, refuses
from torch import Tensor, nn

from vaekit.data.domains import Domain
from vaekit.likelihoods import Bernoulli
from vaekit.models import VAE
from vaekit.networks import MLP
from vaekit.posteriors import FSQ, DiagonalNormal
from vaekit.priors import CategoricalTokens, MaskedTokens, StandardNormal, TransformerTokens, UniformTokens
from vaekit.seeding import seeded
from vaekit.spec.parts import PARTS, build

WORST = 4.5
EXACT = sorted(TOKENS - {"masked-tokens"})
"""Priors whose log p is known."""


pytestmark = pytest.mark.usefixtures("_float64")


def prior_of(name: str, condition: int = 0, size: int = 3) -> nn.Module:
    """A prior of `size` tokens of three codes, its weights off any special values."""
    small = {"width": 6, "layers": 2, "heads": 2} if name in ("transformer-tokens", "masked-tokens") else {}
    with seeded(0):
        prior = build(PARTS, "priors", name, small, posterior=FSQ(2, size, levels=(3,)), condition=condition)
        with torch.no_grad():
            for parameter in prior.parameters():
                parameter.add_(0.5 * torch.randn_like(parameter))
    return prior.eval()


def every(size: int = 3, codes: int = 3) -> Tensor:
    return torch.tensor(list(itertools.product(range(codes), repeat=size)))


@pytest.mark.parametrize("condition", [0, 2])
@pytest.mark.parametrize("name", EXACT)
def test_masses_add_up_to_one_and_are_those_of_draws(name: str, condition: int):
    prior, tokens = prior_of(name, condition), every()
    y = one_hot(2, condition) if condition else None
    with torch.no_grad(), seeded(0):
        p = prior(y)
        assert p.batch_shape == ((2,) if condition else ())
        masses = p.log_probs(tokens[:, None] if condition else tokens).sum(-1).exp()
        drawn = p.drawn((20_000,))
        z = p.sample((7,))
    assert torch.allclose(masses.sum(0), torch.ones(masses.shape[1:]))
    numbers = (drawn * torch.tensor([9, 3, 1])).sum(-1)
    found = torch.stack([(numbers == i).double().mean(0) for i in range(27)])
    assert ((found - masses).abs() / (masses * (1 - masses) / 20_000).sqrt()).max() < WORST
    # Of z, tokens are found anew.
    assert torch.allclose(p.log_prob(z), p.log_probs(prior.posterior.indices(z)).sum(-1))
    assert torch.equal(p.center, prior.posterior.vectors(p.drawn((), likeliest=True)))


@pytest.mark.parametrize("name", EXACT)
def test_a_token_does_not_depend_on_those_after_it(name: str):
    p, tokens = prior_of(name, size=4)(), torch.randint(3, (5, 4))
    for place in range(4):
        other = tokens.clone()
        other[:, place] = (other[:, place] + 1) % 3
        same = p.log_probs(tokens) == p.log_probs(other)
        assert same[:, :place].all()
        assert name == "uniform-tokens" or not same[:, place].any()


def test_a_transformer_reads_all_that_is_before_a_token():
    p, tokens = prior_of("transformer-tokens", size=4)(), torch.randint(3, (5, 4))
    for place in range(3):
        other = tokens.clone()
        other[:, place] = (other[:, place] + 1) % 3
        assert (p.log_probs(tokens) != p.log_probs(other))[:, place + 1 :].all()


def test_draws_with_what_is_kept_are_those_without():
    """Of each place the likeliest, by all tokens before it anew."""
    prior = prior_of("transformer-tokens", 2, size=5)
    y = one_hot(4, 2)
    with torch.no_grad():
        p = prior(y)
        want = torch.zeros(4, 5, dtype=torch.long)
        for place in range(5):
            want[:, place] = prior._logits(want, p.context)[:, place].argmax(-1)
        assert torch.equal(p.drawn((), likeliest=True), want)


def test_uniform_tokens_cost_log_k_each():
    model = model_of(posterior="vq", prior="uniform-tokens", latents={"z": 4})
    model.eval()
    scores = model.score(torch.zeros(3, 4), samples=3)
    assert torch.allclose(scores.kl, torch.full((3,), math.log(4)))


def test_a_shared_table_is_the_same_everywhere():
    prior = CategoricalTokens(FSQ(2, 3, levels=(3,)), shared=True)
    with torch.no_grad():
        prior.logits.copy_(torch.tensor([[1.0, 0.0, -1.0]]))
    found = prior().log_probs(torch.tensor([0, 0, 2]))
    assert torch.allclose(found, prior.logits[0].log_softmax(-1)[torch.tensor([0, 0, 2])])


def test_what_is_learned_is_how_often_codes_are():
    prior, tokens = CategoricalTokens(FSQ(2, 1, levels=(3,))), torch.tensor([[0]] * 6 + [[1]] * 3 + [[2]])
    optimizer = torch.optim.SGD(prior.parameters(), 2.0)
    for _ in range(500):
        optimizer.zero_grad()
        (-prior().log_probs(tokens).mean()).backward()
        optimizer.step()
    assert torch.allclose(prior.logits.softmax(-1), torch.tensor([[0.6, 0.3, 0.1]]), atol=1e-3)


@pytest.mark.parametrize("kind", [UniformTokens, CategoricalTokens, TransformerTokens, MaskedTokens])
def test_priors_of_tokens_are_for_posteriors_of_codes(kind: type[nn.Module]):
    with refuses("a prior of tokens is for a quantised posterior, not DiagonalNormal"):
        kind(DiagonalNormal(3, 2))


def test_a_width_that_heads_do_not_divide_is_refused():
    with refuses("width 6, layers 1, heads 4; accepted: 1 or more each, width a multiple of heads"):
        TransformerTokens(FSQ(2, 1, levels=(3,)), width=6, layers=1, heads=4)


# -- masked tokens -----------------------------------------------------------------------------------------------------


def of_orders(prior: nn.Module, y: Tensor | None = None) -> Tensor:
    """log p of every three tokens in each of the six orders, (6, 27), written anew."""
    tokens, found = every(), []
    context = None if y is None else prior.shift(y).expand(27, -1)
    for order in itertools.permutations(range(3)):
        hidden, total = torch.ones(27, 3, dtype=torch.bool), torch.zeros(27)
        for place in order:
            masses = prior._logits(tokens, hidden, context)[:, place].softmax(-1)
            total = total + masses[torch.arange(27), tokens[:, place]].log()
            hidden[:, place] = False
        found.append(total)
    return torch.stack(found)


@pytest.mark.parametrize("condition", [0, 2])
@pytest.mark.parametrize("training", [False, True])
def test_masked_tokens_give_a_bound_of_the_mean_over_orders(training: bool, condition: int):
    prior = prior_of("masked-tokens", condition).train(training)
    prior.orders = 2
    y = one_hot(1, condition) if condition else None
    with torch.no_grad(), seeded(0):
        each = of_orders(prior, y)
        p = prior(None if y is None else y.expand(27, -1))
        found = p.log_probs(every().expand(400, -1, -1)).sum(-1)
    assert torch.allclose(each.exp().sum(-1), torch.ones(6))
    bound, log_p = each.mean(0), each.exp().mean(0).log()
    assert ((found.mean(0) - bound).abs() / (found.std(0) / 400**0.5)).max() < WORST
    assert (bound < log_p).all()
    assert (log_p - bound).max() > 1e-3  # the orders do differ


def test_draws_of_masked_tokens_are_of_the_mean_over_orders():
    prior = prior_of("masked-tokens")
    with torch.no_grad(), seeded(0):
        masses = of_orders(prior).exp().mean(0)
        drawn = prior().drawn((20_000,))
    found = ((drawn * torch.tensor([9, 3, 1])).sum(-1)[:, None] == torch.arange(27)).double().mean(0)
    assert ((found - masses).abs() / (masses * (1 - masses) / 20_000).sqrt()).max() < WORST


def test_in_one_step_all_tokens_are_drawn_at_once():
    prior = prior_of("masked-tokens")
    prior.steps = 1
    with torch.no_grad(), seeded(0):
        alone = prior._logits(torch.zeros(1, 3, dtype=torch.long), torch.ones(1, 3, dtype=torch.bool), None)[0]
        drawn = prior().drawn((20_000,))
    found = torch.stack([(drawn == code).double().mean(0) for code in range(3)], -1)
    masses = alone.softmax(-1)
    assert ((found - masses).abs() / (masses * (1 - masses) / 20_000).sqrt()).max() < WORST
    pairs = torch.corrcoef((drawn == 0).double().T)
    assert (pairs - torch.eye(3)).abs().max() < WORST / 20_000**0.5


def test_the_scores_of_masked_tokens_are_one_bound():
    model = model_of(posterior="vq", prior="masked-tokens", latents={"z": 4}).eval()
    scores = model.score(torch.zeros(3, 4), samples=3, seed=0)
    assert torch.allclose(scores.log_prob, scores.elbo)
    assert (scores.log_prob_variance == 0).all()


def test_a_bound_of_log_p_weighs_no_draws():
    with refuses("the prior of 'z' gives a bound of log p, which weighs no draws, but 'w' is drawn"):
        mixed = {"z": FSQ(8, 2, levels=(3,)), "w": DiagonalNormal(8, 2)}
        priors = {"z": MaskedTokens(mixed["z"], width=4, heads=1), "w": StandardNormal(2)}
        likelihood = Bernoulli((4,), Domain("binary"))
        VAE(MLP((4,), hidden=(8,)), mixed, priors, MLP((4,), likelihood.parameter_shape), likelihood)
    with refuses("steps are -1, orders 8"):
        MaskedTokens(FSQ(2, 1, levels=(3,)), steps=-1)
