"""Scores in words and columns, as a terminal and a notebook show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..settings import in_a_call, setting
from .metrics import carriers, is_collapsed

if TYPE_CHECKING:
    from .evaluation import Evaluation


LABELS = {
    "error": ("classification error", "{:.2%}", "the likeliest class is another"),
    "nmi": ("clusters: mutual information", "{:.3f}", "with the labels, of 1; higher is better"),
    "ari": ("clusters: adjusted Rand index", "{:.3f}", "with the labels, of 1; higher is better"),
    "accuracy": ("clusters: best-match accuracy", "{:.2%}", "higher is better"),
}
"""What the scores of labels are called, how they are written, and what they mean."""


NO_LIKELIHOOD = "grey pixels were scored as Bernoulli probabilities: these numbers are no likelihood"


def heading(scores: Evaluation) -> str:
    """What was scored, and in which unit."""
    return f"{scores.split}, {scores.n:,} data, nats per datum"


def score_rows(scores: Evaluation) -> list[tuple[str, str, str]]:
    """The scores, each with its name before it and behind it what it is, and which way is better."""
    elbo = f"{scores.elbo:.2f} ± {scores.elbo_stderr:.2f}"
    nll = f"{scores.nll:.2f} ± {scores.nll_stderr:.2f}"
    rows = [
        ("ELBO", elbo, "bound below log p(x); higher is better"),
        ("reconstruction", f"{scores.reconstruction:.2f}", "log p(x given z), averaged over q"),
        ("KL", f"{scores.kl:.2f}", "of q(z given x) from p(z)"),
        (f"NLL, {scores.samples:,} samples", nll, "-log p(x), estimated; lower is better"),
        ("effective samples", f"{scores.effective_samples:,.1f}", "as many of those count for a datum"),
        ("bits per dimension", f"{scores.bits_per_dim:.4f}", "NLL / (dimensions log 2); lower is better"),
        ("active units", f"{scores.active_units} of {scores.latent_size}", active_units(scores)),
    ]
    known = [(*LABELS[name], value) for name, value in scores.labels.items() if name in LABELS]
    return rows + [(title, text.format(value), what) for title, text, what, value in known]


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
    """That the posterior has collapsed, and what to try; nothing where it has not."""
    if scores.n < 2 or not is_collapsed(scores.kl, scores.active_units):
        return ""
    found = f"KL {scores.kl:.2f} nats, {scores.active_units} of {scores.latent_size} units active"
    lower, free = setting("objective.beta", "…"), setting("objective.free_bits", 0.1)
    warm = "beta=Linear()" if in_a_call() else setting("objective.beta.name", "linear")
    return (
        f"the posterior has collapsed ({found}): codes say next to nothing of the data, and what is decoded ignores "
        f"them. Try: a lower weight of the KL ({lower}), a warm-up of it ({warm}), free bits ({free}), or more epochs "
        "where there were few"
    )


def notes(scores: Evaluation) -> list[str]:
    """What has to be known of scores before they are used, a sentence each."""
    return [*([] if scores.is_likelihood else [NO_LIKELIHOOD]), *filter(None, [scores.caution, collapse(scores)])]


def aligned(rows: Sequence[tuple[str, ...]]) -> str:
    """Rows as lines, their columns two spaces apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines)


def scores_in_lines(scores: Evaluation) -> str:
    """The repr of an evaluation: its heading, and a line for each score."""
    return "\n".join([f"Evaluation of {heading(scores)}", aligned(score_rows(scores)), *notes(scores)])
