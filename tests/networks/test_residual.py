"""Residual networks and pyramids: images of any size, layers against what they are said to be, memory given back."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models_for_tests import float64, refuses
from torch import Tensor, nn
from torch.nn.functional import conv2d, group_norm, pad

from vaekit.networks import PyramidEncoder, ResNetDecoder, ResNetEncoder, TopDown
from vaekit.networks.patches import PatchDiscriminator
from vaekit.networks.residual import Attention, Block, Down, levels
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


def scrambled(module: nn.Module) -> nn.Module:
    """With weights that all matter: blocks and attention add nothing at first."""
    for parameter in module.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return module


@settings(max_examples=20)
@given(
    height=SIZES,
    width=SIZES,
    factors=st.lists(st.integers(2, 4), max_size=2),
    condition=st.sampled_from([0, 2]),
    attention=st.sampled_from([(), (1, 2, 3, 4)]),
)
def test_images_of_any_size_to_maps_and_back(
    height: int, width: int, factors: list[int], condition: int, attention: tuple[int, ...]
) -> None:
    channels, image = (4, 6, 8)[: len(factors) + 1], (2, height, width)
    options = {"channels": channels, "factors": tuple(factors), "attention": attention, "blocks": 1}
    encoder = ResNetEncoder(image, condition=condition, **options)  # type: ignore[arg-type]
    y = torch.rand(3, condition) if condition else None
    features = encoder(torch.rand(3, *image), y)
    assert features.shape == (3, *encoder.out_shape)
    side = height
    for factor in factors:
        side = math.ceil(side / factor)
    assert encoder.out_shape[:2] == (channels[-1], side)
    for shape in ((2, *encoder.out_shape[1:]), (5,)):  # maps, and a vector
        decoder = ResNetDecoder(shape, (3, *image), condition, **options)  # type: ignore[arg-type]
        assert decoder.maps == (len(shape) == 3)
        assert decoder(torch.rand(4, 3, *shape), y).shape == (4, 3, 3, *image)


@pytest.mark.parametrize("size", [8, 12, 2])
def test_an_even_side_is_halved_with_a_zero_below_and_to_the_right(size: int) -> None:
    down, x = Down(3, 2), torch.randn(2, 3, size, size)
    expected = conv2d(pad(x, (0, 1, 0, 1)), down.conv.weight, down.conv.bias, stride=2)
    torch.testing.assert_close(down(x), expected)


def test_attention_is_a_mean_of_values_weighed_by_how_keys_meet_queries() -> None:
    with float64(), seeded(0):
        layer, x = scrambled(Attention(6, 2)), torch.randn(2, 6, 3, 4)
        places = group_norm(x, 2, layer.norm.weight, layer.norm.bias, 1e-6).flatten(2).mT  # type: ignore[union-attr]
        query, key, value = (getattr(layer, name)(places) for name in ("query", "key", "value"))
        weights = (query @ key.mT / math.sqrt(6)).softmax(-1)
        expected = x + layer.out(weights @ value).mT.view_as(x)  # type: ignore[operator]
        torch.testing.assert_close(layer(x), expected)


def test_a_block_starts_as_its_shortcut() -> None:
    x = torch.randn(2, 8, 5, 5)
    assert torch.equal(Block(8, 8)(x), x)
    wider = Block(8, 4)
    assert torch.equal(wider(x), wider.shortcut(x))


def test_all_levels_have_as_many_groups() -> None:
    network = ResNetEncoder((3, 16, 16), channels=(8, 12, 20), blocks=1)
    assert {each.num_groups for each in network.modules() if isinstance(each, nn.GroupNorm)} == {4}


def test_what_is_computed_again_has_the_same_gradients() -> None:
    def gradients(checkpoint: bool) -> list[Tensor]:
        with seeded(0):
            network = ResNetEncoder((1, 8, 8), channels=(4, 4), blocks=1, checkpoint=checkpoint)
            scrambled(network)
            loss = network(torch.randn(2, 1, 8, 8)).square().sum()
        return list(torch.autograd.grad(loss, list(network.parameters())))

    for one, other in zip(gradients(True), gradients(False), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("size", [(4, 9), (8, 8), (16, 16), (33, 40), (64, 64)])
def test_a_discriminator_has_a_logit_of_each_patch_and_of_each_image_by_itself(size: tuple[int, int]) -> None:
    network, x = PatchDiscriminator((2, *size), channels=4), torch.randn(3, 2, 2, *size)
    found = network(x)
    assert found.shape[:3] == (3, 2, 1)
    assert min(found.shape[3:]) >= 1
    torch.testing.assert_close(network(x[1, 1]), found[1, 1], atol=1e-6, rtol=1e-4)
