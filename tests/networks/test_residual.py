"""Residual networks and pyramids: images of any size, and what their layers do."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models_for_tests import refuses

from vaekit.networks import PyramidEncoder, ResNetDecoder, ResNetEncoder, TopDown
from vaekit.networks.residual import Attention, levels
from vaekit.seeding import seeded

SIZES = st.integers(1, 13)


@settings(max_examples=25)
@given(height=SIZES, width=SIZES, factors=st.lists(st.integers(2, 4), max_size=2), condition=st.sampled_from([0, 2]))
def test_images_of_any_size_are_halved_and_doubled_back(height: int, width: int, factors: list[int], condition: int):
    image, options = (2, height, width), {"channels": (2, 4, 6)[: len(factors) + 1], "factors": tuple(factors)}
    y = torch.rand(3, condition) if condition else None
    encoder = ResNetEncoder(image, condition=condition, blocks=1, **options)
    features = encoder(torch.rand(3, *image), y)
    down = math.prod(factors)
    assert features.shape[1:] == encoder.out_shape
    assert encoder.out_shape[1:] == tuple(levels(image[1:], options["channels"], tuple(factors), 1)[2][-1])
    if height % down == width % down == 0:
        assert encoder.out_shape[1:] == (height // down, width // down)
    for shape in (encoder.out_shape, (5,)):
        decoder = ResNetDecoder(shape, (2, *image), condition, blocks=1, **options)
        assert decoder.maps == (len(shape) == 3)
        assert decoder(torch.rand(2, 3, *shape), y).shape == (2, 3, 2, *image)
    found = PyramidEncoder(image, condition=condition, **options).pyramid(torch.rand(2, 3, *image), y)
    assert [tuple(each.shape[3:]) for each in found] == levels(image[1:], options["channels"], tuple(factors), 1)[2]


@pytest.mark.parametrize(
    ("size", "last", "widths"), [(28, 7, (32, 64, 128)), (32, 8, (32, 64, 128)), (256, 8, (32, 64, 128, 256, 256, 256))]
)
def test_levels_are_derived_from_the_size_of_images(size: int, last: int, widths: tuple[int, ...]):
    channels, factors, sizes = levels((size, size), (), (), 1)
    assert channels == widths
    assert set(factors) == {2}
    assert sizes[-1] == (last, last)


@pytest.mark.parametrize("network", [ResNetEncoder, PyramidEncoder])
def test_levels_that_do_not_fit_together_are_refused(network: type):
    with refuses("channels [4, 8], factors [2, 2]"):
        network((1, 8, 8), channels=(4, 8), factors=(2, 2))
    with refuses("images of shape (C, H, W), got data of shape (5,)"):
        network((5,))


def test_what_is_computed_again_is_the_same():
    kept, again = (ResNetEncoder((1, 8, 8), channels=(4, 8), blocks=1, checkpoint=each) for each in (False, True))
    with torch.no_grad():
        for parameter in kept.parameters():
            parameter.normal_(std=0.3)
    again.load_state_dict(kept.state_dict())
    x = torch.rand(3, 1, 8, 8)
    gradients = []
    for network in (kept, again):
        network(x).square().sum().backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    assert all(bool(each.abs().sum() > 0) for each in gradients[0] if each is not None)


def test_attention_does_not_know_where_places_are():
    with seeded(0):
        attention = Attention(8)
        torch.nn.init.normal_(attention.out.weight)
        x, order = torch.randn(2, 8, 3, 4), torch.randperm(12)
    moved = x.flatten(2)[..., order].view_as(x)
    assert torch.allclose(attention(moved).flatten(2), attention(x).flatten(2)[..., order], atol=1e-5)
    one = x.clone().requires_grad_()
    attention(one)[0, :, 0, 0].sum().backward()
    assert (one.grad[0].abs().sum(0) > 0).all()
    assert not one.grad[1].any()


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
