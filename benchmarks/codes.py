"""What objectives make of codes, beside each other on the same digits: what they tell, and what samples are like.

python benchmarks/codes.py --seeds 3 --report benchmarks/codes.md

The recipe `digits` with another objective, 40 epochs at a rate of 5e-3. An autoencoder whose codes no prior has pressed
into shape gets a mixture afterwards, as `vaekit refit-prior` fits it.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from compared import report
from sklearn.neighbors import KNeighborsClassifier

import vaekit
from vaekit.evaluation.decomposition import decomposed
from vaekit.evaluation.neighbours import fidelity
from vaekit.seeding import seeded

FIXED = "model.latents.z.posterior={name='fixed-normal', scale=0.1}"
DRAWN = 1000
"""Samples that are held against the test digits."""


@dataclass(frozen=True)
class Side:
    """What is set in the recipe."""

    sets: tuple[str, ...]
    prior: str | None = None
    """What prior it gets afterwards."""


SIDES = {
    "ELBO": Side(()),
    "ELBO, a mixture afterwards": Side((), "mixture"),
    "ELBO, beta 0.1": Side(("objective.beta=0.1",)),
    "ELBO, beta 0.1, and discrepancy (InfoVAE)": Side(
        ("objective.beta=0.1", "objective.terms.discrepancy.weight=500.0")
    ),
    "GECO, a target of 70 nats": Side(("objective={name='geco', target=70.0}",)),
    "autoencoder": Side((FIXED, "objective={name='autoencoder', weight=0.0}"), "mixture"),
    "autoencoder, decoder-gradient (RAE)": Side(
        (FIXED, "objective={name='autoencoder', weight=0.1}", "objective.terms.decoder-gradient.weight=0.01"), "mixture"
    ),
    "autoencoder, discrepancy (WAE-MMD)": Side(
        (FIXED, "objective={name='autoencoder', weight=0.0}", "objective.terms.discrepancy.weight=500.0")
    ),
    "autoencoder, a discriminator (WAE-GAN)": Side(
        (FIXED, "objective={name='autoencoder', weight=0.0}", "objective.terms.adversarial-discrepancy.weight=3.0")
    ),
}
DIGITS = {"squared error": 2, "class by neighbours": 3, "KL of all codes": 2, "density": 2, "coverage": 2}
"""What is shown, with so many digits."""


def numbers(run: vaekit.Run, prior: str | None) -> dict[str, float]:
    """Of the test digits, or their codes; the squared error is of a pixel, 0 to 16."""
    test = run.data("test").batch(slice(None))
    codes = {name: run.encode(name)[:2] for name in ("train", "test")}
    with torch.no_grad():
        error = (run.model.reconstruct(test.x) - test.x).square().mean()
    near = KNeighborsClassifier().fit(*codes["train"])
    parts = decomposed(run.model, run.data("train"), "train")
    if prior:
        run = vaekit.refit_prior(run, prior, out=run.path.parent / "again").runs[1]
    with torch.no_grad(), seeded(0):
        samples = run.model.sample(DRAWN, draw=False)
    found = fidelity(test.x.flatten(1), samples.flatten(1))
    return {
        "squared error": float(error),
        "class by neighbours": near.score(*codes["test"]),
        "KL of all codes": np.nan if prior or parts.marginal_kl is None else parts.marginal_kl.value,
        "density": found.density.value,
        "coverage": found.coverage.value,
    }


def trained(side: Side, seed: int, epochs: int) -> dict[str, float]:
    with TemporaryDirectory() as folder:
        sets = [*side.sets, "training.learning_rate=0.005", f"training.seed={seed}"]
        return numbers(vaekit.train("digits", Path(folder) / "run", epochs=epochs, sets=sets), side.prior)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", nargs="+", choices=list(SIDES), default=list(SIDES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--report", type=Path)
    given = parser.parse_args()
    about = (
        f"The recipe `digits`, {given.epochs} epochs at a rate of 5e-3, {given.seeds} seeds: mean ± standard error. Of "
        "the 300 test digits: the squared error of a pixel (0 to 16) decoded from the mean code; how often five "
        "neighbours among training codes tell the class; how far all codes of training data together are from the "
        f"prior, in nats; density and coverage of {DRAWN:,} decoded samples among the test digits, by pixels, as data "
        "have them 1."
    )
    sides = ((name, [trained(SIDES[name], seed, given.epochs) for seed in range(given.seeds)]) for name in given.sides)
    report("What objectives make of codes", about, DIGITS, sides, given.report)


if __name__ == "__main__":
    main()
