"""What tests look at of figures."""

from __future__ import annotations

import io
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import imread

from vaekit.show import plots
from vaekit.show.pictures import Prepared


def pixels(figure: Figure) -> np.ndarray:
    """The figure as it is saved, (H, W, 3) in [0, 1]."""
    file = io.BytesIO()
    plots.save(figure, file)  # type: ignore[arg-type]
    return imread(io.BytesIO(file.getvalue()), format="png")[..., :3]


def given(prepared: Prepared) -> tuple[Any, ...]:
    """The arrays that are drawn."""
    assert isinstance(prepared.draw, partial)
    return prepared.draw.args
