"""A program as data gives what the model gives, computed by a reference that looks operators up by their names."""

from __future__ import annotations

import json
import operator
from base64 import b64decode
from typing import Any

import numpy as np
import pytest
import torch
from explorer_for_tests import run_of
from torch import Tensor

from vaekit.interop.export import graph
from vaekit.interop.export.graph import Graph, Store, graph_of
from vaekit.interop.export.programs import Program, program
from vaekit.show.explorer.page import _examples, _given, _program
from vaekit.show.explorer.values import as_json
from vaekit.show.explorer.web import operators

pytestmark = pytest.mark.filterwarnings("ignore:`isinstance:FutureWarning")  # of torch.export


def answered(given: Graph, store: Store, *inputs: Tensor) -> list[Tensor]:
    """What a program says, read from the JSON and the weights that the page reads."""
    told, weights = json.loads(as_json(given)), b64decode(store.text())
    assert [each[0].numel() for each in inputs] == told["sizes"]
    known = dict(zip(told["inputs"], inputs, strict=True))
    for name, each in told["constants"].items():
        kind = np.dtype(each["dtype"])
        count = int(np.prod(each["shape"]))
        value = np.frombuffer(weights, kind.newbyteorder("<"), count, each["offset"]).reshape(each["shape"])
        value = value.astype({"float16": np.float32, "int32": np.int64}.get(each["dtype"], kind))
        known[name] = torch.from_numpy(value.copy())
    rows = len(inputs[0])

    def read(value: Any) -> Any:
        if isinstance(value, dict) and "id" in value:
            return known[value["id"]]
        if isinstance(value, dict) and "batch" in value:
            return rows * value.get("times", 1)
        if isinstance(value, dict):
            return float(value["number"])
        return [read(each) for each in value] if isinstance(value, list) else value

    for node in told["nodes"]:
        args, named = [read(each) for each in node["in"]], {}
        if args and isinstance(args[-1], str) and args[-1].startswith("torch."):
            named["dtype"] = getattr(torch, args.pop().removeprefix("torch.").replace("int32", "int64"))
        if node["op"] == "getitem":
            known[node["out"]] = operator.getitem(*args)
            continue
        function = getattr(torch.ops.aten, node["op"])
        schemas = [getattr(function, each)._schema.arguments for each in function.overloads()]
        schema = next((each for each in schemas if len(each) >= len(args)), schemas[0])
        places = sum(not each.kwarg_only for each in schema)
        more = [each.name for each in schema if each.kwarg_only and each.name not in {*graph.PLACING, "dtype"}]
        named |= dict(zip(more, args[places:], strict=False)) if more else {}
        known[node["out"]] = function(*(args[:places] if more else args), **named)
    return [known[each] for each in told["outputs"]]


def made(kind: str, name: str) -> Program:
    return _program(run_of(kind), name)


@torch.no_grad()
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        pytest.param("mlp", "encode", marks=pytest.mark.slow),  # its decoder is below, encoders are others'
        ("conv", "decode"),
        ("resnet", "encode"),
        ("ladder", "score"),
        pytest.param("mixture", "score", marks=pytest.mark.slow),  # other bounds are here, its prior in test_export.py
        ("conditional", "decode"),
        ("classified", "score"),  # whose draws take more numbers than z has
        ("table", "decode"),
        ("little", "score"),
    ],
)
def test_a_program_gives_what_the_model_gives_for_any_number_of_rows(kind: str, name: str) -> None:
    run = run_of(kind)
    one = made(kind, name)
    store = Store()
    found = graph_of(one, store, operators=operators())
    data = [_given(port, _examples(run, None, 0)[name], 0) for port in one.inputs]
    for rows in (5, 1):
        given = [each[:rows] for each in data]
        shaped = [each.reshape(-1, *port.shape) for port, each in zip(one.inputs, given, strict=True)]
        own = [each if each.dim() == 1 else each.flatten(1) for each in one(*shaped)]
        said = answered(found, store, *given)
        assert len(said) == len(own) == len(found.outputs)
        for each, other in zip(said, own, strict=True):
            assert each.shape == other.shape
            assert each.dtype is other.dtype
            # Each number by its own size: a date beside an age would hide any fault of it. Seconds since 1970 have
            # digits that single precision has not.
            size = other.abs().amax(0).clamp_min(1e-3) if each.dtype is torch.float32 else 1e-6
            assert ((each - other).abs() <= 1e-3 * size).all()


@torch.no_grad()
def test_probabilities_are_of_each_column_that_has_levels() -> None:
    run = run_of("little")
    z = torch.zeros(2, 3)
    _, *probabilities = made("little", "decode")(z)
    levels = [len(each.categories) for each in run.schema.table if each.categories]
    assert [each.shape for each in probabilities] == [(2, each) for each in levels]
    assert all(torch.allclose(each.sum(1), torch.ones(2), atol=1e-5) for each in probabilities)


@torch.no_grad()
def test_what_columns_take_and_what_codes_do_is_the_bound() -> None:
    run = run_of("little")
    x, noise = (_given(each, _examples(run, None, 0)["score"], 0) for each in made("little", "score").inputs)
    elbo, nats = made("little", "score")(x, noise)
    assert nats.shape == x.shape
    assert (nats[x.isnan()] == 0).all()
    mean, sd = program("encode", run.model)(x)
    kl = torch.distributions.kl_divergence(torch.distributions.Normal(mean, sd), torch.distributions.Normal(0.0, 1.0))
    assert torch.allclose(-elbo, nats.sum(1) + kl.sum(1), atol=1e-4)


@torch.no_grad()
def test_half_precision_is_taken_where_it_does_no_harm_and_left_where_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of("mlp")
    monkeypatch.setattr(graph, "HALF_FROM", 100)
    one, data = made("mlp", "decode"), [_examples(run, None, 0)["decode"]["z"]]
    halves, wholes = Store(), Store()
    half = graph_of(one, halves, data)
    assert {each.dtype for each in half.constants.values()} == {"float16", "float32"}
    (found,), (own,) = answered(half, halves, *data), one(*data)
    assert (found - own.flatten(1)).abs().max() <= 1e-3 * (own.max() - own.min())
    monkeypatch.setattr(graph, "TOLERANCE", 1e-9)
    whole = graph_of(one, wholes, data)
    assert {each.dtype for each in whole.constants.values()} == {"float32"}
    assert len(halves.text()) < 0.7 * len(wholes.text())


def test_what_programs_share_is_there_once() -> None:
    store, sizes = Store(), []
    programs = {}
    for name in ("decode", "encode", "score"):
        programs[name] = graph_of(made("mlp", name), store)
        sizes.append(len(store.text()))
    assert sizes[0] < sizes[1]
    assert sizes[2] - sizes[1] < 200  # a bound reads what encodes and decodes, and a number or two
    scoring = {each.offset: each for each in programs["score"].constants.values()}
    layers = [each for each in programs["decode"].constants.values() if np.prod(each.shape) > 100]
    assert layers
    assert all(scoring[each.offset] == each for each in layers)


def test_an_operator_that_the_page_lacks_is_named() -> None:
    with pytest.raises(ValueError, match=r"^decode of this model needs what the page can't compute: addmm$"):
        graph_of(made("mlp", "decode"), Store(), operators=operators() - {"addmm"})
