"""The page: its text, tables and pictures, filled into page.html.jinja."""

from __future__ import annotations

import json
import shlex
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from torch import nn

from .. import __version__
from ..checkpoint import write_atomic
from ..datasets import Dataset
from ..evaluation import ACTIVE, Evaluation, evaluate
from ..parts import Option, options
from ..plots import DARK, LIGHT, save
from ..runs import Run
from ..spec import PartSpec
from ..training import Epoch
from .pictures import Picture, is_image, pictures

DRAWS = 100_000
"""Posterior draws in all, at most, of the scores that a report makes itself: fewer than most epochs of training."""
CSS_INCH = 100
"""CSS pixels for an inch of a picture: half its own, so that it is sharp on dense screens."""
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


@dataclass(frozen=True)
class Drawn:
    """A picture as the page shows it: data URIs of both variants, and its size in CSS pixels."""

    picture: Picture
    light: str
    dark: str
    width: int
    height: int


def write_report(run: Run, evaluation: Evaluation | None = None) -> Path:
    """Write report.html and pictures/ into the folder of `run`, and return the path of the page.

    It shows the split that was evaluated; without an `evaluation` that is test, valid or train, the first there is,
    scored with as many importance samples as are quickly drawn. Raises `RunError` if the data are not what they were.

    >>> import tempfile
    >>> from vaekit.runs import train
    >>> run = train("digits", Path(tempfile.mkdtemp()) / "run", epochs=1)
    >>> write_report(run).name
    'report.html'
    """
    dataset = run.dataset
    if evaluation is None:
        data = run.data(run.held_out)
        evaluation = evaluate(run.model, data, max(1, min(500, DRAWS // len(data))), split=run.held_out)
    history = run.history()
    folder = run.path / "pictures"
    folder.mkdir(exist_ok=True)
    text = _template().render(
        themes={"light": LIGHT, "dark": DARK},
        title=run.spec.title or f"A variational autoencoder of {dataset.name}",
        source=run.spec.source,
        summary=_summary(run, dataset, history),
        version=__version__,
        evaluation=evaluation,
        scores=_scores(evaluation, bool(run.model.condition)),
        pictures=[_drawn(folder, picture) for picture in pictures(run, evaluation)],
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
    path = run.path / "report.html"
    write_atomic(path, text)
    return path


def _summary(run: Run, dataset: Dataset, history: list[Epoch]) -> str:
    rows = len(dataset.splits["train"])
    parameters = sum(p.numel() for p in run.model.parameters())
    epochs, seconds = max((e.epoch for e in history), default=0), sum(e.seconds for e in history)
    trained = f"{epochs:,} epoch{'s' * (epochs != 1)} in {_duration(seconds)}"
    return f"{parameters:,} parameters, trained on {rows:,} rows of {dataset.name} for {trained}."


def _template() -> Any:
    source = files(__package__).joinpath("page.html.jinja").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(source)


def _drawn(folder: Path, picture: Picture) -> Drawn:
    figures = {".png": picture.draw(theme=LIGHT), "-dark.png": picture.draw(theme=DARK)}
    uris = []
    for ending, figure in figures.items():
        path = folder / (picture.file + ending)
        write_atomic(path, partial(save, figure))
        uris.append("data:image/png;base64," + b64encode(path.read_bytes()).decode("ascii"))
    width, height = figures[".png"].get_size_inches() * CSS_INCH
    return Drawn(picture, uris[0], uris[1], round(width), round(height))


def _scores(e: Evaluation, conditional: bool) -> list[Row]:
    p = "p(x | y)" if conditional else "p(x)"
    samples = f"{e.samples:,} importance sample{'s' * (e.samples > 1)} of each datum"
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
        Row("Bits per dimension", f"{_number(e.bits_per_dim, 3)} bits", f"{name} to base 2, per value of a datum."),
        Row(
            "Active units",
            f"{e.active_units} of {e.latent_size}",
            f"Latent dimensions whose posterior mean varies with the data (variance above {ACTIVE}).",
        ),
    ]


def _data(run: Run, dataset: Dataset) -> list[Row]:
    spec, schema = run.spec.data, run.schema
    rows = [Row("Dataset", dataset.name)]
    if dataset.source:
        rows.append(Row("Source", dataset.source + (f" ({dataset.license})" if dataset.license else "")))
    rows.append(Row("Rows", ", ".join(f"{len(own):,} {split}" for split, own in dataset.splits.items())))
    rows.append(Row("A datum", f"{_shape(schema.event_shape)}, {dataset.domain}"))
    treatment = "dequantised with uniform noise" if spec.dequantize else TREATMENTS.get(spec.binarize or "")
    if treatment:
        rows.append(Row("Treatment", treatment))
    if schema.condition:
        used = "the model is conditioned on them" if run.model.condition else "not seen by the model"
        what = f"{len(schema.classes)} classes" if schema.classes else f"{schema.condition} covariates"
        rows.append(Row("Labels", f"{what}, {used}"))
    return rows


def _model(run: Run) -> list[Row]:
    model, spec, parts = run.model, run.spec.model, run.parts
    counted: set[int] = set()

    def row(name: str, part: PartSpec, family: str, module: nn.Module) -> Row:
        # What parts share, as a VampPrior the encoder, counts for the first of them.
        own = {id(p): p.numel() for p in module.parameters() if id(p) not in counted}
        counted.update(own)
        accepted = options(getattr(parts, family)[part.name], family)
        return Row(name, _described(part, accepted), f"{sum(own.values()):,} parameters")

    rows = [row("Encoder", spec.encoder, "encoders", model.encoder)]
    for name, latent in spec.latents.items():
        rows.append(row(f"Latent {name}, {latent.size}", latent.posterior, "posteriors", model.posteriors[name]))
        rows.append(row(f"Prior of {name}", latent.prior, "priors", model.priors[name]))
    rows.append(row("Decoder", spec.decoder, "decoders", model.decoder))
    if spec.likelihood:
        rows.append(row("Likelihood", spec.likelihood, "likelihoods", model.likelihood))
    return [*rows, Row("Total", "", f"{sum(p.numel() for p in model.parameters()):,} parameters")]


def _training(run: Run, history: list[Epoch]) -> list[Row]:
    spec = run.spec.training
    accepted = options(run.parts.objectives[run.spec.objective.name], "objectives")
    rows = [Row("Objective", _described(run.spec.objective, accepted))]
    trained = [epoch for epoch in history if epoch.split == "train"]
    for name, value in run.spec.objective.options.items():
        if isinstance(value, Mapping) and trained and name in trained[-1].terms:
            rows.append(Row(f"{name} at the end", f"{trained[-1].terms[name]:.4g}"))
    done = trained[-1].epoch if trained else 0
    rate = _described(spec.learning_rate) if isinstance(spec.learning_rate, PartSpec) else f"{spec.learning_rate:g}"
    rows += [
        Row("Epochs", f"{done} of {spec.epochs}" if done != spec.epochs else str(done)),
        Row("Wall time", _duration(sum(epoch.seconds for epoch in history))),
        Row("Batch size", str(spec.batch_size)),
        Row("Optimiser", _described(spec.optimizer)),
        Row("Learning rate", rate),
    ]
    for name, option in (
        ("Gradient clip", spec.clip),
        ("Weight average", spec.ema),
        ("Early stopping", spec.early_stopping),
    ):
        if option:
            rows.append(Row(name, f"{option:g}"))
    return [*rows, Row("Seed", str(spec.seed)), Row("Device", spec.device), Row("Precision", spec.precision)]


def _described(part: PartSpec, accepted: Mapping[str, Option] | None = None) -> str:
    """A part by name, with its options, and with those at their defaults if what it accepts is given."""
    defaults = {key: option.default for key, option in (accepted or {}).items()}
    text = "; ".join(f"{key} {_plain(value)}" for key, value in (defaults | part.options).items() if value is not None)
    return f"{part.name} ({text})" if text else part.name


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return _described(PartSpec.model_validate(value))
    return ", ".join(map(_plain, value)) if isinstance(value, (list, tuple)) else f"{value}"


def _shape(event_shape: tuple[int, ...]) -> str:
    return f"{event_shape[0]} columns" if len(event_shape) == 1 else " × ".join(map(str, event_shape))


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def _nats(value: float, error: float = 0.0) -> str:
    # The standard error of a single datum is NaN.
    return f"{_number(value)} ± {_number(error)} nats" if error > 0 else f"{_number(value)} nats"


def _number(value: float, digits: int = 2) -> str:
    return f"{value:,.{digits}f}".replace("-", "−")
