"""The scores of a model on a split, and what they are in words and columns, as a terminal and a notebook show them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..errors import number_of, several
from ..models.importance import LEAST_TAIL, UNTRUSTED, tail_size
from ..settings import in_a_call, setting
from ..system.markup import markup
from .metrics import COLLAPSED, carriers, is_collapsed
from .tokens import CodeUse

FEW = 0.01
"""The fraction of data whose weights may be no good before the mean over all is said not to be."""
LEAST = 5
"""Data whose mean may tell something of others."""
ALIKE = 0.99
"""The part of the data that may have the same tokens before their posterior is taken for collapsed."""
LABELS = {
    "error": ("classification error", "{:.2%}", "the likeliest class is another"),
    "nmi": ("clusters: mutual information", "{:.3f}", "with the labels, of 1; higher is better"),
    "ari": ("clusters: adjusted Rand index", "{:.3f}", "with the labels, of 1; higher is better"),
    "accuracy": ("clusters: best-match accuracy", "{:.2%}", "higher is better"),
}
"""What the scores of labels are called, how they are written, and what they mean."""


NO_LIKELIHOOD = "grey pixels were scored as Bernoulli probabilities: these numbers are no likelihood"


@dataclass(frozen=True)
class Evaluation:
    """How well a model describes `n` data of a split; nats per datum in the data's own units.

    elbo = reconstruction - kl, with its standard error over the data; nll = -log p(x) from `samples` importance
    weights, an upper bound in expectation that tightens as they grow. `nll_stderr` is how far another n data of the
    kind would move it, `nll_mc_stderr` how far another seed would. Of the importance weights of each datum,
    `effective_samples` and `pareto_k` (None where there are too few samples to tell) are medians over the data of
    `Scores`' quantities of these names. `untrusted` is for how many data Pareto k is above 0.7, or can't be told of
    so few samples, and more than half of them count for nothing: there nll may be too high by more than its errors
    say, see `caution`. `bits_per_dim` is nll / (dimensions · log 2), NaN where no cell is observed. `kl_per_dimension`
    has a latent's KL per dimension where it splits so, else one number. `labels` is what `label_scores` says.
    `is_likelihood` is false for grey pixels that were scored as Bernoulli probabilities. `codes` says of quantised
    latents how their codes are used: q is then all on one code, and nll no tighter than -elbo, however many the
    samples. `class_nats` is of latents that are classes, I(x; z): of several side by side the sum of each, which is no
    less. `impossible` are the rows that are not among the `n`: each has a cell that its column can't have, so that log
    p of it is -inf, which no mean is left with. `latent_scales` are those of `models.scales`, of the training rows, for
    latents that are maps. Of documents whose words are drawn given how many they are, `perplexity` is exp of -log p of
    all words in their order, over their number (Blei et al. 2003, section 7.1), from `nll`, and
    `perplexity_of_frequencies` that of words that are as frequent as in training rows, whatever the document; None of
    other data, and where no document has a word.
    """

    split: str
    n: int
    samples: int
    elbo: float
    elbo_stderr: float
    reconstruction: float
    kl: float
    nll: float
    nll_stderr: float
    nll_mc_stderr: float
    effective_samples: float
    pareto_k: float | None
    untrusted: int
    bits_per_dim: float
    active_units: int
    latent_size: int
    kl_per_dimension: dict[str, list[float]]
    is_likelihood: bool
    labels: dict[str, float]
    impossible: tuple[int | str, ...] = ()
    latent_scales: dict[str, float] = field(default_factory=dict)
    perplexity: float | None = None
    perplexity_of_frequencies: float | None = None
    codes: dict[str, CodeUse] = field(default_factory=dict)
    class_nats: dict[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        return scores_in_lines(self)

    def _repr_html_(self) -> str:
        return markup(f"Evaluation of {heading(self)}", score_rows(self), notes=notes(self))

    @property
    def caution(self) -> str:
        """A sentence where there are too few data, or where the importance weights of more than a few are not to be
        trusted, else "".
        """
        if self.n < LEAST:
            few = f"{number_of(self.n, 'datum', 'data')} tell next to nothing of others"
            return f"scores of {few}; hold out {LEAST} at least, better hundreds"
        if self.untrusted <= max(FEW * self.n, min(2, self.n - 1)) or self.codes:  # codes are not drawn
            return ""
        data = f"{self.untrusted:,} of {self.n:,} data"
        if self.samples == 1:
            loose = f"for {data} it is by one sample, and as loose as the ELBO"
        elif tail_size(self.samples) < LEAST_TAIL:
            loose = (
                f"for {data} a few of the {self.samples} samples outweigh all others, too few to tell how loose it is"
            )
        else:
            loose = f"for {data} a few samples outweigh all others (Pareto k above {UNTRUSTED})"
        return f"NLL is loose from above: {loose}; more samples lower it, and its Monte Carlo error is not reliable"


def heading(scores: Evaluation) -> str:
    """What was scored, and in which unit."""
    return f"{scores.split}, {number_of(scores.n, 'datum', 'data')}, nats per datum"


def score_rows(scores: Evaluation) -> list[tuple[str, str, str]]:
    """The scores, each with its name before it and behind it what it is, and which way is better."""
    elbo, nll = with_error(scores.elbo, scores.elbo_stderr), with_error(scores.nll, scores.nll_stderr)
    bits = f"{scores.bits_per_dim:.4f}" if math.isfinite(scores.bits_per_dim) else ""
    rows = [
        ("ELBO", elbo, "bound below log p(x); higher is better"),
        ("reconstruction", f"{scores.reconstruction:.2f}", "log p(x given z), averaged over q"),
        ("KL", f"{scores.kl:.2f}", "of q(z given x) from p(z)"),
        (f"NLL, {number_of(scores.samples, 'sample')}", nll, _of_nll(scores)),
        ("effective samples", f"{scores.effective_samples:,.1f}", "as many of those count for a datum"),
        *([("bits per dimension", bits, "NLL / (dimensions log 2); lower is better")] if bits else []),
        ("active units", f"{scores.active_units} of {scores.latent_size}", active_units(scores)),
    ]
    if scores.perplexity is not None:
        usual = f"; {scores.perplexity_of_frequencies:,.1f} by how often each word is in training"
        what = f"of a word: as many, equally likely, are as hard to tell{usual}"
        rows.append(("perplexity", f"{scores.perplexity:,.1f}", what))
    rows += [
        (f"scale of {name}", f"{scale:.5f}", "one over the standard deviation of its codes in training")
        for name, scale in scores.latent_scales.items()
    ]
    known = [(*LABELS[name], value) for name, value in scores.labels.items() if name in LABELS]
    return rows + code_rows(scores) + [(title, text.format(value), what) for title, text, what, value in known]


def with_error(value: float, error: float) -> str:
    """A score and its standard error over the data, which of one datum nobody knows."""
    return f"{value:.2f} ± {error:.2f}" if math.isfinite(error) else f"{value:.2f}"


def code_rows(scores: Evaluation) -> list[tuple[str, str, str]]:
    """How the codes of quantised latents are used, as rows of scores."""
    rows = []
    for name, use in scores.codes.items():
        of = f" of {name}" if len(scores.codes) > 1 else ""
        rows += [
            (
                f"codes used{of}",
                f"{use.used:.1%} of {use.codes:,}",
                f"for any datum; each has {number_of(use.tokens, 'token')}",
            ),
            (f"perplexity{of}", f"{use.perplexity:,.1f}", "as many codes, used equally often, are as hard to tell"),
        ]
    return rows


def _of_nll(scores: Evaluation) -> str:
    if scores.codes:
        return "bound above -log p(x): of codes, which are not drawn; lower is better"
    return "-log p(x), estimated; lower is better"


def active_units(scores: Evaluation) -> str:
    """What active units are, and how few of them hold the KL where it is unevenly spread."""
    text, terms = (
        "dimensions of z that follow x",
        [kl for own in scores.kl_per_dimension.values() for kl in own],
    )
    few = carriers(terms) if len(terms) > 1 else 0
    if not 0 < 2 * few <= scores.active_units:
        return text
    return f"{text}; 90% of KL: {few}"


def collapse(scores: Evaluation) -> str:
    """That a posterior has collapsed, and what to try; nothing where none has."""
    found = _collapsed(scores) if scores.n > 1 else {}
    if not found:
        return ""
    every = len(scores.kl_per_dimension) == 1 or not (scores.class_nats or scores.codes)
    each = (f"the posterior{'' if every else f' of {name}'} has collapsed ({why})" for name, why in found.items())
    if found.keys() <= scores.codes.keys():
        advice = f"more epochs, smaller steps ({setting('training.learning_rate', '…')}), or another seed"
    else:
        lower, free = setting("objective.beta", "…"), setting("objective.free_bits", 0.1)
        warm = "beta=Linear()" if in_a_call() else setting("objective.beta.name", "linear")
        advice = (
            f"more epochs where there were few; or of the objective 'elbo' a lower weight of the KL ({lower}), a "
            f"warm-up of it ({warm}), free bits ({free})"
        )
    return (
        f"{' and '.join(each)}: codes say next to nothing of the data, and what is decoded ignores them. Try {advice}"
    )


def _collapsed(scores: Evaluation) -> dict[str, str]:
    """Why a posterior is taken for collapsed, by the name of its latent; of those that are neither classes nor codes
    together, by their names. The KL of classes and codes is no sign: that of all data in one class may be any.
    """
    found = {}
    discrete = {**scores.class_nats, **scores.codes}
    others = [name for name in scores.kl_per_dimension if name not in discrete]
    kl = sum(sum(scores.kl_per_dimension[name]) for name in others) if discrete else scores.kl
    if others and is_collapsed(kl, scores.active_units):
        found[", ".join(others)] = f"KL {kl:.2f} nats, {scores.active_units} of {scores.latent_size} units active"
    for name, nats in scores.class_nats.items():
        if nats < COLLAPSED:
            found[name] = f"its classes say {max(nats, 0.0):.2f} nats of a datum"
    for name, use in scores.codes.items():
        if use.alike > ALIKE:
            found[name] = f"{use.alike:.1%} of the data have the same tokens"
    return found


def left_out(scores: Evaluation) -> str:
    """Which rows the scores are not of, since log p of them is -inf; nothing where there are none."""
    if not scores.impossible:
        return ""
    many = len(scores.impossible)
    rows = f"row {several(scores.impossible, 8)}" if many == 1 else f"rows {several(scores.impossible, 8)}"
    have = "has a cell that its column" if many == 1 else "have a cell that their column"
    others = number_of(scores.n, "datum", "data")
    return f"log p is -inf for {rows}, which {have} can't have: the scores are of the other {others} alone"


def notes(scores: Evaluation) -> list[str]:
    """What has to be known of scores before they are used, a sentence each."""
    said = [NO_LIKELIHOOD * (not scores.is_likelihood), left_out(scores), scores.caution, collapse(scores)]
    return [each for each in said if each]


def aligned(rows: Sequence[tuple[str, ...]]) -> str:
    """Rows as lines, their columns two spaces apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines)


def scores_in_lines(scores: Evaluation) -> str:
    """The repr of an evaluation: its heading, and a line for each score."""
    return "\n".join([f"Evaluation of {heading(scores)}", aligned(score_rows(scores)), *notes(scores)])
