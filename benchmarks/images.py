"""Bits per dimension of small colour images that no loss has touched: networks and hierarchies beside each other.

Each of VARIANTS is trained on the same rows and scored on the same held-out ones, by NLL from `--samples` draws, in
bits per byte. CIFAR-10's 3,500 lossless images are a .npz whose `images` are (N, 3, 32, 32) bytes.

    python benchmarks/images.py --data cifar10_lossless_3500.npz --seeds 1 --only pyramid --report benchmarks/images.md
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

from machine import where

import vaekit

PYRAMID = "{name='pyramid', channels=[16, 48, 64], blocks=[1, 2, 2]}"
VARIANTS: dict[str, tuple[str, ...]] = {
    "mlp": (
        "model.encoder=mlp",
        "model.decoder=mlp",
        "training.optimizer=adam",  # Muon's step of the last layer takes 26 times as long as all else of it
        "training.learning_rate={name='cosine', start=1e-3, end=1e-5}",
    ),
    "conv": ("model.encoder=conv", "model.decoder=conv"),
    "resnet": (),
    "resnet, maps": ("model.latents.z.size=8", "model.latents.z.maps=true"),
    "pyramid": (
        "model.structure={name='top-down', groups=[2, 2, 0]}",
        f"model.encoder={PYRAMID}",
        "model.decoder.blocks=0",
        "model.latents.z={size=8, maps=true, prior='diagonal-normal'}",
    ),
}
"""Over the recipe `images`."""


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("runs/images"), help="where runs go, and are found again")
    parser.add_argument("--report", type=Path)
    parser.add_argument("--only", action="append", choices=VARIANTS)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--samples", type=int, default=20)
    return parser.parse_args()


def measured(given: argparse.Namespace, name: str, seed: int) -> dict[str, float]:
    """What a variant reaches; made once, and then read."""
    run, done = given.folder / name.replace(", ", "-") / f"{seed}-{given.epochs}", "measured.json"
    if not (run / done).exists():
        started, worked = time.perf_counter(), time.process_time()
        told = {"epochs": given.epochs, "seed": seed}
        made = vaekit.train("images", run, data=given.data, sets=VARIANTS[name], overwrite=True, **told)
        spent = {"seconds": time.perf_counter() - started, "cpu": time.process_time() - worked}
        scores = made.evaluate("test", samples=given.samples)
        per = scores.nll / scores.bits_per_dim
        found = {"bits": scores.bits_per_dim, "error": scores.nll_stderr / per, "elbo": -scores.elbo / per} | spent
        found |= {"kl": scores.kl / per, "weights": sum(p.numel() for p in made.model.parameters())}
        (run / done).write_text(json.dumps(found))
    return json.loads((run / done).read_text())


def main() -> None:
    given = parsed()
    lines = [
        *("# Bits per dimension of images", ""),
        where(),
        "",
        f"`python benchmarks/images.py --data {given.data.name} --epochs {given.epochs} --seeds {given.seeds}"
        f" --samples {given.samples}`; {(__doc__ or '').splitlines()[0]} Bits a byte, lower is better; ± is the"
        " standard error over images. The processor's seconds are of training alone, all threads together.",
        "",
        "| variant | bits per dimension | of the ELBO | KL | weights | seconds | of the processor |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in given.only or VARIANTS:
        found = [measured(given, name, seed) for seed in range(given.seeds)]
        mean = {key: statistics.mean(each[key] for each in found) for key in found[0]}
        row = [name, f"{mean['bits']:.3f} ± {mean['error']:.3f}", f"{mean['elbo']:.3f}", f"{mean['kl']:.3f}"]
        row += [f"{mean['weights']:,.0f}", f"{mean['seconds']:,.0f}", f"{mean['cpu']:,.0f}"]
        lines.append(f"| {' | '.join(row)} |")
        print(lines[-1], flush=True)
    if given.report:
        given.report.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
