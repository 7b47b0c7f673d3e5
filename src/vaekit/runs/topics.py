"""The topics of a run beside documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..data.tensors import TensorSplit
from ..evaluation.topics import Topics, topics_in
from ..seeding import chosen

if TYPE_CHECKING:
    from .run import Run


def topics_of(run: Run, data: TensorSplit, split: str, n: int, *, seed: int = 0) -> Topics:
    """The `Topics` of `run` in at most n documents of a split, chosen by the seed: their words, coherence, shares.

    Raises `ValueError` for a run whose decoder is none of topics.
    """
    from scipy.sparse import csr_array, vstack  # a third of a second, for who asks for topics

    rows, counts, codes = chosen(len(data), n, seed), [], []
    for start in range(0, len(rows), data.block_rows):
        batch = run.model.asked(data.rows(rows[start : start + data.block_rows]))
        counts.append(csr_array(batch.x.flatten(1).cpu().numpy()))
        codes.append(run.model.encode(batch).double().cpu().numpy())
    words = run.schema.columns or tuple(map(str, range(counts[0].shape[1])))
    return topics_in(run.model, words, vstack(counts), np.concatenate(codes), split)
