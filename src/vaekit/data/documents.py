"""Documents as bags of words: how often each word of a vocabulary is in each of them, a sparse matrix."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MOST, number_of, several, shown, wrong_kind
from ..settings import named, option, unset
from ..system.disk import write_atomic
from .annotated import are_counts, columns_known, matrix_rows
from .base import Content, Split
from .columns import Column
from .exposure import TOTAL
from .formats import array_names, check_unpacked, read_arrays
from .headers import AS_IT_IS, Reading

WORDS = "words of documents"
"""Why the columns of such data are what they are."""
CSR = frozenset({"data", "indices", "indptr", "shape"})
"""The arrays of a sparse matrix, as `scipy.sparse.save_npz` calls them."""
SPARSE = frozenset({"data", "format", "shape"})
"""Those of one in any format."""
NAME = 64
"""Bytes that the name of a word takes, about."""
COUNTER = ("lowercase", "stop_words", "token_pattern", "ngram_range", "max_df", "min_df", "max_features")
"""Options of scikit-learn's `CountVectorizer` that are passed on."""


@dataclass(frozen=True, eq=False)
class Documents:
    """Counts (N, V) of the words of a `vocabulary` (V,) in N documents, a SciPy sparse matrix; `titles` (N,) name them.

    What scikit-learn's `CountVectorizer` gives, or gensim's `corpus2csc(corpus).T`. Without a vocabulary words are
    called word0, word1, …. Raises `TypeError` for counts of another kind, `ValueError`, one line, for numbers that
    are no counts, and for names of another number, or not unique.

    >>> documents = Documents.from_texts(["A cat and a dog.", "Dog sees dog."], min_df=1)
    >>> documents.vocabulary, documents.counts.toarray().tolist()
    (('and', 'cat', 'dog', 'sees'), [[1, 1, 1, 0], [0, 0, 2, 1]])
    """

    counts: Any
    vocabulary: Sequence[str] = ()
    titles: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not hasattr(self.counts, "tocsr"):
            raise wrong_kind("counts", self.counts, "a SciPy sparse matrix (N, V)")
        rows, words = self.counts.shape
        vocabulary = tuple(map(str, self.vocabulary)) or tuple(f"word{i}" for i in range(words))
        titles = tuple(map(str, self.titles))
        if len(vocabulary) != words:
            raise ValueError(f"counts are of {number_of(words, 'word')}, but the vocabulary has {len(vocabulary)}")
        if titles and len(titles) != rows:
            raise ValueError(f"counts are of {number_of(rows, 'document')}, but there are {len(titles)} titles")
        if not are_counts(self.counts.tocsr().data):
            raise ValueError("these are no counts: words are counted, 0, 1, 2, …; not weighted (tf-idf), not shares")
        if len(set(vocabulary)) < words:
            seen: set[str] = set()
            twice = next(each for each in vocabulary if each in seen or seen.add(each))  # type: ignore[func-returns-value]
            raise ValueError(f"the vocabulary has {twice!r} more than once; accepted: words that are unique")
        object.__setattr__(self, "vocabulary", vocabulary)
        object.__setattr__(self, "titles", titles)

    def __repr__(self) -> str:
        of = f"{number_of(len(self), 'document')} of {number_of(len(self.vocabulary), 'word')}"
        return f"<{of}: {several(self.vocabulary, MOST)}>"

    def __len__(self) -> int:
        return self.counts.shape[0]

    @classmethod
    def from_texts(
        cls, texts: Iterable[str], titles: Sequence[str] = (), vocabulary: Sequence[str] = (), **options: Any
    ) -> Documents:
        """The words of texts counted by scikit-learn's `CountVectorizer`, by its `options`: min_df=5, max_df=0.5,
        max_features=2000, stop_words="english", …. With a `vocabulary`, such as that of a run (`run.schema.columns`),
        those of its words alone.

        Raises `ValueError` for other options, and where no word is left.
        """
        from sklearn.feature_extraction.text import CountVectorizer  # half a second, needed here only

        if others := [each for each in options if each not in COUNTER]:
            raise ValueError(f"unknown option {others[0]!r} of counting words; accepted: {', '.join(COUNTER)}")
        if isinstance(texts, str):
            raise wrong_kind("texts", texts, "several texts; of one give a list of it")
        texts = list(texts)
        if (bad := next((i for i, each in enumerate(texts) if not isinstance(each, str)), None)) is not None:
            raise wrong_kind(f"text {bad}", texts[bad], "a text; of none give an empty one")
        counter = CountVectorizer(vocabulary=list(vocabulary) or None, **options)
        try:
            counts = counter.fit_transform(texts)
        except ValueError as error:
            raise ValueError(f"texts have no words to count: {str(error).splitlines()[0]}") from None
        return cls(counts, tuple(counter.get_feature_names_out()), titles)

    def without_empty(self) -> Documents:
        """Those documents that have a word: of others there is nothing to learn, and training refuses them."""
        rows = np.flatnonzero(np.asarray(self.counts.tocsr().sum(1)).ravel() > 0)
        return Documents(
            self.counts.tocsr()[rows],
            self.vocabulary,
            tuple(self.titles[i] for i in rows.tolist()) if self.titles else (),
        )

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write them to an `.npz` file, which is one of `scipy.sparse.save_npz` with the words, and titles, beside.

        Raises `ValueError` for another ending, and where a file is there that is not to be replaced (`overwrite`).
        """
        if (place := Path(path)).suffix.lower() != ".npz":
            raise ValueError(f"{place} has the ending {place.suffix!r}; accepted: .npz, by which documents are read")
        if place.exists() and not overwrite:
            raise ValueError(f"{place} is there already; name another, or add {option('overwrite')} to replace it")
        matrix = self.counts.tocsr()
        arrays = {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr, "format": np.array(b"csr")}
        arrays |= {"shape": np.array(matrix.shape), "vocabulary": np.array(self.vocabulary, dtype=str)}
        arrays |= {"titles": np.array(self.titles, dtype=str)} if self.titles else {}

        def write(place: Path) -> None:
            with place.open("wb") as file:
                np.savez_compressed(file, allow_pickle=False, **arrays)

        write_atomic(place, write)


def are_documents(path: Path) -> bool:
    """Whether an `.npz` file has a sparse matrix, by the names of its arrays; not of one that is damaged."""
    if path.suffix.lower() != ".npz" or not path.is_file():
        return False
    try:
        return any(set(array_names(path)) >= each for each in (CSR, SPARSE))
    except ValueError:
        return False


def are_words(columns: Sequence[Column]) -> bool:
    """Whether the columns of a table are words, its rows documents.

    >>> are_words([Column("cat", "count", why=WORDS)]), are_words([])
    (True, False)
    """
    return bool(columns) and columns[0].why == WORDS


def read_documents(path: Path, reading: Reading = AS_IT_IS) -> Content:
    """The content of an `.npz` file of a sparse matrix, as `Documents.save` and `scipy.sparse.save_npz` write it, the
    words in its array "vocabulary". Raises `ValueError` where it is damaged or of another format.
    """
    from scipy.sparse import csc_array, csr_array

    arrays = read_arrays(path)
    given = np.atleast_1d(arrays.get("format", np.array("csr"))).tolist()[:1]
    form = next((each.decode("latin-1") if isinstance(each, bytes) else each for each in given), None)
    makers = {"csr": csr_array, "csc": csc_array}
    if form not in makers:
        raise ValueError(f"{path} has a sparse matrix in the format {shown(form)}; accepted: {', '.join(makers)}")
    if lacking := CSR - arrays.keys():
        raise ValueError(f"{path} is no whole sparse matrix: it has no {sorted(lacking)[0]}")
    if (sides := arrays["shape"]).dtype.kind not in "iu" or sides.shape != (2,):
        raise ValueError(f"{path} is no whole sparse matrix: its shape is {shown(sides.tolist())}")
    shape = tuple(sides.tolist())
    check_unpacked(path, NAME * max(shape))  # a matrix of nothing has any number of words
    try:
        matrix = makers[form]((arrays["data"], arrays["indices"], arrays["indptr"]), shape=shape)
        matrix.check_format(full_check=True)
    except (ValueError, TypeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path} is no whole sparse matrix: {reason}") from None
    names = {key: arrays[key].tolist() for key in ("vocabulary", "titles") if key in arrays}
    try:
        documents = Documents(matrix, **names)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return content_of(documents, str(path), reading)


def content_of(documents: Documents, name: str, reading: Reading = AS_IT_IS) -> Content:
    """Documents as rows of counts, a column for each word, their zeros left out.

    Raises `ValueError`, one line, for settings that they have no place for, and where words lack that a run knows.
    """
    for key in ("label", "layer", "covariates"):
        if (value := getattr(reading, key)) and not reading.known:
            raise ValueError(
                f"{named(f'data.{key}', value)} is for columns beside the data, but {name} has words alone"
            )
    if reading.kind not in (None, "count"):
        raise ValueError(
            f"{named('data.domain', reading.kind)}; of documents accepted: count; or {unset('data.domain')}"
        )
    if reading.exposure not in (None, TOTAL):
        raise ValueError(f"{named('data.exposure', reading.exposure)}; of documents accepted: {TOTAL}")
    x, words = matrix_rows(documents.counts, name, empty=bool(reading.known)), tuple(documents.vocabulary)
    if reading.known:
        try:
            x, words = columns_known(x, words, reading.known, name, "words"), tuple(reading.known)
        except ValueError as error:
            count = "count words by its vocabulary: Documents.from_texts(…, vocabulary=run.schema.columns)"
            raise ValueError(f"{error}; {count}") from None
    origin = np.array(documents.titles, object) if documents.titles else None
    table = tuple(Column(each, "count", why=WORDS, dtype="int64") for each in words)
    return Content({"train": Split(x, origin=origin)}, (), words, table=table, kind="count")
