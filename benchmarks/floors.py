"""The products of matrices that a model can't do without, alone: the least time that a training or a score takes.

784-400-20-400-784, mean and log-variance of z side by side, as vaekit has it. `step`: an epoch of batches, each product
forward, then the gradient of each weight and of each layer's input but the first's, 11 in all. `decoder`: the two
products of the decoder for so many draws of z.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from measured import tell
from torch import Tensor

LAYERS = ((784, 400), (400, 40), (20, 400), (400, 784))
BLOCK = 2000
"""Draws that are decoded at a time."""

Linear = Callable[[Tensor, Tensor], Tensor]


def mkl(x: Tensor, weight: Tensor) -> Tensor:
    """x W^T as torch does it by itself."""
    return torch.mm(x, weight.t())


def onednn(x: Tensor, weight: Tensor) -> Tensor:
    """x W^T by oneDNN."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")


def step(linear: Linear, rows: int, batch_size: int, dtype: torch.dtype, epochs: int) -> list[float]:
    """Seconds of each epoch."""
    layers = [
        (torch.randn(batch_size, n).to(dtype), torch.randn(m, n).to(dtype), torch.randn(batch_size, m).to(dtype))
        for n, m in LAYERS
    ]
    sizes = [batch_size] * (rows // batch_size) + [rows % batch_size] * (rows % batch_size > 0)
    seconds = []
    for _ in range(epochs):
        start = time.perf_counter()
        for size in sizes:
            for x, weight, _ in layers:
                linear(x[:size], weight)
            for i, (x, weight, gradient) in enumerate(layers):
                linear(gradient[:size].t(), x[:size].t())
                if i:
                    linear(gradient[:size], weight.t())
        seconds.append(time.perf_counter() - start)
    return seconds


def decoder(linear: Linear, draws: int) -> float:
    """Seconds for so many draws."""
    hidden, pixels = (torch.randn(m, n) for n, m in LAYERS[2:])
    z = torch.randn(BLOCK, 20)
    linear(linear(z, hidden), pixels)
    start = time.perf_counter()
    for done in range(0, draws, BLOCK):
        linear(linear(z[: min(BLOCK, draws - done)], hidden), pixels)
    return time.perf_counter() - start


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["step", "decoder"])
    parser.add_argument("by", choices=["mkl", "onednn"])
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--draws", type=int, default=1_000_000)
    given = parser.parse_args()
    linear = {"mkl": mkl, "onednn": onednn}[given.by]
    with torch.inference_mode():
        if given.what == "step":
            tell(seconds=step(linear, given.rows, 128, getattr(torch, given.dtype), given.epochs))
        else:
            seconds = decoder(linear, given.draws)
            tell(seconds=[seconds], each=[1e6 * seconds / given.draws])
