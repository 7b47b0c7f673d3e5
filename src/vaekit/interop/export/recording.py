"""Programs as `torch.export` has them: graphs of operators and weights, that need no vaekit."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr

import torch
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import InputKind

from ...errors import shown
from .plain import PLAIN
from .programs import Recordable

LOCAL = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node")
"""What is said of operations: the files and lines of this machine that they are from."""
SHAPING = (torch.ops.aten.reshape.default, torch.ops.aten.view.default)


def recorded(program: Recordable, plain: bool = False) -> ExportedProgram:
    """A program as `torch.export` has it, without gradients, for batches of any size; where `plain`, without operators
    that few runtimes know. It has the weights that it reads, and no others.

    Raises `ValueError`, one line, for a program that can't be recorded: of parts that look at values.

    >>> from vaekit import Domain, likelihoods, networks, posteriors, priors
    >>> from vaekit.models import VAE
    >>> from vaekit.interop.export import program
    >>> p = likelihoods.Bernoulli((3,), Domain("binary"))
    >>> encoder, decoder = networks.MLP((3,), hidden=(8,)), networks.MLP((2,), p.parameter_shape, hidden=(8,))
    >>> vae = VAE(encoder, {"z": posteriors.DiagonalNormal(8, 2)}, {"z": priors.StandardNormal(2)}, decoder, p)
    >>> mean, sd = recorded(program("encode", vae)).module()(torch.zeros(1, 3))
    >>> mean.shape
    torch.Size([1, 2])
    """
    batch = Dim("batch")
    sides = {2: Dim.AUTO, 3: Dim.AUTO}
    shapes = {"inputs": tuple({0: batch, **(sides if port.larger else {})} for port in program.inputs)}
    with _constant(program), quiet():
        try:
            exported = torch.export.export(program, program.examples(), dynamic_shapes=shapes)
        except Exception as error:  # whatever a part of somebody's own raises
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ValueError(f"{program.name} can't be recorded by torch.export: {shown(first)}") from error
        exported = _sized(_pruned(exported))
        if plain and any(node.target in PLAIN for node in exported.graph.nodes):
            exported = exported.run_decompositions(dict(PLAIN))
    return exported


@contextmanager
def quiet() -> Iterator[None]:
    """Inside, exporters don't tell of their own affairs: of what torch deprecates, of graphs that could not be made."""
    loggers = [logging.getLogger(name) for name in ("torch", "torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    before = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for each, level in zip(loggers, before, strict=True):
            each.setLevel(level)


@contextmanager
def _constant(program: Recordable) -> Iterator[None]:
    """Inside, its weights have no gradients. Not by `no_grad`, within which distributions enable gradients for some of
    what they compute: each such change would be an operation, or a graph of its own.
    """
    learned = [each for each in program.parameters() if each.requires_grad]
    try:
        with torch.enable_grad():
            for each in learned:
                each.requires_grad_(False)
            yield
    finally:
        for each in learned:
            each.requires_grad_()


def _pruned(exported: ExportedProgram) -> ExportedProgram:
    """Without the weights that nothing reads (an encoder needs none of the decoder's), and without what is `LOCAL`."""
    signature, graph = exported.graph_signature, exported.graph
    for node in graph.nodes:
        for name in LOCAL:
            node.meta.pop(name, None)
    inputs, kept = [node for node in graph.nodes if node.op == "placeholder"], []
    for node, spec in zip(inputs, signature.input_specs, strict=True):
        if spec.kind is InputKind.USER_INPUT or node.users:
            kept.append(spec)
        else:
            graph.erase_node(node)
    signature.input_specs[:] = kept
    named = {spec.target for spec in kept}
    for table in (exported._state_dict, exported._constants):
        for name in [name for name in table if name not in named]:
            del table[name]
    return exported


def _sized(exported: ExportedProgram) -> ExportedProgram:
    """With each size said that is left to be found (-1), but the batch's: of a batch of none there is none to find."""
    for node in exported.graph.nodes:
        if node.target in SHAPING and -1 in node.args[1]:
            sizes = zip(node.args[1], node.meta["val"].shape, strict=True)
            said = [size if own == -1 and isinstance(size, int) else own for own, size in sizes]
            node.args = (node.args[0], said)
    return exported
