"""Topic models, from documents to the words of each topic."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands_for_tests import command
from models_for_tests import model_of, refuses
from scipy import sparse
from scipy.optimize import linear_sum_assignment

from vaekit import Run, draw, refit_prior, sweep, train
from vaekit.data import Documents
from vaekit.distributions.counts import log_orders
from vaekit.evaluation.topics import coherence, topic_shares, word_probabilities
from vaekit.models.scoring import Scores
from vaekit.runs.rows import places
from vaekit.runs.run import new_data
from vaekit.show.pictures.drawing import offers

TOPICS, WORDS, N = 4, 40, 300


def documents(seed: int = 0) -> tuple[Documents, np.ndarray, np.ndarray]:
    """Documents of a mixture of topics, each of ten words of its own and some of all: counts, topics, shares."""
    rng = np.random.default_rng(seed)
    beta = np.full((TOPICS, WORDS), 0.2) + np.kron(np.eye(TOPICS), np.full((1, WORDS // TOPICS), 5.0))
    beta /= beta.sum(1, keepdims=True)
    theta = rng.dirichlet(np.full(TOPICS, 0.2), N)
    counts = np.stack([rng.multinomial(rng.integers(30, 80), p) for p in theta @ beta])
    return (
        Documents(sparse.csr_array(counts), [f"word{i}" for i in range(WORDS)], [f"d{i}" for i in range(N)]),
        beta,
        theta,
    )


SMALL = (
    f"model.latents.z.size={TOPICS}",
    "model.encoder.hidden=[32]",
    "training.batch_size=50",
    "training.learning_rate=1e-2",
    "training.device=cpu",
    "training.checkpoint_every=100",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train("prodlda", tmp_path_factory.mktemp("topics") / "prodlda", data=documents()[0], sets=SMALL, epochs=20)


@pytest.mark.parametrize("recipe", ["prodlda", "lda"])
def test_topics_that_documents_are_made_of_are_found(recipe: str, run: Run, tmp_path: Path) -> None:
    if recipe == "lda":
        sets = [*SMALL, "training.seed=1"]
        run = train(recipe, tmp_path / "run", data=documents()[0], sets=sets, epochs=40)
    _, beta, theta = documents()
    found = word_probabilities(run.model)
    assert np.allclose(found.sum(1), 1.0)
    overlap = np.minimum(found[:, None], beta[None]).sum(-1)  # 1 less the distance of total variation
    rows, columns = linear_sum_assignment(overlap, maximize=True)
    assert overlap[rows, columns].min() > (0.65 if recipe == "lda" else 0.5)
    top = np.argsort(-found, 1)[rows][:, :6]
    assert all((own // (WORDS // TOPICS) == k).all() for own, k in zip(top, columns, strict=True))
    codes = run.encode("test")[0]
    names = places(run, {"test": run.data("test")})["document"]
    own = theta[[int(each[1:]) for each in names]][:, columns]
    shares = topic_shares(run.model, codes)[:, rows]
    assert (shares.argmax(1) == own.argmax(1))[own.max(1) > 0.7].mean() > 0.9


def test_perplexity_is_of_the_words_in_their_order(run: Run) -> None:
    found, data = [], run.data("test")
    scores = run.evaluate("test", samples=20, on_scores=found.append)
    x = np.concatenate([batch.x.cpu().numpy() for batch in data.blocks()])
    orders = log_orders(torch.from_numpy(x).double()).numpy()
    log_p = np.concatenate([each.log_prob.numpy() for each in found]) - orders
    assert scores.perplexity == pytest.approx(math.exp(-log_p.sum() / x.sum()), rel=1e-5)
    beta = documents()[1]
    assert scores.perplexity < 1 / (beta.mean(0) ** 2).sum() < WORDS + 1
    assert "perplexity" in repr(scores)
    often = np.asarray(run.data("train").x).sum(0)
    usual = math.exp(-(x * np.log(often / often.sum())).sum() / x.sum())
    assert scores.perplexity_of_frequencies == pytest.approx(usual, rel=1e-3)


def test_topics_are_told_drawn_and_judged(run: Run, tmp_path: Path) -> None:
    assert "topics" in [each.name for each in offers(run) if not each.lacks]
    figure = draw(run, "topics", words=3)
    texts = [each.get_text() for each in figure.axes[0].texts]
    assert len(figure.axes) == TOPICS
    assert len(texts) == 3
    assert all(each.startswith("word") for each in texts)
    found = command("evaluate", run.path, _saved(tmp_path), "--samples", "5", "--metrics", "topics")
    said = found.out + found.err
    assert "coherence (NPMI)" in said
    assert "topic 0" in said
    assert "tells next to nothing" not in said
    one = Documents(documents()[0].counts[:1], documents()[0].vocabulary)
    one.save(tmp_path / "one.npz")
    found = command("evaluate", run.path, tmp_path / "one.npz", "--samples", "5", "--metrics", "topics")
    assert "coherence of 1 document tells next to nothing" in found.out + found.err


def _saved(folder: Path) -> Path:
    documents()[0].save(folder / "docs.npz")
    return folder / "docs.npz"


def test_new_documents_are_asked_about_by_their_words(run: Run) -> None:
    own, _, _ = documents()
    new = Documents(own.counts[:9], own.vocabulary)
    other = Documents(own.counts[:9].tocsr()[:, ::-1], own.vocabulary[::-1])
    assert np.allclose(run.encode(new)[0], run.encode(other)[0], atol=1e-6)
    texts = Documents.from_texts(["word1 word2 nothing", "word39"], vocabulary=run.schema.columns)
    assert run.evaluate(texts, samples=5).n == 2
    unknown = Documents.from_texts(["nothing", "word1 word2"], vocabulary=run.schema.columns)
    assert "log p is 0 for 1 of 2 rows, without a count" in new_data(run, unknown).notes[0]
    scores: list[Scores] = []
    assert run.evaluate(unknown, samples=5, on_scores=scores.append).n == 2
    assert (scores[0].log_prob[0], scores[0].log_prob_variance[0], scores[0].reconstruction[0]) == (0, 0, 0)
    assert scores[0].elbo[0] < 0
    assert scores[0].log_prob[1] < -1
    alone = run.evaluate(Documents.from_texts(["nothing"], vocabulary=run.schema.columns), samples=5)
    assert (alone.nll, alone.perplexity, alone.perplexity_of_frequencies) == (0, None, None)
    assert "perplexity" not in str(alone)
    drawn = run.model.sample(3, np.array([[50.0]]), seed=0)
    assert drawn.sum(1).tolist() == [50.0] * 3


def test_what_are_no_documents_yet_is_told_how_to_become_some(run: Run, tmp_path: Path) -> None:
    counts = documents()[0].counts
    for given, told in (
        (counts, "; give counts of words as vaekit.data.Documents(counts, words), of genes as an AnnData object"),
        (["some words", "others"], "data is a list; accepted: a name or a path, a data frame"),
        (["some words", "others"], "; give texts as vaekit.data.Documents.from_texts(texts)"),
        (counts.toarray(), "data is a ndarray; accepted"),
    ):
        wrong: Any = given
        with refuses(told):
            train("prodlda", tmp_path / "run", data=wrong)
        with refuses(told):
            sweep("prodlda", {"training.seed": [1]}, data=wrong, out=tmp_path / "sweep")
        with refuses(told):
            refit_prior(run, "mixture", tmp_path / "prior", data=wrong)
    with refuses("target is a list; accepted"):
        sweep(["some words"], {"training.seed": [1]}, out=tmp_path / "sweep")
    assert not list(tmp_path.iterdir())


def test_coherence_is_that_of_its_definition() -> None:
    rng = np.random.default_rng(1)
    x, top = rng.poisson(0.4, (50, 8)), np.array([[0, 3, 5], [1, 2, 7]])
    want = []
    for words in top:
        pairs = []
        for i in range(3):
            for j in range(i):
                a, b = x[:, words[i]] > 0, x[:, words[j]] > 0
                pairs.append(math.log((a & b).mean() / (a.mean() * b.mean())) / -math.log((a & b).mean()))
        want.append(np.mean(pairs))
    assert np.allclose(coherence(top, x), want)
    assert np.allclose(coherence(top, sparse.csr_array(x)), want)


def test_a_model_without_topics_has_none() -> None:
    with refuses("the decoder is a MLP, which has no topics"):
        word_probabilities(model_of())
