"""What is lost of numbers is judged as encoders see them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vaekit.data.digits import _units, loses
from vaekit.data.domains import Domain, Warp
from vaekit.distributions.warps import WARPS, warped


def test_of_no_numbers_nothing_is_lost() -> None:
    assert not loses(np.zeros(0), np.zeros(0, np.float32))  # where NumPy would warn, which is an error here


@pytest.mark.parametrize("warp", WARPS)
def test_numbers_are_seen_as_encoders_see_them(warp: Warp) -> None:
    domain = Domain("positive" if warp == "log" else "real", location=(0.5, -2.0), scale=(3.0, 0.1), warp=warp)
    x = np.array([[1e-9, 7.0], [2.5, 1e12]])
    location, scale = (torch.tensor(each, dtype=torch.float64) for each in (domain.location, domain.scale))
    np.testing.assert_allclose(_units(domain, x), warped(warp, torch.from_numpy(x), location, scale), rtol=1e-14)
