"""Tiles: where a network sees enough of what is around them they give what the whole image gives, in bounded memory."""

from __future__ import annotations

import pytest
import torch
from models_for_tests import float64, refuses
from torch import nn

from vaekit import Domain, Schema, build_model
from vaekit.models import VAE
from vaekit.models.tiling import _Side, decode_tiled, encode_tiled
from vaekit.spec.keys import ModelSpec

NETWORK = {"name": "resnet", "channels": [2, 2], "blocks": 1}


def model_of_maps(size: tuple[int, int], **network: object) -> VAE:
    parts = {"encoder": NETWORK | network, "decoder": NETWORK | network, "likelihood": "normal-fixed"}
    spec = ModelSpec(**parts, latents={"z": {"size": 2, "maps": True}})  # type: ignore[arg-type]
    return build_model(spec, Schema(event_shape=(1, *size), domain=Domain("real"))).eval()


def local(model: VAE) -> VAE:
    """A model without what looks at all places at once, and with weights that do something."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.GroupNorm) or type(child).__name__ == "Attention":
                setattr(module, name, nn.Identity())
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator)
    return model


@pytest.mark.parametrize("turned", [False, True])
def test_of_a_convolution_tiles_are_the_whole(turned: bool) -> None:
    def sides(high: int, wide: int) -> tuple[int, int]:
        return (wide, high) if turned else (high, wide)

    with float64():
        tiled, whole = local(model_of_maps(sides(128, 32))), local(model_of_maps(sides(144, 32)))
        x = torch.randn(1, 1, *sides(144, 32), generator=torch.Generator().manual_seed(1))
        z = whole.encode(x).view(1, 2, *sides(72, 16))
        # A quarter of an overlap, 28 rows, is more than either network sees of what is around a place.
        torch.testing.assert_close(encode_tiled(tiled, x, overlap=0.75), z, atol=1e-12, rtol=0)
        made = decode_tiled(tiled, z, overlap=0.75, batch_size=2)
        torch.testing.assert_close(made, whole.decode(z.flatten(1)), atol=1e-12, rtol=0)
        small = local(model_of_maps(sides(48, 32)))
        assert float((encode_tiled(small, x) - z).abs().max()) > 1e-6


def test_an_image_of_the_models_own_size_is_one_tile() -> None:
    model = model_of_maps((16, 12))
    x = torch.randn(3, 1, 16, 12)
    z = encode_tiled(model, x)
    assert torch.allclose(z.flatten(1), model.encode(x), atol=1e-6)
    assert torch.allclose(decode_tiled(model, z), model.decode(z.flatten(1)), atol=1e-6)


def test_no_network_sees_more_than_a_tile() -> None:
    model, seen = model_of_maps((32, 32)), []
    for network in (model.encoder, model.decoder):
        network.register_forward_pre_hook(lambda module, given: seen.append(given[0].numel()))
    z = encode_tiled(model, torch.zeros(2, 1, 160, 96))
    assert decode_tiled(model, z).shape == (2, 1, 160, 96)
    assert max(seen) <= 32 * 32
    assert z.isfinite().all()


@pytest.mark.parametrize(("tile", "made"), [(32, 8), (8, 32), (16, 16)])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.6, 0.95])
def test_weights_of_tiles_add_up_to_one_everywhere(tile: int, made: int, overlap: float) -> None:
    for more in (0, 1, 3, 4, 9):
        side = _Side(tile + more * max(1, tile // made), tile, made, overlap)
        total = torch.zeros(side.size)
        for start, weight in zip(side.starts, side.weights, strict=True):
            total[side.out(start)] += weight
        assert torch.allclose(total, torch.ones_like(total))
        assert all(weight.isfinite().all() for weight in side.weights)


def test_what_can_not_be_tiled_is_said() -> None:
    model = model_of_maps((16, 16))
    with refuses("x is of 12x32; accepted: sides from 16x16 on, multiples of 2 and 2"):
        encode_tiled(model, torch.zeros(1, 1, 12, 32))
    with refuses("x is of 32x33"):
        encode_tiled(model, torch.zeros(1, 1, 32, 33))
    with refuses("z has shape (1, 3, 8, 8)"):
        decode_tiled(model, torch.zeros(1, 3, 8, 8))
    with refuses("overlap 1.0"):
        encode_tiled(model, torch.zeros(1, 1, 32, 32), overlap=1.0)
    with refuses("15x16 are no multiples"):
        encode_tiled(model_of_maps((15, 16)), torch.zeros(1, 1, 30, 32))
