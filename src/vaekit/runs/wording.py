"""A run in words and columns, as a notebook shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .comparison import Comparison
    from .run import Run
    from .swept import Sweep
from ..evaluation.scores import aligned
from ..models.scales import latent_scales
from ..models.topdown import latents_called
from ..system.markup import markup


def run_in_lines(run: Run) -> str:
    """The repr of a run: where it is, what it is of, and what it is made of, without the data being read."""
    return f"{_title(run)}\n{aligned(_rows(run))}"


def run_in_markup(run: Run) -> str:
    """The same as a notebook shows it."""
    return markup(_title(run), _rows(run), notes=[run.unfinished] if run.unfinished else [])


def comparison_in_markup(found: Comparison) -> str:
    """A comparison as a notebook shows it: a row for each run, and what differs between their specs."""
    heads = ("run", "ELBO", "KL", "NLL", "NLL less the first's", "bits per dimension", "epochs")
    rows = []
    for each in found.rows:
        e, first = each.evaluation, each is found.rows[0]
        less = "" if first else _with_error(each.nll_difference, each.nll_difference_stderr)
        numbers = _with_error(e.elbo, e.elbo_stderr), f"{e.kl:.2f}", _with_error(e.nll, e.nll_stderr), less
        rows.append((each.name, *numbers, f"{e.bits_per_dim:.4f}", f"{each.epochs}"))
    e = found.rows[0].evaluation
    title = f"Comparison on {e.n:,} data of {found.dataset}, {found.split}, nats per datum"
    notes = [f"{key}: {', '.join(map(str, values))}" for key, values in found.differences.items()]
    return markup(title, rows, heads, notes)


def sweep_in_markup(found: Sweep) -> str:
    """A sweep as a notebook shows it: a row for each of its settings, the best first."""
    frame = found.frame
    rows = [[f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row] for row in frame.to_numpy(object)]
    failed = f"{len(found.failed)} runs have failed" if found.failed else ""
    title = f"Sweep {str(found.folder)!r}: {len(found.groups)} settings, {len(found.trials)} runs, by {found.by}"
    return markup(title, rows, [str(each) for each in frame.columns], [failed] if failed else [])


def _with_error(value: float, error: float) -> str:
    return f"{value:.2f} ± {error:.2f}" if error > 0 else f"{value:.2f}"


def _title(run: Run) -> str:
    return f"Run {str(run.path)!r}" + (f": {run.spec.title}" if run.spec.title else "")


def _rows(run: Run) -> list[tuple[str, str]]:
    spec, schema, shapes = run.spec, run.schema, run.model.shapes
    latents = []
    for name, latent in spec.model.latents.items():
        groups = latents_called(run.model, name)
        shape = f"{len(groups)} groups" if len(groups) > 1 else "x".join(map(str, shapes[groups[0]]))
        latents.append(f"{name}, {shape}: q {latent.posterior.name}, p {latent.prior.name}")
    records = run.history()
    done = max((record.epoch for record in records), default=0)
    return [
        ("data", f"{spec.data.name}, {' x '.join(map(str, schema.event_shape))}, {schema.domain}"),
        ("networks", f"encoder {spec.model.encoder.name}, decoder {spec.model.decoder.name}"),
        *(("latent", each) for each in latents),
        *((f"scale of {name}", f"{scale:.5f}") for name, scale in latent_scales(run.model).items()),
        ("likelihood", spec.model.likelihood.name if spec.model.likelihood else "none"),
        ("objective", spec.objective.name),
        ("parameters", f"{sum(p.numel() for p in run.model.parameters()):,}"),
        ("epochs", f"{done:,} of {spec.training.epochs:,}"),
        *((f"{each.split} loss", f"{each.terms['loss']:.2f}") for each in records[-2:] if "loss" in each.terms),
    ]
