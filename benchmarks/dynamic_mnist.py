"""The likelihood that the iwae-mnist recipe reaches with k = 1 in a given time of training.

python benchmarks/dynamic_mnist.py --minutes 30 --report benchmarks/dynamic_mnist.md

Needs MNIST (see `vaekit datasets mnist`).

784-200-200-50 on dynamically binarised MNIST, batches of 100, learning rate from 1e-3 to 1e-5 along half a cosine: the
published schedule of 3,280 epochs in batches of 20 takes days on two cores. A few epochs are timed first and the run is
made as long as fits.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import tempfile
import time
from pathlib import Path

from machine import heading

import vaekit

SETS = [
    "training.batch_size=100",
    "training.learning_rate={name='cosine', start=1e-3, end=1e-5}",
    "training.optimizer=adam",
    "training.device=cpu",
]
TRIAL = 4


def train(folder: Path, epochs: int) -> tuple[vaekit.Run, float, list[float]]:
    """A run, its seconds from start to finish, and the wall-clock time at the end of each epoch."""
    ends = []
    start = time.perf_counter()
    run = vaekit.train(
        "iwae-mnist", folder, sets=SETS, epochs=epochs, on_epoch=lambda records: ends.append(time.perf_counter())
    )
    return run, time.perf_counter() - start, ends


def report(minutes: float, samples: int, keep: Path | None) -> str:
    with tempfile.TemporaryDirectory() as temporary:
        _, _, ends = train(Path(temporary) / "trial", TRIAL)
        epoch = statistics.median(b - a for a, b in itertools.pairwise(ends))
        epochs = math.floor(60 * minutes / epoch)
        run, seconds, _ = train(keep or Path(temporary) / "run", epochs)
        curve = [record for record in run.history() if record.split == "test"]
        start = time.perf_counter()
        scores = vaekit.evaluate(run.model, run.data("test"), samples)
        scoring = time.perf_counter() - start
    shown = [record for i, record in enumerate(curve, 1) if i == len(curve) or i % max(1, len(curve) // 10) == 0]
    return "\n".join(
        [
            heading("iwae-mnist, k = 1: the likelihood reached in a given time"),
            f"{len(curve)} epochs in {seconds / 60:.1f} minutes "
            f"({seconds / len(curve):.2f} s each, test bound included); "
            f"settings beside the recipe: `{'`, `'.join(SETS)}`.",
            "",
            f"**NLL {scores.nll:.2f} ± {scores.nll_stderr:.2f} nats** on the {scores.n:,} test images, binarised once "
            f"by a seed, from {samples:,} importance samples "
            f"(Monte Carlo error {scores.nll_mc_stderr:.3f}; {scoring:.0f} s to score). "
            f"ELBO {scores.elbo:.2f}, "
            f"KL {scores.kl:.2f}, "
            f"active units {scores.active_units} of {scores.latent_size}.",
            "",
            "Published: 86.76 (Burda et al. 2016), 86.35 (a reproduction), after 3,280 epochs in batches of 20.",
            "",
            "| epoch | test ELBO |",
            "|---|---|",
            *(f"| {record.epoch} | {record.terms['elbo']:.2f} |" for record in shown),
            "",
        ]
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--keep", type=Path, help="keep the run in this folder")
    parser.add_argument("--report", type=Path)
    given = parser.parse_args()
    text = report(given.minutes, given.samples, given.keep)
    print(text)
    if given.report:
        given.report.write_text(text, encoding="utf-8")
