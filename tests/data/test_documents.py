"""Documents: counts of words, from matrices, files and texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from models_for_tests import refuses
from scipy import sparse

from vaekit.data import Documents, load
from vaekit.data.documents import are_documents
from vaekit.data.sparse import SparseRows
from vaekit.runs.given import fingerprint
from vaekit.spec.targets import recipe_in_memory, usual_recipe

RNG = np.random.default_rng(0)
COUNTS = RNG.poisson(0.3, (60, 30))
COUNTS[:, 0] += 1
WORDS = tuple(f"w{i}" for i in range(30))
TITLES = tuple(f"title {i}" for i in range(60))


def test_documents_are_the_same_in_memory_and_in_files(tmp_path: Path) -> None:
    documents = Documents(sparse.csr_array(COUNTS), WORDS, TITLES)
    documents.save(tmp_path / "own.npz")
    before = (tmp_path / "own.npz").read_bytes()
    with refuses("own.npz is there already; name another, or add overwrite=True to replace it"):
        documents.without_empty().save(tmp_path / "own.npz")
    assert (tmp_path / "own.npz").read_bytes() == before
    documents.save(tmp_path / "own.npz", overwrite=True)
    with refuses("accepted: .npz, by which documents are read"):
        documents.save(tmp_path / "own")
    sparse.save_npz(tmp_path / "plain.npz", sparse.csc_array(COUNTS))
    own, plain = load(tmp_path / "own.npz", exposure="total"), load(tmp_path / "plain.npz", exposure="total")
    found = load(documents, exposure="total")
    assert fingerprint(own) == fingerprint(plain) == fingerprint(found)
    assert (found.columns, own.columns, plain.columns[:2]) == (WORDS, WORDS, ("word0", "word1"))
    train = found.splits["train"]
    assert isinstance(train.x, SparseRows)
    assert (found.domain.kind, found.exposed) == ("count", True)
    rows = [TITLES.index(each) for each in train.origin]
    assert np.array_equal(train.x, COUNTS[rows])
    assert np.array_equal(train.y[:, -1], COUNTS[rows].sum(1))
    again = sparse.load_npz(tmp_path / "own.npz")  # SciPy's own reader
    assert np.array_equal(again.toarray(), COUNTS)
    assert usual_recipe(tmp_path / "own.npz") == recipe_in_memory(documents) == "prodlda"
    np.savez(tmp_path / "arrays.npz", x=COUNTS)
    assert not are_documents(tmp_path / "arrays.npz")


def test_words_of_texts_are_counted_as_scikit_learn_does() -> None:
    documents = Documents.from_texts(["a cat, a cat and THE dog", "dogs", "the dog"], stop_words="english", min_df=1)
    assert documents.vocabulary == ("cat", "dog", "dogs")
    assert documents.counts.toarray().tolist() == [[2, 1, 0], [0, 0, 1], [0, 1, 0]]
    new = Documents.from_texts(["a bird", "dog dog"], ["one", "two"], documents.vocabulary)
    assert new.counts.toarray().tolist() == [[0, 0, 0], [0, 2, 0]]
    assert new.without_empty().titles == ("two",)
    with refuses("unknown option 'preprocesor'"):
        Documents.from_texts(["a"], preprocesor=1)
    with refuses("no words to count"):
        Documents.from_texts(["the"], stop_words="english")


def test_what_are_no_documents_is_refused(tmp_path: Path) -> None:
    with refuses("accepted: a SciPy sparse matrix (N, V)"):
        Documents(COUNTS)
    with refuses("counts are of 30 words, but the vocabulary has 2"):
        Documents(sparse.csr_array(COUNTS), ("a", "b"))
    with refuses("has 'w1' more than once"):
        Documents(sparse.csr_array(COUNTS), (*WORDS[:-1], "w1"))
    documents = Documents(sparse.csr_array(COUNTS), WORDS)
    with refuses("not weighted (tf-idf)"):
        Documents(sparse.csr_array(COUNTS * 0.5), WORDS)
    with pytest.raises(TypeError, match="text 1"):
        Documents.from_texts(["a cat", None])
    with refuses("words alone"):
        load(documents, label="w1")
    with refuses("of documents accepted: count"):
        load(documents, domain="real")
    with refuses("of documents accepted: total"):
        load(documents, exposure="w1")
    empty = COUNTS.copy()
    empty[7] = 0
    with refuses("has rows without a count: 7;"):
        load(Documents(sparse.csr_array(empty), WORDS), exposure="total", validation=0, test=0)
    documents.save(tmp_path / "docs.npz")
    arrays = dict(np.load(tmp_path / "docs.npz"))
    for name, value, said in (
        ("indices", arrays["indices"] + 7, "is no whole sparse matrix"),
        ("format", np.array(b"bsr"), "in the format"),
        ("shape", np.array([30, 10**12]), "bytes, which unpack to 64,000,000,000,000 or more: none of it is read"),
        ("shape", np.array([30]), "its shape is [30]"),
        ("vocabulary", np.array(["a", "b"]), "but the vocabulary has 2"),
    ):
        np.savez(tmp_path / "bad.npz", **(arrays | {name: value}))
        with refuses(said):
            load(tmp_path / "bad.npz")
    np.savez(tmp_path / "text.npz", **(arrays | {"format": np.array("csr")}))
    assert load(tmp_path / "text.npz").columns == documents.vocabulary
    for form in ("coo", "dia"):  # whose arrays are no tables
        sparse.save_npz(tmp_path / "other.npz", getattr(sparse, f"{form}_array")(COUNTS))
        with refuses(f"has a sparse matrix in the format '{form}'; accepted: csr, csc"):
            load(tmp_path / "other.npz")
    with refuses("texts is 'a cat sat'; accepted: several texts"):
        Documents.from_texts("a cat sat")


@pytest.mark.parametrize("order", [slice(None, None, -1), slice(None)])
def test_a_file_is_known_again_by_its_words(order: slice, tmp_path: Path) -> None:
    from vaekit.data.documents import content_of
    from vaekit.data.headers import Reading

    new = Documents(sparse.csr_array(COUNTS[:, order]), WORDS[order])
    found = content_of(new, "new", Reading(known=WORDS))
    assert np.array_equal(found.splits["train"].x, COUNTS)
    with refuses("new lacks 1 of the 31 words that the model was trained on: other; count words by its vocabulary"):
        content_of(new, "new", Reading(known=(*WORDS, "other")))
