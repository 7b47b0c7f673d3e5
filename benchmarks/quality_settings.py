"""What `quality.py` compares: options of recipes, and the same network in plain loops."""

from __future__ import annotations

from dataclasses import dataclass

from vaekit.schedules import Cosine, Geometric, Schedule

RECIPE = "iwae-mnist"
COSINE = "training.learning_rate={name='cosine', start=1e-3, end=1e-5}"
FAST = "training.learning_rate={name='cosine', start=3e-3, end=1e-5}"
LARGE = ("training.batch_size=128", "training.optimizer=adam")
AVERAGED = "training.ema=0.999"
IWAE = "objective={name='iwae', samples=50}"


@dataclass(frozen=True)
class Side:
    """Options of a recipe; its weights are scored by at most so many images, of so many samples each."""

    options: tuple[str, ...]
    recipe: str = RECIPE
    rows: int | None = None
    samples: int | None = None
    after: str | None = None
    """A side that is trained first, whose weights it begins with."""
    share: float = 0.0
    """The part of the time that this takes."""


def muon(rate: float) -> tuple[str, ...]:
    schedule = f"training.learning_rate={{name='cosine', start={rate:g}, end=1e-5}}"
    return ("training.batch_size=512", "training.optimizer=muon", schedule)


SETTINGS: dict[str, Side] = {
    "as published: batches of 20": Side(()),
    "batches of 128": Side((*LARGE, COSINE)),
    "128, rate 3e-3": Side((*LARGE, FAST)),
    "128, rate 3e-3, averaged": Side((*LARGE, FAST, AVERAGED)),
    "128, rate 3e-3, STL": Side((*LARGE, FAST, "objective=stl")),
    "128, rate 3e-3, bfloat16": Side((*LARGE, FAST, "training.precision=bfloat16")),
    "128, rate 3e-3, AdamW": Side((*LARGE, FAST, "training.optimizer=adamw")),
    "512, rate 1e-2, Muon": Side(muon(1e-2)),
    "512, rate 1e-2, Muon, STL": Side((*muon(1e-2), "objective=stl")),
    "512, rate 3e-3, averaged": Side((*LARGE, FAST, "training.batch_size=512", AVERAGED)),
    "DReG, k = 5: 512, rate 5e-3, Muon, after k = 1": Side(
        (*muon(5e-3), "objective={name='dreg', samples=5}"), after="512, rate 1e-2, Muon, STL", share=1 / 3
    ),
    "DReG, k = 50: 256, rate 2e-3, Muon, after k = 1 and 5": Side(
        (*muon(2e-3), "training.batch_size=256", "objective={name='dreg', samples=50}"),
        after="DReG, k = 5: 512, rate 5e-3, Muon, after k = 1",
        share=3 / 4,
    ),
    "two stochastic layers, k = 50: 128, rate 3e-3, averaged": Side((*LARGE, FAST, AVERAGED, IWAE), "iwae-2-mnist"),
    "two stochastic layers: 512, rate 1e-2, Muon, STL": Side((*muon(1e-2), "objective=stl"), "iwae-2-mnist"),
    "two stochastic layers, k = 50: 256, rate 2e-3, Muon, after k = 1": Side(
        (*muon(2e-3), "training.batch_size=256", IWAE),
        "iwae-2-mnist",
        after="two stochastic layers: 512, rate 1e-2, Muon, STL",
        share=1 / 2,
    ),
    "very deep (vdvae-mnist)": Side((), "vdvae-mnist", rows=200, samples=100),
}


@dataclass(frozen=True)
class Plain:
    """The same in a plain loop: rows of a batch, Adam's epsilon, the learning rate over the run; `muon` is of Muon and
    of the gradient of STL.
    """

    batch: int
    eps: float
    rate: Schedule
    muon: bool = False


PLAIN: dict[str, Plain] = {
    "plain: batches of 20": Plain(20, 1e-4, Geometric(1e-3, 1e-4)),
    "plain: batches of 128": Plain(128, 1e-8, Cosine(1e-3, 1e-5)),
    "plain: 128, rate 3e-3": Plain(128, 1e-8, Cosine(3e-3, 1e-5)),
    "plain: 512, rate 1e-2, Muon, STL": Plain(512, 1e-8, Cosine(1e-2, 1e-5), muon=True),
}


JAX = "JAX: 512, rate 1e-2, Muon, STL"
