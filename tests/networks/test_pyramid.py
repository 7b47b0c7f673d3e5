"""Pyramids of features, and the way down from them: images of any size, any leading dimensions."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models_for_tests import refuses

from vaekit.networks import PyramidEncoder, ResNetDecoder, TopDown
from vaekit.networks.residual import levels
from vaekit.seeding import seeded

SIZES = st.integers(1, 13)


@settings(max_examples=25)
@given(height=SIZES, width=SIZES, factors=st.lists(st.integers(2, 4), max_size=2), condition=st.sampled_from([0, 2]))
def test_features_at_each_resolution(height: int, width: int, factors: list[int], condition: int):
    image, options = (2, height, width), {"channels": (2, 4, 6)[: len(factors) + 1], "factors": tuple(factors)}
    y = torch.rand(3, condition) if condition else None
    encoder = PyramidEncoder(image, condition=condition, **options)
    x = torch.rand(2, 3, *image)
    found = encoder.pyramid(x, y)
    assert [tuple(each.shape[3:]) for each in found] == levels(image[1:], options["channels"], tuple(factors), 1)[2]
    assert [tuple(each.shape[2:]) for each in found] == encoder.shapes
    assert torch.equal(encoder(x, y), found[-1])
    down = math.prod(factors)
    if height % down == width % down == 0:
        assert encoder.out_shape[1:] == (height // down, width // down)


@pytest.mark.parametrize("blocks", [(1,), (1, -1)])
def test_levels_that_do_not_fit_together_are_refused(blocks: tuple[int, ...]):
    with refuses(f"blocks {list(blocks)} for 2 levels"):
        PyramidEncoder((1, 8, 8), channels=(4, 8), blocks=blocks)


def test_the_way_down_takes_what_is_decoded_with_any_leading_dimensions():
    ending = ResNetDecoder((4, 6, 5), (1, 1, 6, 5), channels=(4,), blocks=0)
    with seeded(0):
        down = TopDown([(4, 6, 5), (6, 3, 3)], groups=(2, 1), channels=2, end=ending, condition=3)
    for name, parameter in down.named_parameters():
        torch.nn.init.normal_(parameter, std=0.5) if "added" in name else None
    (size,) = down.in_shape
    assert size == 2 * 2 * 9 + 2 * 30
    z, y = torch.randn(2, 5, size), torch.randn(5, 3)
    got = down(z, y)
    assert torch.allclose(got[1, 2], down(z[1, 2], y[2]), atol=1e-5)
    assert not torch.allclose(got, down(z, -y), atol=1e-3)
    with refuses("groups of latents are [0, 0]; accepted: how many there are at each of 2 levels"):
        TopDown([(4, 6, 5), (6, 3, 3)], groups=(0, 0), channels=2, end=ending)
