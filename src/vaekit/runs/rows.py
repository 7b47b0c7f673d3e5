"""Tables of a run: codes, scores, reconstructions or samples, and beside each where it is from and its class."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from ..data.annotated import are_genes
from ..data.columns import Column, frame_of
from ..data.documents import are_words
from ..evaluation.evaluation import clusters
from ..models.tokens import quantised
from ..seeding import seeded
from .blocks import blocks_of
from .given import NEW, classes_of, label_column
from .run import shown_rows
from .tables import apart

if TYPE_CHECKING:
    from ..data.tensors import TensorSplit
    from ..models.scoring import Scores
    from .run import Run

Table = dict[str, np.ndarray]


@dataclass(frozen=True)
class Rows:
    """A row for each of N: an array (N, …), the names of its elements, and the columns (N,) before and after them."""

    array: np.ndarray
    columns: tuple[str, ...]
    before: Table
    after: Table
    table: tuple[Column, ...] = ()
    """What is known of the columns, where the array is one of a table's numbers."""
    impossible: int = 0
    """How many of the rows have a cell that its column can't have, of a block of many."""

    @property
    def frame(self) -> pd.DataFrame:
        """All of it as a data frame, the columns of a table of the user's own types."""
        if not self.table:
            flat = dict(zip(self.columns, self.array.T, strict=True))
            return pd.DataFrame(self.before | flat | self.after)
        x = np.array(self.array, np.float64)
        for i, each in enumerate(self.table):
            if each.categories:  # of which a mean is none
                x[:, i] = np.clip(np.rint(x[:, i]), 0, len(each.categories) - 1)
        return pd.concat([pd.DataFrame(self.before), frame_of(self.table, x), pd.DataFrame(self.after)], axis=1)


def place_column(run: Run) -> str:
    """What the column is called that says where a datum of `run` comes from, where it has a name: "cell" of AnnData,
    "document", "row" of another table, else "file", of an image.
    """
    if are_genes(run.schema.table):
        return "cell"
    return "document" if are_words(run.schema.table) else "row" if run.schema.columns else "file"


def places(run: Run, splits: Mapping[str, TensorSplit], rows: Sequence[np.ndarray] | None = None) -> Table:
    """Where the data of each of `splits`, all or those at `rows`, come from: "row", its number in the user's file from
    0, or its name, as `place_column` calls it; and of several splits "split".
    """
    found: Table = {}
    rows = [np.arange(len(each)) for each in splits.values()] if rows is None else rows
    if len(splits) > 1:
        found["split"] = np.repeat(list(splits), [len(each) for each in rows])
    pairs = zip(splits.values(), rows, strict=True)
    origin = np.concatenate([own if each.origin is None else each.origin[own] for each, own in pairs])
    return found | {place_column(run) if origin.dtype == object else "row": origin}


def _labels(run: Run, splits: Mapping[str, TensorSplit]) -> Table:
    """The classes of the data of `splits`, where all of these have some."""
    found = [each.y for each in splits.values() if each.y is not None]
    return classes_of(run, torch.cat(found)) if len(found) == len(splits) else {}


def codes(run: Run, splits: Mapping[str, TensorSplit], *, draw: bool = False, seed: int | None = 0) -> Rows:
    """The latent codes of `splits`: where each datum is from, its posterior mean (or a draw), its class and what the
    model takes it for.
    """
    with seeded(seed):
        found = [run.encode(each, draw=draw) for each in splits.values()]
    # No latent's name has a dot, so that no two columns have one name, whatever latents are called.
    names = tuple(f"{name}.{i}" for name, size in run.model.sizes.items() for i in range(size))
    after = _labels(run, splits) | predicted(run, list(splits.values()))
    return _beside(np.concatenate([z for z, _ in found]), names, places(run, splits), after)


@torch.no_grad()
def tokens(run: Run, splits: Mapping[str, TensorSplit]) -> Rows:
    """The tokens of `splits`, whole numbers (N, T), as `codes` has latent codes; `ValueError` without a quantised
    latent.
    """
    made = [run.model.indices(run.model.asked(batch)) for each in splits.values() for batch in each.blocks()]
    sizes = {name: size for name, (size, _) in quantised(run.model).items()}
    names = tuple(f"{name}.{i}" for name, size in sizes.items() for i in range(size))
    return _beside(torch.cat(made).cpu().numpy(), names, places(run, splits), _labels(run, splits))


def codes_by_blocks(
    run: Run, file: Path, *, indices: bool = False, draw: bool = False, seed: int = 0
) -> Iterator[Rows]:
    """`codes`, or with `indices` `tokens`, of the new rows of a file, a block of them after another."""
    with seeded(seed):
        for split, _ in blocks_of(run, file):
            found = tokens(run, {NEW: split}) if indices else codes(run, {NEW: split}, draw=draw, seed=None)
            yield replace(found, impossible=0 if split.refused is None else int(split.refused.any(1).sum()))


def joined(parts: Iterable[Rows]) -> Rows:
    """Rows of the same columns, one below another."""
    every = list(parts)

    def below(tables: Sequence[Table]) -> Table:
        return {name: np.concatenate([each[name] for each in tables]) for name in tables[0]}

    whole = np.concatenate([each.array for each in every])
    before, after = below([each.before for each in every]), below([each.after for each in every])
    impossible = sum(each.impossible for each in every)
    return Rows(whole, every[0].columns, before, after, every[0].table, impossible)


def scores(splits: Mapping[str, TensorSplit], parts: Sequence[Sequence[Scores]], run: Run) -> Rows:
    """The scores of each datum of `splits`, nats, and how far its log p(x) is to be trusted, from what `Run.evaluate`
    gave for each of them.
    """
    names = ("log_prob", "elbo", "reconstruction", "kl", "effective_samples", "pareto_k")
    every = [each for own in parts for each in own]
    found = [torch.cat([getattr(each, name) for each in every]).cpu().numpy() for name in names]
    return _beside(np.stack(found, 1), names, places(run, splits), _labels(run, splits))


def _beside(array: np.ndarray, columns: tuple[str, ...], before: Table, after: Table) -> Rows:
    """A row for each, the columns of the user's that stand behind with an underscore more where one is called so."""
    taken = (*before, *columns)
    return Rows(array, columns, before, {apart(name, taken): column for name, column in after.items()})


def pairs(
    run: Run,
    splits: Mapping[str, TensorSplit],
    n: int,
    samples: int | None = None,
    *,
    draw: bool = False,
    first: bool = False,
    seed: int = 0,
) -> Rows:
    """n data of each of `splits`, each before its reconstructions, and which of both a row is: as `Run.reconstructions`
    chooses them.
    """
    given: dict[str, Any] = {"samples": samples, "draw": draw, "first": first, "seed": seed}
    made = torch.cat([run.reconstructions(each, n, **given) for each in splits.values()])
    rows = [shown_rows(each, n, first, seed) for each in splits.values()]
    times = made.shape[1]
    of = ["reconstruction"] if samples is None else [f"reconstruction {i + 1}" for i in range(samples)]
    before = {name: np.repeat(column, times) for name, column in places(run, splits, rows).items()}
    before["which"] = np.tile(["data", *of], len(made))
    return Rows(made.flatten(0, 1).cpu().numpy(), run.schema.columns, before, {}, run.schema.table)


def samples(run: Run, n: int, label: str | None, draw: bool, seed: int, name: str | None = None) -> Rows:
    """n samples of the model of `run`, with the classes that they are of, called `name`, or their covariates."""
    x = run.schema.domain.outputs(run.sample(n, label, draw=draw, seed=seed).cpu().numpy())
    beside = classes_of(run, run.conditions(n, label), name or label_column(run))
    return Rows(x, run.schema.columns, {}, beside, run.schema.table)


@torch.no_grad()
def predicted(run: Run, splits: Sequence[TensorSplit]) -> Table:
    """What a model says of each datum: "predicted", its likeliest class, of one that classifies; "cluster", its number,
    of one that is made to cluster; nothing of others.
    """
    model = run.model
    if model.classifies:
        found = torch.cat([model.classify(batch).argmax(-1) for each in splits for batch in each.blocks()])
        return classes_of(run, found, "predicted")
    if model.has_clusters:
        return {"cluster": np.concatenate([clusters(model, each) for each in splits])}
    return {}
