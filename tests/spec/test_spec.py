"""The spec of a run: what it takes, how it is saved, and one line for everything that it does not understand."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from models_for_tests import DOMAINS, refuses
from specs_for_tests import parse_toml

from vaekit.data import Dataset, Preprocessing, Split
from vaekit.data.batch import Batch
from vaekit.data.domains import Domain
from vaekit.likelihoods import Bernoulli
from vaekit.objectives.elbo import ELBO
from vaekit.schedules import Constant, Cosine, Cyclic
from vaekit.spec.building import build_model, build_objective, build_schedule, schema_of, with_likelihood
from vaekit.spec.keys import DataSpec, ObjectiveSpec, PartSpec, Schema, Spec
from vaekit.spec.parsing import parse
from vaekit.spec.parts import PARTS
from vaekit.spec.saving import FORMAT, from_json, to_json

SCHEMA = Schema(event_shape=(1, 4, 4), domain=Domain("binary"), condition=3, classes=("a", "b", "ç"), fingerprint="f")

FULL = """
title = "everything — once"
[data]
name = "digits"
binarize = "stochastic"
validation = 100
[model]
encoder = { name = "conv", channels = [4, 8], activation = "gelu" }
likelihood = "bernoulli"
condition = true
[model.latents.style]
size = 3
posterior = "full-rank-normal"
prior = { name = "mixture", components = 7 }
[model.latents.content]
prior = "vamp"
[objective]
name = "elbo"
beta = { name = "cyclic", cycles = 2 }
[training]
learning_rate = { name = "cosine", start = 1e-3, end = 1e-5 }
clip = 1
"""


def test_defaults_are_a_spec():
    assert parse({}) == Spec()
    assert parse_toml("") == Spec()
    assert from_json(to_json(Spec(), SCHEMA)) == (Spec(), SCHEMA)


def test_a_full_spec_is_what_it_says_and_survives_being_saved():
    spec = parse_toml(FULL)
    assert spec.model.encoder.options == {"channels": [4, 8], "activation": "gelu"}
    assert list(spec.model.latents) == ["style", "content"]
    assert spec.model.latents["content"].size == 16
    assert spec.data.preprocessing == Preprocessing("stochastic", False, 0)
    assert build_objective(spec, build_model(spec.model, SCHEMA)) == ELBO(beta=Cyclic(cycles=2))
    assert build_schedule(spec.training.learning_rate) == Cosine(1e-3, 1e-5)
    assert build_schedule(0.5) == Constant(0.5)
    saved = to_json(spec, SCHEMA)
    again, schema = from_json(saved)
    assert (again, schema) == (spec, SCHEMA)
    assert to_json(again, schema) == saved
    model = build_model(again.model, schema, seed=1)
    assert model.sizes == {"style": 3, "content": 16}
    assert model.condition == 3
    for one, other in zip(model.parameters(), build_model(spec.model, SCHEMA, seed=1).parameters(), strict=True):
        assert torch.equal(one, other)


@given(
    st.builds(
        dict,
        epochs=st.integers(1, 10**9),
        batch_size=st.integers(1, 10**6),
        learning_rate=st.floats(1e-300, 1e300, allow_nan=False) | st.just({"name": "linear", "until": 0.25}),
        clip=st.none() | st.floats(1e-9, 1e9),
        ema=st.none() | st.floats(0.01, 0.99),
        seed=st.integers(0, 2**63 - 1),
    ),
    st.text(),
    st.dictionaries(st.text("abcdz_", min_size=1), st.integers(1, 100_000), min_size=1, max_size=3),
)
def test_every_spec_survives_being_saved(training: dict[str, Any], title: str, sizes: dict[str, int]):
    latents = {name: {"size": size} for name, size in sizes.items()}
    spec = parse({"title": title, "training": training, "model": {"latents": latents}})
    assert from_json(to_json(spec, SCHEMA)) == (spec, SCHEMA)


@pytest.mark.parametrize("kind", [*DOMAINS, "columns", "relaxed"])
def test_every_domain_survives_being_saved(kind: str):
    extra = {
        "columns": Domain("real", location=(0.1, -1e300), scale=(1e-300, 0.3)),
        "relaxed": Domain("binary", relaxed=True),
    }
    schema = Schema(event_shape=(2,), domain={**DOMAINS, **extra}[kind])
    assert from_json(to_json(Spec(), schema))[1] == schema


def test_options_alone_are_those_of_the_default_part():
    spec = parse_toml("", ["objective.beta=4", "model.encoder.hidden=[8]", "model.latents.w.prior.name=flow"])
    assert spec.objective == ObjectiveSpec(name="elbo", beta=4)
    assert spec.model.encoder == PartSpec(name="mlp", hidden=[8])
    assert spec.model.latents["w"].prior == PartSpec(name="flow")


def test_sets_change_a_spec():
    sets = [
        "training.epochs = 5",
        "model.latents.z.size=3",
        "model.latents.z.prior=vamp",
        "model.latents.z.prior.components=9",
        "title=two words = one title",
        "model.encoder={name='mlp', hidden=[3, 4]}",
        "model.condition=true",
        "training.learning_rate=1e-2",
        "training.learning_rate=3e-3",
    ]
    spec = parse_toml("[training]\nepochs = 3\nseed = 4", sets)
    assert (spec.training.epochs, spec.training.seed, spec.training.learning_rate) == (5, 4, 3e-3)
    assert spec.model.latents["z"].prior.options == {"components": 9}
    assert spec.title == "two words = one title"
    assert spec.model.encoder.options == {"hidden": [3, 4]}
    assert spec.model.condition is True


def nested(value: Any, path: str) -> dict[str, Any]:
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


BAD_VALUES = [
    ("trainin", {}, "unknown spec key 'trainin' (did you mean 'training'?); accepted: title,"),
    ("training.epoch", 3, "unknown key of spec training: 'epoch' (did you mean 'epochs'?)"),
    (
        "training.epochs",
        "many",
        "training.epochs is 'many'; accepted: a whole number of at least 1, such as training.epochs=20",
    ),
    ("training.epochs", 0, "spec training.epochs is 0; accepted: a whole number of at least 1"),
    ("training.epochs", 1.5, "spec training.epochs is 1.5"),
    ("training.epochs", None, "spec training.epochs is None"),
    ("training.epochs", [3], "spec training.epochs is [3]"),
    ("training.seed", -1, "spec training.seed is -1"),
    ("training.seed", 2**63, "spec training.seed is 9223372036854775808"),
    ("data.seed", 10**40, "spec data.seed is 1000"),
    ("training.learning_rate", 0, "spec training.learning_rate"),
    ("training.learning_rate", float("nan"), "spec training.learning_rate"),
    ("training.learning_rate", {"name": "cosin"}, "unknown schedule 'cosin' (did you mean 'cosine'?)"),
    ("training.learning_rate", {"start": 1}, "spec training.learning_rate"),
    ("training.ema", 1.0, "spec training.ema is 1.0"),
    ("training.precision", "float16", "is 'float16' (did you mean 'bfloat16'?); accepted: float32 or bfloat16"),
    (
        "training.learning_rate",
        -1,
        "spec training.learning_rate is -1; accepted: a finite number above 0 or a part by name, such as",
    ),
    ("training.learning_rate", [1], "spec training.learning_rate is [1]; accepted: a finite number above 0"),
    ("training.optimizer", "adan", "unknown optimizer 'adan' (did you mean 'adam'?)"),
    ("training.optimizer", {"name": "sgd", "momentun": 1}, "'momentun' (did you mean 'momentum'?)"),
    ("data.binarize", "static ", "spec data.binarize is 'static '"),
    ("data.levels", 1, "spec data.levels is 1; accepted: a whole number of at least 2, such as data.levels=256"),
    ("data.resize", [16], "is [16]; accepted: a whole number from 1 to 100,000 or a list of two whole numbers from"),
    ("data.flip", "maybe", "spec data.flip is 'maybe'; accepted: true or false"),
    ("data.header", -1, "is -1; accepted: true, false or a whole number of at least 1, such as data.header=3"),
    ("data.columns", "age", 'accepted: a table of texts by name, such as data.columns={age = "positive"}'),
    ("data.columns.age", 1, "spec data.columns.age is 1; accepted: a text"),
    ("data.sheet", 2, 'spec data.sheet is 2; accepted: a text, such as data.sheet="2"'),
    ("pictures.report", ["kl", 3], "spec pictures.report.1 is 3; accepted: a part by name"),
    ("model.latents", 3, "accepted: a table of one or more tables by name, such as model.latents={z = {size = 16}}"),
    ("data", {"codes": "a", "flip": True}, "spec data: flip is set beside codes"),
    ("data.test", -1, "spec data.test is -1"),
    ("data.names", "digits", "unknown key of spec data: 'names' (did you mean 'name'?)"),
    ("model.encoder", "conw", "unknown encoder 'conw' (did you mean 'conv'?); accepted: mlp, conv"),
    ("training.learning_rate", {"start": 1}, "spec training.learning_rate"),
    ("model.encoder", 3, "spec model.encoder is 3"),
    ("model.encoder", {"name": ["mlp"]}, "spec model.encoder.name is ['mlp']"),
    ("model.encoder", {"name": "mlp", "in_shape": [3]}, "unknown option of encoder 'mlp': 'in_shape'"),
    ("model.likelihood", "bernouli", "unknown likelihood 'bernouli' (did you mean 'bernoulli'?)"),
    ("model.likelihood", {"name": "normal-fixed", "sigma": "x"}, "'sigma' of likelihood 'normal-fixed' is 'x'"),
    ("model.latents", {}, "spec model.latents is {}"),
    (
        "model.latents",
        {"z": {"dim": 3}},
        "unknown key of spec model.latents.z: 'dim'; accepted: size, maps, posterior, prior",
    ),
    ("model.latents", {"z": {"size": 10**9}}, "spec model.latents.z.size is 1000000000"),
    ("model.latents", {"a\nb": {"size": "x"}}, "'model.latents.a\\nb.size'"),
    ("model.latents", [1], "spec model.latents is [1]"),
    ("objective", {"name": "elbo", "beta": float("nan")}, "option 'beta' of objective 'elbo' is nan"),
    ("objective", "elb", "unknown objective 'elb' (did you mean 'elbo'?)"),
    ("title", 3, "spec title is 3"),
]


@pytest.mark.parametrize(("path", "value", "message"), BAD_VALUES)
def test_what_is_not_understood_is_one_line(path: str, value: Any, message: str):
    for read in (parse, lambda values: from_json(json.dumps({"format": FORMAT, "spec": values}))):
        with refuses(message):
            read(nested(value, path))


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("training.epochs", "cannot set 'training.epochs'; accepted: a.b=c, such as training.epochs=5"),
        ("=5", "cannot set '=5'"),
        ("training..epochs=5", "cannot set 'training..epochs=5'"),
        ("", "cannot set ''"),
        ("training.epochs.more=5", "spec training.epochs is {'more': 5}"),
        ("training.seed.more=5", "cannot set 'training.seed.more=5': 'seed' is 7, which has nothing below it"),
        ("training.epochs=", "spec training.epochs is ''"),
        ("training.epochs=ten", "spec training.epochs is 'ten'"),
        ("training.epochs=" + "[" * 10**4, "spec training.epochs is '[[["),
        ("epochs=5", "unknown spec key 'epochs'"),
    ],
)
def test_bad_sets_are_one_line(assignment: str, message: str):
    with refuses(message):
        parse_toml("[training]\nseed = 7", [assignment])


DEEP = 100_000
HOSTILE = {
    "": "not valid JSON",
    "{": "not valid JSON",
    "[" * DEEP: "not valid JSON",
    '{"format": 1, "spec": ' + '{"a":' * DEEP + "1" + "}" * DEEP + "}": "not valid JSON",
    "[1]": "format is of a list; accepted: 1",
    "null": "format is of a NoneType",
    "{}": "format is None; accepted: 1",
    '{"format": 2}': "format is 2; accepted: 1",
    '{"format": [[1]]}': "format is [[1]]",
    '{"format": 1, "spec": []}': "spec is []",
    '{"format": 1, "spec": "digits"}': "spec is 'digits'",
    '{"format": 1}': "schema event_shape is missing",
    '{"format": 1, "spec": {"training": {"epochs": ' + "9" * 5000 + "}}}": "a number is too long",
    '{"format": 1, "spec": {"training": {"epochs": 1e999}}}': "spec training.epochs is inf",
    '{"format": 1, "spec": {"training": {"clip": NaN}}}': "spec training.clip is nan",
    '{"format": 1, "spec": {"title": "' + "x" * 10**6 + '", "b": 1}}': "unknown spec key 'b'",
    '{"format": 1, "spec": {"data": {"validation": "' + "x" * 10**6 + '"}}}': "spec data.validation is 'xxx",
    '{"format": 1, "spec": {"objective": {"name": "elbo", "beta": ' + "[" * 400 + "]" * 400 + "}}}": "is [[[[[[[...",
    '{"format": 1, "spec": {"objective": {"name": "elbo", "beta": '
    + '{"name": "linear", "start": ' * 400
    + "1"
    + "}" * 400
    + "}}}": "option 'start' of schedule 'linear' is {'name'",
}


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_files_are_one_short_line(text: str):
    with refuses(HOSTILE[text]):
        from_json(text)


GOOD = {"event_shape": [2], "domain": {"kind": "binary"}}
BAD_SCHEMAS = [
    ({"event_shape": []}, "schema event_shape is []"),
    ({"event_shape": [0]}, "schema event_shape.0 is 0"),
    ({"event_shape": "22"}, "schema event_shape is '22'"),
    ({"domain": {"kind": "gray"}}, "schema domain.kind is 'gray'"),
    ({"domain": {"kind": "grey"}}, "levels go with 'grey' and 'categorical' only"),
    ({"domain": {"kind": "grey", "levels": 17, "scale": 3.0}}, "grey levels have location 0, scale levels - 1"),
    ({"domain": {"kind": "real", "scale": 0.0}}, "above 0"),
    ({"domain": {"kind": "real", "scale": float("nan")}}, "schema domain.scale"),
    ({"domain": {"kind": "real", "location": [0, 0, 0]}}, "the domain has 3 columns, event_shape 2"),
    ({"domain": {"kind": "binary", "code": "x"}}, "schema domain.code"),
    ({"condition": -1}, "schema condition is -1"),
    ({"condition": 2, "condition_scale": [1.0]}, "covariates have 1 scales, but there are 2 of them"),
    ({"condition": 1, "condition_scale": [0.0]}, "schema condition_scale.0 is 0.0"),
    ({"more": 1}, "unknown schema key 'more'"),
]


@pytest.mark.parametrize(("change", "message"), BAD_SCHEMAS)
def test_bad_schemas_are_one_line(change: dict[str, Any], message: str):
    assert from_json(json.dumps({"format": FORMAT, "schema": GOOD}))[1].event_shape == (2,)
    with refuses(message):
        from_json(json.dumps({"format": FORMAT, "schema": GOOD | change}))


@pytest.mark.parametrize("text", ["a = ", "[" * 2_000, "a = " + "[" * 2_000, "a = 1\na = 2"])
def test_bad_toml_is_one_line(text: str):
    with refuses("not valid TOML"):
        parse_toml(text)


# -- from a spec and data to a model ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", DOMAINS)
def test_without_a_likelihood_the_first_that_fits_is_taken(kind: str):
    spec = with_likelihood(Spec(), DOMAINS[kind])
    assert spec.model.likelihood is not None
    assert kind in PARTS.likelihoods[spec.model.likelihood.name].domains
    assert with_likelihood(spec, DOMAINS[kind]) == spec
    assert build_model(spec.model, Schema(event_shape=(3,), domain=DOMAINS[kind])).event_shape == (3,)


def test_without_a_named_likelihood_that_fits_one_is_asked_for():
    with refuses("no named likelihood is a density of counts"):
        with_likelihood(Spec(), DOMAINS["count"], replace(PARTS, likelihoods={"bernoulli": Bernoulli}))


def test_a_likelihood_of_other_data_is_refused():
    spec = parse_toml('model.likelihood = "bernoulli"')
    for refuse in (
        lambda: with_likelihood(spec, Domain("grey", levels=256)),
        lambda: build_model(spec.model, Schema(event_shape=(2,), domain=Domain("grey", levels=256))),
    ):
        with refuses("'bernoulli' is a density of binary data, but the data are grey levels 0..255"):
            refuse()


def test_what_cannot_be_built_is_said():
    with refuses("model.likelihood is not set"):
        build_model(Spec().model, SCHEMA)
    unlabelled = Schema(event_shape=(2,), domain=Domain("binary"))
    with refuses("no labels"):
        build_model(parse_toml('[model]\nlikelihood="bernoulli"\ncondition=true').model, unlabelled)
    with refuses("latent"):
        build_model(parse_toml('[model]\nlikelihood="bernoulli"\n[model.latents."a.b"]').model, unlabelled)
    with refuses("use 'mlp'"):
        build_model(parse_toml('[model]\nlikelihood="bernoulli"\nencoder="conv"').model, unlabelled)


def test_weights_come_from_the_seed_alone():
    spec = with_likelihood(parse_toml('model.latents.z.prior="vamp"'), SCHEMA.domain)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    one = build_model(spec.model, SCHEMA, seed=5)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(10)
    two, three = build_model(spec.model, SCHEMA, seed=5), build_model(spec.model, SCHEMA, seed=6)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(one.parameters(), three.parameters(), strict=True))


@pytest.mark.parametrize(
    ("y", "classes", "condition"),
    [
        (None, (), 0),
        (np.array([0, 2, 1]), ("a", "b", "c", "d"), 4),
        (np.zeros((3, 5), np.float32), (), 5),
    ],
)
def test_schema_of_a_dataset(y: np.ndarray | None, classes: tuple[str, ...], condition: int):
    split = Split(np.zeros((3, 1, 2, 2), np.uint8), y)
    dataset = Dataset("mine", Domain("grey", levels=17), {"train": split}, classes=classes)
    schema = schema_of(dataset, Preprocessing("grey"), "f")
    assert schema.condition == condition
    assert schema.event_shape == (1, 2, 2)
    assert schema.domain == Domain("binary", relaxed=True)


@pytest.mark.parametrize("encoder", ["mlp", "conv"])
@pytest.mark.parametrize("prior", ["standard-normal", "vamp"])
def test_a_condition_of_the_decoder_is_not_seen_by_the_encoder(encoder: str, prior: str):
    text = f'[model]\nlikelihood="bernoulli"\ncondition="decoder"\nencoder="{encoder}"\nlatents.z.prior="{prior}"'
    spec, schema = from_json(to_json(parse_toml(text), SCHEMA))
    model = build_model(spec.model, schema)
    x = torch.ones(3, 1, 4, 4)
    codes = [model.encode(x, torch.full((3,), label)) for label in range(3)]
    assert torch.equal(codes[0], codes[1])
    pictures = model.decode(codes[0][:1].expand(3, -1), torch.arange(3))
    assert (pictures[0] != pictures[1]).any()
    assert (pictures[1] != pictures[2]).any()
    assert model.trace(Batch(x, torch.arange(3)), 2).log_weight.shape == (2, 3)


def test_a_condition_of_all_is_seen_by_the_encoder():
    model = build_model(parse_toml('[model]\nlikelihood="bernoulli"\ncondition=true').model, SCHEMA)
    codes = model.encode(torch.ones(3, 1, 4, 4), torch.arange(3))
    assert (codes[0] != codes[1]).any()


def test_other_data_keep_the_preprocessing_and_lose_the_rest():
    own = DataSpec(name="a", label="b", domain="unit", train=9, validation=3, test=1, binarize="static", seed=4)
    assert own.of("c") == DataSpec(name="c", binarize="static", seed=4)
    own = DataSpec(name="a", levels=5, resize=(4, 5), crop=3, flip=True)
    assert own.of("c") == DataSpec(name="c", resize=(4, 5), crop=3, flip=True)
    assert DataSpec(name="a", levels=5, dequantize=True).of("c") == DataSpec(name="c", dequantize=True)
