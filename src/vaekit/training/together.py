"""What several processes that train one model do of it each, and how what they find becomes one.

A step is a recorded program, which the hooks of torch's DistributedDataParallel are no part of: its gradients, all
there at once, are added up in one message between the step and the update.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..data.tensors import TensorSplit
from ..seeding import stream
from ..system.processes import Processes


@dataclass(frozen=True)
class Part:
    """The rows of a batch that this process takes, and what its averages over them weigh beside those of others."""

    index: Tensor
    weight: float = 1.0
    data: TensorSplit | None = None
    """What makes a batch of them, where it is not as of every full batch."""


class Parts:
    """What this one of several processes takes of batches of `data`, of which full ones have `batch_size` rows, in so
    many `pieces` one after another.

    >>> from vaekit import Domain, Preprocessing
    >>> rows = TensorSplit(torch.zeros(7, 2), None, Domain("real"), Preprocessing())
    >>> [Parts(rows, 5, Processes(rank, 2))(torch.arange(5))[0].index.tolist() for rank in (0, 1)]
    [[0, 1, 2], [3, 4]]
    >>> [part.index.tolist() for part in Parts(rows, 4, Processes(), pieces=2)(torch.arange(4))]
    [[0, 1], [2, 3]]
    """

    def __init__(self, data: TensorSplit, batch_size: int, processes: Processes, pieces: int = 1) -> None:
        self.whole, self.of, self.count = data, batch_size, processes.count * pieces
        self.mine = range(processes.rank * pieces, (processes.rank + 1) * pieces)
        self.batch_size, self.data = batch_size, data
        if self.count > 1:
            own, self.data, _ = data.shared(torch.arange(batch_size), self.mine[0], self.count)
            self.batch_size = len(own)

    def __call__(self, index: Tensor) -> list[Part]:
        """Its parts of the batch of the rows at `index`."""
        if self.count == 1:
            return [Part(index)]
        shares = [self.whole.shared(index, number, self.count) for number in self.mine]
        return [Part(own, weight, None if len(index) == self.of else data) for own, data, weight in shares]

    def rows(self, index: Tensor) -> Tensor:
        """The rows of all of its parts of a batch."""
        return index if self.count == len(self.mine) else torch.cat([part.index for part in self(index)])


class Gradients:
    """The gradients of `weights`, which each process has of its parts, made those of the whole batch in all of them."""

    def __init__(self, weights: Sequence[Tensor], processes: Processes, pieces: int = 1) -> None:
        several = processes.several or pieces > 1
        self.weights = [each for each in weights if each.requires_grad] if several else []
        self.processes = processes
        self.found: set[int] = set()
        """Which weights have a gradient in one of the parts that are added up."""
        kinds = {(each.dtype, each.device): 0 for each in self.weights}
        places = []
        for each in self.weights:
            kind = each.dtype, each.device
            places.append((kind, kinds[kind]))
            kinds[kind] += each.numel()
        self.flat = {kind: torch.zeros(n, dtype=kind[0], device=kind[1]) for kind, n in kinds.items()}
        # Each laid out as its weight: fused optimizers read it as it lies.
        self.views = [
            self.flat[kind].as_strided(each.shape, each.stride(), start)
            for (kind, start), each in zip(places, self.weights, strict=True)
        ]

    def begin(self) -> None:
        """Begin with the parts of another batch."""
        self.found = set()

    @torch.no_grad()
    def add(self, weight: float) -> None:
        """Add those of a part, times its `weight`."""
        if not self.weights:
            return
        new = {i: each.grad for i, each in enumerate(self.weights) if each.grad is not None}
        views, gradients = [self.views[i] for i in new], list(new.values())
        if self.found:
            torch._foreach_add_(views, gradients, alpha=weight)
        else:
            if len(new) < len(self.weights):
                for flat in self.flat.values():
                    flat.zero_()
            torch._foreach_copy_(views, gradients)
            for flat in self.flat.values():
                flat.mul_(weight)
        self.found |= {*new}

    @torch.no_grad()
    def finish(self) -> None:
        """Put in the place of the weights' gradients the sum of those of all parts, of all processes."""
        if not self.weights:
            return
        for flat in self.flat.values():
            self.processes.add(flat)
        for i in self.found:
            self.weights[i].grad = self.views[i]

    def cut(self, weights: Sequence[Tensor], most: float) -> Tensor:
        """The norm of the gradients of all `weights`, which is then `most` where it was more."""
        return nn.utils.clip_grad_norm_(weights, most)


def same_order(processes: Processes) -> None:
    """Let torch's stream on the CPU, from which the order of rows is drawn, go on in all processes as in the first."""
    if processes.several:
        state = torch.get_rng_state()
        processes.share([state])
        torch.set_rng_state(state)


def own_draws(processes: Processes, seed: int, epoch: int) -> None:
    """Let torch's streams begin anew in each of several processes: what is drawn for rows is to be unrelated."""
    if processes.several:
        torch.manual_seed(stream(stream(seed, epoch), "process", processes.rank))


@torch.no_grad()
def average_buffers(models: Sequence[nn.Module], processes: Processes) -> None:
    """Let what networks keep of the data that they have seen, as the averages of a batch normalisation, be the mean of
    what it is in the processes; what is no floating-point number is that of the first.
    """
    if not processes.several:
        return
    for buffer in _buffers(models):
        found = torch.stack(processes.gathered(buffer))
        if not bool((found == found[0]).all()):  # a mean of what is the same may be off by a rounding
            buffer.copy_(found.mean(0) if buffer.is_floating_point() else found[0])


def _buffers(models: Sequence[nn.Module]) -> Iterator[Tensor]:
    for model in models:
        yield from model.buffers()
