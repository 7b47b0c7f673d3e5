"""What a picture of a run is made from, and what each kind of picture states."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from ...data.batch import Batch
from ...data.tensors import TensorSplit
from ...evaluation.evaluation import evaluate
from ...evaluation.scores import Evaluation
from ...models import VAE
from ...models.trace import Trace
from ...modules import evaluating
from ...seeding import seeded

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ...runs.run import Run

ROWS = 36
"""Data from whose values the limits of black and white come, where the domain has none."""


@dataclass(frozen=True)
class Subject:
    """What a picture is of: a run, one of its splits, and the seed of whatever is drawn; what pictures share is kept.

    `asked` names the split, None for the one that is held out; `evaluation` are its scores, if they are known already.
    What needs no data does not read them.
    """

    run: Run
    asked: str | None = "test"
    seed: int = 0
    evaluation: Evaluation | None = None

    @cached_property
    def split(self) -> str:
        """The name of the split."""
        return self.asked or self.run.held_out

    @cached_property
    def data(self) -> TensorSplit:
        """The split, on the model's device."""
        return self.run.data(self.split)

    @cached_property
    def codes(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Posterior means of the split (N, D), all latents side by side, and its y."""
        return self.run.encode(self.split, seed=self.seed)

    @cached_property
    def scores(self) -> Evaluation:
        """Those given, or of one draw for each datum."""
        if self.evaluation is not None:
            return self.evaluation
        return evaluate(self.run.model, self.data, 1, split=self.split, seed=self.seed)

    def rows(self, index: np.ndarray) -> Batch:
        """The rows of the split at `index` as the model sees them, and y if the model takes one."""
        return self.run.model.asked(self.data.rows(index))

    def chosen(self, n: int) -> np.ndarray:
        """The numbers of n rows of the split, chosen at random, or of all where there are fewer.

        Not the first ones: files are often sorted by class.
        """
        return np.random.default_rng(self.seed).permutation(len(self.data))[:n]

    def some(self, n: int) -> Batch:
        """The `chosen` n rows of the split, as `rows`."""
        return self.rows(self.chosen(n))

    def some_of(self, n: int) -> str:
        """n rows of the split, in words.

        >>> from types import SimpleNamespace
        >>> subject = Subject(SimpleNamespace(data=lambda split: range(4000)), "test")
        >>> subject.some_of(500), subject.some_of(4000)
        ('500 of the 4,000 rows of the test split', 'all 4,000 rows of the test split')
        """
        total = len(self.data)
        return f"{'all' if n == total else f'{n:,} of the'} {total:,} rows of the {self.split} split"

    def one(self, datum: int) -> Batch:
        """The row numbered `datum`, from 0, as `rows`; `ValueError` where there is none."""
        if not 0 <= datum < len(self.data):
            raise ValueError(f"datum is {datum}; accepted: 0..{len(self.data) - 1}, the rows of {self.split}")
        return self.rows(np.array([datum]))

    def conditions(self, n: int) -> Tensor | None:
        """The y of the `chosen` n data, from their start again where there are fewer; None of a model without."""
        if not self.run.model.conditional or (y := self.data.y) is None:
            return None
        return y[torch.as_tensor(np.resize(self.chosen(n), n), device=y.device)]

    def samples(self, n: int, model: VAE | None = None, *, draw: bool = False) -> np.ndarray:
        """n samples (n, *event) of the run's model, or of another with the same noise: means of p(x | z), or draws."""
        given = self.conditions(n)
        return array((model or self.run.model).sample(n, given, draw=draw, seed=self.seed))

    @cached_property
    def limits(self) -> tuple[float, float]:
        """What is black and what is white: the ends of a bounded domain, else of nearly all of some data."""
        domain = self.run.schema.domain
        if domain.levels is not None:
            return 0.0, domain.levels - 1.0
        if domain.limits is not None:
            return domain.limits
        low, high = np.nanpercentile(visible(self.some(ROWS)), [1, 99])
        return float(low), float(high)


@dataclass(frozen=True)
class Prepared:
    """A picture before it is drawn: its heading, its caption, and `draw`, which takes a `theme`.

    `chart` is whether it has small print, which a narrow screen must not shrink.
    """

    title: str
    text: str
    draw: Callable[..., Figure]
    chart: bool = True


@dataclass(frozen=True)
class Picture:
    """A kind of picture, with its options: called on a `Subject`, it gives what is to be drawn.

    One of your own derives from this class, and is brought by its name: `PARTS.extended(pictures={"mine": Mine})`.
    Options are fields with defaults; `n` and `columns` are counts, at least 1 where they are given.
    """

    per_epoch: ClassVar[bool] = True
    """Whether it shows a model as it is, so that it can be drawn after each epoch of a training."""

    def __post_init__(self) -> None:
        for name in ("n", "columns"):
            value = getattr(self, name, None)
            if value is not None and value < 1:
                raise ValueError(f"{name} of a picture is {value}; accepted: 1 or more")

    def lacks(self, run: Run) -> str:
        """What `run` lacks that it could be drawn, such as "classes"; nothing where it can be."""
        return ""

    def __call__(self, subject: Subject) -> Prepared:
        """Compute what is to be drawn."""
        raise NotImplementedError


def array(x: Tensor) -> np.ndarray:
    """A tensor as an array of the host."""
    return x.cpu().numpy()


def visible(batch: Batch) -> np.ndarray:
    """The data of a batch as they are drawn: NaN where a cell is not observed."""
    x = array(batch.x)
    return x if batch.observed is None else np.where(array(batch.observed), x, np.nan)


def is_image(event_shape: tuple[int, ...]) -> bool:
    """Whether data of this shape can be shown as grey or colour images."""
    return len(event_shape) == 2 or (len(event_shape) == 3 and event_shape[0] in (1, 3))


def no_images(run: Run) -> str:
    """What `run` lacks for a grid of images."""
    shape = run.model.event_shape
    return "" if is_image(shape) else f"images (its data have shape {shape})"


def blank(model: VAE, rows: int = 1) -> Batch:
    """`rows` data that are all one value of the domain, as `model` takes them."""
    one = torch.as_tensor(model.domain.filler, dtype=model.scale.dtype, device=model.scale.device)
    x = one + torch.zeros(rows, *model.event_shape, dtype=one.dtype, device=one.device)
    return Batch(x, torch.zeros(rows, model.condition, dtype=x.dtype, device=x.device) if model.condition else None)


@torch.no_grad()
def outline(model: VAE, rows: int = 1, samples: int = 1) -> Trace:
    """A trace of `rows` data that are all one value of the domain, to see which distributions a model is made of."""
    with seeded(0), evaluating(model):
        return model.trace(blank(model, rows), samples)
