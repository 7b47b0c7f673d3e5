"""Networks: the one contract, and what they refuse. Shapes and gradients in models are in the generic suite."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from models_for_tests import refuses
from rounding_for_tests import close_in_ulps
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from vaekit.modules import apart
from vaekit.networks import DECODERS, ENCODERS
from vaekit.networks.base import ACTIVATIONS, NORMALIZATIONS, BatchNorm, activation_named
from vaekit.networks.convolutional import MAP_NORMALIZATIONS, ConvDecoder, ConvEncoder
from vaekit.networks.mlp import MLP
from vaekit.seeding import seeded

SIZES = st.integers(1, 13)


@given(height=SIZES, width=SIZES, layers=st.integers(1, 4), condition=st.sampled_from([0, 2]), maps=st.integers(1, 3))
def test_convolutions_take_images_of_any_size(height: int, width: int, layers: int, condition: int, maps: int):
    channels, image = (2, 3, 2, 3)[:layers], (2, height, width)
    encoder = ConvEncoder(image, condition=condition, channels=channels, dense=4)
    decoder = ConvDecoder(encoder.out_shape, (maps, *image), condition, channels=channels, dense=4)
    y = torch.rand(3, condition) if condition else None
    features = encoder(torch.rand(3, *image), y)
    assert features.shape == (3, *encoder.out_shape)
    assert decoder(features.expand(2, -1, -1), y).shape == (2, 3, maps, *image)


@pytest.mark.parametrize("table", [ENCODERS, DECODERS], ids=["encoders", "decoders"])
@pytest.mark.parametrize("condition", [0, 2])
def test_leading_dimensions_are_a_loop(table, condition: int):
    for network in table.values():
        with seeded(0):
            made = network(in_shape=(1, 4, 4), out_shape=(2, 1, 4, 4), condition=condition)
            x, y = torch.rand(3, 5, 1, 4, 4), torch.rand(5, condition) if condition else None
        with torch.no_grad():
            got = made(x, y)
            for s, b in itertools.product(range(3), range(5)):
                alone = made(x[s, b], None if y is None else y[b])
                assert torch.allclose(got[s, b], alone, atol=1e-6)
        if condition:
            assert not torch.allclose(got, made(x, 1 - y))


def test_a_late_condition_joins_what_the_convolutions_made_once():
    with seeded(0):
        encoder = ConvEncoder((1, 8, 6), (3,), 2, channels=(4,), dense=5, late_condition=True)
        x, y = torch.rand(5, 1, 8, 6), torch.rand(7, 5, 2)  # seven draws of a condition for each image
    seen = []
    encoder.layers[0].register_forward_hook(lambda _, given, __: seen.append(len(given[0])))
    with torch.no_grad():
        got = encoder(x, y)
        assert seen == [5]
        for draw, each in zip(y, got, strict=True):
            features = torch.cat([encoder.layers[:3](x), draw], 1)
            assert torch.allclose(each, encoder.layers[3:](features), atol=1e-6)
    assert encoder.layers[0].in_channels == 1
    with refuses("condition=2: it needs y"):
        encoder(x)


def test_without_hidden_layers_an_mlp_is_linear_or_nothing():
    x = torch.rand(3, 2, 2)
    assert torch.equal(MLP((2, 2), hidden=())(x), x.flatten(1))
    linear = MLP((2, 2), (5,), hidden=())
    assert torch.allclose(linear(2 * x) - linear(x), linear(x) - linear(0 * x), atol=1e-6)


@pytest.mark.parametrize("condition", [0, 2])
def test_gated_layers_are_those_of_the_vampprior(condition: int):
    with seeded(0):
        network = MLP((3,), (2,), condition, hidden=(5, 4), activation="identity", gated=True)
        x, y = torch.randn(6, 3), torch.randn(6, condition) if condition else None
    h = x if y is None else torch.cat([x, y], 1)
    *hidden, last = [layer for layer in network.layers if isinstance(layer, nn.Linear)]
    for layer in hidden:  # two linear layers, of which one is let through by the other (Tomczak & Welling's code)
        (w, v), (b, c) = layer.weight.chunk(2), layer.bias.chunk(2)
        h = (h @ w.T + b) * torch.sigmoid(h @ v.T + c)
    assert torch.allclose(network(x, y), last(h), atol=1e-6)


@pytest.mark.parametrize("lead", [(), (4,)])
def test_without_hidden_layers_features_are_x_beside_its_condition(lead: tuple[int, ...]):
    x, y = torch.rand(3, 2, 2), torch.rand(*lead, 3, 5)
    network = MLP((2, 2), condition=5, hidden=())
    assert network.out_shape == (9,)
    assert torch.equal(network(x, y), torch.cat([x.flatten(1).expand(*lead, 3, 4), y], -1))
    with refuses("condition=5: it needs y"):
        network(x)


class Convolved(TorchDispatchMode):
    """The type of each convolution's images and gradients, and how narrow the images are."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[tuple[int, torch.dtype]] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if "convolution" in str(function):
            backward = "backward" in str(function)
            images = args[1] if backward else args[0]
            self.seen |= {(min(images.shape[-2:]), each.dtype) for each in args[: 2 + backward]}
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("image", [(2, 8, 8), (2, 9, 2), (2, 1, 1)])
def test_convolutions_of_narrow_images_are_never_of_bfloat16(image: tuple[int, int, int]):
    encoder = ConvEncoder(image, channels=(2, 3, 2, 3), dense=4)
    decoder = ConvDecoder(encoder.out_shape, (2, *image), channels=(2, 3, 2, 3), dense=4)
    with Convolved() as convolved:
        with torch.autocast("cpu", torch.bfloat16):
            made = decoder(encoder(torch.rand(3, *image)))
        made.float().square().mean().backward()
    assert {dtype for side, dtype in convolved.seen if side < 3} == {torch.float32}
    if min(image) >= 3:
        assert (8, torch.bfloat16) in convolved.seen
    assert all(parameter.grad.dtype == torch.float32 for parameter in [*encoder.parameters(), *decoder.parameters()])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_used(name: str):
    layers = MLP((2,), (1,), hidden=(3,), activation=name).layers
    assert type(layers[1]) is type(activation_named(name))


def test_batch_norm_is_torchs_over_all_leading_dimensions():
    with seeded(0):
        ours, theirs, x = BatchNorm(4), nn.BatchNorm1d(4), 3 * torch.randn(5, 6, 4) + 2
    for _ in range(2):
        assert torch.allclose(ours(x), theirs(x.view(30, 4)).view(5, 6, 4))
    alone = ours(x[:1, 0])  # one row has no variance
    assert torch.allclose(alone, theirs.eval()(x[0, :1]))
    assert close_in_ulps(ours.running_mean, theirs.running_mean)
    assert torch.allclose(ours.eval()(x)[2, 3], ours(x[2, 3][None])[0])


def test_a_pass_apart_leaves_running_averages_as_they_were_and_gives_the_same():
    with seeded(0):
        network, x = MLP((4,), hidden=(3,), normalization="batch"), 5 + torch.randn(2, 20, 4)
    network(x[0])
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    own = list(network.buffers())
    with apart(network):
        found = network(x[1])
    assert all(one is other for one, other in zip(network.buffers(), own, strict=True))
    assert all(torch.equal(buffer, before[name]) for name, buffer in network.named_buffers())
    assert torch.equal(found, network(x[1]))
    assert not torch.equal(network.layers[1].running_mean, before["layers.1.running_mean"])


@pytest.mark.parametrize("condition", [0, 2])
def test_layers_are_normalized(condition: int):
    with seeded(0):
        network = MLP((4,), (1,), condition, hidden=(5, 3), activation="identity", normalization="batch")
        x, y = 7 * torch.randn(50, 4), torch.rand(50, condition) if condition else None
    seen: list[torch.Tensor] = []
    for layer in network.layers:
        if isinstance(layer, BatchNorm):
            layer.register_forward_hook(lambda module, given, result: seen.append(result))
    network(x, y)
    assert [each.shape for each in seen] == [(50, 5), (50, 3)]
    for each in seen:
        assert torch.allclose(each.mean(0), torch.zeros(each.shape[-1]), atol=1e-5)
        assert torch.allclose(each.var(0, unbiased=False), torch.ones(each.shape[-1]), atol=1e-3)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_convolutions_are_normalized_too(normalization: str):
    """Each channel over rows and places, or each row over channels and places, and the dense layer as an MLP's."""
    options = {"channels": (4, 6), "dense": 5, "activation": "identity"}
    with seeded(0):
        network = ConvEncoder((2, 9, 6), normalization=normalization, **options)
        x = 7 * torch.randn(50, 2, 9, 6)
    kinds = [type(NORMALIZATIONS[normalization](1)), type(MAP_NORMALIZATIONS[normalization](1))]
    seen: list[torch.Tensor] = []
    for layer in network.layers:
        if type(layer) in kinds:
            layer.register_forward_hook(lambda module, given, result: seen.append(result))
    network(x)
    assert [each.shape for each in seen] == [(50, 4, 5, 3), (50, 6, 3, 2), (50, 5)]
    for each in seen:
        over = [0, *range(2, each.dim())] if normalization == "batch" else list(range(1, each.dim()))
        assert each.mean(over).abs().max() < 1e-5
        assert (each.var(over, unbiased=False) - 1).abs().max() < 1e-3


def test_an_image_alone_is_normalized_by_running_averages():
    with seeded(0):
        network = ConvEncoder((1, 3, 3), channels=(4, 4), dense=5, normalization="batch")
        x = torch.randn(20, 1, 3, 3)
    for _ in range(3):
        network(x)
    assert torch.allclose(network(x[:1]), network.eval()(x[:1]), atol=1e-6)


def test_dropout_of_a_convolutional_network_is_of_its_last_hidden_layer():
    with seeded(0):
        network = ConvEncoder((1, 8, 8), channels=(4,), dense=1000, activation="sigmoid", dropout=0.3)
        x = torch.rand(20, 1, 8, 8)
        found = network(x)
    kept = found != 0
    assert abs(kept.double().mean() - 0.7) < 4 * (0.3 * 0.7 / kept.numel()) ** 0.5
    assert torch.allclose(0.7 * found[kept], network.eval()(x)[kept], atol=1e-6)


REFUSED = {
    "dropout must be from 0 to less than 1, got 1.0": lambda: ConvEncoder((1, 4, 4), dropout=1.0),
    "normalization 'group'": lambda: ConvEncoder((1, 4, 4), normalization="group"),
    "normalization 'bacth' (did you mean 'batch'?)": lambda: MLP((2,), normalization="bacth"),
    "activation 'rleu' (did you mean 'relu'?)": lambda: MLP((2,), activation="rleu"),
    "hidden layer sizes must be at least 1, got [3, 0]": lambda: MLP((2,), hidden=(3, 0)),
    "channels must be one or more sizes": lambda: ConvEncoder((1, 4, 4), channels=()),
    "at least 1, got [-1]": lambda: ConvDecoder((2,), (1, 1, 4, 4), channels=(-1,)),
    "got data of shape (7,); use 'mlp'": lambda: ConvEncoder((7,)),
    "needs images of shape (C, H, W)": lambda: ConvDecoder((2,), (2, 7)),
    "in_shape is 28; accepted: whole numbers, also of one a tuple, such as (28,)": lambda: MLP(28),
    "hidden is 64; accepted: whole numbers": lambda: MLP((2,), hidden=64),
    "hidden is (6.5,); accepted: whole numbers": lambda: MLP((2,), hidden=(6.5,)),
    "out_shape is 3; accepted: whole numbers": lambda: MLP((2,), 3),
    "channels is 32; accepted: whole numbers": lambda: ConvEncoder((1, 4, 4), channels=32),
    "dense must be at least 1, got 0": lambda: ConvEncoder((1, 4, 4), dense=0),
    "dense must": lambda: ConvDecoder((2,), (1, 1, 4, 4), dense=-3),
    "condition=2: it needs y": lambda: MLP((2,), condition=2)(torch.zeros(1, 2)),
    "condition=1: it needs y": lambda: ConvEncoder((1, 4, 4), condition=1)(torch.zeros(1, 1, 4, 4)),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_networks_refuse(message: str):
    with refuses(message):
        REFUSED[message]()
