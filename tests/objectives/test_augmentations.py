"""Views of data: moved by what was asked, and no more."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vaekit.data.batch import Batch
from vaekit.objectives.augmentations import moved, swapped
from vaekit.seeding import seeded


def test_views_of_images_are_moved_as_asked():
    dot = torch.zeros(400, 1, 21, 21)
    dot[..., 10, 15] = 1.0
    up, across = torch.meshgrid(torch.arange(21.0) - 10, torch.arange(21.0) - 10, indexing="ij")

    def centers(images: Tensor) -> Tensor:
        total = images.sum((-1, -2))
        return torch.cat([(images * grid).sum((-1, -2)) / total for grid in (across, up)], -1)

    with seeded(0):
        still, shifted, turned, wider = (
            centers(moved(Batch(dot), *by).x)
            for by in ((0.0, 0.0, 0.0), (0.1, 0.0, 0.0), (0.0, 30.0, 0.0), (0.0, 0.0, 0.2))
        )
    assert torch.allclose(still, torch.tensor([5.0, 0.0]).expand(400, 2), atol=1e-6)
    by = (shifted - still).abs().amax(0)
    assert (by < 2.1 + 0.5).all()  # a tenth of 21, but for the rounding of a dot's center
    assert (by > 1.7).all()
    angles = torch.atan2(turned[:, 1], turned[:, 0]).rad2deg()
    assert 25 < angles.abs().max() < 36
    assert angles.min() < -20 < 20 < angles.max()
    assert torch.allclose(turned.norm(dim=-1), torch.tensor(5.0), atol=0.5)
    assert 5 / 1.2 - 0.5 < wider[:, 0].min() < 4.5
    assert 5.5 < wider[:, 0].max() < 5 / 0.8 + 0.5
    assert wider[:, 1].abs().max() < 1e-6


@pytest.mark.parametrize("sides", [(41, 41), (61, 31), (31, 61)])
def test_what_is_turned_keeps_its_shape_whatever_the_sides_of_the_image(sides: tuple[int, int]):
    """By the second moments of a bar: their axis turns by the angle, their sum stays."""
    height, width = sides
    down, across = torch.meshgrid(
        torch.arange(height) - (height - 1) / 2, torch.arange(width) - (width - 1) / 2, indexing="ij"
    )

    def axes(images: Tensor) -> tuple[Tensor, Tensor]:
        mass = images.sum((-1, -2))
        xx, xy, yy = ((images * grid).sum((-1, -2)) / mass for grid in (across**2, across * down, down**2))
        return 0.5 * torch.atan2(2 * xy, xx - yy).rad2deg(), xx + yy

    for bar in ((across.abs() <= 1) & (down.abs() <= 10), (down.abs() <= 1) & (across.abs() <= 10)):
        images = bar.float().expand(200, 1, height, width)
        (before, size), (after, turned_size) = axes(images), axes(moved(Batch(images), 0.0, 40.0, 0.0).x)
        angle = (after - before + 90) % 180 - 90
        assert torch.allclose(turned_size, size, rtol=0.05)
        assert angle.abs().max() < 40.5
        assert angle.min() < -36
        assert angle.max() > 36


def test_views_of_tables_keep_columns():
    x = torch.arange(3000.0).view(1000, 3)
    with seeded(0):
        got = swapped(Batch(x), 0.2).x
    assert ((got - x) % 3 == 0).all()  # what is put in is of the same column
    assert 0.17 < float((got != x).double().mean()) < 0.23
