"""Residual networks: images of any size, layers against what they are said to be, memory given back."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models_for_tests import float64, refuses
from torch import Tensor, nn
from torch.nn.functional import conv2d, group_norm, pad

from vaekit.networks.patches import PatchDiscriminator
from vaekit.networks.residual import Attention, Block, Down, ResNetDecoder, ResNetEncoder, levels
from vaekit.seeding import seeded

SIZES = st.integers(1, 13)


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


def test_all_levels_have_as_many_groups_of_several_channels() -> None:
    """Normalised alone, a channel would not tell a bright image from a dark one."""

    def groups(**given: int) -> set[int]:
        network = ResNetEncoder((3, 16, 16), channels=(8, 12, 20), blocks=1, **given)
        return {each.num_groups for each in network.modules() if isinstance(each, nn.GroupNorm)}

    assert groups() == {2}
    assert groups(groups=4) == {4}
    with refuses("groups is 3; accepted: a number that divides all channels [8, 12, 20]"):
        groups(groups=3)


def test_what_is_computed_again_has_the_same_gradients() -> None:
    def gradients(checkpoint: bool) -> list[Tensor]:
        with seeded(0):
            network = ResNetEncoder((1, 8, 8), channels=(4, 4), blocks=1, checkpoint=checkpoint)
            scrambled(network)
            loss = network(torch.randn(2, 1, 8, 8)).square().sum()
        return list(torch.autograd.grad(loss, list(network.parameters())))

    for one, other in zip(gradients(True), gradients(False), strict=True):
        assert torch.equal(one, other)


def test_levels_that_do_not_fit_together_are_refused() -> None:
    assert levels((64, 48), (), (), 2)[0] == (16, 32, 64, 128)
    assert levels((64, 48), (), (), 2, last=(16, 12))[0] == (16, 32, 64)  # known where they end
    for channels, factors, blocks in (((8,), (2,), 1), ((8, 8), (1,), 1), ((8, 8), (), -1), ((0, 8), (), 1)):
        with refuses("levels have channels"):
            levels((8, 8), channels, factors, blocks)


@pytest.mark.parametrize("size", [(4, 9), (8, 8), (16, 16), (33, 40), (64, 64)])
def test_a_discriminator_has_a_logit_of_each_patch_and_of_each_image_by_itself(size: tuple[int, int]) -> None:
    network, x = PatchDiscriminator((2, *size), channels=4), torch.randn(3, 2, 2, *size)
    found = network(x)
    assert found.shape[:3] == (3, 2, 1)
    assert min(found.shape[3:]) >= 1
    torch.testing.assert_close(network(x[1, 1]), found[1, 1], atol=1e-6, rtol=1e-4)
