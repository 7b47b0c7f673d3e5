"""What a report says of where and how its numbers were made."""

from __future__ import annotations

import datetime
import os
import platform
import sys

import torch

import vaekit


def where() -> str:
    """Date, machine and versions."""
    model = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            model = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), model)
    return (
        f"{datetime.date.today():%Y-%m-%d}; {os.cpu_count()} cores of {model}, {torch.get_num_threads()} threads; "
        f"Python {platform.python_version()}, torch {torch.__version__}, vaekit {vaekit.__version__}."
    )


def heading(title: str) -> str:
    """The head of a report: title, date, machine, versions, command."""
    return "\n".join([f"# {title}", "", where(), "", f"Command: `python {' '.join(sys.argv)}`", ""])
