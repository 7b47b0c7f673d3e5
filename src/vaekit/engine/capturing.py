"""Operations on a CUDA device launched together, as a CUDA graph: small kernels take less time than launches."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cache

import torch
from torch import Tensor, fx

Run = Callable[..., list[Tensor]]


def on_cuda(tensors: Sequence[Tensor]) -> bool:
    """Whether one of them is on a CUDA device."""
    return any(each.device.type == "cuda" for each in tensors)


def refuse_others(graph: fx.Graph) -> None:
    """`ValueError` where not all tensors of `graph` are on a CUDA device: what the host computes is no launch."""
    for node in graph.nodes:
        value = node.meta.get("val")
        for each in value if isinstance(value, (tuple, list)) else [value]:
            if isinstance(each, Tensor) and each.device.type != "cuda":
                raise ValueError(f"they have a tensor on the {each.device.type} ({node.target})")


class Graph:
    """The operations of `run` on `tensors` as a CUDA graph; it makes them twice to be ready, and changes what they do.

    What it draws comes of torch's generator, which each launch moves on as the operations one by one would. Raises
    whatever they raise where they can't be captured.
    """

    def __init__(self, run: Run, tensors: Sequence[Tensor]) -> None:
        device = tensors[0].device
        with torch.cuda.device(device), torch.no_grad():
            side = _side(device)
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                run(*tensors)
                # What waits for the device is found before: a capture that fails leaves the generator amid one.
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # torch's, that the check is young
                    mode = torch.cuda.get_sync_debug_mode()
                    torch.cuda.set_sync_debug_mode("error")
                    try:
                        run(*tensors)
                    finally:
                        torch.cuda.set_sync_debug_mode(mode)
            torch.cuda.current_stream().wait_stream(side)
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph, stream=side, capture_error_mode="thread_local"):
                self.results = run(*tensors)

    def launch(self) -> None:
        """Make them; the results lie where they did."""
        self.graph.replay()


@cache
def _side(device: torch.device) -> torch.cuda.Stream:
    """The stream that graphs are captured on: one, since cuBLAS keeps memory of its own for each."""
    return torch.cuda.Stream(device)


class Captured:
    """`run`, called with tensors like those it is made of, as one launch.

    A graph reads and writes the memory that it was captured with. Tensors numbered `kept`, parameters and buffers, lie
    there for good, and it is captured anew, `undisturbed`, where one lies elsewhere. The others are copied there, those
    after the kept only when they are not the very tensors of the last call. Of the results the first `lasting` are the
    caller's (None: all); the next call writes over the rest.
    """

    def __init__(
        self,
        run: Run,
        tensors: Sequence[Tensor],
        kept: range,
        lasting: int | None,
        undisturbed: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self.run, self.kept, self.lasting, self.undisturbed = run, kept, lasting, undisturbed
        self.own: list[Tensor] = []
        self.last: Sequence[Tensor] = ()
        self.addresses: list[int] = []
        self.graph = self._captured(tensors)

    def __call__(self, *tensors: Tensor) -> list[Tensor]:
        """The results for `tensors`."""
        if self._addresses(tensors) != self.addresses:
            self.graph = self._captured(tensors)
        for i, (own, new) in enumerate(zip(self.own, tensors, strict=True)):
            if i < self.kept.start or (i >= self.kept.stop and new is not self.last[i]):
                own.copy_(new, non_blocking=True)
        self.last = tensors
        self.graph.launch()
        results = self.graph.results
        lasting = len(results) if self.lasting is None else self.lasting
        return [*(each.clone() for each in results[:lasting]), *results[lasting:]]

    def _addresses(self, tensors: Sequence[Tensor]) -> list[int]:
        return [tensors[i].data_ptr() for i in self.kept]

    def _captured(self, tensors: Sequence[Tensor]) -> Graph:
        self.own = [tensor if i in self.kept else tensor.clone() for i, tensor in enumerate(tensors)]
        self.last, self.addresses = tuple(tensors), self._addresses(tensors)
        with self.undisturbed():
            return Graph(self.run, self.own)
