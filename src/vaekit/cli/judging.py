"""What `--metrics` says: of rows that a run made up (`synthesize`), of log p, codes and images (`evaluate`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import MissingLibraryError, number_of, unknown
from ..show.terminal import print_table, say
from .options import note

if TYPE_CHECKING:
    import pandas as pd

    from ..data.tensors import TensorSplit
    from ..evaluation.disentanglement import Disentangled
    from ..evaluation.overfitting import Units
    from ..interop.sdmetrics import Quality
    from ..runs.judging import Judged
    from ..runs.run import Run
    from ..show.worded import Table

QUALITY = "metrics"
"""The key of metrics of images in a JSON."""
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


@dataclass(frozen=True)
class Asked:
    """What a group of metrics is asked: its `names`, of at most `n` data of these `splits` of a run, by so many
    importance samples, with files of weights by name.
    """

    run: Run
    names: Sequence[str]
    n: int
    samples: int
    seed: int
    splits: Mapping[str, TensorSplit]
    weights: Mapping[str, str]

    def data(self, given: Any) -> tuple[TensorSplit, str, int]:
        """The data of a split, by name or as such, what it is called, and `n`."""
        from ..runs.given import NEW

        return self.run.data(given), given if isinstance(given, str) else NEW, self.n


class Metrics(NamedTuple):
    """Metrics that are found together: what they are of, at most, where nobody says how many, and at least; and what
    makes a `Judge` of what is asked of them, or raises `ValueError` where they are not to be had.
    """

    names: tuple[str, ...]
    most: int
    fewest: int
    judge: Callable[[Asked], Judge]


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
    known = [name for group in METRICS for name in group.names]
    if others := [each for each in names if each not in known]:
        raise ValueError(unknown("metric", others[0], known))
    if weights and not any(each in OF_IMAGES or each.endswith("-inception") for each in names):
        raise ValueError(f"--weights {weights[0]} is for --metrics of images; give those too")
    files = {name: path for name, _, path in (each.partition("=") for each in weights)}
    found = []
    for group in METRICS:
        if own := [each for each in names if each in group.names]:
            if n is not None and n < group.fewest:
                raise ValueError(f"-n is {n}; accepted: {group.fewest} or more for {own[0]}")
            found.append(group.judge(Asked(run, own, n or group.most, samples, seed, splits, files)))
    return found


def _titled(title: str, heads: Callable[[Any], tuple[str, ...]], rows: Callable[[Any], Any]) -> Callable[[Any], Table]:
    """What makes a table of what was found, under a title."""
    from ..show.worded import Table

    return lambda found: Table(title, found.reading, (title, *heads(found)), rows(found))


def _nats(found: Any) -> tuple[str, ...]:
    return f"{found.n:,} data of {found.split}, nats", ""


def _refuse_few(asked: Asked, least: int) -> None:
    """`ValueError` where one of the splits has less data than the metrics are of."""
    for split, data in asked.splits.items():
        if (many := len(data.possible(split))) < least:
            raise ValueError(f"{split} has {number_of(many, 'datum', 'data')}; {asked.names[0]} is of {least} at least")


def _rehearse(asked: Asked, ask: Callable[[TensorSplit, str], object]) -> None:
    """Ask it of one datum, so that what a metric is not for is said before all data are scored."""
    split, data = next(iter(asked.splits.items()))
    ask(data, split)


def _by_chains(asked: Asked) -> Judge:
    from ..evaluation.annealing import Chains
    from ..evaluation.chained import chained, rows_of

    rehearsal = replace(Chains(), chains=1, temperatures=1, leapfrogs=1, start="prior")
    _rehearse(asked, lambda data, split: chained(asked.run.model, data, split, 1, rehearsal, samples=1))

    def judge(given: Any) -> Any:
        return chained(asked.run.model, *asked.data(given), samples=asked.samples, seed=asked.seed)

    return Judge("ais", judge, _titled("Annealed importance sampling", lambda found: ("",), rows_of))


def _by_steps(asked: Asked) -> Judge:
    from ..evaluation.refinement import Refinement, gaps, rows_of

    rehearsal = replace(Refinement(), steps=1, draws=1)
    _rehearse(asked, lambda data, split: gaps(asked.run.model, data, split, 1, rehearsal, samples=1))

    def judge(given: Any) -> Any:
        return gaps(asked.run.model, *asked.data(given), samples=asked.samples, seed=asked.seed)

    return Judge("inference-gap", judge, _titled("The gap of the bound", _nats, rows_of))


def _of_codes(asked: Asked) -> Judge:
    from ..evaluation.decomposition import decomposed, rows_of

    _rehearse(asked, lambda data, split: decomposed(asked.run.model, data, split, 1))

    def judge(given: Any) -> Any:
        return decomposed(asked.run.model, *asked.data(given), seed=asked.seed)

    return Judge("decomposition", judge, _titled("What the KL is made of", _nats, rows_of))


def _of_factors(asked: Asked) -> Judge:
    from ..evaluation.disentanglement import FEWEST, disentangled, rows_of

    for split, data in asked.splits.items():
        if data.y is None:
            what = "data made of factors: labels y (N,), or covariates y (N, F), a number for each value of each factor"
            raise ValueError(f"--metrics {','.join(asked.names)} needs {what}; {split} has none (try: sprites)")

    _refuse_few(asked, FEWEST)

    def judge(given: Any) -> Any:
        data, name, n = asked.data(given)
        return disentangled(asked.run.model, data, name, asked.names, n, seed=asked.seed)

    def heads(found: Disentangled) -> tuple[str, ...]:
        return f"{found.n:,} data of {found.split}", f"of {number_of(found.factors, 'factor')}"

    return Judge("disentanglement", judge, _titled("Disentanglement", heads, rows_of))


def _of_units(asked: Asked) -> Judge:
    from ..evaluation.overfitting import active_units, rows_of_units
    from ..runs.sampled import codes_of

    _refuse_few(asked, 2)

    def judge(given: Any) -> Any:
        data, name, n = asked.data(given)
        return active_units(codes_of(asked.run, data, n, asked.seed), name, seed=asked.seed)

    def heads(found: Units) -> tuple[str, ...]:
        return f"of {found.units}, {found.n:,} data of {found.split}", ""

    return Judge("active", judge, _titled("Active units", heads, rows_of_units))


def _of_overfitting(asked: Asked) -> Judge:
    from ..evaluation.overfitting import overfitting, rows_of
    from ..runs.sampled import refuse_training_data

    refuse_training_data(asked.run, asked.splits, asked.names[0])

    def judge(given: Any) -> Any:
        own, train = asked.data(given), asked.run.data("train")
        return overfitting(asked.run.model, train, *own, samples=asked.samples, seed=asked.seed)

    return Judge("overfitting", judge, _titled("Overfitting", lambda found: ("nats a datum", ""), rows_of))


def _of_topics(asked: Asked) -> Judge:
    from ..evaluation.topics import rows_of, word_probabilities
    from ..runs.topics import topics_of

    word_probabilities(asked.run.model)

    def judge(given: Any) -> Any:
        return topics_of(asked.run, *asked.data(given), seed=asked.seed)

    return Judge("topics", judge, _titled("Topics", lambda found: (f"{found.n:,} data of {found.split}", ""), rows_of))


def _of_samples(asked: Asked) -> Judge:
    from ..evaluation.sampled import table_of
    from ..runs.sampled import check, sampled
    from ..show.worded import Table

    check(asked.run, asked.names, asked.weights, asked.splits, asked.n)
    told: dict[str, Any] = {"weights": asked.weights, "n": asked.n, "seed": asked.seed}
    return Judge(
        "samples_beside_data",
        lambda split: sampled(asked.run, split, asked.names, **told),
        lambda found: Table("Samples", found.reading, *table_of(found)),
    )


def _of_images(asked: Asked) -> Judge:
    from ..evaluation.images import table_of
    from ..interop.torchmetrics import FEWEST, check, quality
    from ..show.worded import Table

    check(asked.run, asked.names, asked.weights, asked.n)
    _refuse_few(asked, FEWEST)
    told: dict[str, Any] = {"weights": asked.weights, "n": asked.n, "seed": asked.seed}
    return Judge(
        QUALITY,
        lambda split: quality(asked.run, split, asked.names, **told),
        lambda found: Table("Images", found.caution, *table_of(found)),
    )


OF_FACTORS = ("mig", "dci", "sap", "modularity", "factor-vae", "beta-vae")
OF_SAMPLES = tuple(
    f"{what}-{of}" for what in ("prdc", "memorised") for of in ("inputs", "codes", "pixels", "classes", "inception")
)
OF_DISTANCES = tuple(f"{how}-{of}" for of in ("pixels", "classes") for how in ("frechet", "kernel"))
OF_IMAGES = ("psnr", "ssim", "lpips", "fid", "kid", *OF_DISTANCES)
METRICS = (
    Metrics(("ais",), 100, 1, _by_chains),
    Metrics(("inference-gap",), 100, 1, _by_steps),
    # Any of them asks for what the KL is made of, all of which costs no more.
    Metrics(("mutual-information", "total-correlation", "marginal-kl"), 10_000, 4, _of_codes),
    Metrics(OF_FACTORS, 10_000, 50, _of_factors),
    Metrics(("active-units",), 10_000, 4, _of_units),
    Metrics(("overfitting",), 1000, 4, _of_overfitting),
    Metrics(("topics",), 100_000, 4, _of_topics),
    Metrics(OF_SAMPLES, 10_000, 50, _of_samples),
    Metrics(OF_IMAGES, 10_000, 4, _of_images),
)
"""Modules that are not imported for their names have these too; tests compare them."""


def _quality(run: Run, rows: Any, seed: int) -> tuple[Quality | None, Quality | None]:
    try:
        from ..interop.sdmetrics import quality, quality_of_held_out
    except MissingLibraryError as error:
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
