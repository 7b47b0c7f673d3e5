"""The page of a comparison: the runs' scores, what differs between them, and their curves side by side."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from torch.distributions import MultivariateNormal

from ...errors import number_of
from ...runs.comparison import Compared, Comparison
from ...runs.run import Run
from ...system.disk import write_atomic
from .. import plots
from ..endings import PAGES, check_ending
from ..outputs import write_figure
from ..pictures import Prepared, Subject
from ..pictures.base import outline
from ..pictures.bounds import paths
from ..pictures.latent import Correlations
from ..worded import Table, duration, number, with_error
from .frame import LABEL_SCORES, drawn, render

SCORES = ("Run", "ELBO", "Reconstruction", "KL", "NLL", "NLL less the first's", "Bits per dimension", "Active units")
RUNS = ("Run", "Posterior", "Objective", "Optimiser", "Epochs", "Wall time", "Parameters", "What")
NOTHING = "—"


def write_comparison(comparison: Comparison, path: Path) -> None:
    """Write a comparison to `path`: the whole page as .html, or its curves alone as .png, .svg or .pdf.

    The page needs nothing but itself. Raises `ValueError` for another ending.
    """
    check_ending(path, PAGES)
    if path.suffix.lower() == ".html":
        write_atomic(path, _page(comparison))
    else:
        write_figure(path, comparison_curves(comparison))


def comparison_curves(comparison: Comparison, theme: plots.Theme | None = None) -> Figure:
    """The terms of all runs against epochs, as a figure; `ValueError` where no run has any."""
    histories = {row.name: run.history() for row, run in zip(comparison.rows, comparison.runs, strict=True)}
    return plots.compared_curves(histories, theme=theme or plots.LIGHT)


def tables(comparison: Comparison) -> list[Table]:
    """The scores, a row for each run; what the runs are; and the keys of their specs that differ, if any do."""
    rows = comparison.rows
    labels = tuple(dict.fromkeys(key for row in rows for key in row.evaluation.labels))
    found = [
        Table(
            "Scores",
            about(comparison),
            (*SCORES, *(LABEL_SCORES.get(key, (key, ""))[0] for key in labels)),
            [_scores(row, row is rows[0], labels) for row in rows],
            numbers=True,
        ),
        Table("The runs", "", RUNS, [_run(row) for row in rows]),
    ]
    if comparison.differences:
        text = f"The keys of the specs that are not the same in all runs; {NOTHING} where a run has no such key."
        values = [(key, *map(_value, values)) for key, values in comparison.differences.items()]
        found.append(Table("What differs", text, ("Key", *(row.name for row in rows)), values))
    return found


def _scores(row: Compared, first: bool, labels: Sequence[str]) -> tuple[str, ...]:
    e = row.evaluation
    difference = NOTHING if first else with_error(row.nll_difference, row.nll_difference_stderr)
    return (
        row.name,
        with_error(e.elbo, e.elbo_stderr),
        number(e.reconstruction),
        number(e.kl),
        with_error(e.nll, e.nll_stderr),
        difference,
        number(e.bits_per_dim, 3),
        f"{e.active_units} of {e.latent_size}",
        *(f"{100 * e.labels[key]:.2f} %" if key in e.labels else NOTHING for key in labels),
    )


def _run(row: Compared) -> tuple[str, ...]:
    trained = str(row.epochs), duration(row.seconds), f"{row.parameters:,}"
    return (row.name, row.posterior, row.objective, row.optimizer, *trained, row.title)


def about(comparison: Comparison) -> str:
    """What the scores are of, in words."""
    e = comparison.rows[0].evaluation
    text = f"Averages over {number_of(e.n, 'datum', 'data')} of the {e.split} split, nats per datum; the NLL by "
    text += f"{number_of(e.samples, 'importance sample')}; ± standard errors, that of a difference over the pairs of "
    text += "scores that each datum has."
    given = {run.model.conditional for run in comparison.runs}
    text += " The NLL of a conditional run is −log p(x | y)." if len(given) > 1 else ""
    return text + ("" if e.is_likelihood else " Grey pixels were scored as Bernoulli probabilities: no likelihood.")


def _page(comparison: Comparison) -> str:
    rows = comparison.rows
    pictures = [Prepared("Training", _course(), partial(comparison_curves, comparison))] if _trained(comparison) else []
    pictures += _rates_and_distortions(comparison)
    pictures += [_correlations(comparison, row.name, run) for row, run in _full_rank(comparison)]
    return render(
        "comparison.html.jinja",
        title=f"{number_of(len(rows), 'run')} on {comparison.dataset}",
        summary=" · ".join(row.name for row in rows),
        is_likelihood=all(row.evaluation.is_likelihood for row in rows),
        tables=tables(comparison),
        pictures=[drawn(picture) for picture in pictures],
    )


def _rates_and_distortions(comparison: Comparison) -> list[Prepared]:
    """Where the trainings went between rate and distortion, of the runs that have both of rows held out."""
    ways = {row.name: paths(run) for row, run in zip(comparison.rows, comparison.runs, strict=True)}
    held_out = {name: list(found.values())[-1] for name, found in ways.items() if len(found) > 1}
    if not held_out:
        return []
    text = "Each point is an epoch, the last of each run a disc, on the data that it held out: to the right what the"
    text += " code costs, the KL of q(z | x) from the prior; upwards what the decoder still lacks, −E log p(x | z)."
    text += (
        " On a dotted line the ELBO is the same. Of runs that differ in the weight of the KL alone the discs are the"
    )
    text += " rate-distortion curve of the model (Alemi et al. 2018)."
    return [Prepared("Rate and distortion", text, partial(plots.rate_distortion, held_out))]


def _course() -> str:
    return "The terms of each run's objective after each epoch, on the data that it held out. Steep starts are cut off."


def _trained(comparison: Comparison) -> bool:
    return any(run.history() for run in comparison.runs)


def _full_rank(comparison: Comparison) -> list[tuple[Compared, Run]]:
    pairs = zip(comparison.rows, comparison.runs, strict=True)
    return [
        (row, run)
        for row, run in pairs
        if any(isinstance(latent.q, MultivariateNormal) for latent in outline(run.model).latents)
    ]


def _correlations(comparison: Comparison, name: str, run: Run) -> Prepared:
    prepared = Correlations()(Subject(run, comparison.split))
    return Prepared(f"{prepared.title} of {name}", prepared.text, prepared.draw)


def _value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_value, value))
    if isinstance(value, bool):
        return str(value).lower()
    return NOTHING if value is None else str(value)
