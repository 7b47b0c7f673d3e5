"""Is a richer posterior or prior behind the poorer one that it contains, after a training of the usual length? Is
anything lost where gradients are clipped, or steps are Muon's? Which likelihood, which objective is ahead on the same
data?

Each variant is trained with the same seeds, and its test NLL is compared with that of the plain one: a difference of
means with the standard error that the spread over seeds gives.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from vaekit import train

UPPER = ("model.latents.z.prior=diagonal-normal", "model.latents.z2={size=8, encoder='mlp', generator='mlp'}")
"""A second latent above the first."""
FSQ = ("model.latents.z.size=16", "model.latents.z.posterior={name='fsq', levels=[8, 8]}")
"""Eight tokens, each one of 64."""
TOKENS = ("model.latents.z.prior={name='transformer-tokens', width=32, layers=2}",)

VARIANTS = {
    "plain": (),
    "full-rank posterior": ("model.latents.z.posterior=full-rank-normal",),
    "flow posterior": ("model.latents.z.posterior=flow",),
    "mixture prior": ("model.latents.z.prior=mixture",),
    "VampPrior": ("model.latents.z.prior={name='vamp', components=50}",),
    "flow prior": ("model.latents.z.prior=flow",),
    "clipped at 5": ("training.clip=5.0",),
    "clipped at 1": ("training.clip=1.0",),
    "rate 5e-3": ("training.learning_rate=0.005",),
    "Muon": ("training.optimizer=muon",),
    "discretised logistic": ("model.likelihood=discretized-logistic",),
    "mixture of discretised logistics": ("model.likelihood=discretized-logistic-mixture",),
    "categorical": ("model.likelihood=categorical",),
    "KL warmed up": ("objective.beta.name=linear",),
    "IWAE, 5 samples": ("objective.name=iwae", "objective.samples=5"),
    "DReG, 5 samples": ("objective.name=dreg", "objective.samples=5"),
    "STL": ("objective.name=stl",),
    "Rényi, 5 samples": ("objective.name=renyi", "objective.samples=5"),
    "beta 4": ("objective.beta=4.0",),
    "low-rank posterior, 4": ("model.latents.z.posterior={name='low-rank-normal', rank=4}",),
    "Householder posterior, 5": ("model.latents.z.posterior={name='householder', reflections=5}",),
    "mixture posterior, 3": ("model.latents.z.posterior={name='normal-mixture', components=3}",),
    "semi-implicit posterior, 20": (
        "model.latents.z.posterior={name='semi-implicit', components=20, noise=20, hidden=[64]}",
    ),
    "IAF posterior": ("model.latents.z.posterior={name='flow', kind='iaf'}",),
    "planar posterior, 10": ("model.latents.z.posterior={name='flow', kind='planar', transforms=10, hidden=[]}",),
    "no less than 4 nats": ("model.latents.z.posterior={name='diagonal-normal', least_kl=4.0}",),
    "sphere": ("model.latents.z.posterior=von-mises-fisher", "model.latents.z.prior=uniform-sphere"),
    "hyperbolic space": ("model.latents.z.posterior={name='wrapped-normal', curvature=1.0}",),
    "Hamiltonian, 4 steps": ("model.structure={name='hamiltonian', steps=4}",),
    "MAF prior": ("model.latents.z.prior={name='flow', kind='maf'}",),
    "NSF prior": ("model.latents.z.prior={name='flow', kind='nsf'}",),
    "resampled prior": ("model.latents.z.prior=resampled",),
    "hierarchical, 16 and 8": ("model.structure=hierarchical", *UPPER),
    "ladder, 16 and 8": ("model.structure=ladder", *UPPER),
    "ladder, normalised and warmed up": (
        "model.structure=ladder",
        *UPPER,
        "model.encoder.normalization=batch",
        "model.decoder.normalization=batch",
        "model.latents.z2.encoder.normalization=batch",
        "model.latents.z2.generator.normalization=batch",
        "objective.beta.name=linear",
    ),
    "MIWAE, 2 bounds of 4": ("objective={name='iwae', samples=8, bounds=2}",),
    "CIWAE, 8 samples, half": ("objective={name='iwae', samples=8, elbo=0.5}",),
    "PIWAE, 2 bounds of 4": ("objective={name='iwae', samples=8, bounds=2, partial=true}",),
    "IWAE, 8 samples": ("objective={name='iwae', samples=8}",),
    "VQ, eight tokens of 64": (
        *TOKENS,
        "model.latents.z.size=32",
        "model.latents.z.posterior={name='vq', codes=64, dim=4}",
    ),
    "FSQ, eight tokens of 64": (*TOKENS, *FSQ),
    "FSQ, tokens apart": (*FSQ, "model.latents.z.prior=categorical-tokens"),
    "FSQ, masked tokens": (*FSQ, "model.latents.z.prior={name='masked-tokens', width=32, layers=2}"),
    "dequantised, beta": ("data.dequantize=true", "model.likelihood=beta"),
    "dequantised, continuous Bernoulli": ("data.dequantize=true", "model.likelihood=continuous-bernoulli"),
    "dequantised, truncated normal": ("data.dequantize=true", "model.likelihood=truncated-normal"),
    "log-normal": ("model.likelihood.name=log-normal",),
    "gamma": ("model.likelihood.name=gamma",),
    "Weibull": ("model.likelihood.name=weibull",),
    "Poisson": ("model.likelihood.name=poisson",),
    "zero-inflated Poisson": ("model.likelihood.name=zero-inflated-poisson",),
    "negative binomial": ("model.likelihood.name=negative-binomial",),
    "zero-inflated negative binomial": ("model.likelihood.name=zero-inflated-negative-binomial",),
    "four together": (
        "model.likelihood=discretized-logistic-mixture",
        "model.latents.z.prior={name='vamp', components=50}",
        "objective={name='dreg', samples=5}",
        "training.optimizer=muon",
    ),
}


@dataclass(frozen=True)
class Line:
    """The test NLLs of a variant, a seed each."""

    name: str
    nll: tuple[float, ...]

    @property
    def mean(self) -> float:
        return statistics.mean(self.nll)

    @property
    def stderr(self) -> float:
        return statistics.stdev(self.nll) / math.sqrt(len(self.nll)) if len(self.nll) > 1 else math.nan


def measured(recipe: str, name: str, seeds: int, epochs: int, samples: int, sets: Sequence[str] = ()) -> Line:
    found = []
    for seed in range(seeds):
        with TemporaryDirectory() as folder:
            own = [*sets, *VARIANTS[name], f"training.seed={seed}"]
            run = train(recipe, Path(folder) / "run", epochs=epochs, sets=own)
            found.append(run.evaluate(run.held_out, samples).nll)
    return Line(name, tuple(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="digits", help="a recipe, or a file of data")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--set", action="append", default=[], dest="sets", help="A.B=C, of all variants")
    given = parser.parse_args()
    plain: Line | None = None
    print(f"| {given.recipe}, {given.epochs} epochs | NLL, {given.samples} samples | behind | of each seed |")
    print("|---|---|---|---|")
    for name in given.variants:
        line = measured(given.recipe, name, given.seeds, given.epochs, given.samples, given.sets)
        plain = plain or line
        behind = (
            f"{line.mean - plain.mean:+.2f} ± {math.hypot(line.stderr, plain.stderr):.2f}" if line is not plain else ""
        )
        each = ", ".join(f"{value:.2f}" for value in line.nll)
        print(f"| {name} | {line.mean:.2f} ± {line.stderr:.2f} | {behind} | {each} |", flush=True)


if __name__ == "__main__":
    main()
