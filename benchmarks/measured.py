"""What the programs that are measured share: each ends with one line of JSON, lists of numbers by name.

No torch and no vaekit here, so that what a program needs is its own.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")


def resident(name: str) -> float | None:
    """What Linux says of this process' memory by that name ("VmHWM", "RssAnon"), MB; None elsewhere."""
    lines = STATUS.read_text(encoding="utf-8").splitlines() if STATUS.exists() else []
    found = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
    return int(found[0]) / 1024 if found else None


def peak() -> float:
    """The most memory that this process has had resident, MB.

    `ru_maxrss` only where nothing better is to be had: it starts with that of the process which this one was forked
    from.
    """
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)
    return resident("VmHWM") or used


def tell(**values: list[float]) -> None:
    """Print what was measured, with the peak memory of this process."""
    print(json.dumps(values | {"memory": [peak()]}))
