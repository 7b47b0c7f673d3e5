"""Topics: the recipes `prodlda` and `lda` beside scikit-learn's and lda's latent Dirichlet allocation, same documents.

    python benchmarks/topics.py --work FOLDER --report benchmarks/topics.md [--topics 20] [--seeds 1]

It needs the package lda (`pip install lda`), of which the 395 documents of Reuters are, with 4,258 words. A fifth is
held out by vaekit's split of seed 0. scikit-learn's is variational (its defaults, in batches of all, at
most 100 passes), lda's a collapsed Gibbs sampler (its defaults, 1,500 passes); topics of both are what they estimate.

Perplexity of a held-out word is found by two estimators that are the same for all: of whole documents by 100 importance
draws of the shares of topics from what the model infers of each, and of a half of each document's words, drawn by a
seed, given the shares that the other half tells. Coherence is NPMI of ten words of each topic in all documents;
diversity the part of 25 words of each that is of one topic alone. Seconds are of the process, in training.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import lda
import lda.datasets
import numpy as np
import torch
from machine import heading
from scipy.sparse import csr_array
from scipy.special import gammaln, logsumexp, psi
from sklearn.decomposition import LatentDirichletAllocation

import vaekit
from vaekit.data import Documents
from vaekit.evaluation.topics import coherence, diversity, top_words, word_probabilities
from vaekit.modules import evaluating

DRAWS = 100
SCORES = ("perplexity", "of halves", "coherence", "diversity", "seconds")


def split(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Training and held-out documents."""
    names = [str(i) for i in range(len(x))]
    data = vaekit.load_dataset(Documents(csr_array(x), (), names), test=len(x) // 5, validation=0)
    return tuple(x[[int(each) for each in data.splits[part].origin]] for part in ("train", "test"))  # type: ignore[return-value]


def halves(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The words of each document in two halves, drawn by a seed."""
    rng = np.random.default_rng(0)
    first = np.array([rng.multivariate_hypergeometric(own, own.sum() // 2) for own in x])
    return first, x - first


def inferred(x: np.ndarray, beta: np.ndarray, alpha: float) -> np.ndarray:
    """The Dirichlet of each document's shares by coordinate ascent (Blei et al. 2003, eq. 6 and 7), (N, K)."""
    gamma = np.ones((len(x), len(beta)))
    for _ in range(200):
        weight = np.exp(psi(gamma) - psi(gamma.sum(1, keepdims=True)))
        gamma = alpha + weight * ((x / (weight @ beta + 1e-100)) @ beta.T)
    return gamma


def of_dirichlet(beta: np.ndarray, alpha: float, test: np.ndarray) -> tuple[float, float]:
    """Both perplexities of a mixture of topics beta (K, V) whose shares are Dirichlet(alpha)."""
    rng, gamma, size = np.random.default_rng(0), inferred(test, beta, alpha), len(beta)
    total = 0.0
    for x, own in zip(test, gamma, strict=True):
        theta = np.clip(rng.dirichlet(own, DRAWS), 1e-300, None)
        log_p = np.log(theta @ beta + 1e-300) @ x
        log_p += ((alpha - 1) * np.log(theta)).sum(1) + gammaln(size * alpha) - size * gammaln(alpha)
        log_p -= ((own - 1) * np.log(theta)).sum(1) + gammaln(own.sum()) - gammaln(own).sum()
        total += logsumexp(log_p) - np.log(DRAWS)
    first, second = halves(test)
    shares = inferred(first, beta, alpha)
    likely = (shares / shares.sum(1, keepdims=True)) @ beta
    return np.exp(-total / test.sum()), np.exp(-(second * np.log(likely + 1e-300)).sum() / second.sum())


def of_run(run: vaekit.Run, test: np.ndarray) -> tuple[float, float]:
    """The same of a run."""
    words = run.schema.columns
    whole = run.evaluate(Documents(csr_array(test), words), DRAWS).perplexity
    first, second = halves(test)
    codes = run.encode(Documents(csr_array(first), words))[0]
    with torch.no_grad(), evaluating(run.model):
        logits = run.model.decoder(torch.from_numpy(codes)).flatten(1).double().log_softmax(-1).numpy()
    return float(whole or np.nan), float(np.exp(-(second * logits).sum() / second.sum()))


def ours(recipe: str, train: np.ndarray, test: np.ndarray, topics: int, seed: int, folder: Path) -> list[float]:
    began = time.process_time()
    sets = [f"model.latents.z.size={topics}", f"training.seed={seed}", "training.device=cpu", "data.test=0"]
    data = Documents(csr_array(train), lda.datasets.load_reuters_vocab())
    run = vaekit.train(recipe, folder / recipe, data=data, sets=[*sets, "data.validation=0"], overwrite=True)
    seconds = time.process_time() - began
    return [*of_run(run, test), *of_topics(word_probabilities(run.model)), seconds]


def scikit(train: np.ndarray, test: np.ndarray, topics: int, seed: int) -> list[float]:
    began = time.process_time()
    model = LatentDirichletAllocation(topics, max_iter=100, learning_method="batch", random_state=seed).fit(train)
    seconds = time.process_time() - began
    beta = model.components_ / model.components_.sum(1, keepdims=True)
    return [*of_dirichlet(beta, 1 / topics, test), *of_topics(beta), seconds]


def gibbs(train: np.ndarray, test: np.ndarray, topics: int, seed: int) -> list[float]:
    began = time.process_time()
    model = lda.LDA(n_topics=topics, n_iter=1500, random_state=seed, refresh=10_000).fit(train)
    seconds = time.process_time() - began
    return [*of_dirichlet(model.topic_word_, model.alpha, test), *of_topics(model.topic_word_), seconds]


def one_topic(train: np.ndarray, test: np.ndarray) -> list[float]:
    """How often each word is, and one word more of each."""
    p = (train.sum(0) + 1) / (train.sum() + train.shape[1])
    (_, second), log_p = halves(test), np.log(p)
    whole, half = (float(np.exp(-(each @ log_p).sum() / each.sum())) for each in (test, second))
    return [whole, half, np.nan, np.nan, 0.0]


def of_topics(probabilities: np.ndarray) -> tuple[float, float]:
    found = coherence(top_words(probabilities), csr_array(lda.datasets.load_reuters())).mean()
    return float(found), diversity(probabilities)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--report", type=Path)
    parser.add_argument("--topics", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=1)
    asked = parser.parse_args()
    train, test = split(lda.datasets.load_reuters())
    given = (train, test, asked.topics)
    models: dict[str, Callable[[int], list[float]]] = {
        "vaekit, `prodlda`": lambda seed: ours("prodlda", *given, seed, asked.work),
        "vaekit, `lda`": lambda seed: ours("lda", *given, seed, asked.work),
        "scikit-learn, LatentDirichletAllocation": lambda seed: scikit(*given, seed),
        "lda, Gibbs": lambda seed: gibbs(*given, seed),
        "one topic": lambda seed: one_topic(train, test),
    }
    lines = [f"| of | {' | '.join(SCORES)} |", "|---" * (1 + len(SCORES)) + "|"]
    for name, run in models.items():
        found = np.array([run(seed) for seed in range(asked.seeds)])
        error = found.std(0, ddof=1) / len(found) ** 0.5 if len(found) > 1 else np.full(len(SCORES), np.nan)
        each = zip(found.mean(0), error, (0, 0, 3, 3, 0), strict=True)
        cells = ["—" if np.isnan(m) else f"{m:,.{d}f}" + ("" if np.isnan(e) else f" ± {e:,.{d}f}") for m, e, d in each]
        lines.append(f"| {name} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    if asked.report:
        what = (__doc__ or "").split("\n\n")[2:]
        sizes = f"{len(train)} documents are trained on, {len(test)} held out, with {test.sum():,} words."
        text = [heading("Topics"), *(part.replace("\n", " ") for part in what), sizes, "\n".join(lines)]
        asked.report.write_text("\n\n".join(text) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
