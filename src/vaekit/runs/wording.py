"""A run in words and columns, as a notebook shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .run import Run
from ..evaluation.scores import aligned
from ..models.scales import latent_scales


def run_in_lines(run: Run) -> str:
    """The repr of a run: where it is, what it is of, and what it is made of, without the data being read."""
    spec, schema, shapes = run.spec, run.schema, run.model.shapes
    latents = []
    for name, latent in spec.model.latents.items():
        groups = run.model.called(name)
        shape = f"{len(groups)} groups" if len(groups) > 1 else "x".join(map(str, shapes[groups[0]]))
        latents.append(f"{name}, {shape}: q {latent.posterior.name}, p {latent.prior.name}")
    records = run.history()
    done = max((record.epoch for record in records), default=0)
    rows = [
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
    title = f": {spec.title}" if spec.title else ""
    return f"Run {str(run.path)!r}{title}\n{aligned(rows)}"
