"""A picture of your own: how far codes lie from 0.

vaekit plot runs/digits --parts norms.py:PARTS --what norms --set bins=40
vaekit train digits --parts norms.py:PARTS --set 'pictures.report=["norms"]'
"""

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from vaekit.show.pictures import Picture, Prepared, Subject


@dataclass(frozen=True)
class Norms(Picture):
    """How far codes lie from 0."""

    bins: int = 20

    def __call__(self, subject: Subject) -> Prepared:
        lengths = np.linalg.norm(subject.codes[0], axis=1)  # a subject also has .run, .data and .evaluation

        def draw(theme):
            figure = Figure(figsize=(4, 3), facecolor=theme.background)
            figure.add_subplot().hist(lengths, bins=self.bins)
            return figure

        return Prepared("Norms of codes", "How far the codes of the split lie from 0.", draw)


PARTS = {"pictures": {"norms": Norms}}
