from __future__ import annotations

from functools import wraps
from pathlib import Path

import pytest
import torch
from commands_for_tests import command, done
from models_for_tests import SMALL, data_of, float64, model_of, refuses
from runs_for_tests import small_run
from torch import Tensor, nn

from vaekit import train
from vaekit.data.batch import Batch
from vaekit.distributions.divergences import kl
from vaekit.distributions.flows import flow_of
from vaekit.errors import RunError
from vaekit.posteriors import DiagonalNormal, Flow, FullRankNormal
from vaekit.posteriors.continuous import SLOWLY
from vaekit.priors.mixtures import Mixture
from vaekit.priors.normal import StandardNormal
from vaekit.seeding import seeded
from vaekit.spec.parts import PARTS
from vaekit.training.weights import load_tensors, model_tensors, set_model_tensors

NORMALS = {"diagonal-normal": DiagonalNormal, "full-rank-normal": FullRankNormal}
GROUPS = {"diagonal-normal": ["loc", "diagonal"], "full-rank-normal": ["loc", "diagonal", "below"]}
"""The groups of parameters, in the order of their towers."""
FLOW = "{name='flow', transforms=1, hidden=[4]}"


def groups(posterior: nn.Module, features: Tensor) -> dict[str, Tensor]:
    q = posterior(features)
    if isinstance(posterior, DiagonalNormal):
        return {"loc": q.mean, "diagonal": q.stddev}
    rows, columns = posterior.rows_columns
    diagonal = q.scale_tril.diagonal(0, -2, -1)
    return {"loc": q.loc, "diagonal": diagonal, "below": q.scale_tril[..., rows, columns] / diagonal[..., rows]}


def towers(posterior: nn.Module) -> list[nn.Module]:
    heads = [posterior.head, *([posterior.relative] if isinstance(posterior, FullRankNormal) else [])]
    return [tower for head in heads for tower in head.towers]


def moved(posterior: nn.Module) -> nn.Module:
    """Off the diagonal, where a full-rank posterior starts."""
    for parameter in posterior.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return posterior


@pytest.mark.parametrize("name", NORMALS)
def test_a_parameter_is_a_number_of_its_own_tower_alone(name: str):
    with float64(), seeded(0):
        posterior = moved(NORMALS[name](5, 3, hidden=(7, 4), activation="tanh"))
        features = torch.randn(6, 5)
    found = groups(posterior, features)
    assert list(found) == GROUPS[name]
    for group, own in zip(found.values(), towers(posterior), strict=True):
        posterior.zero_grad(set_to_none=True)
        group.square().sum().backward(retain_graph=True)
        touched = {id(p) for p in posterior.parameters() if p.grad is not None and p.grad.abs().max() > 1e-12}
        assert touched == {id(p) for p in own.parameters()}


@pytest.mark.parametrize("name", NORMALS)
def test_a_tower_is_hidden_layers_and_a_linear_one(name: str):
    with float64(), seeded(0):
        posterior = moved(NORMALS[name](5, 3, hidden=(7,), activation="elu"))
        features = torch.randn(6, 5)
    links = {"loc": lambda v: v, "diagonal": lambda v: (0.5 * v).exp(), "below": lambda v: SLOWLY * v}
    for (group, value), tower in zip(groups(posterior, features).items(), towers(posterior), strict=True):
        first, second = (layer for layer in tower.modules() if isinstance(layer, nn.Linear))
        hidden = torch.nn.functional.elu(features @ first.weight.T + first.bias)
        assert torch.allclose(value, links[group](hidden @ second.weight.T + second.bias), rtol=1e-12)


@pytest.mark.parametrize("name", NORMALS)
def test_without_hidden_layers_the_heads_are_linear(name: str):
    names = [f"{head}.{what}" for head in ("head", "relative") for what in ("weight", "bias")]
    assert list(NORMALS[name](5, 3).state_dict()) == names[: 2 if name == "diagonal-normal" else 4]


@pytest.mark.parametrize("latent", [1, 3])
@pytest.mark.parametrize("name", NORMALS)
def test_posteriors_with_towers_are_scored_for_any_samples_and_batch(name: str, latent: int):
    options = SMALL | {name: {"hidden": [6], "activation": "tanh"}}
    model = model_of(posterior=name, latents={"z": latent}, options=options)
    x = data_of(model.domain, (5, 4))
    for samples, batch in [(1, 1), (3, 5)]:
        trace = model.trace(Batch(x[:batch]), samples=samples)
        assert trace.log_weight.shape == (samples, batch)
    with seeded(0):
        (-model.trace(Batch(x), samples=20).log_weight.mean()).backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("name", NORMALS)
def test_layers_that_cannot_be_are_refused(name: str):
    with refuses("hidden layer sizes must be at least 1, got [3, 0]"):
        PARTS.posteriors[name](5, 3, hidden=(3, 0))
    with refuses("unknown activation 'tan' (did you mean 'tanh'?)"):
        PARTS.posteriors[name](5, 3, hidden=(3,), activation="tan")


@pytest.mark.parametrize("hidden", [(), (4,)])
def test_a_full_rank_posterior_starts_as_the_diagonal_one_and_leaves_it(hidden: tuple[int, ...]):
    with float64():
        with seeded(0):
            diagonal = DiagonalNormal(5, 3, hidden=hidden)
        with seeded(0):
            full = FullRankNormal(5, 3, hidden=hidden)
        features = torch.randn(6, 5)
    q, wanted = full(features), diagonal(features)
    assert torch.equal(q.mean, wanted.mean)
    assert torch.allclose(q.covariance_matrix, torch.diag_embed(wanted.variance))
    q.log_prob(torch.randn(6, 3, dtype=torch.float64)).sum().backward()
    assert all(p.grad is not None for p in full.relative.parameters())
    assert [*full.relative.parameters()][-1].grad.all()


def test_correlations_do_not_depend_on_the_scale_of_the_codes():
    factors = torch.tensor([0.1, 2.0, 3.0], dtype=torch.float64)
    with float64(), seeded(0):
        posterior, features = moved(FullRankNormal(5, 3)), torch.randn(6, 5)
    before = posterior(features).scale_tril
    posterior.head.bias.data[3:] += 2 * factors.log()
    assert torch.allclose(posterior(features).scale_tril, factors[:, None] * before)
    assert before.tril(-1).any()


def test_weights_from_before_are_read_as_what_they_were_of():
    """What is below L's diagonal was then a head of its own, called off_diagonal."""
    with float64(), seeded(0):
        model, other = (model_of(posterior="full-rank-normal", latents={"z": 3}) for _ in range(2))
    tensors = {name.replace(".relative.", ".off_diagonal."): t.clone() for name, t in model_tensors(model).items()}
    assert tensors.keys() != model_tensors(model).keys()
    set_model_tensors(other, tensors)
    assert model_tensors(other).keys() == tensors.keys()
    x = data_of(model.domain, (5, 4))
    q, posterior = other.posterior(Batch(x))["z"], model.posteriors["z"]
    below = posterior.relative(model.encoder(x))
    rows, columns = posterior.rows_columns
    assert torch.allclose(q.scale_tril[..., rows, columns], below)
    with pytest.raises(RunError, match="lack"):
        set_model_tensors(model, {name: t for name, t in tensors.items() if "off_diagonal" not in name})


@pytest.mark.parametrize("raw", [-1e3, -10.1, 10.1, 1e3])
@pytest.mark.parametrize("name", NORMALS)
def test_a_variance_beyond_its_bounds_is_led_back_by_the_kl(name: str, raw: float):
    """KL(N(0, s²), N(0, 1)) has the derivative (s² - 1) / 2 in log s²; at a bound it is that, outside as on it."""
    with float64():
        posterior = NORMALS[name](1, 1)
        nn.init.zeros_(posterior.head.weight)
        posterior.head.bias.data = torch.tensor([0.0, raw])
        value = kl(posterior(torch.zeros(1, 1)), StandardNormal(1)()).sum()
    (slope,) = torch.autograd.grad(value, posterior.head.bias)
    assert torch.allclose(slope[1], (torch.tensor(raw).clamp(-10, 10).double().exp() - 1) / 2)


def test_a_mixture_s_variances_are_led_back_by_the_likelihood():
    with float64(), seeded(0):
        prior = Mixture(2, components=3)
        far = torch.tensor([[-30.0], [-11.0], [30.0]])
        prior.start.data[:, 2:4] = far
        # Wider than the first two components, narrower than the last.
        codes = prior.start[:, :2].detach() + 0.1 * torch.randn(50, 3, 2)
        (slope,) = torch.autograd.grad(-prior().component_distribution.log_prob(codes).mean(), prior.start)
    assert torch.equal(slope[:, 2:4].sign(), far.sign().expand(3, 2))


def test_pseudo_inputs_outside_the_data_are_led_back_by_what_wants_them_inside():
    model = model_of(prior="vamp")
    inputs = model.priors["z"].pseudo_inputs
    inputs.data = torch.tensor([1.5, 0.5, -0.5, 0.2], dtype=torch.float64).expand_as(inputs).clone()
    with seeded(0):
        log_weight = model.trace(Batch(data_of(model.domain, (20, 4)))).log_weight.mean()
    down, up = (torch.autograd.grad(sign * log_weight, inputs, retain_graph=True)[0] != 0 for sign in (1, -1))
    assert torch.equal(down != up, torch.tensor([True, False, True, False]).expand_as(down))


# -- a flow ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("latent", [1, 3])
def test_a_flow_starts_as_the_diagonal_normal(latent: int):
    with float64(), seeded(0):
        flow, plain = Flow(5, latent, transforms=2, hidden=(6,)), DiagonalNormal(5, latent)
        plain.head.load_state_dict(flow.head.state_dict())
        features, z = torch.randn(6, 5), torch.randn(4, 6, latent)
        assert torch.allclose(flow(features).log_prob(z), plain(features).log_prob(z), rtol=1e-12)
        before = flow(features).log_prob(z)
        moved(flow.transform)
    assert not torch.allclose(flow(features).log_prob(z), before, rtol=1e-3)


def test_a_flow_that_was_saved_without_a_diagonal_is_what_it_was():
    with float64(), seeded(0):
        older = moved(flow_of(3, 5, 2, (6,)))
        flow = Flow(5, 3, transforms=2, hidden=(6,))
        set_model_tensors(flow, model_tensors(older))
        features, z = torch.randn(6, 5), torch.randn(4, 6, 3)
    assert torch.equal(flow(features).log_prob(z), older(features).log_prob(z))


@pytest.mark.parametrize(
    ("family", "kind", "dear"),
    [("posterior", "nsf", True), ("posterior", "maf", True), ("posterior", "iaf", False), ("prior", "iaf", True)],
)
def test_that_a_flow_takes_a_pass_for_each_dimension_is_said_before_it_takes_long(
    family: str, kind: str, dear: bool, tmp_path: Path
) -> None:
    latent = f"model.latents.z={{size=3, {family}={{name='flow', transforms=1, hidden=[4], kind='{kind}'}}}}"
    few = ("--set=model.encoder.hidden=[4]", "--set=model.decoder.hidden=[4]", "--set=data.train=100", "--epochs=1")
    said = done("train", "digits", "--out", tmp_path / "run", "--set", latent, *few, "--samples=1")
    words = f"{family}s.z: with kind={kind} a {'draw' if family == 'posterior' else 'density'} takes 3 passes"
    assert (words in said.partition("\nELBO")[0]) == dear
    found = command("evaluate", tmp_path / "run", "--samples=1")
    assert (words in found.err) == dear
    if dear:
        assert f"with kind={'iaf' if family == 'posterior' else 'maf'} one" in found.err


@pytest.mark.parametrize("name", ["flow", "full-rank-normal"])
def test_a_training_of_an_older_posterior_goes_on_exactly(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made without what is new in it, cut off, and gone on with by a version that has it."""
    sets = ["model.latents.z.posterior=" + (FLOW if name == "flow" else name)]
    own = {"flow": Flow, "full-rank-normal": FullRankNormal}[name]
    make = own.__init__

    @wraps(make)
    def older(self: nn.Module, *given: object, **options: object) -> None:
        make(self, *given, **options)
        self.adopt(["transform.", "off_diagonal.weight"])

    with monkeypatch.context() as then:
        then.setattr(own, "__init__", older)
        for place, epochs in (("whole", 3), ("cut", 2)):
            small_run(tmp_path / place, *sets, f"training.epochs={epochs}")
    train(out=tmp_path / "cut", resume=True, epochs=3)
    whole, again = (load_tensors(tmp_path / place / "weights.safetensors") for place in ("whole", "cut"))
    assert whole.keys() == again.keys()
    assert all(torch.equal(whole[each], again[each]) for each in whole)


@pytest.mark.parametrize("nats", [0.05, 3.0, 12.0])
def test_a_least_kl_holds_whatever_the_features_and_is_reached(nats: float):
    with float64(), seeded(0):
        posterior, prior = DiagonalNormal(5, 4, least_kl=nats), StandardNormal(4)
        features = 30 * torch.randn(200, 5)
        assert float(kl(posterior(features), prior()).detach().min()) >= nats * (1 - 1e-12)
        posterior.head.weight.data.zero_()
        posterior.head.bias.data.copy_(torch.tensor([0.0] * 4 + [9.0] * 4))
        assert float(kl(posterior(features[:1]), prior()).detach()) == pytest.approx(nats, rel=1e-9)
    with refuses("least_kl is 40.0 of 4 dimensions, which needs fewer nats"):
        DiagonalNormal(5, 4, least_kl=40.0)
    with refuses("least_kl must be at least 0"):
        DiagonalNormal(5, 4, least_kl=-1.0)
