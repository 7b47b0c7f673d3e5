"""The likelihood that the iwae-mnist recipe reaches with k = 1 in a given time of training.

python benchmarks/dynamic_mnist.py --minutes 30 --report benchmarks/dynamic_mnist.md

Needs MNIST (see `vaekit datasets mnist`).

784-200-200-50 on dynamically binarised MNIST, batches of 100, learning rate from 1e-3 to 1e-5 along half a cosine: the
published schedule of 3,280 epochs in batches of 20 takes days on two cores. A few epochs are timed first and the run is
made as long as fits.
"""

from __future__ import annotations

import argparse
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


def epoch_seconds(run: vaekit.Run) -> list[float]:
    """Seconds of each epoch, the look at the test set included."""
    totals: dict[int, float] = {}
    for record in run.history():
        totals[record.epoch] = totals.get(record.epoch, 0.0) + record.seconds
    return list(totals.values())


def trained(minutes: float, folder: Path) -> vaekit.Run:
    """A run as long as fits into the time, by the median of a few epochs; the one in `folder` if it is finished."""
    if (folder / "weights.safetensors").exists():
        return vaekit.load_run(folder)
    with tempfile.TemporaryDirectory() as temporary:
        trial = vaekit.train("iwae-mnist", Path(temporary) / "trial", sets=SETS, epochs=TRIAL)
    epochs = math.floor(60 * minutes / statistics.median(epoch_seconds(trial)))
    return vaekit.train("iwae-mnist", folder, sets=SETS, epochs=epochs)


def report(minutes: float, samples: int, folder: Path) -> str:
    run = trained(minutes, folder)
    seconds = epoch_seconds(run)
    curve = [record for record in run.history() if record.split == "test"]
    start = time.perf_counter()
    scores = vaekit.evaluate(run.model, run.data("test"), samples)
    scoring = time.perf_counter() - start
    shown = [record for i, record in enumerate(curve, 1) if i == len(curve) or i % max(1, len(curve) // 10) == 0]
    return "\n".join(
        [
            heading("iwae-mnist, k = 1: the likelihood reached in a given time"),
            f"{len(curve)} epochs in {sum(seconds) / 60:.1f} minutes (median {statistics.median(seconds):.2f} s each, "
            f"test bound included, so {len(curve) * statistics.median(seconds) / 60:.1f} minutes undisturbed); "
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
    parser.add_argument("--run", type=Path, default=Path("runs/dynamic-mnist"), help="folder of the run")
    parser.add_argument("--report", type=Path)
    given = parser.parse_args()
    text = report(given.minutes, given.samples, given.run)
    print(text)
    if given.report:
        given.report.write_text(text, encoding="utf-8")
