"""How much memory there is, and what is asked of it: too much is refused before any is taken."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

SMALL = 2**28
"""Bytes that are not asked about."""
GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "/sys/fs/cgroup/memory/memory.stat",
    ),
)
"""Where Linux has the limit of a container, what of it is used, and of that what it can take back; both its ways."""


def check_memory(needed: int, what: str, advice: str, device: torch.device | str = "cpu") -> None:
    """Raise `ValueError`, one line, where `what` takes `needed` bytes and `device` has fewer that are free."""
    if needed < SMALL:
        return
    free = available(device)
    if free is not None and needed > free:
        raise ValueError(f"not enough memory: {what} take about {size(needed)}, and {size(free)} is free; {advice}")


def available(device: torch.device | str = "cpu") -> int | None:
    """Bytes that are free on a device, of the machine or of the container; None where the system does not say."""
    if str(device).startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    return min(_limits(), default=None)


def size(count: int) -> str:
    """A number of bytes as it is read.

    >>> size(19_600_000_000), size(300_000_000)
    ('19.6 GB', '300 MB')
    """
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _limits() -> Iterator[int]:
    with suppress(OSError, ValueError, IndexError):
        if sys.platform == "linux":
            lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
            yield next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
        else:
            pages = "SC_AVPHYS_PAGES" if "SC_AVPHYS_PAGES" in os.sysconf_names else "SC_PHYS_PAGES"
            yield os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE")
    for limit, used, stat in GROUPS:
        with suppress(OSError, ValueError):  # "max" is none
            most, now = int(Path(limit).read_text()), int(Path(used).read_text())
            fields = dict(line.split() for line in Path(stat).read_text().splitlines())
            yield max(0, most - now + int(fields.get("inactive_file", 0)))
