"""Memory that the process keeps for tensors to come."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


KEPT_MEMORY = 128 * 2**20


LARGEST_BLOCK = 32 * 2**20
"""What `mallopt` of glibc takes at most."""


@cache
def keep_freed_memory() -> None:
    """Let the process keep up to `KEPT_MEMORY` that it has freed, in blocks of up to `LARGEST_BLOCK`.

    Left to itself, the C library of Linux gives a tensor's megabytes back to the system when it is freed, and the next
    one of that size is a page fault every 4 KiB: half of the time of scoring a small model. Elsewhere nothing is done.
    """
    with suppress(AttributeError, OSError, TypeError):
        for option, value in ((-3, LARGEST_BLOCK), (-1, KEPT_MEMORY)):  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
            ctypes.CDLL(None).mallopt(option, value)
