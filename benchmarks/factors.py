"""Which objective finds the factors that images are made of: scores of disentanglement beside what they cost.

python benchmarks/factors.py --folder runs/factors --report benchmarks/factors.md [--seeds 3] [--epochs 17]

The recipes of sprites, and the ELBO alone at two betas, on the same network and images. A training that is in the
folder already is not made again. Scores are of the posterior means of the held-out images.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from machine import heading

import vaekit
from vaekit.evaluation.decomposition import decomposed
from vaekit.evaluation.disentanglement import disentangled
from vaekit.runs.folder import is_run
from vaekit.system.disk import write_atomic

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
    if (together := decomposed(run.model, data, split).total_correlation) is not None:
        found["total correlation"] = together.value
    last = [each.terms for each in run.history() if each.split == split][-1]
    found["reconstruction"], found["KL"] = last["reconstruction"], last["kl"]
    found["minutes"] = sum(each.seconds for each in run.history()) / 60
    return found


def shown(values: list[float], digits: int) -> str:
    text = f"{statistics.mean(values):.{digits}f}"
    if len(values) > 1:
        text += f" ± {statistics.stdev(values) / len(values) ** 0.5:.{digits}f}"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", nargs="+", choices=list(SIDES), default=list(SIDES))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, help="default: the recipe's own")
    parser.add_argument("--folder", type=Path, default=Path("runs/factors"))
    parser.add_argument("--report", type=Path)
    given = parser.parse_args()
    lines: list[str] = []
    for side in given.sides:
        found = [numbers(trained(side, seed, given.epochs, given.folder)) for seed in range(given.seeds)]
        names = list(found[0])
        if not lines:
            lines = [f"| objective | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
        cells = [
            shown([each[name] for each in found], 1 if name in ("reconstruction", "KL", "minutes") else 3)
            for name in names
        ]
        lines.append(f"| {side} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    seeds = f"{given.seeds} seed{'s' if given.seeds > 1 else ''}"
    about = (
        f"18,000 sprites, {given.epochs or 'the 17'} epochs, {seeds}; scores of the held-out images' posterior means, "
        "1 is best; reconstruction, KL and total correlation in nats.\n"
    )
    text = "\n".join([heading("Which objective finds the factors of images?"), about, *lines, ""])
    print(text)
    if given.report:
        write_atomic(given.report, text)


if __name__ == "__main__":
    main()
