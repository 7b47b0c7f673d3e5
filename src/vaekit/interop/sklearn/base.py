"""What all estimators share: their parameters, how they are fitted and pickled, and log p of a row."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted

from ...data import load
from ...data.tabular import described
from ...errors import LeftOutWarning
from ...evaluation.anomalies import anomalies
from ...evaluation.scores import aligned
from ...models import VAE
from ...runs.in_memory import Trained, train_in_memory
from ...seeding import plain_tensors
from ...settings import standing, written
from ...spec.building import build_model
from ...spec.keys import Schema, Spec
from ...spec.parsing import changed
from ...spec.saving import from_json, to_json
from ...spec.targets import resolve
from ...system.devices import resolve_device
from ...training.records import Epoch
from ...training.weights import model_tensors, set_model_tensors
from .tables import PASSED_BY, Cells, called_in, cells_of, columns_of, library_of, names_of, table_of

HELD_OUT = 5
"""Rows held out for validation, a tenth of all, that are enough for early stopping: with fewer it is not done."""


class TableVAE(BaseEstimator):
    """A VAE of the rows of a table X: a data frame of pandas or polars, or an array, cells of which may be missing.

    Parameters
    ----------
    recipe : what is trained: a recipe of vaekit, a .toml file, or a `Spec`.
    sets : changes of it, as ("model.decoder.activation=relu",).
    columns : kinds of columns by name, or number, where they are not what they look like ({"age": "real"}); "none"
        leaves one out. Columns of an array are called x0, x1, ….
    latent_size, hidden : the size of each latent, and the widths of the layers of encoder and decoder, or of one.
    epochs, batch_size, learning_rate : how it is trained. Each of these is the recipe's where it is None.
    samples : how many z are drawn for each row whose log p is asked for, or whose holes are filled.
    random_state, device, verbose : a seed; "auto", "cpu", "cuda", …; 1 to print what columns are taken for, and
        the loss of each epoch.

    Attributes
    ----------
    model_ : the `VAE`, or None where no column is left to learn. spec_ and schema_ say what it is.
    columns_ : what each column is that the model knows.
    left_out_ : why the others are not: those that are constant, without a value, or in data frames identifiers and
        free text, of which `fit` warns. What is left out is passed on as it is, holes and all.
    n_iter_ : the epochs that were taken.
    n_features_in_, feature_names_in_ : as everywhere in scikit-learn.

    Sparse X are refused. A cell that its column can't have, such as a category that was not in training, has the
    probability 0; in codes, and when holes are filled, it counts as missing. What is said of a row does not depend on
    the rows beside it. A fitted estimator is pickled as its description, in JSON, and arrays of its weights.
    """

    def __init__(  # noqa: PLR0913 - scikit-learn's estimators are set by arguments
        self,
        recipe: str | Path | Spec = "table",
        *,
        sets: Sequence[str] = (),
        columns: Mapping[str | int, str] | None = None,
        latent_size: int | None = None,
        hidden: int | Sequence[int] | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        samples: int = 100,
        random_state: int | np.random.RandomState | None = None,
        device: str = "auto",
        verbose: int = 0,
    ) -> None:
        self.recipe = recipe
        self.sets = sets
        self.columns = columns
        self.latent_size = latent_size
        self.hidden = hidden
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.samples = samples
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    @standing("spec")
    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803 - scikit-learn's name
        """Train on the rows of X, N of them, of which a tenth is held out where that is five or more; y is not used.

        Raises `ValueError` for what is no table, or has no column that could be learned.
        """
        table = table_of(self, X, reset=True)
        self._library, self._called = library_of(X), called_in(X)
        self.columns_, self.left_out_ = columns_of(table, self.columns, bool(self._library))
        if any(why not in PASSED_BY for why in self.left_out_.values()):
            what = f"columns of X that are left out: {self._reasons()}"
            warnings.warn(f"{what}; say what they are by columns={{…}}, or 'none'", LeftOutWarning, stacklevel=4)
        fixed = [name for name, why in self.left_out_.items() if why == "constant"]
        self._constants = {name: table[name].dropna().iloc[0] for name in fixed}
        self._seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        trained = self._trained(table) if self.columns_ else self._untrained()
        self.model_ = trained.model if trained else None
        self.spec_ = trained.spec if trained else None
        self.schema_ = trained.schema if trained else None
        self.n_iter_ = trained.epochs if trained else 0
        self._settle()
        return self

    _called: list[Any] | None = None
    """What columns are called that were fitted on, where that is no text."""

    _mask: float | None = None
    """The most of a row's cells that training takes as not observed; None for what the recipe says."""

    def _untrained(self) -> Trained | None:
        """What there is to go on with where no column can be learned; `ValueError` where that is nothing."""
        raise ValueError(f"X has no column to learn from ({self._reasons()}); say what they are by columns={{…}}")

    def _reasons(self, most: int = 4) -> str:
        """Why columns are left out, of many the first."""
        told = [f"{name!r}: {why}" for name, why in self.left_out_.items()]
        return "; ".join(told[:most]) + (f"; and {len(told) - most} more" if len(told) > most else "")

    def _trained(self, table: pd.DataFrame) -> Trained:
        held_out = len(table) // 10 if len(table) // 10 >= HELD_OUT else 0
        recipe = resolve(self.recipe)
        spec = changed(recipe, self._changes(recipe, held_out))
        kinds = {each.name: each.kind for each in self.columns_ if each.why == "asked for"}
        learned = table[[each.name for each in self.columns_]]
        dataset = load(learned, columns=kinds, validation=held_out, test=0, seed=spec.data.seed)
        if self.verbose:
            shown = aligned([("column", "kind", "why", "missing"), *described(dataset)])
            print("\n".join(f"[{type(self).__name__}] {line}" for line in shown.splitlines()))  # noqa: T201
        with _quiet(not self.verbose):
            return train_in_memory(spec, dataset, on_epoch=self._told)

    def _changes(self, spec: Spec, held_out: int) -> Iterable[str]:
        """What the parameters change of a recipe."""
        yield from (f"{key}.seed={self._seed}" for key in ("data", "training"))
        if not held_out:
            yield from ("data.validation=0", "training.early_stopping=none")
        values: dict[str, object] = {"training.device": self.device, "data.mask": self._mask}
        values |= {f"training.{key}": getattr(self, key) for key in ("epochs", "batch_size", "learning_rate")}
        values |= {f"model.latents.{name}.size": self.latent_size for name in spec.model.latents}
        hidden = None if self.hidden is None else [int(each) for each in np.atleast_1d(self.hidden)]
        values |= {f"model.{network}.hidden": hidden for network in ("encoder", "decoder")}
        yield from (f"{key}={written(value)}" for key, value in values.items() if value is not None)
        yield from [self.sets] if isinstance(self.sets, str) else self.sets

    def _told(self, records: list[Epoch]) -> None:
        if self.verbose:
            losses = ", ".join(f"{each.split} {each.terms['loss']:.2f}" for each in records)
            print(f"[{type(self).__name__}] epoch {records[-1].epoch}: {losses}")  # noqa: T201 - what verbose is for

    # -- what is asked of a fitted one ---------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Make what scores rows: the model in float64, which all of a row's digits are read in, where there is such."""
        self._exact: VAE | None = None
        if self.model_ is not None:
            exact = copy.deepcopy(self.model_)
            self._exact = (exact if exact.scale.device.type == "mps" else exact.double()).eval()

    @property
    def _vae(self) -> VAE:
        """What scores rows, of an estimator that is fitted, and has a model."""
        if self._exact is None:
            raise NotFittedError(f"this {type(self).__name__} has no model; call fit on columns that can be learned")
        return self._exact

    def _cells(self, X: Any) -> tuple[pd.DataFrame, Cells]:  # noqa: N803 - scikit-learn's name
        check_is_fitted(self)
        table = table_of(self, X, reset=False)
        return table, cells_of(self.columns_, table)

    def score_samples(self, X: Any) -> np.ndarray:  # noqa: N803 - scikit-learn's name
        """log p(row) of what is observed of each row, (N,) nats, estimated by importance sampling; -inf where a cell is
        none that its column has.
        """
        _, cells = self._cells(X)
        found = np.zeros(len(cells.x))
        if self._exact is not None:
            batch = cells.batch(self._exact.domain, self._exact.scale)
            scores = anomalies(self._exact, batch, self.samples, self._seed).score
            found = -scores.double().cpu().numpy()
        found[cells.refused.any(1)] = -np.inf
        return found

    def score(self, X: Any, y: Any = None) -> float:  # noqa: N803 - scikit-learn's name
        """The mean of log p(row), nats: what a search for parameters maximises. y is not used."""
        return float(self.score_samples(X).mean())

    @property
    def _names(self) -> list[str]:
        return names_of(self)

    # -- as scikit-learn asks for --------------------------------------------------------------------------------------

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        state.pop("_exact", None)
        if (model := state.pop("model_", None)) is not None:
            state["_saved"] = to_json(state.pop("spec_"), state.pop("schema_"))
            state["_weights"] = {name: each.cpu().numpy() for name, each in model_tensors(model).items()}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        saved, weights = state.pop("_saved", None), state.pop("_weights", {})
        super().__setstate__(state)
        if saved is not None:
            spec, schema = from_json(saved)
            self.spec_, self.schema_ = spec, schema
            self.model_ = _rebuilt(spec, schema, weights, self.device)
        elif "n_iter_" in state:
            self.model_ = None
        if "n_iter_" in state:
            self._settle()


@contextmanager
def _quiet(wanted: bool) -> Iterator[None]:
    """Inside, if that is `wanted`, a training logs errors alone: a search trains many."""
    log = logging.getLogger("vaekit.training")
    before = log.level
    try:
        log.setLevel(logging.ERROR if wanted else before)
        yield
    finally:
        log.setLevel(before)


@plain_tensors()
def _rebuilt(spec: Spec, schema: Schema, weights: Mapping[str, np.ndarray], device: str) -> VAE:
    """The model that was pickled, on the device that is asked for, or on the CPU where there is no such."""
    model = build_model(spec.model, schema, spec.training.seed)
    set_model_tensors(model, {name: torch.from_numpy(np.array(each)) for name, each in weights.items()})
    try:
        return model.to(resolve_device(device)).eval()
    except ValueError:
        return model.eval()
