"""Which terms make reconstructions of photographs look sharp, and what they cost in pixels.

python benchmarks/sharpness.py --data cifar10_lossless_3500.npz --seeds 2 --report benchmarks/sharpness.md

The recipe `kl-autoencoder` without its two terms, with one or with both, in a training of minutes. CIFAR-10's 3,500
lossless images are a .npz whose `images` are (N, 3, 32, 32) bytes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from compared import report
from torch import Tensor

import vaekit
from vaekit.runs.folder import is_run

SHORT = (
    "model.latents.z.size=2",
    "training.learning_rate={name='cosine', start=1e-3, end=1e-5}",
    "training.ema=0.99",
)
"""Codes of 128 numbers for 3,072 bytes, and a rate for a short training."""
MULTISCALE, ADVERSARIAL = "objective.terms.multiscale", "objective.terms.adversarial"
OPPONENT = (f"{ADVERSARIAL}.rate=1e-4",)
SIDES: dict[str, tuple[str, ...]] = {
    "none": (f"{MULTISCALE}=none", f"{ADVERSARIAL}=none"),
    "`multiscale`": (f"{ADVERSARIAL}=none",),
    "`structural-similarity`": (
        f"{MULTISCALE}=none",
        f"{ADVERSARIAL}=none",
        "objective.terms.structural-similarity.weight=100.0",
    ),
    "`adversarial`": (f"{MULTISCALE}=none", *OPPONENT),
    "`multiscale` and `adversarial`, as the recipe has them": OPPONENT,
}
"""The terms, and what is set in the recipe."""
DIGITS = {"edges": 3, "root of the squared error": 2, "minutes": 1}
"""What is shown, with so many digits."""


def edges(images: Tensor) -> float:
    """How far neighbouring pixels of images (N, C, H, W) are apart, on average."""
    return float(sum(images.diff(dim=each).abs().mean() for each in (-2, -1)))


def numbers(run: vaekit.Run) -> dict[str, float]:
    """What is shown of a run, of the images held out."""
    x = run.data(run.held_out).batch(slice(None)).x
    with torch.no_grad():
        found = run.model.reconstruct(x)
    return {
        "edges": edges(found) / edges(x),
        "root of the squared error": float((found - x).square().mean().sqrt()),
        "minutes": sum(each.seconds for each in run.history()) / 60,
    }


def trained(side: str, seed: int, given: argparse.Namespace) -> vaekit.Run:
    out = given.folder / f"seed={seed}" / side.replace("`", "")
    if is_run(out):
        return vaekit.train(out=out, resume=True)
    sets = [*SHORT, *SIDES[side], f"training.steps={given.steps}", f"training.seed={seed}"]
    return vaekit.train("kl-autoencoder", out, data=given.data, sets=sets)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="images")
    parser.add_argument("--sides", nargs="+", choices=list(SIDES), default=list(SIDES))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--folder", type=Path, default=Path("runs/sharpness"))
    parser.add_argument("--report", type=Path)
    given = parser.parse_args()
    about = (
        f"The recipe `kl-autoencoder` with two numbers of code at each of 64 places, {given.steps:,} steps of 12 "
        f"images, {given.seeds} seed{'s' if given.seeds > 1 else ''}. Of reconstructed photographs that were held out: "
        "how far neighbouring pixels are apart, as a share of what it is of the photographs (1 is as sharp), and the "
        "error of a pixel, of 0 to 255."
    )
    sides = ((side, [numbers(trained(side, seed, given)) for seed in range(given.seeds)]) for side in given.sides)
    report("Which terms make images look sharp?", about, DIGITS, sides, given.report)


if __name__ == "__main__":
    main()
