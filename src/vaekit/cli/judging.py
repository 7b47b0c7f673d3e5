"""What `--metrics` says: of rows that a run made up (`synthesize`), of log p, codes and images (`evaluate`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import number_of, unknown
from ..show.terminal import print_table, say
from .options import note

if TYPE_CHECKING:
    import pandas as pd

    from ..data.tensors import TensorSplit
    from ..evaluation.annealing import Chained
    from ..evaluation.decomposition import Decomposed
    from ..evaluation.refinement import Gaps
    from ..interop.sdmetrics import Quality
    from ..runs.judging import Judged
    from ..runs.run import Run
    from ..show.worded import Table

AIS, GAP, QUALITY = "ais", "inference-gap", "metrics"
"""The metric by chains; that by gradient steps; the key of those of images in a JSON."""
OF_CODES = ("mutual-information", "total-correlation", "marginal-kl")
"""Any of them asks for what the KL is made of, all of which costs no more."""
OF_FACTORS = ("mig", "dci", "sap", "modularity", "factor-vae", "beta-vae")
"""`evaluation.disentanglement.METRICS`, which is not imported for a name."""
DATA, SCORED, MANY = 100, 1000, 10_000
"""What metrics are of, at most, where nobody says how many: of chains and gradient steps, of what is scored anew, of
all others."""
OF_SAMPLES = tuple(
    f"{kind}-{features}"
    for kind in ("prdc", "memorised")
    for features in ("inputs", "codes", "pixels", "classes", "inception")
)
"""`runs.sampled.METRICS`, likewise."""
OVERFITTING, UNITS = "overfitting", "active-units"
FEWEST = 4
"""Data that the others are of, at least."""
WORST = 3
"""Columns and pairs that are named as the least alike."""


def metrics(run: Run, made: pd.DataFrame, target: str | None, seed: int, quiet: bool = False) -> dict[str, Any]:
    """How good, and how private, the rows `made` are, said unless `quiet`, as a JSON has it.

    Without SDMetrics its reports are left out, which is said.
    """
    from ..runs.judging import compared, judge

    rows = compared(run, made)
    judged = judge(run, rows, target, seed=seed)
    own, real = _quality(run, rows, seed)
    if not quiet:
        _say_nearness(judged)
        _say_predictions(judged)
        if own is not None and real is not None:
            _say_quality(judged.split, own, real)
    reports = {"quality": own and asdict(own), "quality_held_out": real and asdict(real)}
    return asdict(judged) | {"reading": judged.nearness.reading} | reports


class Judge(NamedTuple):
    """What metrics are of a split, by name or as data, under a key of the JSON; and that as a table."""

    key: str
    of: Callable[[Any], Any]
    table: Callable[[Any], Table]

    def say(self, found: Any) -> None:
        """Print it, and how far it is to be trusted."""
        table = self.table(found)
        print_table(table.heads, table.rows)
        if table.text:
            note(table.text)


def judges(
    run: Run,
    metrics: str | None,
    weights: Sequence[str],
    n: int | None,
    samples: int,
    seed: int,
    splits: Mapping[str, TensorSplit],
) -> list[Judge]:
    """Those that the names of metrics, with commas between, ask for, of `splits`. `ValueError` where they are not to be
    had of this run, or of these data.
    """
    names = [] if metrics is None else [each.strip() for each in metrics.split(",")]
    if n is not None and n < FEWEST and (others := [each for each in names if each not in (AIS, GAP, *OF_SAMPLES)]):
        raise ValueError(f"-n is {n}; accepted: {FEWEST} or more for {others[0]}")
    own = {AIS, GAP, *OF_CODES, *OF_FACTORS, *OF_SAMPLES, OVERFITTING, UNITS}
    of_images = ",".join(each for each in names if each not in own) or None
    found = [] if AIS not in names else [_by_chains(run, n or DATA, samples, seed)]
    if GAP in names:
        found.append(_by_steps(run, n or DATA, samples, seed))
    if any(each in OF_CODES for each in names):
        found.append(_of_codes(run, n or MANY, seed))
    if factors := [each for each in names if each in OF_FACTORS]:
        found.append(_of_factors(run, factors, n or MANY, seed, splits))
    if UNITS in names:
        found.append(_of_units(run, n or MANY, seed))
    if OVERFITTING in names:
        found.append(_of_overfitting(run, n or SCORED, samples, seed, splits))
    if made := [each for each in names if each in OF_SAMPLES]:
        found.append(_of_samples(run, made, weights, n or MANY, seed, splits))
    if of_images is not None:
        found.append(_of_images(run, of_images, weights, n or MANY, seed))
    elif weights and not any(each.endswith("-inception") for each in made):
        raise ValueError(f"--weights {weights[0]} is for --metrics of images; give those too")
    return found


def _split_of(run: Run, given: Any) -> tuple[str, TensorSplit]:
    from ..runs.given import NEW

    return given if isinstance(given, str) else NEW, run.data(given)


def _by_chains(run: Run, n: int, samples: int, seed: int) -> Judge:
    from ..evaluation.annealing import chained, rows_of
    from ..show.worded import Table

    def judge(given: Any) -> Chained:
        name, data = _split_of(run, given)
        return chained(run.model, data, name, n, samples=samples, seed=seed)

    title = "Annealed importance sampling"
    return Judge(AIS, judge, lambda found: Table(title, found.reading, (title, ""), rows_of(found)))


def _by_steps(run: Run, n: int, samples: int, seed: int) -> Judge:
    from ..evaluation.refinement import gaps, rows_of
    from ..show.worded import Table

    def judge(given: Any) -> Gaps:
        name, data = _split_of(run, given)
        return gaps(run.model, data, name, n, samples=samples, seed=seed)

    def table(found: Gaps) -> Table:
        heads = ("The gap of the bound", f"{found.n:,} data of {found.split}, nats", "")
        return Table("The gap of the bound", found.reading, heads, rows_of(found))

    return Judge(GAP, judge, table)


def _of_codes(run: Run, n: int, seed: int) -> Judge:
    from ..evaluation.decomposition import decomposed, rows_of
    from ..show.worded import Table

    def judge(given: Any) -> Decomposed:
        name, data = _split_of(run, given)
        return decomposed(run.model, data, name, n, seed=seed)

    def table(found: Decomposed) -> Table:
        heads = ("What the KL is made of", f"{found.n:,} data of {found.split}, nats", "")
        return Table("What the KL is made of", found.reading, heads, rows_of(found))

    return Judge("codes", judge, table)


def _of_factors(run: Run, names: Sequence[str], n: int, seed: int, splits: Mapping[str, TensorSplit]) -> Judge:
    from ..evaluation.disentanglement import Disentangled, disentangled, rows_of
    from ..show.worded import Table

    for split, data in splits.items():
        if data.y is None:
            what = "data made of factors: labels y (N,), or covariates y (N, F), a number for each value of each factor"
            raise ValueError(f"--metrics {','.join(names)} needs {what}; {split} has none (try: sprites)")

    def judge(given: Any) -> Disentangled:
        name, data = _split_of(run, given)
        return disentangled(run.model, data, name, names, n, seed=seed)

    def table(found: Disentangled) -> Table:
        factors = number_of(found.factors, "factor")
        heads = ("Disentanglement", f"{found.n:,} data of {found.split}", f"of {factors}")
        return Table("Disentanglement", found.reading, heads, rows_of(found))

    return Judge("disentanglement", judge, table)


def _of_units(run: Run, n: int, seed: int) -> Judge:
    from ..evaluation.overfitting import Units, active_units, rows_of_units
    from ..show.worded import Table

    def judge(given: Any) -> Units:
        from ..runs.sampled import codes_of

        name, data = _split_of(run, given)
        return active_units(codes_of(run, data, n, seed), name, seed=seed)

    def table(found: Units) -> Table:
        heads = ("Active units", f"of {found.units}, {found.n:,} data of {found.split}", "")
        return Table("Active units", found.reading, heads, rows_of_units(found))

    return Judge("active", judge, table)


def _of_overfitting(run: Run, n: int, samples: int, seed: int, splits: Mapping[str, TensorSplit]) -> Judge:
    from ..evaluation.overfitting import Overfitting, overfitting, rows_of
    from ..show.worded import Table

    if "train" in splits:
        other = "hold some out (data.test)" if run.held_out == "train" else f"give --split {run.held_out}"
        raise ValueError(f"--metrics {OVERFITTING} compares training data with others; {other}")

    def judge(given: Any) -> Overfitting:
        name, data = _split_of(run, given)
        return overfitting(run.model, run.data("train"), data, name, n, samples=samples, seed=seed)

    def table(found: Overfitting) -> Table:
        heads = ("Overfitting", "nats a datum", "")
        return Table("Overfitting", found.reading, heads, rows_of(found))

    return Judge(OVERFITTING, judge, table)


def _of_samples(
    run: Run, names: Sequence[str], weights: Sequence[str], n: int, seed: int, splits: Mapping[str, TensorSplit]
) -> Judge:
    from ..evaluation.sampled import table_of
    from ..runs.sampled import check, sampled
    from ..show.worded import Table

    files = {name: path for name, _, path in (each.partition("=") for each in weights)}
    check(run, names, files, splits, n)
    return Judge(
        "samples_beside_data",
        lambda split: sampled(run, split, names, weights=files, n=n, seed=seed),
        lambda found: Table("Samples", found.reading, *table_of(found)),
    )


def _of_images(run: Run, metrics: str, weights: Sequence[str], n: int, seed: int) -> Judge:
    from ..evaluation.images import table_of
    from ..show.worded import Table

    try:
        from ..interop.torchmetrics import METRICS, check, quality
    except ImportError as error:
        raise ValueError(str(error)) from None
    if others := [each for each in metrics.split(",") if each not in METRICS]:
        known = (AIS, GAP, *OF_CODES, *OF_FACTORS, UNITS, OVERFITTING, *OF_SAMPLES, *METRICS)
        raise ValueError(unknown("metric", others[0], known))
    check(run, metrics, weights, n)
    return Judge(
        QUALITY,
        lambda split: quality(run, split, metrics, weights=weights, n=n, seed=seed),
        lambda found: Table("Images", found.caution, *table_of(found)),
    )


def _quality(run: Run, rows: Any, seed: int) -> tuple[Quality | None, Quality | None]:
    try:
        from ..interop.sdmetrics import quality, quality_of_held_out
    except ImportError as error:
        note(f"without SDMetrics' reports: {error}")
        return None, None
    return quality(run, rows, seed=seed), quality_of_held_out(run, rows, seed=seed)


def _say_nearness(judged: Judged) -> None:
    near = judged.nearness
    rows = [
        ("median distance", f"{near.median:.4f}", f"{near.median_held_out:.4f}", f"Gower's, to {near.train:,} rows"),
        ("5 % quantile", f"{near.low:.4f}", f"{near.low_held_out:.4f}", ""),
        ("nearer than that of held-out rows", _part(near.nearer), "5 %", "more: nearer than unseen rows are"),
        ("nearest of all a training row", _part(near.seen), _part(near.seen_by_chance), "more: known by heart"),
        ("the same in every cell", _part(near.copies), _part(near.copies_held_out), ""),
    ]
    heads = ("nearest training row", f"{near.made:,} made-up rows", f"{near.held_out:,} of {judged.split}", "")
    print_table(heads, rows)
    say(near.reading)


def _say_predictions(judged: Judged) -> None:
    made, real = judged.by_made, judged.by_train
    if made is None or real is None:
        return
    names = {"f1": "F1, mean over classes", "accuracy": "accuracy", "auroc": "area under the ROC curve", "r2": "R²"}
    rows = [(name, _number(getattr(made, key)), _number(getattr(real, key))) for key, name in names.items()]
    heads = (f"{made.target} of {judged.split}, by trees on", f"{made.rows:,} made-up rows", f"{real.rows:,} of train")
    print_table(heads, [row for row in rows if row[1:] != ("", "")])


def _say_quality(split: str, own: Quality, real: Quality) -> None:
    names = {
        "overall": "quality",
        "column_shapes": "column shapes",
        "pair_trends": "pair trends",
        "validity": "diagnostic: validity",
        "structure": "diagnostic: structure",
    }
    rows = [(name, _number(getattr(own, key)), _number(getattr(real, key))) for key, name in names.items()]
    heads = (f"SDMetrics, beside {own.train:,} of train", f"{own.rows:,} made-up rows", f"{real.rows:,} of {split}")
    print_table(heads, rows)
    columns = [f"{name} {score:.3f}" for name, score in own.shapes[:WORST]]
    pairs = [f"{one} and {other} {score:.3f}" for one, other, score in own.trends[:WORST]]
    say(f"least alike: {', '.join([*columns, *pairs])}")


def _part(share: float) -> str:
    return f"{100 * share:.3g} %"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
