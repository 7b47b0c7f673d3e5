"""Where a function of a number in (0, 1) is looked at to average it."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor


@cache
def unit_nodes(n: int) -> tuple[np.ndarray, np.ndarray]:
    """The n nodes in (0, 1) and the weights (n,) of Gauss-Legendre quadrature: exact for polynomials of degree 2n - 1.

    >>> nodes, weights = unit_nodes(3)
    >>> bool(np.isclose((weights * nodes**5).sum(), 1 / 6))
    True
    """
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return 0.5 + 0.5 * nodes, 0.5 * weights


_KNOWN: dict[tuple[int, torch.dtype, torch.device], tuple[Tensor, Tensor]] = {}


def nodes_like(n: int, other: Tensor) -> tuple[Tensor, Tensor]:
    """Those of `unit_nodes` as tensors of the type of `other`, on its device, which is waited for the first time alone.

    >>> nodes, weights = nodes_like(3, torch.ones(()))
    >>> (weights * nodes**5).sum()
    tensor(0.1667)
    """
    key = n, other.dtype, other.device
    if key in _KNOWN:
        return _KNOWN[key]
    nodes, weights = (torch.as_tensor(each).to(other) for each in unit_nodes(n))
    if type(nodes) is Tensor:  # and none that has a shape and no numbers
        _KNOWN[key] = nodes, weights
    return nodes, weights
