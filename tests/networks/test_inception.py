"""Inception-v3: its size, its blocks against what they are said to be, files that are none of its weights."""

from __future__ import annotations

import math

import pytest
import torch
from models_for_tests import float64, refuses
from torch import Tensor
from torch.nn.functional import avg_pool2d, batch_norm, conv2d, max_pool2d, relu

from vaekit.networks.inception import BLOCKS, InceptionFeatures, layers


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    """Weights of no one's: of the size that keeps features of order one."""
    generator, found = torch.Generator().manual_seed(0), dict[str, Tensor]()
    for name, before, conv in layers():
        shape = (conv.width, before, *conv.kernel)
        found[f"{name}.conv.weight"] = torch.randn(shape, generator=generator) * math.sqrt(2 / math.prod(shape[1:]))
        for key in ("weight", "bias", "running_mean", "running_var"):
            found[f"{name}.bn.{key}"] = torch.rand(conv.width, generator=generator) * 0.5 + (key != "bias") * 0.5
    return found


@pytest.fixture(scope="module")
def network(tensors: dict[str, Tensor]) -> InceptionFeatures:
    return InceptionFeatures(tensors)


def test_it_has_as_many_weights_as_published(tensors: dict[str, Tensor]) -> None:
    """Torchvision counts 23,834,568 weights without the auxiliary classifier, 2,049,000 of them of the last layer."""
    learned = [each.numel() for name, each in tensors.items() if "running" not in name]
    assert sum(learned) == 23_834_568 - 2_049_000


class Twin:
    """A block in the words of its authors: convolutions by their names, one after another."""

    def __init__(self, tensors: dict[str, Tensor], block: str) -> None:
        self.tensors, self.block = tensors, block

    def __call__(self, x: Tensor, *names: str, stride: int = 1) -> Tensor:
        for name in names:
            own = {
                key: self.tensors[f"{self.block}.{name}.{key}"].double()
                for key in ("conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")
            }
            weight = own["conv.weight"]
            last = stride if name == names[-1] else 1
            padding = (0, 0) if last == 2 else (weight.shape[2] // 2, weight.shape[3] // 2)
            y = conv2d(x, weight, None, last, padding)
            statistics = own["bn.running_mean"], own["bn.running_var"]
            x = relu(batch_norm(y, *statistics, own["bn.weight"], own["bn.bias"], eps=0.001))
        return x


def expected(name: str, of: Twin, x: Tensor) -> Tensor:
    def numbered(branch: str, count: int) -> list[str]:
        return [f"{branch}_{i + 1}" for i in range(count)]

    around = avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    if name == "Mixed_5b":
        parts = [of(x, "branch1x1"), of(x, *numbered("branch5x5", 2)), of(x, *numbered("branch3x3dbl", 3))]
        parts += [of(around, "branch_pool")]
    elif name == "Mixed_6a":
        parts = [of(x, "branch3x3", stride=2), of(x, *numbered("branch3x3dbl", 3), stride=2), max_pool2d(x, 3, 2)]
    elif name == "Mixed_6b":
        parts = [of(x, "branch1x1"), of(x, *numbered("branch7x7", 3)), of(x, *numbered("branch7x7dbl", 5))]
        parts += [of(around, "branch_pool")]
    elif name == "Mixed_7a":
        parts = [of(x, *numbered("branch3x3", 2), stride=2), of(x, *numbered("branch7x7x3", 4), stride=2)]
        parts += [max_pool2d(x, 3, 2)]
    else:
        three, twice = of(x, "branch3x3_1"), of(x, "branch3x3dbl_1", "branch3x3dbl_2")
        parts = [of(x, "branch1x1"), of(three, "branch3x3_2a"), of(three, "branch3x3_2b")]
        parts += [of(twice, "branch3x3dbl_3a"), of(twice, "branch3x3dbl_3b")]
        parts += [of(max_pool2d(x, 3, 1, 1) if name == "Mixed_7c" else around, "branch_pool")]
    return torch.cat(parts, 1)


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("Mixed_5b", 192, 256),
        ("Mixed_6a", 288, 768),
        ("Mixed_6b", 768, 768),
        ("Mixed_7a", 768, 1280),
        ("Mixed_7b", 1280, 2048),
        ("Mixed_7c", 2048, 2048),
    ],
)
def test_blocks_are_those_of_the_network_of_fid(
    network: InceptionFeatures, tensors: dict[str, Tensor], name: str, before: int, after: int
) -> None:
    block = next(each for each in BLOCKS if each.name == name)
    x = torch.randn(1, before, 5, 6, generator=torch.Generator().manual_seed(1))
    wanted = expected(name, Twin(tensors, name), x.double())
    assert wanted.shape[1] == after
    torch.testing.assert_close(network._block(block, x).double(), wanted, rtol=1e-3, atol=1e-4)


def test_images_of_any_size_have_2048_features(network: InceptionFeatures) -> None:
    with torch.no_grad():
        found = network(torch.rand(1, 3, 5, 9) * 2 - 1)
    assert found.shape == (1, 2048)
    assert bool(found.isfinite().all())
    assert float(found.std()) > 0
    assert not network.state_dict(), "nothing of it is saved"


def test_other_weights_are_refused(tensors: dict[str, Tensor]) -> None:
    with refuses("'Conv2d_1a_3x3.conv.weight' lacks; accepted: (32, 3, 3, 3), as pytorch-fid has it"):
        InceptionFeatures({})
    other = tensors | {"Mixed_7c.branch_pool.bn.bias": torch.zeros(3)}
    with refuses("'Mixed_7c.branch_pool.bn.bias' has shape (3,)"), float64():
        InceptionFeatures(other)
