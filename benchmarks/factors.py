"""Which objective finds the factors that images are made of: scores of disentanglement beside what they cost.

python benchmarks/factors.py --folder runs/factors --report benchmarks/factors.md [--seeds 3] [--epochs 17]

The recipes of sprites, and the ELBO alone at two betas, on the same network and images. A training that is in the
folder already is not made again. Scores are of the posterior means of the held-out images.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from compared import report

import vaekit
from vaekit.evaluation.decomposition import decomposed
from vaekit.evaluation.disentanglement import disentangled
from vaekit.runs.folder import is_run

PLAIN = "objective.terms.total-correlation.weight=0.0"
SIDES: dict[str, tuple[str, tuple[str, ...]]] = {
    "ELBO": ("beta-tc-sprites", (PLAIN,)),
    "ELBO, beta 6": (
        "beta-tc-sprites",
        (PLAIN, "objective.beta={name='linear', start=1.0, end=6.0, until=0.8}"),
    ),
    "total correlation (beta-TC-VAE)": ("beta-tc-sprites", ()),
    "covariance (DIP-VAE II)": ("dip-sprites", ()),
    "capacity of 25 nats": ("capacity-sprites", ()),
    "a discriminator (FactorVAE)": ("factor-sprites", ()),
}
"""A recipe, and what is set in it."""
SCORES = ("mig", "sap", "dci", "factor-vae", "beta-vae")
DIGITS = {
    "mig": 3,
    "sap": 3,
    "dci disentanglement": 3,
    "dci completeness": 3,
    "dci informativeness": 3,
    "factor-vae": 3,
    "beta-vae": 3,
    "total correlation": 2,
    "reconstruction": 1,
    "KL": 1,
    "minutes": 1,
}
"""What is shown, with so many digits."""


def trained(side: str, seed: int, epochs: int | None, folder: Path) -> vaekit.Run:
    recipe, sets = SIDES[side]
    out = folder / f"seed={seed}" / side
    if is_run(out):
        return vaekit.train(out=out, resume=True)
    return vaekit.train(recipe, out, sets=[*sets, f"training.seed={seed}"], epochs=epochs)


def numbers(run: vaekit.Run) -> dict[str, float]:
    """What is shown of a run."""
    split = run.held_out
    data = run.data(split)
    found = {each.name: each.value for each in disentangled(run.model, data, split, SCORES).numbers}
    together = decomposed(run.model, data, split).total_correlation
    found["total correlation"] = math.nan if together is None else together.value
    scores = run.evaluate(split, samples=1)
    found["reconstruction"], found["KL"] = scores.reconstruction, scores.kl
    found["minutes"] = sum(each.seconds for each in run.history()) / 60
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", nargs="+", choices=list(SIDES), default=list(SIDES))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, help="default: the recipe's own")
    parser.add_argument("--folder", type=Path, default=Path("runs/factors"))
    parser.add_argument("--report", type=Path)
    given = parser.parse_args()
    seeds = f"{given.seeds} seed{'s' if given.seeds > 1 else ''}"
    about = (
        f"18,000 sprites, {given.epochs or 'the 17'} epochs, {seeds}; scores of the held-out images' posterior means, "
        "1 is best; reconstruction, KL and total correlation in nats."
    )
    sides = (
        (side, [numbers(trained(side, seed, given.epochs, given.folder)) for seed in range(given.seeds)])
        for side in given.sides
    )
    report("Which objective finds the factors of images?", about, DIGITS, sides, given.report)


if __name__ == "__main__":
    main()
