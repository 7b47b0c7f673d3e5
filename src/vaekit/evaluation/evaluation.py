"""Scores of a model on a split: the ELBO and its parts, and the importance-weighted likelihood with its errors."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ..data import Dataset, Preprocessing
from ..data.batch import Batch
from ..data.tensors import TensorSplit, as_split
from ..distributions.observed import observed_log_prob
from ..models import VAE
from ..models.given import check_samples, refuse_other_data, refuse_unscored
from ..models.importance import untrusted
from ..models.scales import latent_scales
from ..models.scoring import MEMORY, Scores
from ..models.trace import beside
from ..modules import evaluating
from ..seeding import seeded, stream
from ..system.devices import say_if_threads_wait_busily
from ..system.progress import working
from .metrics import clustering_scores
from .scores import Evaluation
from .tokens import CodeCounts

ACTIVE = 0.01
"""The variance over data of a posterior mean above which a dimension is active (Burda et al. 2016, section 5.2)."""


def evaluate(
    model: VAE,
    data: TensorSplit | Dataset | np.ndarray | Tensor,
    samples: int = 1000,
    *,
    split: str = "test",
    preprocessing: Preprocessing | None = None,
    seed: int = 0,
    memory: int = MEMORY,
    on_scores: Callable[[Scores], None] | None = None,
) -> Evaluation:
    """Score `model` on all of `data` with K = `samples` posterior draws for each datum.

    Beside the model and the stored data it uses at most `memory` bytes, whatever K and the number of data (but never
    less than one sample of one datum takes; and for a moment, where chunks of it are recorded, three times the model's
    weights). `on_scores` gets those of each datum, a block of data at a time and in
    their order. Raises `ValueError` for samples below 1.
    """
    check_samples(samples)
    data = as_split(data, split, model.domain, preprocessing, model.scale.device)
    refuse_other_data(model, tuple(data.x.shape[1:]), data.seen)
    say_if_threads_wait_busily(torch.get_num_threads() if data.x.device.type == "cpu" else 1)
    gathered, possible = _Gathered(model, data), _possible(data, split)
    with seeded(stream(seed, "evaluation")), evaluating(model), working(f"scoring {split}", len(data)) as step:
        scorer = model.scorer(samples, memory, len(data))
        scorer.on_rows = step
        start = 0
        for batch in data.blocks():
            refuse_unscored(model, batch.x, batch.observed)
            scores = scorer(model.asked(batch))
            kept = possible[start : (start := start + len(batch))]
            whole = bool(kept.all())
            if on_scores:
                on_scores(scores if whole else scores.without(~kept))
            if whole or kept.any():
                gathered.add(batch if whole else batch.take(kept), scores if whole else scores.rows(kept))
    return gathered.evaluation(data, split, samples, possible)


class _Gathered:
    """What an evaluation is made of, gathered a block of scored data at a time."""

    def __init__(self, model: VAE, data: TensorSplit) -> None:
        self.model, self.totals, self.trust = model, _Totals(), list[Tensor]()
        self.uses, self.one_hots, self.words = CodeCounts(model), _OneHots(model), _Words(model, data)

    def add(self, batch: Batch, scores: Scores) -> None:
        add = self.totals.add
        add(elbo=scores.elbo, reconstruction=scores.reconstruction, kl=scores.kl, nll=-scores.log_prob)
        add(mc=scores.log_prob_variance, means=scores.latent_mean[:, : self.model.latent_size])
        add(**{f"kl of {name}": terms for name, terms in scores.kl_terms.items()})
        self.trust.append(torch.stack([scores.effective_samples, scores.pareto_k]))
        self.words.add(batch.x)
        self.uses.add(batch, scores.tokens)
        self.one_hots.add(scores)

    def evaluation(self, data: TensorSplit, split: str, samples: int, possible: Tensor) -> Evaluation:
        """The scores of those of `data` that are `possible`, (N,) of bool."""
        model, mean, variance, n = self.model, self.totals.mean, self.totals.variance, int(possible.sum())
        nll, cells = float(mean("nll")), _cells(data, possible)
        effective, shapes = torch.cat(self.trust, 1)
        perplexity, of_frequencies = self.words.perplexities(nll)
        return Evaluation(
            split=split,
            n=n,
            samples=samples,
            elbo=float(mean("elbo")),
            elbo_stderr=float((variance("elbo") / n).sqrt()),
            reconstruction=float(mean("reconstruction")),
            kl=float(mean("kl")),
            nll=nll,
            nll_stderr=float((variance("nll") / n).sqrt()),
            nll_mc_stderr=math.sqrt(float(mean("mc")) / n),
            effective_samples=float(effective.nanquantile(0.5)),
            pareto_k=None if shapes.isnan().all() else float(shapes.nanmedian()),
            untrusted=int(untrusted(effective, shapes, samples).sum()),
            bits_per_dim=nll / (cells * math.log(2)) if cells else math.nan,
            active_units=int((variance("means") > ACTIVE).sum()),
            latent_size=model.latent_size,
            kl_per_dimension={name: mean(f"kl of {name}").tolist() for name in model.sizes},
            is_likelihood=not model.domain.relaxed,
            labels=label_scores(model, data),
            class_nats=self.one_hots.nats(),
            codes=self.uses.use(),
            impossible=tuple(_origin(data)[~possible.cpu().numpy()].tolist()),
            latent_scales=latent_scales(model),
            perplexity=perplexity,
            perplexity_of_frequencies=of_frequencies,
        )


def _possible(data: TensorSplit, split: str) -> Tensor:
    """Which rows (N,) have no cell that its column can't have; `ValueError` where none is such."""
    found = np.zeros(len(data), bool)
    found[data.possible(split)] = True
    return torch.from_numpy(found).to(data.x.device)


def _origin(data: TensorSplit) -> np.ndarray:
    return np.arange(len(data)) if data.origin is None else data.origin


def _cells(data: TensorSplit, of: Tensor) -> float:
    """How many cells of a datum are observed, on average, `of` (N,) the data that count."""
    return math.prod(data.x.shape[1:]) if data.observed is None else float(data.observed[of].sum() / of.sum())


@torch.no_grad()
def mean_pass(model: VAE, data: TensorSplit) -> dict[str, float]:
    """What `model` gives with the posterior's mean in place of draws, averages over `data` in nats per datum.

    "mean_reconstruction" is log p(x given z) there, "mean_elbo" that less the KL: a deterministic pass, which is often
    taken for the bound but, since it leaves the spread of z out, is none of log p(x).
    """
    totals = _Totals()
    with evaluating(model):
        for batch in data.blocks():
            batch = model.typed(model.asked(batch))
            latents = model.latents(batch)
            z = beside(*(latent.mean for latent in latents))
            px = model.likelihood_of(z, model.network_condition(batch.y))
            reconstruction = observed_log_prob(px, batch.x, batch.observed)
            kl = torch.stack([latent.kl.expand(1, len(batch))[0] for latent in latents]).sum(0)
            totals.add(mean_reconstruction=reconstruction, mean_elbo=reconstruction - kl)
    return {name: float(totals.mean(name)) for name in ("mean_elbo", "mean_reconstruction")}


@torch.no_grad()
def label_scores(model: VAE, data: TensorSplit) -> dict[str, float]:
    """How well `model` knows the class labels of `data`, where it has anything to say of them; else nothing.

    Of a model that classifies "error", the fraction whose likeliest class is another; of one with clusters "nmi", "ari"
    and "accuracy", as in `metrics`.
    """
    if data.y is None or data.y.dim() != 1 or model.conditional:
        return {}
    if model.classifies:
        found = torch.cat([model.classify(batch).argmax(-1) for batch in data.blocks()])
        return {"error": float((found != data.y).double().mean())}
    if not model.has_clusters:
        return {}
    return clustering_scores(clusters(model, data), data.y.cpu().numpy())


def clusters(
    model: VAE,
    data: TensorSplit | Dataset | np.ndarray | Tensor,
    *,
    split: str = "test",
    preprocessing: Preprocessing | None = None,
) -> np.ndarray:
    """The cluster of each datum of `data`, (N,) whole numbers from 0, in its order; see `VAE.clusters`.

    Raises `ValueError` for a model with neither a discrete latent nor a mixture prior. `metrics.clustering_scores`
    compares them with labels.
    """
    data = as_split(data, split, model.domain, preprocessing, model.scale.device)
    refuse_other_data(model, tuple(data.x.shape[1:]), data.seen)
    found = [model.clusters(batch) for batch in data.blocks()]
    return torch.cat(found).cpu().numpy()


class _Words:
    """Of documents whose words are drawn given how many they are, what log p of all words in their order is more than
    that of their counts, and log p of words as frequent as in training rows; of other data nothing.
    """

    def __init__(self, model: VAE, data: TensorSplit) -> None:
        self.log_orders: Callable[[Tensor], Tensor] | None = getattr(model.likelihood, "log_orders", None)
        self.there, self.totals = model.exposed and data.observed is None and self.log_orders is not None, _Totals()
        often = model.domain.log_frequencies(model.event_shape).ravel() if self.there else np.zeros(0)
        self.frequent = torch.from_numpy(often).to(data.x.device)

    def add(self, x: Tensor) -> None:
        if self.there and self.log_orders is not None:
            words = x.double().flatten(1)
            self.totals.add(words=words.sum(1), orders=self.log_orders(x), frequent=words @ self.frequent)

    def perplexities(self, nll: float) -> tuple[float | None, float | None]:
        """exp of the nats that a word takes, of a document's on average, by the model and by frequencies; None where
        there is no word.
        """
        if not self.there or not (words := float(self.totals.mean("words"))):
            return None, None
        orders, frequent = (float(self.totals.mean(name)) for name in ("orders", "frequent"))
        return math.exp((nll + orders) / words), math.exp(-frequent / words)


class _OneHots:
    """Of latents that are one-hots, what their classes and data say of each other: I(x; z), nats."""

    def __init__(self, model: VAE) -> None:
        found = {name: getattr(each, "groups", None) for name, each in model.posteriors.items()}
        self.groups = {name: groups for name, groups in found.items() if groups}
        self.sizes, self.totals = model.sizes, _Totals()

    def add(self, scores: Scores) -> None:
        start = 0
        for name in scores.kl_terms:  # in the order of the means
            if name not in self.sizes:
                continue
            start += self.sizes[name]
            if name in self.groups:
                classes = scores.latent_mean[:, start - self.sizes[name] : start].unflatten(-1, (self.groups[name], -1))
                self.totals.add(**{f"classes of {name}": classes, f"entropy of {name}": _entropy(classes)})

    def nats(self) -> dict[str, float]:
        """The entropy of classes over all data, less that of a datum's; of several one-hots side by side the sum."""
        mean = self.totals.mean
        return {name: float(_entropy(mean(f"classes of {name}")) - mean(f"entropy of {name}")) for name in self.groups}


def _entropy(classes: Tensor) -> Tensor:
    """Of probabilities (…, G, K) of G classes side by side, (…) nats."""
    return torch.special.entr(classes).sum((-1, -2))


class _Totals:
    """Running means and variances over data of named quantities (B, …), merged batch by batch (Chan et al. 1979)."""

    def __init__(self) -> None:
        self.moments: dict[str, tuple[int, Tensor, Tensor]] = {}

    def add(self, **values: Tensor) -> None:
        for name, value in values.items():
            n, center = len(value), value.mean(0)
            spread = (value - center).square().sum(0)
            if name in self.moments:
                before, mean_before, spread_before = self.moments[name]
                shift, n = center - mean_before, n + before
                spread = spread_before + spread + shift.square() * before * len(value) / n
                center = mean_before + shift * len(value) / n
            self.moments[name] = (n, center, spread)

    def mean(self, name: str) -> Tensor:
        return self.moments[name][1]

    def variance(self, name: str) -> Tensor:
        """The unbiased variance; NaN for a single datum, which has none."""
        n, _, spread = self.moments[name]
        return spread / (n - 1)
