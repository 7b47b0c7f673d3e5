"""Two processes of one thread each beside one process of two threads: rows a second of training, by torchrun.

Both train the same recipe in the same batches, in turn; the second epoch and those after it count.

    python benchmarks/processes.py --report benchmarks/processes.md
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from machine import heading

import vaekit

MODELS = {
    "784-400-20, batches of 128": (),
    "784-400-20, batches of 1,024": ("training.batch_size=1024",),
    "convolutional, batches of 128": ("model.encoder=conv", "model.decoder=conv"),
}
ROWS = 12_800


def rows_per_second(folder: Path, processes: int, threads: int, sets: tuple[str, ...]) -> float:
    """The median over epochs of a run by so many processes."""
    launched = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m", "vaekit"]
    start = [sys.executable, *(launched if processes > 1 else ["-m", "vaekit"])]
    told = ["train", "grey-mnist", "--out", str(folder), "--epochs", "4", "--overwrite"]
    given = (f"data.train={ROWS}", "pictures.every_epoch=[]", *sets)
    options = [part for each in given for part in ("--set", each)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    subprocess.run([*start, *told, *options], check=True, env=environment, capture_output=True)
    seconds = [record.seconds for record in vaekit.load_run(folder).history() if record.split == "train"]
    return ROWS / statistics.median(seconds[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=MODELS, action="append", default=[])
    parser.add_argument("--report", type=Path)
    given = parser.parse_args()
    lines = [heading("Processes and threads"), (__doc__ or "").split("\n\n")[0].replace("\n", " "), ""]
    lines += [
        "| model | one of two threads, rows/s | two of one thread, rows/s | ratio, round by round |",
        "|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for name in given.only or MODELS:
            ways: dict[int, list[float]] = {1: [], 2: []}
            for number in range(given.rounds):
                for processes in (1, 2) if number % 2 == 0 else (2, 1):
                    ways[processes].append(
                        rows_per_second(Path(folder) / "run", processes, 3 - processes, MODELS[name])
                    )
            ratios = sorted(two / one for one, two in zip(ways[1], ways[2], strict=True))
            row = [name, *(f"{statistics.median(ways[n]):,.0f}" for n in (1, 2))]
            lines.append(
                f"| {' | '.join(row)} | {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) |"
            )
            print(lines[-1], flush=True)
    if given.report:
        given.report.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
