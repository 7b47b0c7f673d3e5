"""Scores of the rows of many files, a block of rows at a time: what a row gets depends on its file and its place there,
and on nothing that is scored before it or beside it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ..data.annotated import CELLS
from ..data.files import ARRAYS
from ..data.frames import ENDINGS, ending
from ..data.image_files import is_image
from ..data.impossible import NONE, Impossible
from ..data.naming import split_named
from ..data.shards import TAR, expanded, shards_within
from ..data.tensors import TensorSplit
from ..data.workbooks import parquet_rows
from ..models.given import check_samples, refuse_unscored
from ..models.scoring import Scorer
from ..modules import evaluating
from ..seeding import seeded, stream
from ..settings import option
from ..system.progress import working
from ..training.weights import model_tensors
from .blocks import blocks_of
from .folder import is_run
from .given import classes_of
from .pieces import PARQUET
from .rows import place_column, predicted
from .run import Run
from .tables import apart

ROW = "row"
"""The column that says which row of its file each is, unless the file's index has a name."""
FILE = "file"
"""The column that says of which file a row is, where one output is of several."""


@dataclass(frozen=True)
class Question:
    """What is asked about each row: an estimate of log p by so many `samples` drawn from `seed`, its `codes` or not."""

    samples: int = 1000
    codes: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        check_samples(self.samples)


def shards_of(given: Sequence[str | Path]) -> list[Path]:
    """The files that are meant, in the order given, those of a folder by their names, and of shards those that a
    pattern of numbers in braces means; a folder of images as it is.

    Raises `ValueError` where nothing is there, or nothing that can be scored, and where a file comes twice.
    """
    found: list[Path] = []
    known = ", ".join([*ARRAYS, *ENDINGS, CELLS, TAR])
    for each in (path for one in given for path in expanded(Path(one), there=False)):
        if not each.exists():
            raise ValueError(f"there is no file or folder {each}")
        if is_run(each):
            raise ValueError(
                f"{each} is a run, no data; accepted after the run that scores: {known}, or folders of such"
            )
        inside = _files_in(each) if each.is_dir() else [each]
        if not inside and _images(each):
            inside = [each]
        if not inside:
            raise ValueError(f"{each} has no files to score; accepted: {known}, or images in folders")
        found += inside
    if bad := [path for path in found if not (path.is_dir() or _is_data(path))]:
        raise ValueError(f"{bad[0]} is no file to score; accepted: {known}, or a folder of such files, or of images")
    places = [path.resolve() for path in found]
    if twice := [path for i, path in enumerate(places) if path in places[:i]]:
        raise ValueError(f"{twice[0]} is given twice")
    return found


def _files_in(folder: Path) -> list[Path]:
    """The files of a folder, by their names; or, where all that there is are shards in folders of splits, these."""
    files = sorted(path for path in folder.iterdir() if _is_data(path))
    return files or sorted(shards_within(folder))


def _is_data(path: Path) -> bool:
    hidden = path.name.startswith((".", "_"))  # as what writes many files leaves them beside these
    return path.is_file() and not hidden and (ending(path) is not None or path.suffix.lower() in (*ARRAYS, CELLS, TAR))


def _images(folder: Path) -> list[Path]:
    """The images in a folder and those below it."""
    return [Path(top, name) for top, _, names in os.walk(folder) for name in names if is_image(name)]


def outputs_of(shards: Sequence[Path], out: Path) -> list[Path]:
    """The file of each shard in the folder `out`, where names are alike with the split of its folder before it;
    `ValueError` where two would be one, or one is a shard itself.
    """
    names = [each.name if each.suffix.lower() == PARQUET else f"{each.name}{PARQUET}" for each in shards]
    if len({*names}) < len(names):
        names = [_below(each, name) for each, name in zip(shards, names, strict=True)]
    paths = [out / name for name in names]
    if twice := [i for i, name in enumerate(names) if name in names[:i]]:
        first = shards[names.index(names[twice[0]])]
        raise ValueError(f"{first} and {shards[twice[0]]} would both be {paths[twice[0]]}; score them into two folders")
    read = {each.resolve() for each in shards}
    if over := [each for each in paths if each.resolve() in read]:
        raise ValueError(f"{option('out', out)} is where {over[0].name} is read; name another folder")
    return paths


def _below(shard: Path, name: str) -> str:
    """The name of a file that is called as another, with the split before it whose folder its shard is in."""
    return f"{shard.parent.name}-{name}" if split_named(shard.parent.name) else name


def identity(run: Run, question: Question) -> str:
    """What tells the scores of a run, asked so, from those of another, as JSON."""
    made = hashlib.sha256()
    for name, tensor in sorted(model_tensors(run.model).items()):
        made.update(name.encode())
        made.update(tensor.cpu().reshape(-1).view(torch.uint8).numpy().data)
    asked = {"model": made.hexdigest(), "samples": question.samples, "codes": question.codes, "seed": question.seed}
    asked |= {key: getattr(run.spec.data, key) for key in run.anew}
    return json.dumps(asked, sort_keys=True)


def state_of(shard: Path) -> str:
    """What tells whether a file has been changed: its size, and when it was written; of images how many they are, all
    of their sizes, and when the last was written.
    """
    if not shard.is_dir():
        found = shard.stat()
        return f"{found.st_size} {found.st_mtime_ns}"
    each = [path.stat() for path in _images(shard)]
    return f"{len(each)} {sum(one.st_size for one in each)} {max((one.st_mtime_ns for one in each), default=0)}"


@dataclass
class Met:
    """Of the rows that have been scored so far: how many have a log p of -inf, and for which cells; and how many are
    without a count, given their total.
    """

    rows: int = 0
    cells: Impossible = NONE
    empty: int = 0

    def add(self, split: TensorSplit, exposed: bool) -> None:
        """These rows, too, whose last covariate is their exposure where they are `exposed`."""
        if split.refused is not None:
            self.rows += int(split.refused.any(1).sum())
            self.cells += split.impossible
        if exposed and split.y is not None:
            self.empty += int((split.y[:, -1] == 0).sum())


def score_shard(run: Run, shard: Path, question: Question, met: Met) -> Iterator[pd.DataFrame]:
    """The scores of the rows of a file, a block after another, in its order; what is impossible in them is `met`.

    Each has its row (or the file's own index), log_prob with its Monte Carlo standard error, the ELBO and its parts,
    how far the estimate is to be trusted, nats; the class that the file gives it; what a model that classifies or
    clusters takes it for; and its codes, posterior means. A row with a cell that its column can't have has log_prob and
    reconstruction of -inf. Raises `ValueError`, one line that names the file, for what the run can't be asked about.
    """
    total = parquet_rows(shard) if shard.suffix.lower() == PARQUET else None
    done = 0
    with working(f"scoring {shard.name}", total) as step, evaluating(run.model):
        scorer = run.model.scorer(question.samples, rows=total or 0)
        scorer.on_rows = step
        for split, index in blocks_of(run, shard):
            frame = _scored(run, split, scorer, question)
            met.add(split, run.model.exposed)
            names = [apart(str(name), frame.columns) for name in index.names if name is not None] or [_row(run)]
            names = names if len(names) == index.nlevels else [f"{ROW}.{i}" for i in range(index.nlevels)]
            done += len(frame)
            yield pd.concat([index.set_names(names).to_frame(index=False), frame], axis=1)
    if not done:
        raise ValueError(f"{shard} has no rows")


def _row(run: Run) -> str:
    """What the column of the rows of a file is called, which has no name there."""
    return place_column(run) if run.schema.columns else ROW


@torch.no_grad()
def _scored(run: Run, split: TensorSplit, scorer: Scorer, question: Question) -> pd.DataFrame:
    (batch,) = split.blocks()
    refuse_unscored(run.model, batch.x, batch.observed)
    batch = run.model.asked(batch)
    with seeded(stream(question.seed, "evaluation", split.offset)):
        scores = scorer(batch)
    if split.refused is not None:
        scores = scores.without(torch.from_numpy(split.refused.any(1)).to(batch.x.device))
    columns = {
        "log_prob": scores.log_prob,
        "log_prob_stderr": scores.log_prob_variance.sqrt(),
        "elbo": scores.elbo,
        "reconstruction": scores.reconstruction,
        "kl": scores.kl,
        "effective_samples": scores.effective_samples,
        "pareto_k": scores.pareto_k,
    }
    table: dict[str, np.ndarray] = {name: each.double().cpu().numpy() for name, each in columns.items()}
    beside = classes_of(run, split.y) | predicted(run, [split])
    table |= {apart(name, table): column for name, column in beside.items()}
    if question.codes:
        names = [f"{name}.{i}" for name, size in run.model.sizes.items() for i in range(size)]
        z = run.model.encode(batch).cpu().numpy()
        table |= dict(zip(names, z.T, strict=True))
    return pd.DataFrame(table)
