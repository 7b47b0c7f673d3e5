"""Rows made up by TVAE or CTGAN (Xu et al. 2019), of the package ctgan, with its defaults but for the epochs.

It reads a CSV of training rows, in which missing cells of categories are a category of their own, and writes as many
made-up rows as are asked for; it prints the seconds, of the clock and of the processor, as JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import pandas as pd
import torch
from ctgan import CTGAN, TVAE

MISSING = "?"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("which", choices=["tvae", "ctgan"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--discrete", required=True, help="the columns of categories, between commas")
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    discrete = given.discrete.split(",")
    rows = pd.read_csv(given.data)
    rows[discrete] = rows[discrete].astype("object").where(rows[discrete].notna(), MISSING)
    torch.manual_seed(given.seed)
    model = {"tvae": TVAE, "ctgan": CTGAN}[given.which](epochs=given.epochs, enable_gpu=False)
    model.set_random_state(given.seed)
    start, worked = time.perf_counter(), time.process_time()
    model.fit(rows, discrete)
    made = model.sample(given.rows)
    spent = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - worked}
    made.mask(made == MISSING).to_csv(given.out, index=False)
    print(json.dumps({"epochs": given.epochs, **spent}))


if __name__ == "__main__":
    main()
