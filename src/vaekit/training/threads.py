"""How many threads a training step is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.utils.flop_counter import FlopCounterMode

from ..data.tensors import PartlyLabelled, TensorSplit
from ..modules import evaluating
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
    with seeded(0), evaluating(model), FlopCounterMode(display=False) as counter:
        batch = data.batch(slice(0, 1))
        # Most rows of a step show no label, and take a pass for each class.
        model.trace(batch.without_y() if isinstance(data, PartlyLabelled) else batch, samples)
    return 1 if 3 * counter.get_total_flops() * batch_size < SMALL_STEP else now  # forward once, backward twice
