"""How many threads a training step is worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.flop_counter import flop_registry

from ..data.tensors import PartlyLabelled, TensorSplit
from ..modules import Uncompiled, evaluating
from ..seeding import seeded

if TYPE_CHECKING:
    from ..models import VAE


SMALL_STEP = 200_000_000
"""Floating-point operations of a training step below which a second thread does not pay."""


def worthwhile_threads(model: VAE, data: TensorSplit, samples: int, batch_size: int) -> int:
    """One where a step on the CPU is too small to share: on a busy machine two threads then wait for each other at
    every product.

    digits (70 Mflop a step) beside other work: 2,000 rows/s with two threads, 25,000 with one; alike on a quiet
    machine. By the count of operations, not by a clock, since the order of sums, and so the bits of a resumed run,
    depend on the threads.
    """
    now = torch.get_num_threads()
    if data.x.device.type != "cpu" or now == 1:
        return now
    with seeded(0), torch.no_grad(), evaluating(model), _Counter() as counter:
        batch = data.batch(slice(0, 1))
        # Most rows of a step show no label, and take a pass for each class.
        model.trace(batch.without_y() if isinstance(data, PartlyLabelled) else batch, samples)
    return 1 if 3 * counter.operations * batch_size < SMALL_STEP else now  # forward once, backward twice


class _Counter(Uncompiled):
    """Counts the floating-point operations of products and convolutions inside.

    torch's own counter also follows which module each is of. For that it hooks gradients, which fails without them on
    weights that a module is given, such as a learned start; and it imports the compiler, in two seconds.
    """

    operations = 0

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: object,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        made = func(*args, **kwargs)
        if formula := flop_registry.get(getattr(func, "overloadpacket", None)):
            self.operations += formula(*args, **kwargs, out_val=made)
        return made
