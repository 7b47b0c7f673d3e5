"""Numbers that are the same but for their rounding.

Processors, libraries, threads and the number of rows decide in which order a sum is added: no equality of bits is to be
asked for but of the same call made again, on one machine.
"""

from __future__ import annotations

from typing import Any

import torch


def close_in_ulps(found: Any, wanted: Any, ulps: float = 64) -> bool:
    """Whether two arrays or tensors differ by no more than so many units in the last place of the largest number.

    Of the largest: a sum whose terms cancel has the error of its terms.
    """
    one, other = torch.as_tensor(found).detach(), torch.as_tensor(wanted).detach()
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    unit = torch.finfo(one.dtype).eps * torch.maximum(one.abs().max(), other.abs().max())
    return bool(((one - other).abs() <= ulps * unit).all())
