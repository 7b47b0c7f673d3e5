"""Pictures of how a model is built and how it was trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from ...models import SemiSupervisedVAE
from ...models.topdown import latents_called
from .. import plots
from .base import Picture, Prepared, Subject, outline

if TYPE_CHECKING:
    from ...models import VAE
    from ...runs.run import Run
    from ..plots import Block, Code, Layer

LEAD = ((7, 3), (3,), (21,))
"""What comes before the shape of one datum in a layer's output, for 7 samples of 3 data: both, data, both flattened."""


@dataclass(frozen=True)
class Curves(Picture):
    """The terms of the objective over the epochs, on the training data and on those held out."""

    per_epoch: ClassVar[bool] = False

    def __call__(self, subject: Subject) -> Prepared:
        text = "The terms of the objective, averaged over each epoch. Steep beginnings are cut off."
        return Prepared("Training", text, partial(plots.curves, subject.run.history()))


@dataclass(frozen=True)
class Model(Picture):
    """The parts of the model as boxes, from the data by way of the latents back to the data, with their layers."""

    per_epoch: ClassVar[bool] = False

    def __call__(self, subject: Subject) -> Prepared:
        run = subject.run
        model, spec = run.model, run.spec.model
        total = sum(p.numel() for p in model.parameters())
        text = f"The parts of the model, {total:,} parameters in all: data become codes on the left, "
        text += "and codes data on the right. What two parts share is counted once."
        sees = spec.condition is True
        block, given = _Blocks(model), ", y" if sees or (model.condition and not model.conditional) else ""
        given += ", a" if spec.auxiliary else ""
        encoder = block("Encoder", spec.encoder.name, model.encoder)
        codes = list(_codes(run, block, given))
        decoder = block("Decoder", spec.decoder.name, model.decoder)
        seen = list(model.decoded)
        seen = seen if len(seen) < 5 else [seen[0], "…", seen[-1]]
        names = ", ".join([*seen, *["y"] * (model.condition > 0)])
        likelihood = block(f"p(x | {names})", spec.likelihood.name if spec.likelihood else "", model.likelihood)
        texts = f"x, {_shape(model.event_shape)}", f"y, {model.condition}" if model.conditional else ""
        draw = partial(plots.structure, encoder, codes, decoder, likelihood, *texts, encoder_sees=sees)
        return Prepared("The model", text, draw)


def _codes(run: Run, block: _Blocks, given: str) -> Iterator[Code]:
    """The latents that the spec names; of a model with a classifier the label too, and an auxiliary latent if any."""
    model, spec = run.model, run.spec.model
    for name, latent in spec.latents.items():
        groups = latents_called(model, name)
        last = groups[-1]  # of several, which are made alike
        of, above = model.given(last)
        posteriors, priors = ([heads[each] for each in groups] for heads in (model.posteriors, model.priors))
        posterior = block(f"q({last} | {of}{given})", latent.posterior.name, *posteriors)
        on = ", ".join([*[above] * bool(above), *["y"] * model.conditional])
        prior = block(f"p({last} | {on})" if on else f"p({last})", latent.prior.name, *priors)
        seen = {"encoded": "x" in of.split(", "), "decoded": last in model.decoded}
        what = f"{name}, {_shape(model.shapes[last])}" if len(groups) == 1 else f"{name}, {len(groups)} groups"
        yield plots.Code(what, posterior, prior, **seen)
    if isinstance(model, SemiSupervisedVAE) and spec.classifier:
        extra, a = model.auxiliary, spec.auxiliary
        posterior = block("q(y | x, a)" if a else "q(y | x)", spec.classifier.name, model.classifier)
        yield plots.Code(f"y, {model.condition}", posterior, plots.Block("p(y)", "uniform"), encoded=False)
        if extra and a:
            posterior = block("q(a | x)", a.posterior.name, extra.encoder, extra.posterior)
            role = "p(a | y, z)" if a.skip else "p(a | x, y, z)"
            prior = block(role, a.prior.name, extra.generator, extra.prior)
            yield plots.Code(f"a, {a.size}", posterior, prior, encoded=False, decoded=a.skip)


class _Blocks:
    """Makes the box of a part from its modules: what an earlier box has shown is only named in a later one."""

    def __init__(self, model: VAE) -> None:
        self.shapes = _output_shapes(model)
        self.shown: dict[int, str] = {}

    def __call__(self, role: str, name: str, *modules: nn.Module) -> Block:
        layers = [layer for module in modules for layer in self._layers(module)]
        self.shown.update((id(module), role) for module in modules)
        return plots.Block(role, name, tuple(layers))

    def _layers(self, module: nn.Module) -> Iterator[Layer]:
        """A module's own parameters, then its children in the order in which it holds them."""
        if id(module) in self.shown:
            yield plots.Layer(f"{self.shown[id(module)]}, shared")
            return
        children = list(module.children())
        if not children and id(module) in self.shapes:
            if not isinstance(module, (nn.Flatten, nn.Unflatten, nn.Identity)):
                yield plots.Layer(_named(module), self.shapes[id(module)], sum(p.numel() for p in module.parameters()))
            return
        for name, parameter in module.named_parameters(recurse=False):
            yield plots.Layer(name.replace("_", " "), _shape(parameter.shape), parameter.numel())
        for child in children:
            yield from self._layers(child)


def _named(layer: nn.Module) -> str:
    """A layer's type; of a convolution its kernel and stride too."""
    name = "Conv2d" if isinstance(layer, nn.Conv2d) else type(layer).__name__  # also of a class of our own
    kernel, stride = (getattr(layer, key, None) for key in ("kernel_size", "stride"))
    if isinstance(kernel, tuple) and isinstance(stride, tuple):
        name += " " + "×".join(map(str, kernel)) + (f", stride {stride[0]}" if set(stride) != {1} else "")
    return name


def _shape(sizes: Sequence[int]) -> str:
    return "×".join(map(str, sizes))


def _output_shapes(model: VAE) -> dict[int, str]:
    """The shape of what each layer gives for one datum, by the layer's id, where it has one."""
    # A layer whose weights are used without calling it gives what it would.
    found = {id(each): str(each.out_features) for each in model.modules() if isinstance(each, nn.Linear)}
    called: set[int] = set()

    def note(module: nn.Module, given: Any, out: Any) -> None:
        if isinstance(out, Tensor) and id(module) not in called:
            called.add(id(module))
            shape = tuple(out.shape)
            lead = next((len(lead) for lead in LEAD if shape[: len(lead)] == lead), 0)
            found[id(module)] = _shape(shape[lead:])

    leaves = [module for module in model.modules() if not list(module.children())]
    hooks = [leaf.register_forward_hook(note) for leaf in leaves]
    try:
        for latent in outline(model, rows=LEAD[1][0], samples=LEAD[0][0]).latents:
            _ = latent.log_q, latent.log_p  # a flow calls its networks when it is asked for a density
    finally:
        for hook in hooks:
            hook.remove()
    return found
