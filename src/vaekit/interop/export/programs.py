"""What a model does, as modules of tensors in and tensors out that `torch.export` takes, the batch of any size.

Scaling, one-hots, what is observed, the posterior's head and the likelihood's mean are inside: x is what a user has, in
the data's own units, and NaN where a cell is missing. Nothing is drawn in a program: whoever wants a draw gives noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution
from torch.fx.experimental.symbolic_shapes import statically_known_true
from torch.utils._python_dispatch import TorchDispatchMode

from ...distributions.moments import center, stddev, typical
from ...distributions.noise import from_noise, noise_size
from ...distributions.observed import whole
from ...distributions.products import Columns
from ...distributions.validation import unvalidated
from ...models import VAE
from ...models.given import unchecked
from ...models.sampling import Draw
from ...models.trace import Trace
from ...modules import evaluating

ROWS = 3
"""Rows of the example that a program is recorded with: a batch of one would be taken for a batch that is always one."""


@dataclass(frozen=True)
class Port:
    """An input or an output of a program: its name, the shape of a row, the type of its numbers, what it is; and
    whether it may be `larger`, which are images that are cropped.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    meaning: str
    larger: bool = False

    def __str__(self) -> str:
        return f"{self.name} ({', '.join(map(str, self.sizes))}) {str(self.dtype).removeprefix('torch.')}"

    @property
    def sizes(self) -> tuple[int | str, ...]:
        """Those of a batch of it; the names of such as may be any, or any from the shape's on."""
        return ("batch", *self.shape[:-2], "height", "width") if self.larger else ("batch", *self.shape)


class Recordable(nn.Module):
    """What can be recorded: its `inputs` and `outputs` are (B, *shape) each, in their order."""

    name: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def examples(self) -> tuple[Tensor, ...]:
        """Inputs of some rows, of values that it takes."""
        raise NotImplementedError


class Program(Recordable):
    """What a `model` does with tensors alone.

    `labels` says that y are numbers of classes, (B,), not covariates (B, C). Raises `ValueError`, one line, for a model
    that it can't be made of.
    """

    name = ""
    infers: ClassVar[bool] = False
    """Whether it goes from x to z."""

    def __init__(self, model: VAE, labels: bool) -> None:
        super().__init__()
        if self.infers and model.by_slopes:
            how = f"codes of a {type(model).__name__} are led along gradients of log p(x, z), which no program takes"
            raise ValueError(f"{self.name} can't be exported: {how}; accepted: decode, sample")
        self.model, self.labels = model, labels
        self.inputs = self.given()
        with torch.no_grad(), evaluating(self), unvalidated(), _Undrawn(self.name):
            found = self.made(*self.examples())
        self.outputs = tuple(
            Port(name, tuple(each.shape[1:]), each.dtype, self.meanings[name]) for name, each in found.items()
        )
        self.eval()

    meanings: ClassVar[Mapping[str, str]] = {}
    """What each output is."""

    def given(self) -> tuple[Port, ...]:
        """The inputs."""
        raise NotImplementedError

    def made(self, *inputs: Any, **others: Any) -> dict[str, Tensor]:
        """The outputs by name."""
        raise NotImplementedError

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        for each in inputs[1:]:  # so that a graph knows it
            torch._check(each.shape[0] == inputs[0].shape[0])
        with unvalidated():
            return tuple(self.made(*inputs).values())

    def examples(self) -> tuple[Tensor, ...]:
        return tuple(self._example(port) for port in self.inputs)

    def _example(self, port: Port) -> Tensor:
        if port.name == "x":
            filler = torch.as_tensor(self.model.domain.filler, dtype=port.dtype)
            return filler.expand(ROWS, *port.shape).clone()
        if port.name == "y":  # of an exposure, which has to be above 0, too
            shape = () if self.labels else port.shape
            return torch.full((ROWS, *shape), 0 if self.labels else 1, dtype=port.dtype)
        return torch.linspace(-1, 1, ROWS * port.shape[0], dtype=port.dtype).view(ROWS, *port.shape)

    @property
    def _kind(self) -> torch.dtype:
        """The type of the numbers that the model computes with."""
        return self.model.scale.dtype

    @property
    def _x(self) -> Port:
        kind = torch.float64 if self.model.domain.in_float64 else self._kind
        return Port("x", self.model.event_shape, kind, "data in their own units, NaN where a cell is missing")

    @property
    def _y(self) -> tuple[Port, ...]:
        if self.labels:
            return (Port("y", (), torch.int64, "the number of the class"),)
        what = "what is known of a row, in its own units" + ", the last the exposure" * self.model.exposed
        return (Port("y", (self.model.condition,), self._kind, what),)


class Encode(Program):
    """x, of a conditional model also y, to the mean and the standard deviation of q(z given x), (B, D) each."""

    name, infers = "encode", True
    meanings: ClassVar[Mapping[str, str]] = {
        "mean": "the mean of each latent's posterior, latents side by side",
        "sd": "its standard deviation",
    }

    def given(self) -> tuple[Port, ...]:
        return (self._x, *(self._y if self.model.conditional else ()))

    def made(self, x: Tensor, y: Tensor | None = None) -> dict[str, Tensor]:
        found = self.model.infer(unchecked(self.model, x, y), lambda _, q: center(q))
        spreads = {name: (q, stddev(q).expand_as(z)) for name, (q, z) in found.items()}
        return {"mean": self.model.side_by_side(found), "sd": self.model.side_by_side(spreads)}


class Decode(Program):
    """z (B, D), of a model with a condition also y, to x: the mean of p(x given z) in the data's own units, of a
    category the likeliest; of a table with categories also their probabilities.
    """

    name = "decode"
    meanings: ClassVar[Mapping[str, str]] = {
        "x": "the mean of the data given the codes, in their own units; of a category the likeliest",
        "probabilities": "of the levels of each column that has some, columns side by side",
    }

    def given(self) -> tuple[Port, ...]:
        z = Port("z", (self.model.latent_size,), self._kind, "codes, latents side by side")
        return (z, *(self._y if self.model.condition else ()))

    def made(self, z: Tensor, y: Tensor | None = None) -> dict[str, Tensor]:
        given = None if y is None else self.model.network_condition(y)
        px = self.model.generated(z, given, draw=False)
        x = typical(px).reshape(-1, *self.model.event_shape)
        return {"x": x, **self._probabilities(px)}

    def _probabilities(self, px: Distribution) -> dict[str, Tensor]:
        """Those of the levels of each column of a table that has some, side by side in the order of the columns."""
        rows, domain = whole(px), self.model.domain
        if not isinstance(rows, Columns):
            return {}
        index = [own for _, own in domain.groups] if domain.columns else [range(len(rows.order))]
        levels = [each.levels for each in domain.each(len(rows.order))]
        found = {
            column: part.base_dist.probs[..., at, : levels[column]]
            for part, columns in zip(rows.parts, index, strict=True)
            if isinstance(part.base_dist, Categorical)
            for at, column in enumerate(columns)
        }
        return {"probabilities": torch.cat([found[i] for i in sorted(found)], -1)} if found else {}


class Sample(Decode):
    """Standard normal noise (B, N), of a model with a condition also y, to z from the prior, and of it x as `Decode`
    has it: drawn by who draws the noise.
    """

    name = "sample"

    def given(self) -> tuple[Port, ...]:
        y = self._y if self.model.condition else ()
        sizes: list[int] = []

        def counted(name: str, p: Distribution) -> Tensor:
            sizes.append(noise_size(p))
            return p.sample(() if p.batch_shape else (ROWS,))

        example = [self._example(port) for port in y]
        with torch.no_grad(), evaluating(self), unvalidated():
            self.model.generate(self.model.network_condition(example[0]) if example else None, counted)
        return (Port("noise", (sum(sizes),), self._kind, "standard normal numbers, drawn by who asks"), *y)

    def made(self, noise: Tensor, y: Tensor | None = None) -> dict[str, Tensor]:
        given = None if y is None else self.model.network_condition(y)
        z = self.model.generate(given, _taking(noise))
        return super().made(self.model.side_by_side(z), y)


class Score(Program):
    """x and standard normal noise (B, N), of a conditional model also y, to the ELBO of each row, (B,) nats, by the one
    draw of z that is made of the noise; a class that vaekit sums out is summed out.
    """

    name, infers = "score", True
    meanings: ClassVar[Mapping[str, str]] = {
        "elbo": "a lower bound of log p(x), nats, by the draw that is of the noise"
    }

    def given(self) -> tuple[Port, ...]:
        y = self._y if self.model.conditional else ()
        sizes: list[int] = []

        def counted(name: str, q: Distribution) -> Tensor:
            sizes.append(noise_size(q))
            return _made_of(q, torch.zeros(1, ROWS, sizes[-1], dtype=self._kind))

        x, *known = [self._example(port) for port in (self._x, *y)]
        given = unchecked(self.model, x, known[0] if known else None)
        with torch.no_grad(), evaluating(self), unvalidated():
            self.model.trace(given, 1, True, counted)
        size = max(sum(sizes), self.model.latent_size)  # more with an auxiliary latent
        noise = Port("noise", (size,), self._kind, "standard normal numbers, drawn by who asks")
        return (self._x, noise, *y)

    def made(self, x: Tensor, noise: Tensor, y: Tensor | None = None) -> dict[str, Tensor]:
        trace = self.model.trace(unchecked(self.model, x, y), 1, True, _taking(noise.unsqueeze(0)))
        elbo = trace.log_px.mean(0)
        for kl in trace.kl.values():
            elbo = elbo - (kl.mean(0) if kl.dim() > 1 else kl)
        return {"elbo": elbo, **self._parts(trace)}

    def _parts(self, trace: Trace) -> dict[str, Tensor]:
        """What else is said of each row, (B, …) by name."""
        return {}


PROGRAMS: dict[str, Callable[[VAE, bool], Program]] = {each.name: each for each in (Encode, Decode, Sample, Score)}


def program(name: str, model: VAE, labels: bool | None = None) -> Program:
    """The program called `name` of a model on the CPU: encode, decode, sample or score.

    Where `labels` is not said, a condition that is not scaled is taken for classes. Raises `ValueError`, one line, for
    a model that it can't be made of.

    >>> from vaekit import Domain, likelihoods, networks, posteriors, priors
    >>> p = likelihoods.Bernoulli((3,), Domain("binary"))
    >>> encoder, decoder = networks.MLP((3,), hidden=(8,)), networks.MLP((2,), p.parameter_shape, hidden=(8,))
    >>> vae = VAE(encoder, {"z": posteriors.DiagonalNormal(8, 2)}, {"z": priors.StandardNormal(2)}, decoder, p)
    >>> encode = program("encode", vae)
    >>> [str(port) for port in (*encode.inputs, *encode.outputs)]
    ['x (batch, 3) float32', 'mean (batch, 2) float32', 'sd (batch, 2) float32']
    >>> mean, sd = encode(torch.tensor([[0.0, 1.0, torch.nan]]))
    >>> torch.equal(mean, vae.encode([[0.0, 1.0, torch.nan]]))
    True
    """
    if labels is None:
        labels = bool(model.condition) and not model.scaled_condition and not model.exposed
    return PROGRAMS[name](model, labels)


class _Undrawn(TorchDispatchMode):
    """Inside, a draw is a `ValueError`."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags and not _drops_nothing(func, args, kwargs or {}):
            raise ValueError(
                f"{self.name} draws numbers of its own ({func}), not those that it is given; accepted: parts whose "
                "draws can be made of given noise"
            )
        return func(*args, **(kwargs or {}))


def _drops_nothing(func: Any, args: Any, kwargs: Any) -> bool:
    """Whether it is an attention whose dropout is 0, which then draws nothing."""
    names = [each.name for each in func._schema.arguments]
    given = dict(zip(names, args, strict=False)) | kwargs
    return "dropout_p" in names and not given.get("dropout_p")


def _taking(noise: Tensor) -> Draw:
    """Draws made of noise (…, B, N), of which each latent takes the next numbers.

    Where classes are summed out, q is one of each class, class after class: all are given the same numbers.
    """
    at = 0

    def draw(name: str, dist: Distribution) -> Tensor:
        nonlocal at
        size = noise_size(dist)
        own, at = noise[..., at : at + size], at + size
        return _made_of(dist, own)

    return draw


def _made_of(dist: Distribution, noise: Tensor) -> Tensor:
    """A draw of noise (…, B, N) of its own, which is repeated for each class where classes are summed out."""
    # Told by what sizes are, not by their numbers: a graph would keep that these differ, which of no rows they don't.
    if dist.batch_shape and not statically_known_true(dist.batch_shape[-1] == noise.shape[-2]):
        times = dist.batch_shape[-1] // noise.shape[-2]
        noise = noise.repeat(*[1] * (noise.dim() - 2), times, 1)
    return from_noise(dist, noise)
