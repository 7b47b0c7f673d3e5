"""Random streams of rows' own: of many rows computed at once, each has the draws that it has alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import repeat
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..data.batch import Batch

T = TypeVar("T")

FRESH = {
    torch.rand,
    torch.randn,
    torch.randint,
    torch.randperm,
    torch.normal,
    torch.bernoulli,
    torch.binomial,
    torch.multinomial,
    torch.poisson,
    torch._sample_dirichlet,
    torch._standard_gamma,
    Tensor.bernoulli,
    Tensor.multinomial,
}
"""Functions whose results are drawn by the `generator` that they are given."""
LIKE = {torch.rand_like: torch.rand, torch.randn_like: torch.randn}
FILLED = {
    Tensor.bernoulli_,
    Tensor.cauchy_,
    Tensor.exponential_,
    Tensor.geometric_,
    Tensor.log_normal_,
    Tensor.normal_,
    Tensor.random_,
    Tensor.uniform_,
}
"""Methods that fill a tensor in its place, likewise."""
EMPTY = {torch.empty, torch.empty_like, Tensor.new, Tensor.new_empty}
"""What makes the tensors that these fill."""


def streamed(function: Callable[..., T], generators: Sequence[torch.Generator]) -> Callable[..., T]:
    """`function` for `torch.func.vmap` over B rows, with the row's number before its arguments: what is drawn for a row
    is of its own of B `generators`.

    >>> streams = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
    >>> noisy = streamed(lambda x: x + torch.randn(2), streams)
    >>> found = torch.func.vmap(noisy, randomness="error")(torch.arange(2), torch.zeros(2, 2))
    >>> bool((found[1] == torch.randn(2, generator=torch.Generator().manual_seed(4))).all())
    True
    """

    def of_row(row: Tensor, *args: Any) -> T:
        with RowStreams(row, generators):
            return function(*args)

    return of_row


class RowStreams(TorchFunctionMode):
    """Inside a function that `torch.func.vmap` maps over B rows, what is drawn for a row is of a stream of its own.

    `row` is a tensor that is mapped, a number of any kind for each row; `generators` are the B streams. vmap knows in
    which dimension of any tensor rows lie, however they were flattened on the way. So PyTorch's own samplers draw, one
    row after another, bit for bit what they draw alone from a generator of the same seed; all else is computed of all
    rows at once. What PyTorch draws unseen by this mode is refused by vmap, if its `randomness` is "error".
    """

    def __init__(self, row: Tensor, generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        self.row, self.generators = row, generators

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if kwargs.get("generator") is not None:
            return func(*args, **kwargs)
        if func in FRESH:
            return self._drawn(func, args, kwargs)
        if func in LIKE:
            like, *others = args
            return self._drawn(LIKE[func], (like.shape, *others), {"dtype": like.dtype, "device": like.device} | kwargs)
        if func in FILLED:
            return args[0].copy_(self._drawn(_filled(func), args, kwargs))
        if func in EMPTY:
            # Of each row one: a tensor that all rows share can't be filled by draws of each.
            found = func(*args, **kwargs)
            return self.row.new_empty(found.shape, dtype=found.dtype, device=found.device)
        return func(*args, **kwargs)

    def _drawn(self, draw: Callable[..., Tensor], args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor:
        named = {name: value for name, value in kwargs.items() if name != "generator"}
        return _Drawn.apply(self.row, _Draw(draw, self.generators, tuple(named)), *args, *named.values())


def _filled(method: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda x, *args, **kwargs: method(
        torch.empty_like(x, memory_format=torch.contiguous_format), *args, **kwargs
    )


@dataclass(frozen=True)
class _Draw:
    """What is drawn for each row, by its own of the `generators`; the last of the values given to it have `names`."""

    function: Callable[..., Tensor]
    generators: Sequence[torch.Generator]
    names: tuple[str, ...]

    def __call__(self, *values: Iterable[Any]) -> Tensor:
        """All rows' draws, of values one for each row."""
        first, found = len(values) - len(self.names), []
        for generator, *own in zip(self.generators, *values):  # noqa: B905
            named = dict(zip(self.names, own[first:], strict=True))
            found.append(self.function(*own[:first], **named, generator=generator))
        return torch.stack(found)


class _Drawn(torch.autograd.Function):
    """Draws of a row after another: an autograd function, since these can say what vmap does with them."""

    @staticmethod
    def forward(row: Tensor, draw: _Draw, *values: Any) -> Tensor:
        raise RuntimeError("streams of rows' own are for functions that vmap maps over the rows")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is kept: draws have no gradients here."""

    @staticmethod
    def vmap(info: Any, in_dims: Any, row: Tensor, draw: _Draw, *values: Any) -> tuple[Tensor, int]:
        if in_dims[0] is None:
            raise RuntimeError("a vmap within that of rows draws numbers, which rows have no streams for")
        every = zip(values, in_dims[2:], strict=True)
        return draw(*(each.unbind(dim) if isinstance(dim, int) else repeat(each) for each, dim in every)), 0


def row_seeds(batch: Batch, seed: int, times: Counter[bytes] | None = None) -> Iterator[int]:
    """The seed of each row of a batch, made of `seed` and of what is observed of the row; and where equal rows are to
    be told apart, of how many `times` it was there before, which are counted on.

    >>> batch = Batch(torch.tensor([[1.0], [2.0], [1.0]]))
    >>> len(set(row_seeds(batch, 0))), len(set(row_seeds(batch, 0, Counter())))
    (2, 3)
    """
    observed = torch.ones_like(batch.x, dtype=torch.bool) if batch.observed is None else batch.observed
    parts = [torch.where(observed, batch.x, 0.0), observed, *([] if batch.y is None else [batch.y])]
    arrays = [each.cpu().numpy() for each in parts]
    for i in range(len(batch)):
        content, before = blake2b(b"".join(each[i].tobytes() for each in arrays), digest_size=16).digest(), 0
        if times is not None:
            before = times[content]
            times[content] += 1
        own = blake2b(content + before.to_bytes(8, "big") + str(seed).encode(), digest_size=8).digest()
        yield int.from_bytes(own, "big") >> 1
