"""What only a GPU can tell, in eight minutes: tests, numbers, resuming, speed, precision, memory, waiting.

python benchmarks/gpu.py --report benchmarks/gpu.md     (or: make gpu)

For a bare machine that is at hand for a quarter of an hour. Each part is a process of its own with its own time, in
the order of their worth; each measurement is appended to `--log` (JSON lines) as it is made, and the report is written
anew after each part. MNIST is taken where $VAEKIT_DATA/mnist has its files, made-up pictures of its shape else. With
`--rehearse` all is so small that the numbers mean nothing: it shows, on a CPU, that every line runs.

Packages that the machine lacks may lie in a folder on PYTHONPATH beside src.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from gpu_measuring import CUDA, Setting
from gpu_parts import PARTS
from machine import heading

HERE = Path(__file__).resolve().parent


def card() -> str:
    """What the measurements were made on."""
    if not CUDA:
        return "No CUDA device: the CPU."
    about = torch.cuda.get_device_properties(0)
    asked = ["nvidia-smi", "--query-gpu=driver_version,clocks.max.sm,power.limit", "--format=csv,noheader"]
    try:
        said = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=20).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        said = ""
    memory = f"{about.total_memory / 2**30:.0f} GiB, {about.multi_processor_count} multiprocessors"
    versions = f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
    return f"{about.name}, {memory}; driver, clock and power limit {said or 'unknown'}; {versions}."


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Measurements of one part as a table, its columns as they first come."""
    names = list({name: None for row in rows for name in row if name != "part"})
    lines = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    for row in rows:
        cells = [row.get(name, "") for name in names]
        shown = ("; ".join(map(str, cell)) if isinstance(cell, list) else str(cell) for cell in cells)
        lines.append(f"| {' | '.join(each.replace('|', '/') for each in shown)} |")
    return lines


def report(log: Path, rehearsed: bool) -> str:
    """The report of what is in `log`."""
    text = log.read_text(encoding="utf-8") if log.exists() else ""
    found = [json.loads(line) for line in text.splitlines()]
    lines = [heading("What only a GPU can tell"), card(), ""]
    if rehearsed:
        lines += ["A rehearsal: these numbers mean nothing.", ""]
    for part in dict.fromkeys(each["part"] for each in found):
        lines += [f"## {part.capitalize()}", "", *table([each for each in found if each["part"] == part]), ""]
    return "\n".join(lines)


def main(given: argparse.Namespace) -> None:
    """Each part as a process of its own, so that one that hangs or breaks the device takes only itself along."""
    given.log.unlink(missing_ok=True)
    environment = os.environ | ({"VAEKIT_REHEARSE": "1"} if given.rehearse else {})
    environment.setdefault("MPLBACKEND", "Agg")
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for name in given.only:
            left = given.seconds - (time.perf_counter() - began)
            most = min(PARTS[name][1], left)
            if most < 5:
                print(f"{name}: no time left", flush=True)
                continue
            command = [sys.executable, __file__, "--part", name, "--seconds", f"{most:.0f}", "--log", str(given.log)]
            command += ["--folder", folder, *(["--rehearse"] if given.rehearse else [])]
            started, ended = time.perf_counter(), "ended with"
            try:
                done = subprocess.run(command, env=environment, timeout=most + 10, check=False)
                ended = f"ended with {done.returncode}"
            except subprocess.TimeoutExpired:
                ended = "was ended"
            line = {"part": "parts", "name": name, "how": ended, "seconds": round(time.perf_counter() - started)}
            with open(given.log, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            given.report.write_text(report(given.log, given.rehearse), encoding="utf-8")
    print(given.report.read_text(encoding="utf-8"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", type=Path, default=HERE / "gpu.md")
    parser.add_argument("--log", type=Path, default=HERE / "gpu.jsonl")
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(PARTS), help=", ".join(PARTS))
    parser.add_argument("--seconds", type=float, default=480)
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.part:
        PARTS[asked.part][0](Setting(asked.log.absolute(), asked.folder, asked.seconds, asked.rehearse))
    else:
        asked.log = asked.log.absolute()
        main(asked)
