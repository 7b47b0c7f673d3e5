"""The page: its text, tables and pictures, filled into page.html.jinja."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from ...data import Dataset
from ...errors import number_of
from ...evaluation.evaluation import ACTIVE
from ...evaluation.scores import Evaluation, active_units, code_rows, collapse
from ...models import SemiSupervisedVAE
from ...models.importance import UNTRUSTED
from ...models.topdown import latents_called
from ...runs.course import beside_the_bound, course_of
from ...runs.folder import PAGE, check_places, subfolder
from ...runs.run import Run
from ...seeding import plain_tensors
from ...settings import standing
from ...spec.keys import DataSpec, PartSpec
from ...spec.parts import Option, options
from ...system.disk import write_atomic
from ...system.progress import working
from ...training.records import Epoch
from ..pictures import Picture, Subject
from ..pictures.base import is_image
from ..pictures.columns import is_table
from ..pictures.data import Reconstructions, Samples
from ..pictures.drawing import named
from ..pictures.groups import ConditionalGrid
from ..pictures.latent import KL, Latents
from ..pictures.making import Curves, Model
from ..pictures.table import Dependences, Missing
from ..worded import Table, capitalised, duration, number, with_error
from .columns import column_table, odd_table, scored
from .frame import LABEL_SCORES, Drawn, drawn, render

DRAWS = 100_000
"""Posterior draws in all, at most, of the scores that a report makes itself: fewer than most epochs of training."""
SAMPLES, COLUMNS, ROWS = 13, 12, 3
"""Samples in a row; pairs in a row, which has a name and so is as wide; rows of pairs, half as many as of samples."""
TREATMENTS = {
    "static": "binarised once, each grey level being a probability",
    "stochastic": "binarised afresh each time, each grey level being a probability",
    "threshold": "binarised at the middle",
    "grey": "grey levels scored as Bernoulli probabilities",
}


@dataclass(frozen=True)
class Row:
    """A row of a table: a value, or a part and its size, and what is to be said of it."""

    name: str
    value: str
    text: str = ""


@plain_tensors()
def write_report(run: Run, evaluation: Evaluation | None = None, metrics: Sequence[Table] = ()) -> Path:
    """Write report.html and pictures/ into the folder of `run`, and return the path of the page.

    It shows the split that was evaluated; without an `evaluation` that is test, valid or train, the first there is,
    scored with as many importance samples as are quickly drawn. Tables of `metrics` are shown too. Raises `RunError` if
    the data are not what they were.

    >>> import tempfile
    >>> from vaekit import train
    >>> run = train("digits", Path(tempfile.mkdtemp()) / "run", epochs=1)
    >>> write_report(run).name
    'report.html'
    """
    check_places(run.path)
    dataset = run.dataset
    if evaluation is None:
        rows = len(dataset.splits[run.held_out])
        evaluation = run.evaluate(run.held_out, max(1, min(500, DRAWS // rows)))
    history, subject = run.history(), Subject(run, evaluation.split, evaluation=evaluation)
    pictures = _pictures(run, bool(history))
    shown: dict[str, Drawn] = {}
    with working("drawing pictures", len(pictures)) as step:
        for name, picture in pictures.items():
            shown[name] = drawn(picture(subject))
            step(len(shown))
    tables, odd = _tables(subject) if is_table(run) else ([], [])
    tables += metrics
    _write_pictures(subfolder(run.path, "pictures"), shown)
    with standing("command"):
        course = course_of(run)
        said = (course.said() if course else "", beside_the_bound(run))
        collapsed, went = collapse(evaluation), ". ".join(capitalised(each) for each in said if each)
    text = render(
        "page.html.jinja",
        title=run.spec.title or f"A variational autoencoder of {dataset.name}",
        source=run.spec.source,
        summary=_summary(run, dataset, history),
        evaluation=evaluation,
        collapse=collapsed,
        course=went,
        scores=_scores(evaluation, run.model.conditional),
        columns=tables,
        pictures=list(shown.values()),
        odd=odd,
        facts={
            "Data": _data(run, dataset),
            "Model": _model(run),
            "Training": _training(run, history),
        },
        run=shlex.quote(str(run.path)),
        run_literal=json.dumps(str(run.path)),
        ending="png" if is_image(run.model.event_shape) else "csv",
        epochs=run.spec.training.epochs,
        spec=(run.path / "spec.json").read_text(encoding="utf-8"),
    )
    path = run.path / PAGE
    write_atomic(path, text)
    return path


def _summary(run: Run, dataset: Dataset, history: list[Epoch]) -> str:
    rows = len(dataset.splits["train"])
    parameters = sum(p.numel() for p in run.model.parameters())
    epochs, seconds = max((e.epoch for e in history), default=0), sum(e.seconds for e in history)
    trained = f"{number_of(epochs, 'epoch')} in {duration(seconds)}"
    return f"{parameters:,} parameters, trained on {number_of(rows, 'row')} of {dataset.name} for {trained}."


def _pictures(run: Run, trained: bool) -> dict[str, Picture]:
    """The pictures by name: those of any report that the run can have, then those that its spec asks for."""
    pictures: dict[str, Picture] = {"curves": Curves()} if trained else {}
    by_class = ConditionalGrid(n=COLUMNS)
    if is_table(run):
        pictures |= {"samples": Samples(), "dependences": Dependences(), "reconstructions": Reconstructions()}
        pictures["missing"] = Missing()
    elif not is_image(run.model.event_shape):
        pictures |= {"samples": Samples(), "reconstructions": Reconstructions()}
    elif by_class.lacks(run):
        pictures["samples"] = Samples(n=SAMPLES * ROWS * 2, columns=SAMPLES)
        pictures["reconstructions"] = Reconstructions(n=COLUMNS * ROWS, columns=COLUMNS)
    else:
        pictures["conditional-grid"] = by_class
        pictures["reconstructions"] = Reconstructions(n=COLUMNS * ROWS, columns=COLUMNS)
    pictures |= {"latents": Latents(), "kl": KL(), "model": Model()}
    asked = {each.name: named(run.parts, each.name, each.options) for each in run.spec.pictures.report}
    return {name: picture for name, picture in (pictures | asked).items() if not picture.lacks(run)}


def _tables(subject: Subject) -> tuple[list[Table], list[Table]]:
    """The columns of a table, and its oddest rows where they are known."""
    found = scored(subject)
    return [column_table(subject, found)], [] if found is None else [odd_table(subject, found)]


def _write_pictures(folder: Path, shown: Mapping[str, Drawn]) -> None:
    for name, each in shown.items():
        write_atomic(folder / f"{name}.png", partial(Path.write_bytes, data=each.light))
        write_atomic(folder / f"{name}-dark.png", partial(Path.write_bytes, data=each.dark))


def _scores(e: Evaluation, conditional: bool) -> list[Row]:
    p = "p(x | y)" if conditional else "p(x)"
    samples = f"{number_of(e.samples, 'importance sample')} of each datum"
    name, lower = f"NLL, −log {p}", f"Lower bound of log {p}: reconstruction − KL. Higher is better."
    what = f"Negative log-likelihood by {samples}: an upper bound that more samples tighten. Lower is better."
    if not e.is_likelihood:
        name, lower = "Score", "Reconstruction − KL."
        what = f"What would be −log {p} by {samples}, if the grey levels were probabilities."
    return [
        Row("ELBO", _nats(e.elbo, e.elbo_stderr), lower),
        Row("Reconstruction", _nats(e.reconstruction), "Expected log p(x | z) of a datum at codes from its posterior."),
        Row("KL", _nats(e.kl), "How far posteriors are from the prior: what codes tell of data."),
        Row(name, _nats(e.nll, e.nll_stderr), what),
        Row(
            "Monte Carlo error",
            f"{e.nll_mc_stderr:.1g} nats" if e.samples > 1 else "unknown",
            "How far another seed would move the number above.",
        ),
        Row("Effective samples", f"{number(e.effective_samples, 1)} of {e.samples:,}", _trust(e)),
        Row("Bits per dimension", f"{number(e.bits_per_dim, 3)} bits", f"{name} to base 2, per value of a datum."),
        Row(
            "Active units",
            f"{e.active_units} of {e.latent_size}",
            f"{capitalised(active_units(e))} (variance above {ACTIVE}).",
        ),
        *(
            Row(f"Scale of {name}", f"{scale:.5f}", "One over the standard deviation of its codes of training rows.")
            for name, scale in e.latent_scales.items()
        ),
        *(Row(capitalised(name), value, f"{capitalised(what)}.") for name, value, what in code_rows(e)),
        *(Row(*_label_score(key, value)) for key, value in e.labels.items()),
    ]


def _trust(e: Evaluation) -> str:
    text = "How many samples of a datum count beside the others."
    if e.pareto_k is None:
        return f"{text} Too few to tell how far the number above can be trusted."
    shape = "none" if math.isinf(e.pareto_k) else number(e.pareto_k, 2)
    return (
        f"{text} Pareto k of their weights is {shape}; above {UNTRUSTED}, as for {e.untrusted / e.n:.0%} of the data, "
        "neither the number above nor its Monte Carlo error is reliable."
    )


def _label_score(key: str, value: float) -> tuple[str, str, str]:
    name, text = LABEL_SCORES.get(key, (key, ""))
    return name, f"{100 * value:.2f} %", text


def _data(run: Run, dataset: Dataset) -> list[Row]:
    spec, schema = run.spec.data, run.schema
    rows = [Row("Dataset", dataset.name)]
    if dataset.source:
        rows.append(Row("Source", dataset.source + (f" ({dataset.license})" if dataset.license else "")))
    rows.append(Row("Rows", ", ".join(f"{len(own):,} {split}" for split, own in dataset.splits.items())))
    rows.append(Row("A datum", f"{_shape(schema.event_shape)}, {dataset.domain}"))
    if preprocessing := "; ".join(_preprocessing(spec, schema.domain != dataset.domain)):
        rows.append(Row("Preprocessing", preprocessing))
    if schema.condition:
        used = "the model is conditioned on them" if run.model.conditional else "not seen by the model"
        if run.spec.model.classifier or spec.labels:
            used = "all seen in training" if spec.labels is None else f"{spec.labels:,} of them seen in training"
        what = number_of(len(schema.classes), "class", "classes")
        what = what if schema.classes else number_of(schema.condition, "covariate")
        rows.append(Row("Labels", f"{what}, {used}"))
    return rows


def _preprocessing(spec: DataSpec, changed: bool) -> Iterator[str]:
    """What is done to data before they are shown, values `changed` or not, each in words."""
    if spec.resize is not None:
        yield f"resized to {_pixels(spec.resize)}"
    if spec.crop is not None:
        yield f"cropped to {_pixels(spec.crop)}: at random in training, else the middle"
    if spec.flip:
        yield "in training mirrored left to right at random"
    values = "dequantised with uniform noise" if spec.dequantize else TREATMENTS.get(spec.binarize or "")
    if values and changed:
        yield values


def _pixels(sides: int | tuple[int, int]) -> str:
    height, width = (sides, sides) if isinstance(sides, int) else sides
    return f"{width}×{height}"


def _model(run: Run) -> list[Row]:
    model, spec, parts = run.model, run.spec.model, run.parts
    counted: set[int] = set()

    def row(name: str, part: PartSpec, family: str, module: nn.Module) -> Row:
        # What parts share, as a VampPrior the encoder, counts for the first of them.
        own = {id(p): p.numel() for p in module.parameters() if id(p) not in counted}
        counted.update(own)
        accepted = options(getattr(parts, family)[part.name], family)
        return Row(name, _described(part, accepted), f"{sum(own.values()):,} parameters")

    structure = Row("Structure", _described(spec.kind, options(parts.structures[spec.kind.name], "structures")))
    rows = [structure, row("Encoder", spec.encoder, "encoders", model.encoder)]
    for name, latent in spec.latents.items():
        groups = latents_called(model, name)
        shape = f"{len(groups)} groups" if len(groups) > 1 else "×".join(map(str, model.shapes[groups[0]]))
        q, p = (nn.ModuleList(heads[each] for each in groups) for heads in (model.posteriors, model.priors))
        rows.append(row(f"Latent {name}, {shape}", latent.posterior, "posteriors", q))
        rows.append(row(f"Prior of {name}", latent.prior, "priors", p))
        for what, part, of in (("Encoder", latent.encoder, "posterior"), ("Generator", latent.generator, "prior")):
            if part:
                accepted = options(parts.encoders[part.name], "encoders")
                rows.append(Row(f"{what} of {name}", _described(part, accepted), f"counted with a {of}"))
    if isinstance(model, SemiSupervisedVAE) and spec.classifier:
        rows.append(row("Classifier", spec.classifier, "encoders", model.classifier))
        if spec.auxiliary and model.auxiliary:
            a, own = spec.auxiliary, model.auxiliary
            rows.append(
                row(f"Auxiliary a, {a.size}", a.posterior, "posteriors", nn.Sequential(own.encoder, own.posterior))
            )
            rows.append(row("Prior of a", a.prior, "posteriors", nn.Sequential(own.generator, own.prior)))
    rows.append(row("Decoder", spec.decoder, "decoders", model.decoder))
    if spec.likelihood:
        rows.append(row("Likelihood", spec.likelihood, "likelihoods", model.likelihood))
    return [*rows, Row("Total", "", f"{sum(p.numel() for p in model.parameters()):,} parameters")]


def _training(run: Run, history: list[Epoch]) -> list[Row]:
    spec = run.spec.training
    accepted = options(run.parts.objectives[run.spec.objective.name], "objectives")
    rows = [Row("Objective", _described(run.spec.objective, accepted))]
    for name, term in run.spec.objective.added.items():
        rows.append(Row(f"and {name}", _described(term, options(run.parts.terms[name], "terms"))))
    trained = [epoch for epoch in history if epoch.split == "train"]
    for name, value in run.spec.objective.options.items():
        if isinstance(value, Mapping) and trained and name in trained[-1].terms:
            rows.append(Row(f"{name} at the end", f"{trained[-1].terms[name]:.4g}"))
    done = trained[-1].epoch if trained else 0
    rate = _described(spec.learning_rate) if isinstance(spec.learning_rate, PartSpec) else f"{spec.learning_rate:g}"
    rows += [
        Row("Epochs", f"{done} of {spec.epochs}" if done != spec.epochs else str(done)),
        Row("Wall time", duration(sum(epoch.seconds for epoch in history))),
        Row("Batch size", str(spec.batch_size)),
        Row("Optimiser", _described(spec.optimizer)),
        Row("Learning rate", rate),
    ]
    ahead = spec.aggressive
    for name, option in (
        ("Weights begin with", spec.start),
        ("Trained alone", ", ".join(spec.only)),
        ("Inference ahead", ahead and f"by {ahead.steps} steps until {ahead.until:.0%} of the run"),
        ("Gradient clip", spec.clip),
        ("Steps left out from a norm of", spec.skip),
        ("Weight average", spec.ema),
        ("Early stopping", spec.early_stopping),
    ):
        if option:
            rows.append(Row(name, option if isinstance(option, str) else f"{option:g}"))
    return [*rows, Row("Seed", str(spec.seed)), Row("Device", spec.device), Row("Precision", spec.precision)]


def _described(part: PartSpec, accepted: Mapping[str, Option] | None = None) -> str:
    """A part by name, with its options, and with those at their defaults if what it accepts is given."""
    defaults = {key: option.default for key, option in (accepted or {}).items()}
    text = "; ".join(f"{key} {_plain(value)}" for key, value in (defaults | part.options).items() if value is not None)
    return f"{part.name} ({text})" if text else part.name


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return _described(PartSpec.model_validate(value))
    return (", ".join(map(_plain, value)) or "none") if isinstance(value, (list, tuple)) else f"{value}"


def _shape(event_shape: tuple[int, ...]) -> str:
    return number_of(event_shape[0], "column") if len(event_shape) == 1 else " × ".join(map(str, event_shape))


def _nats(value: float, error: float = 0.0) -> str:
    return f"{with_error(value, error)} nats"
