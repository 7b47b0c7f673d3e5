"""The table of parts: what options a part has, and what is said of those that it does not have."""

from __future__ import annotations

import inspect
from functools import partial

import pytest
import torch
from models_for_tests import refuses
from torch import nn

from vaekit.composed import with_all
from vaekit.data.domains import Domain
from vaekit.likelihoods import Bernoulli, check_domain
from vaekit.likelihoods.base import Likelihood
from vaekit.priors.mixtures import Mixture
from vaekit.schedules import Linear, Schedule
from vaekit.spec.parts import CONTEXT, PARTS, build, catalogue, check, options

FAMILIES = ["encoders", "decoders", "posteriors", "priors", "likelihoods", "objectives", "schedules", "optimizers"]
FAMILIES += ["loggers", "pictures", "structures", "terms"]
EVERY = with_all(PARTS)
ALL = [(family, name) for family in FAMILIES for name in getattr(EVERY, family)]


@pytest.mark.parametrize(("family", "name"), ALL)
def test_every_option_has_a_default_of_its_own_type(family: str, name: str):
    accepted = options(getattr(EVERY, family)[name], family)
    assert not CONTEXT[family] & accepted.keys()
    defaults = {key: option.default for key, option in accepted.items() if option.default is not None}
    if family == "objectives" and "beta" in defaults:
        assert defaults["beta"] == 1.0
    # What a part does by default can be asked for by name; and no likelihood offers `parameters`: not a user's.
    needed = [key for key, option in accepted.items() if option.default is inspect.Parameter.empty]
    if needed:
        with refuses(f"needs the option {needed[0]!r}"):
            check(EVERY, family, name, {})
        return
    assert check(EVERY, family, name, {}) == {}
    assert check(EVERY, family, name, defaults).keys() == defaults.keys()
    assert "parameters" not in accepted


REFUSED = [
    ("priors", "vmap", {}, "unknown prior 'vmap' (did you mean 'vamp'?); accepted: standard-normal, diagonal-normal"),
    ("priors", "vamp", {"component": 3}, "unknown option of prior 'vamp': 'component' (did you mean 'components'?)"),
    ("priors", "vamp", {"encoder": 3}, "unknown option of prior 'vamp': 'encoder'"),
    (
        "priors",
        "vamp",
        {"components": "many"},
        "option 'components' of prior 'vamp' is 'many'; accepted: a whole number, such as",
    ),
    ("priors", "vamp", {"components": 2.5}, "option 'components' of prior 'vamp' is 2.5"),
    ("encoders", "mlp", {"hidden": 64}, "option 'hidden' of encoder 'mlp' is 64"),
    ("encoders", "mlp", {"hidden": (64, "x")}, "option 'hidden' of encoder 'mlp' is (64, 'x')"),
    ("likelihoods", "bernoulli", {"parameters": 3}, "unknown option of likelihood 'bernoulli': 'parameters'"),
    ("likelihoods", "normal-fixed", {"sigma": float("inf")}, "option 'sigma' of likelihood 'normal-fixed' is inf"),
    ("objectives", "elbo", {"beta": float("nan")}, "option 'beta' of objective 'elbo' is nan"),
    ("objectives", "elbo", {"beta": "warm"}, "option 'beta' of objective 'elbo' is 'warm'"),
    ("objectives", "elbo", {"beta": {"name": "liner"}}, "unknown schedule 'liner' (did you mean 'linear'?)"),
    ("objectives", "elbo", {"beta": {"name": ["linear"]}}, "unknown schedule"),
    ("objectives", "elbo", {"beta": {"name": "linear", "until": 2.0}}, "until is a fraction of the run"),
    ("schedules", "linear", {"start": {"name": "cosine"}}, "'start' of schedule 'linear' is {'name': 'cosine'}"),
    ("optimizers", "adm", {}, "unknown optimizer 'adm' (did you mean 'adam'?)"),
    ("optimizers", "adam", {"betas": 3}, "is 3; accepted: a list of two finite numbers, such as betas=[0.9, 0.999]"),
]


@pytest.mark.parametrize(("family", "name", "given", "message"), REFUSED)
def test_what_is_refused_in_one_line(family: str, name: str, given: dict, message: str):
    with refuses(message):
        check(PARTS, family, name, given)


def test_messages_stay_short_whatever_was_given():
    deep: object = 1
    for _ in range(5_000):
        deep = [deep]
    for value in ("x" * 10**6, deep, {"a": "y" * 10**6}):
        with refuses():
            check(PARTS, "priors", "vamp", {"components": value})
    with refuses():
        check(PARTS, "priors", "vamp", {"x" * 10**5: 1})


def test_an_option_that_must_be_given_is_asked_for():
    class Needy(nn.Module):
        def __init__(self, latent: int, temperature: float, *args: int, **kwargs: int) -> None:
            super().__init__()

    mine = PARTS.extended(priors={"needy": Needy})
    assert list(options(Needy, "priors")) == ["temperature"]
    with refuses("prior 'needy' needs the option 'temperature'"):
        check(mine, "priors", "needy", {})
    assert isinstance(build(mine, "priors", "needy", {"temperature": 2}, latent=3), Needy)
    (entry,) = [entry for entry in catalogue(mine, "priors") if entry.name == "needy"]
    assert entry.options == {"temperature": None}


def test_what_a_family_is_not_given_is_asked_for():
    """The encoder is for priors only, a learning rate for optimizers only."""

    def made(event_shape: tuple[int, ...], domain: Domain, encoder: nn.Module, lr: float = 0.1) -> nn.Module:
        return nn.Identity()

    mine = PARTS.extended(likelihoods={"made": made}, priors={"made": made})
    context = {"event_shape": (2,), "domain": Domain("real"), "encoder": nn.Identity()}
    assert list(options(made, "likelihoods")) == ["encoder", "lr"]
    assert list(options(made, "priors")) == ["lr"]
    with refuses("likelihood 'made' needs the option 'encoder'"):
        build(mine, "likelihoods", "made", {}, **context)
    build(mine, "priors", "made", {"lr": 3}, **context)


def test_a_summary_is_a_whole_paragraph_in_one_line():
    summaries = {(entry.family, entry.name): entry.summary for entry in catalogue(EVERY)}
    assert set(summaries) == set(ALL)
    assert summaries["objectives", "elbo"].endswith("lower bound at beta = 1 (Kingma & Welling 2014, eq. 7).")
    assert all(summary.endswith(".") and "\n" not in summary for summary in summaries.values())


def test_partials_and_functions_are_parts():
    def made(latent: int, width: float = 1.0) -> nn.Module:
        module = nn.Identity()
        module.width = width
        return module

    mine = PARTS.extended(priors={"few": partial(Mixture, components=3), "made": made})
    assert build(mine, "priors", "few", {}, latent=2, condition=0).start.shape == (3, 5)
    assert build(mine, "priors", "few", {"components": "4"}, latent=2).start.shape == (4, 5)
    assert build(mine, "priors", "made", {"width": 3}, latent=2, condition=9).width == 3.0
    with refuses("option 'components' of prior 'few' is 'x'"):
        check(mine, "priors", "few", {"components": "x"})


def test_schedules_are_built_where_an_option_is_one():
    elbo = build(PARTS, "objectives", "elbo", {"beta": {"name": "linear", "until": 0.5}})
    assert elbo.beta == Linear(until=0.5)


def test_a_table_with_a_name_is_a_schedule_only_where_an_option_may_be_one():
    def made(options: dict[str, str], rate: Schedule) -> tuple[dict[str, str], Schedule]:
        return options, rate

    mine = PARTS.extended(objectives={"made": made})
    given = {"options": {"name": "linear"}, "rate": {"name": "linear", "until": 0.5}}
    assert build(mine, "objectives", "made", given) == ({"name": "linear"}, Linear(until=0.5))


def test_extending_leaves_the_tables_as_they_are():
    mine = PARTS.extended(priors={"mine": nn.Linear}, encoders={"mine": nn.Identity})
    mine = mine.extended(priors={"mine": nn.Identity, "mixture": Mixture})
    assert mine.priors["mine"] is nn.Identity
    assert "mine" not in PARTS.priors
    assert "mine" not in PARTS.encoders
    assert mine.posteriors is PARTS.posteriors
    with pytest.raises(TypeError):
        mine.priors["more"] = nn.Identity
    with refuses("unknown family of parts 'prior' (did you mean 'priors'?)"):
        PARTS.extended(prior={})


def test_a_name_of_vaekit_is_no_name_for_another_part():
    # A run is loaded by names: without the file of parts, the other one would be taken, and its scores be wrong.
    with refuses("prior 'vamp' is one of vaekit's own; give yours another name"):
        PARTS.extended(priors={"vamp": nn.Identity})
    assert PARTS.extended(priors=PARTS.priors).priors == PARTS.priors


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"mine": 3}, "prior 'mine' is 3; accepted: a class, or a function that makes one"),
        ({"mine": nn.Identity()}, "prior 'mine' is a Identity; accepted: a class"),
        ({"mine": Linear()}, "prior 'mine' is a Linear; accepted: a class"),
        ({3: nn.Identity}, "prior 3 is the class Identity; accepted: a class, or a function that makes one, by a text"),
        (nn.Identity, "priors is the class Identity; accepted: classes, or functions, by name"),
    ],
)
def test_what_makes_no_part_is_refused(table: object, told: str):
    with refuses(told):
        PARTS.extended(priors=table)


@pytest.mark.parametrize("name", PARTS.optimizers)
def test_optimizers_step(name: str):
    parameter = nn.Parameter(torch.ones(3))
    optimizer = build(PARTS, "optimizers", name, {}, params=[parameter], lr=0.1, fused=True)
    parameter.square().sum().backward()
    optimizer.step()
    assert (parameter < 1).all()


def test_a_likelihood_that_declares_no_domains_or_is_not_there_is_refused():
    with refuses("likelihood 'mine' declares no `domains`"):
        check_domain({"mine": nn.Identity}, "mine", Domain("real"))
    for domains, told in (
        ((), "declares no `domains`, the kinds of data that it is a density of; accepted: a tuple of some of binary"),
        ("real", "has the domains 'real'; accepted: a tuple of some of binary, grey"),
        (("real", "gray"), "has the domains 'gray'; accepted: a tuple"),
    ):
        with refuses(f"likelihood 'mine' {told}"):
            check_domain({"mine": type("Mine", (Likelihood,), {"domains": domains})}, "mine", Domain("real"))
    with refuses("did you mean 'bernoulli'"):
        check_domain(PARTS.likelihoods, "bernouli", Domain("binary"))
    fits = "discretized-logistic, discretized-logistic-mixture, binomial, categorical"
    with refuses(f"the data are grey levels 0..16; what fits: {fits}; or bin"):
        check_domain(PARTS.likelihoods, "bernoulli", Domain("grey", levels=17))
    with refuses("what fits: none of those named"):
        check_domain({"bernoulli": Bernoulli}, "bernoulli", Domain("count"))
