"""A likelihood of columns of several kinds: a product, each in its own units, whatever their order."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vaekit import VAE, Domain, likelihoods, networks, posteriors, priors
from vaekit.data.batch import Batch
from vaekit.data.inputs import Inputs
from vaekit.likelihoods import ColumnsLikelihood, LogisticMixture

KINDS = (
    Domain("real", location=2.0, scale=1.5),
    Domain("positive", location=1.0, scale=0.8, warp="log"),
    Domain("count", location=2.5, scale=1.0, warp="log"),
    Domain("count", location=40.0, scale=10.0),
    Domain("binary"),
    Domain("categorical", levels=3),
    Domain("categorical", levels=4),
    Domain("grey", levels=5),
    Domain("nonnegative", location=5.0, scale=1.0, warp="log"),
    Domain("integer", location=0.0, scale=30.0),
    Domain("real", location=0.0, scale=1.0, warp="asinh"),
    Domain("unit", location=1.0, scale=4.0),
)
VALUES = torch.tensor([1.0, 3.0, 7.0, 41.0, 1.0, 2.0, 3.0, 4.0, 0.0, -3.0, -500.0, 2.5])
D = len(KINDS)


def table(columns=KINDS, missing=False):
    return Domain("columns", columns=tuple(columns), missing=missing)


def model(domain=None, seed=0):
    torch.manual_seed(seed)
    domain = domain or table(missing=True)
    d = len(domain.columns)
    p = ColumnsLikelihood((d,), domain)
    return VAE(
        encoder=networks.MLP(domain.inputs_shape((d,)), hidden=(16,)),
        posteriors={"z": posteriors.DiagonalNormal(16, 2)},
        priors={"z": priors.StandardNormal(2)},
        decoder=networks.MLP((2,), p.parameter_shape, hidden=(16,)),
        likelihood=p,
    ).eval()


def distribution(domain, seed=0, rows=5):
    p = ColumnsLikelihood((len(domain.columns),), domain)
    torch.manual_seed(seed)
    return p(0.5 * torch.randn(rows, *p.parameter_shape))


def test_a_level_of_no_training_row_begins_next_to_impossible():
    domain = table((Domain("categorical", levels=4, unseen=(1,), rows=50), Domain("grey", levels=3), *KINDS))
    p = ColumnsLikelihood((len(domain.columns),), domain)
    rows = torch.zeros(4, len(domain.columns))
    rows[:, 0], rows[:, 3] = torch.arange(4.0), 1.0
    rows[:, 2 + KINDS.index(Domain("positive", location=1.0, scale=0.8, warp="log"))] = 1.0
    own = p(torch.zeros(4, *p.parameter_shape)).log_probs(rows)[:, 0].exp()
    assert own[1] == pytest.approx(1 / 104, rel=0.02)
    torch.testing.assert_close(own.sum(), torch.tensor(1.0))
    assert own[[0, 2, 3]].unique().numel() == 1


def test_columns_add_up_to_the_row():
    p = distribution(table())
    x = VALUES.expand(5, D)
    each = p.log_probs(x)
    assert each.shape == (5, D)
    assert torch.allclose(each.sum(-1), p.log_prob(x), atol=1e-5)


def test_a_column_is_scored_as_its_own_kind_alone_is():
    """Each column of a group, whatever is beside it: the group's parameters are those of its columns side by side."""
    domain = table()
    p = distribution(domain)
    for (group, index), part in zip(domain.groups, p.parts, strict=True):
        x = VALUES[list(index)].expand(5, len(index))
        assert torch.allclose(part.log_prob(x), p.log_probs(VALUES.expand(5, D))[:, list(index)].sum(-1), atol=1e-5)
        assert {KINDS[i].kind for i in index} == {group.kind}


def test_categories_that_a_column_does_not_have_have_no_mass():
    domain = table([Domain("categorical", levels=3), Domain("categorical", levels=4)])
    p = distribution(domain)
    assert len(p.parts) == 1  # computed together
    for column, levels in enumerate((3, 4)):
        x = torch.zeros(levels, 5, 2)
        x[:, :, column] = torch.arange(float(levels))[:, None]
        assert torch.allclose(p.log_probs(x)[..., column].exp().sum(0), torch.ones(5), atol=1e-5)
    assert p.sample((400,))[..., 0].max() == 2


def test_draws_are_in_the_domain_of_their_column():
    domain = table()
    x = distribution(domain).sample((2000,)).flatten(0, 1)
    domain.check(x.numpy(), "draws")


@pytest.mark.parametrize("observed", [[0, 3, 7], [], list(range(D))])
def test_what_is_not_observed_is_in_no_number(observed):
    p, mask = distribution(table()), torch.zeros(D, dtype=torch.bool)
    mask[observed] = True
    x = VALUES.expand(5, D)
    other = torch.where(mask, x, torch.tensor([float(each.filler) for each in KINDS]))
    found = p.marginal_log_prob(x, mask)
    assert torch.equal(found, p.marginal_log_prob(other, mask))
    assert torch.allclose(found, p.log_probs(x)[:, mask].sum(-1), atol=1e-5)
    if not observed:
        assert (found == 0).all()


def test_nothing_observed_is_the_prior_and_a_column_never_observed_changes_nothing():
    vae = model()
    x = VALUES.expand(3, D)
    nothing = Batch(x, observed=torch.zeros(3, D, dtype=torch.bool))
    assert (vae.trace(nothing, 4).log_px == 0).all()
    seen = torch.ones(3, D, dtype=torch.bool)
    seen[:, 4] = False
    torch.manual_seed(1)
    one = vae.trace(Batch(x, observed=seen), 8).log_weight
    torch.manual_seed(1)
    other = x.clone()
    other[:, 4] = 0.0
    assert torch.equal(one, vae.trace(Batch(other, observed=seen), 8).log_weight)


def test_the_order_of_columns_does_not_matter():
    """Permuted weights of a permuted table give the same numbers."""
    domain, order = table(), torch.randperm(D, generator=torch.Generator().manual_seed(3)).tolist()
    turned = table([KINDS[i] for i in order])
    p, q = distribution(domain), distribution(turned)
    torch.manual_seed(0)
    one, other = (ColumnsLikelihood((D,), each) for each in (domain, turned))
    parameters = 0.3 * torch.randn(4, *one.parameter_shape)
    parts = dict(zip([index for _, index in domain.groups], parameters.split(one.sizes, -1), strict=True))
    by_column = {}
    for index, part in parts.items():
        for place, column in enumerate(index):
            by_column[column] = part.unflatten(-1, (-1, len(index)))[..., place]
    moved = []
    for _, index in turned.groups:
        moved.append(torch.stack([by_column[order[i]] for i in index], -1).flatten(-2))
    x = VALUES.expand(4, D)
    found = one(parameters).log_probs(x)[:, order]
    assert torch.allclose(found, other(torch.cat(moved, -1)).log_probs(x[:, order]), atol=1e-5)
    assert p.event_shape == q.event_shape


def test_encoders_see_numbers_of_order_one():
    domain = table(missing=True)
    inputs = Inputs((D,), domain)
    x = distribution(domain).sample((200,)).flatten(0, 1)
    seen = inputs(x)
    assert seen.shape[1:] == inputs.shape == domain.inputs_shape((D,))
    assert seen.isfinite().all()
    assert float(seen.abs().median()) < 3
    assert (seen[:, -D:] == 1).all()
    hidden = inputs(x, torch.zeros_like(x, dtype=torch.bool))
    assert (hidden == 0).all()


def test_large_whole_numbers_are_drawn_to_the_last_digit():
    domain = table([Domain("integer", location=3e9, scale=5.0), Domain("binary")])
    x = distribution(domain).sample((500,))[..., 0].double()
    assert x.dtype == torch.float64
    assert float((x % 2).mean()) == pytest.approx(0.5, abs=0.1)  # float32 has even ones alone there


def test_a_mixture_contains_the_logistic():
    p = LogisticMixture((1,), Domain("real", location=(1.0,), scale=(2.0,)), components=1)
    found = p(torch.tensor([[[0.0], [0.0], [1.0]]])).log_prob(torch.tensor([[3.0]]))  # logits, place, log-scale + 1
    from scipy import stats

    assert float(found) == pytest.approx(stats.logistic.logpdf(3.0, 1.0, 2.0), abs=1e-5)


@pytest.mark.parametrize("kind", ["positive", "nonnegative"])
def test_draws_of_what_is_not_below_0_are_not(kind):
    """Also where the domain is that of numbers of one kind, in units of their scale."""
    domain = Domain(kind, scale=(0.5, 100.0))
    p = LogisticMixture((2,), domain)
    x = p(3 * torch.randn(200, *p.parameter_shape)).sample((20,))
    domain.check(x.numpy())
    assert p(torch.zeros(1, *p.parameter_shape)).log_prob(x).isfinite().all()
    seen = Inputs((2,), domain)
    assert seen(x[0]).shape == (200, *seen.shape) == (200, 4 if kind == "nonnegative" else 2)


@pytest.mark.parametrize("kind", ["real", "count", "binary", "positive", "nonnegative", "integer"])
def test_a_table_of_one_kind_is_one_of_columns_too(kind):
    domain = Domain(kind, scale=(1.0, 2.0) if kind != "binary" else 1.0)
    p = likelihoods.ColumnsLikelihood((2,), domain)
    x = p(torch.zeros(7, *p.parameter_shape)).sample()
    assert p(torch.zeros(7, *p.parameter_shape)).log_prob(x).isfinite().all()
    domain.check(x.numpy() if kind != "binary" else np.asarray(x), "draws")


def test_images_are_no_columns():
    with pytest.raises(ValueError, match="columns are those of a table"):
        ColumnsLikelihood((1, 8, 8), Domain("binary"))


def test_a_global_scale_is_that_of_all_rows_and_learned():
    """Decoders have no say in it; at the same scale the densities are those of the likelihood with a scale for each."""
    column = Domain("columns", columns=(Domain("nonnegative", location=1.0, scale=1.0, warp="log"),) * 2)
    one, each = (ColumnsLikelihood((2,), column, 2, global_scale=flag) for flag in (True, False))
    assert one.parameter_shape == (2 * (2 * 2 + 1),)
    assert each.parameter_shape == (2 * (3 * 2 + 1),)
    torch.manual_seed(0)
    parameters = torch.randn(5, 7, 2)
    parameters[:, 4:6] = 0.3
    with torch.no_grad():
        one.members[0].log_scale.fill_(0.3)
    x = torch.tensor([[0.0, 2.0]]).expand(5, 2)
    found = one(torch.cat([parameters[:, :4], parameters[:, 6:]], 1).flatten(1)).log_probs(x)
    torch.testing.assert_close(found, each(parameters.flatten(1)).log_probs(x))
    found.sum().backward()
    assert one.members[0].log_scale.grad[:, 1].abs().min() > 0  # the first column is all zeros
