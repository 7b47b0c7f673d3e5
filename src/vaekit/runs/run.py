"""A run is a folder: made by `train`, read by `load_run`, whole at every instant.

spec.json (what was asked, and the shape of the data), weights.safetensors, metrics.jsonl (a line an epoch and split),
checkpoints/ (training states and the best weights); pictures/ are drawn while training or by `report`, which
writes report.html.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..data import Dataset, load
from ..data.base import SPLITS
from ..data.kinds import in_words
from ..data.tensors import TensorSplit, to_device
from ..errors import RunError
from ..evaluation.evaluation import evaluate
from ..evaluation.scores import Evaluation
from ..models import VAE
from ..models.given import class_of, refuse_number, refuse_other_data, refuse_too_many
from ..models.scoring import Scores
from ..seeding import chosen, plain_tensors, seeded
from ..settings import option, setting, standing
from ..spec.building import build_model
from ..spec.keys import Schema, Spec
from ..spec.parts import PARTS, Parts
from ..system.devices import resolve_device
from ..system.progress import working
from ..training.checkpoint import Checkpoints
from ..training.records import Epoch
from . import history, judging, tables
from .codes import READING, codes_of, error_of_codes, runs_below
from .conditions import Where
from .folder import diverged, read_spec
from .given import ALL, ANNDATA, DOCUMENTS, FRAME, NEW, NOWHERE, fingerprint_of, rows_of
from .judging import Judged
from .reading import read_alike, reading
from .restoring import restored
from .tables import Filled, Synthesized
from .wording import run_in_lines, run_in_markup

if TYPE_CHECKING:
    from ..show.explorer.frame import Explored

Data = Path | Dataset | pd.DataFrame | np.ndarray | Tensor | TensorSplit
"""New data, in place of the name of a split."""


@dataclass(frozen=True)
class Run:
    """A trained (or part-trained) model with all that describes it."""

    path: Path
    spec: Spec
    schema: Schema
    model: VAE
    parts: Parts = field(default=PARTS, repr=False)
    loaded: Dataset | None = field(default=None, repr=False, compare=False)
    """The data, where they are known to be those of the run."""
    place: str | None = field(default=None, repr=False, compare=False)
    """Where the data lie, if not where they were."""
    done: int | None = field(default=None, repr=False)
    """The epochs that are done, of a run that has not finished."""
    anew: tuple[str, ...] = field(default=(), repr=False)
    """The options of its data that are said anew: see `reading`."""

    def __repr__(self) -> str:
        return run_in_lines(self)

    def _repr_html_(self) -> str:
        return run_in_markup(self)

    @cached_property
    def dataset(self) -> Dataset:
        """The data that the run was trained on; `RunError` if what is there now isn't what it was. Of a run that was
        trained elsewhere those that are given in their place, as its split "train".
        """
        if self.loaded is None and self.place is not None and self.spec.data.name == NOWHERE:
            return new_data(self, self.place, ALL)
        return self.loaded or own_data(self.path, self.spec, self.schema, self.parts, self.place)

    @property
    def kinds(self) -> pd.DataFrame:
        """What each column of a table was taken for, and why; no rows for other data. Other kinds are asked for by
        `data.columns`.
        """
        rows = [(each.name, in_words(each), each.why) for each in self.schema.table]
        return pd.DataFrame(rows, columns=["column", "kind", "why"])

    def data(self, split: str | Data = "test") -> TensorSplit:
        """A split of the run's data as its model sees it, on the model's device; or new data of the same kind.

        Those are an array (N, *event), a data frame, a dataset, or the path of a file of them: all rows, in the run's
        units, by the names of its columns and classes. A cell of a table that its column can't have, such as a category
        that was not in training, counts as not observed, with a warning. Raises `ValueError` where they are not of the
        run's kind.
        """
        if isinstance(split, TensorSplit):
            return split
        if isinstance(split, str) and split not in (*SPLITS, ALL) and Path(split).exists():
            split = Path(split)
        if isinstance(split, str):
            return to_device(self.dataset, split, self.spec.data.preprocessing, self.model.scale.device)
        return treated(self, new_data(self, split))

    def reading(self, **options: str | None) -> Run:
        """This run, which reads the data that it is asked about by other options than its own were read by: `layer`,
        `label`, `exposure`, `sheet`, `encoding`, each a name or None. What data are stays as it was in training.
        """
        return reading(self, options)

    def encode(
        self, split: str | Data = "test", *, draw: bool = False, seed: int | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Latent codes of a split, or of new data, (N, D): posterior means, or with `draw` a draw each; and its y if it
        has any.

        They are those of the data that `evaluate` scores, the same ones each time, also where preprocessing is random.
        """
        data = self.data(split)
        codes, done = [], 0
        with seeded(seed), working(f"encoding {split}", len(data)) as step:
            for batch in data.blocks():
                z = self.model.encode(batch, samples=1 if draw else None)
                codes.append(z[0] if draw else z)
                step(done := done + len(batch))
        return torch.cat(codes).cpu().numpy(), None if data.y is None else data.y.cpu().numpy()

    def evaluate(
        self,
        split: str | Data = "test",
        samples: int = 1000,
        *,
        seed: int = 0,
        on_scores: Callable[[Scores], None] | None = None,
    ) -> Evaluation:
        """The scores of a split, or of new data; of a run without a classifier for whose codes `data.labels` are seen,
        with their error under a classifier on the codes. `on_scores` gets those of each datum, some data at a time.
        Rows of a table with a cell that its column can't have, of which log p is -inf, are apart (`impossible`).
        """
        name = split if isinstance(split, str) else NEW
        data = self.data(split)
        scores = evaluate(self.model, data, samples, split=name, seed=seed, on_scores=on_scores)
        labelled = self.spec.data.labels is not None and isinstance(split, str)
        if labelled and not self.model.classifies:
            scores = replace(scores, labels=scores.labels | {"error": error_of_codes(self, name)})
        return scores

    def reconstructions(
        self,
        split: str | Data = "test",
        n: int = 16,
        *,
        samples: int | None = None,
        draw: bool = False,
        first: bool = False,
        seed: int | None = None,
    ) -> Tensor:
        """n of a split, or of new data, each before its S reconstructions (or the mean's one): (n, 1 + S, *event).

        They are chosen by the seed, and in their order: `seeding.chosen`; or the `first` n.
        """
        refuse_number("n", n)
        data = self.data(split)
        rows = shown_rows(data, n, first, seed)
        refuse_too_many(len(rows) * (1 + (samples or 1)), self.model.event_shape, self.model.scale)
        with seeded(seed):
            batch = data.rows(rows)
            made = self.model.reconstruct(batch, None, samples, draw)
        x = batch.x if batch.observed is None else torch.where(batch.observed, batch.x, torch.nan)
        return torch.cat([x[:, None], made[:, None] if samples is None else made.transpose(0, 1)], 1)

    @standing("spec")
    def impute(self, data: str | Data = "test", *, samples: int = 1000, n: int = 0, seed: int = 0) -> Filled:
        """A table with its holes filled: a split of the run's, or new rows (a data frame, or the `Path` of a file).

        Numbers are means given what is observed of their row, categories and whole numbers the likeliest, from
        `samples` of z weighted by importance; with n, n draws for multiple imputation. Cells that are observed stay as
        they are, and so does what the model does not know: other columns, and cells that their column can't have. The
        same each time for one seed.
        """
        return tables.impute(self, data, samples=samples, n=n, seed=seed)

    @standing("spec")
    def detect(
        self,
        data: str | Data = "test",
        *,
        samples: int = 100,
        contamination: float = 0.1,
        seed: int = 0,
        per_column: bool = False,
    ) -> pd.DataFrame:
        """How odd each row of a table is: `score`, -log p(row) in nats; `outlier`, whether that is more than all but a
        `contamination` of the training rows have; `why`, the cells that add most beyond what is usual for their column.

        A cell that its column can't have, such as a category that was not in training, has no probability: the score is
        infinite. With `per_column`, a column for each of the model's, of the nats that it adds (one that is called as
        one of these has an underscore more), and `latent`, what is left of the score: the information in the row's
        code. The same each time for one seed.
        """
        return tables.detect(self, data, samples=samples, contamination=contamination, seed=seed, per_column=per_column)

    @standing("spec")
    def synthesize(self, n: int, where: Where | None = None, *, samples: int = 10_000, seed: int = 0) -> Synthesized:
        """n rows that the model makes up, each column of the user's own type; with `where`, what they all have.

        Numbers that nothing is asked of are none beyond those of the training rows (`sample` leaves them as drawn).
        What is asked for is values by column ({"city": "Rome"}), or where they are numbers, dates or ordered, the two
        ends between which they lie ({"age": (30, 40)}, None for no end); or texts, as ["age>=40", "city!=Rome"]. z is
        drawn `samples` times from its prior and resampled by how likely each makes the values; of what is to lie
        between two ends each z has one draw. How many of the samples count is said beside. Raises `ValueError` where
        none does.
        """
        return tables.synthesize(self, n, where, samples=samples, seed=seed)

    @standing("spec")
    def judge(self, made: pd.DataFrame, target: str | None = None, *, seed: int = 0) -> Judged:
        """How private rows are that the model made up, and what they are worth in place of real ones.

        Distances to the nearest training row, beside those of held-out rows, tell whether rows are known by heart. With
        `target`, trees learn to tell that column from the rows `made`, others from training rows, and both are tested
        on held-out ones. SDMetrics' reports are in `vaekit.interop.sdmetrics`.
        """
        return judging.judge(self, made, target, seed=seed)

    @standing("spec")
    def sample(self, n: int, label: str | int | None = None, *, draw: bool = True, seed: int | None = None) -> Tensor:
        """n draws of the model, (n, *event); of a conditional one at the `conditions` of `label`."""
        return self.model.sample(n, self.conditions(n, label), draw=draw, seed=seed)

    @standing("spec")
    def conditions(self, n: int, label: str | int | None = None) -> Tensor | None:
        """The y of n samples, None of a model without: of class `label` (name or number), else the classes in turn.

        A model that is conditioned on covariates takes those of its training data in turn.
        """
        refuse_too_many(n, self.model.event_shape, self.model.scale)
        names = self.schema.classes
        if label is not None and not (self.model.condition and names):
            conditional = "is conditioned on covariates, which have no classes"
            what = (
                conditional
                if self.model.condition
                else f"is not conditional; train with {setting('model.condition', True)}"
            )
            raise ValueError(f"label {label!r} was given, but {self.path} {what}")
        if not self.model.condition:
            return None
        if not names:
            given = self.data("train").y
            return given[torch.arange(n) % len(given)]  # type: ignore[index, arg-type]
        return torch.arange(n) % len(names) if label is None else torch.full((n,), class_of(label, names))

    def explore(self, out: str | Path | None = None, **options: Any) -> Explored:
        """Look at the latent space in a browser, in a notebook within it: `vaekit.explore(run, out, **options)`."""
        import vaekit  # whose public function it is, as for whoever has a run

        return vaekit.explore(self, out, **options)

    @property
    def unfinished(self) -> str:
        """That it has not finished, how far it is and how it goes on, in a line; nothing of one that has."""
        if self.done is None:
            return ""
        go_on = f"it goes on with: vaekit train --resume --out {shlex.quote(str(self.path))}"
        go_on += f" --parts {shlex.quote(self.spec.parts)}" if self.spec.parts else ""
        if self.done == self.spec.training.epochs:
            return f"{self.path} lacks weights.safetensors; its last state has them: {go_on}"
        if why := diverged(self.path):
            again = f"{option('resume')} would end there again, so train it anew"
            return f"{self.path} is at epoch {self.done} of {self.spec.training.epochs}, and diverged: {why}; {again}"
        return f"{self.path} is at epoch {self.done} of {self.spec.training.epochs}; {go_on}"

    @property
    def held_out(self) -> str:
        """The split that the model has seen least of: test, else valid, else train."""
        return next(split for split in ("test", "valid", "train") if split in self.dataset.splits)

    def history(self) -> list[Epoch]:
        """The records of all epochs, in order."""
        return history.read(self.path)

    @plain_tensors()
    def untrained(self) -> VAE:
        """The model as it was before its training: its weights drawn again from the seed of the spec."""
        model = build_model(self.spec.model, self.schema, self.spec.training.seed, self.parts, older=True)
        return model.to(self.model.scale.device).eval()


def shown_rows(data: TensorSplit, n: int, first: bool = False, seed: int | None = None) -> np.ndarray:
    """The numbers of the n rows that `Run.reconstructions` shows."""
    return np.arange(min(n, len(data))) if first else chosen(len(data), n, seed)


@standing("spec")
@plain_tensors()
def load_run(path: str | Path, device: str = "cpu", parts: Parts = PARTS, *, data: str | Path | None = None) -> Run:
    """The run in the folder `path`, its weights on `device`. Reads JSON and safetensors only; no code runs from the
    folder.

    Its data are not read before they are needed; `data` is where they lie now, if not where they were. Of a run that
    has not finished it gives the newest saved state, and `unfinished` says so. Parts of one's own are found in `parts`.
    Raises `RunError`, one line, for a folder that holds no whole run.
    """
    folder = Path(path).expanduser()
    spec, schema = read_spec(folder, parts)
    weights, prefix, done = folder / "weights.safetensors", "", None
    if not weights.exists():
        saved = Checkpoints(folder / "checkpoints").last()
        weights, prefix, done = saved.path, saved.weights, saved.state.epoch
    model = restored(folder, spec, schema, weights, prefix, parts)
    place = None if data is None else str(data)
    return Run(folder, spec, schema, model.to(resolve_device(device)).eval(), parts, place=place, done=done)


@standing("spec")
def load_data(spec: Spec, parts: Parts = PARTS, place: str | Path | None = None, *, older: bool = False) -> Dataset:
    """The dataset that `spec` names, or the codes that a run gives it; `place` is where the data lie, if elsewhere.

    `older` runs are from before the values of images and the columns of tables said what they are.
    """
    data = spec.data
    if data.codes is not None:
        runs_below(data.codes, parts)
        return codes_of(load_run(data.codes, parts=parts, data=place))
    options = {key: getattr(data, key) for key in (*READING, "seed")}
    given = {key: value for key, value in options.items() if value is not None}
    return load(data.name if place is None else place, **given, older=older)


def own_data(
    folder: Path, spec: Spec, schema: Schema, parts: Parts = PARTS, place: str | Path | None = None
) -> Dataset:
    """The data that the run in `folder` was trained on, from where they were or from `place`.

    Raises `RunError` where they are not there, or their values are others.
    """
    name = spec.data.name if place is None else place
    in_memory = {FRAME: "a data frame", ANNDATA: "an AnnData object", DOCUMENTS: "documents in memory"}
    if place is None and (what := in_memory.get(spec.data.name)):
        raise RunError(f"{folder} was trained on {what}, which it does not keep: give it, {option('data', 'PATH')}")
    if place is None and spec.data.name == NOWHERE:
        raise RunError(
            f"{folder} was trained elsewhere and has no data of its own: give some, {option('data', 'PATH')}"
        )
    try:
        dataset = load_data(spec, parts, place, older=schema.is_older_table)
        if fingerprint_of(spec, dataset, parts, schema.fingerprint) == schema.fingerprint:
            return dataset
        if schema.stored is None and not schema.is_older_table and spec.data.codes is None:
            dataset = load_data(spec, parts, place, older=True)
            if fingerprint_of(spec, dataset, parts, schema.fingerprint) == schema.fingerprint:
                return dataset
    except FileNotFoundError as error:
        if place is not None:
            raise
        where = f"if they are elsewhere now, say where: {option('data', 'PATH')}"
        raise RunError(f"the data of {folder} are not where they were: {error}; {where}") from None
    raise RunError(f"dataset {str(name)!r} is not what {folder} was trained on: its values have changed")


def new_data(
    run: Run, given: str | Path | Dataset | pd.DataFrame | np.ndarray | Tensor, split: str | None = None
) -> Dataset:
    """Data that `run` was not trained on, as its split "train": all rows of what `given` names or is, or of a `split`
    of it.

    Columns are found by name, classes too, and numbers are in the units of the run. Raises `ValueError` where they are
    not of the run's kind, or the run is conditional and they have no y of it.
    """
    if run.spec.data.codes is None:
        return rows_of(run, given, split)
    below = read_alike(load_run(run.spec.data.codes, str(run.model.scale.device), run.parts), run)
    codes = codes_of(replace(below, loaded=new_data(below, given, split)))
    return replace(codes, domain=run.schema.domain)


def treated(run: Run, dataset: Dataset) -> TensorSplit:
    """New data as the model of `run` sees them, on its device."""
    found = to_device(dataset, "train", run.spec.data.preprocessing, run.model.scale.device)
    refuse_other_data(run.model, tuple(found.x.shape[1:]), found.seen)
    return found
