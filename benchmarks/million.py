"""The speed and memory of a large table: rows per second of an epoch of the recipe `table`, and what a process takes.

python benchmarks/million.py [--rows 1000000] [--epochs 3] [--set KEY=VALUE …]

The table has fifty columns made from a latent of five dimensions: twenty real, five positive, five counts, five of two
values, ten of four to twenty categories, five real with a tenth of their cells missing. Printed as JSON: rows per
second in each epoch, of which the first has the recording, and the compilation with it; the megabytes of the table,
those of the process before it is made, with all that is imported, and the most that it has had.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

import vaekit


def resident() -> float:
    """The most that this process has had, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def table(rows: int, seed: int = 0) -> pd.DataFrame:
    """Fifty mixed columns."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(rows, 5)).astype(np.float32)
    columns: dict[str, np.ndarray | pd.Categorical] = {}

    def mean() -> np.ndarray:
        return np.tanh(z @ rng.normal(size=(5, 3)).astype(np.float32)) @ rng.normal(size=3).astype(np.float32)

    def noisy(much: float) -> np.ndarray:
        return (mean() + much * rng.standard_normal(rows, np.float32)).astype(np.float32)

    for i in range(20):
        columns[f"real{i}"] = noisy(0.5)
    for i in range(5):
        columns[f"positive{i}"] = np.exp(noisy(0.5))
    for i in range(5):
        columns[f"count{i}"] = rng.poisson(np.exp(1 + 0.5 * mean())).astype(np.int32)
    for i in range(5):
        columns[f"flag{i}"] = noisy(1.0) > 0
    for i, levels in enumerate(np.linspace(4, 20, 10).astype(int)):
        level = np.clip(((noisy(0.7) + 3) * levels / 6).astype(int), 0, levels - 1)
        columns[f"kind{i}"] = pd.Categorical.from_codes(level, categories=[f"level {k}" for k in range(levels)])
    for i in range(5):
        columns[f"gap{i}"] = np.where(rng.random(rows) < 0.1, np.float32(np.nan), noisy(0.5))
    return pd.DataFrame(columns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], dest="sets")
    given = parser.parse_args()
    before = resident()
    frame = table(given.rows)
    megabytes = frame.memory_usage(deep=True).sum() / 2**20
    made = resident()
    start = time.perf_counter()
    sets = [f"data.test={given.rows // 10}", "training.early_stopping=none", *given.sets]
    with tempfile.TemporaryDirectory() as folder:
        run = vaekit.train("table", Path(folder) / "run", data=frame, epochs=given.epochs, sets=sets)
        epochs = [each for each in run.history() if each.split == "train"]
    figures = {
        "rows_per_second": [round(each.rows / each.seconds) for each in epochs],
        "whole_seconds": time.perf_counter() - start,
        "table_mb": megabytes,
        "imported_mb": before,
        "with_table_mb": made,
        "peak_mb": resident(),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
