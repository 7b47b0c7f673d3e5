"""Autoencoders in diffusers' layout: what is read and written gives what diffusers' own class gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from models_for_tests import refuses
from safetensors.torch import load_file, save_file

from vaekit import Domain, Schema, build_model
from vaekit.data.batch import Batch
from vaekit.interop.diffusers import CONFIG, WEIGHTS, from_diffusers, to_diffusers
from vaekit.interop.exported import NOTES
from vaekit.models import VAE
from vaekit.models.scales import latent_scales, measure_scales
from vaekit.seeding import seeded
from vaekit.spec.keys import ModelSpec

CONFIGS: dict[str, dict[str, Any]] = {
    "one level, four groups": {"block_out_channels": [32], "norm_num_groups": 4, "sample_size": 8},
    "two levels": {"block_out_channels": [32, 64], "sample_size": 12, "layers_per_block": 2, "latent_channels": 3},
    "without quant_conv": {
        "block_out_channels": [8, 8, 16],
        "norm_num_groups": 8,
        "sample_size": [16, 8],
        "use_quant_conv": False,
        "use_post_quant_conv": False,
        "in_channels": 1,
        "out_channels": 1,
    },
}


def model_of_maps(size: tuple[int, int] = (8, 8), likelihood: Any = "normal", **changes: Any) -> VAE:
    network = {"name": "resnet", "channels": [8, 16], "blocks": 1} | changes.pop("network", {})
    parts = {"encoder": network, "decoder": network, "likelihood": likelihood}
    spec = ModelSpec(**parts, latents={"z": {"size": 2, "maps": True} | changes.pop("latent", {})})  # type: ignore[arg-type]
    domain = Domain("real", location=3.0, scale=0.5)
    with seeded(0):
        return scrambled(build_model(spec, Schema(event_shape=(2, *size), domain=domain)).eval())


def scrambled(model: Any) -> Any:
    """With weights that all matter: blocks add nothing at first."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return model


def moments(model: VAE, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        q = model.posterior(model.typed(Batch(x)))["z"]
    return q.mean, q.stddev


@pytest.fixture
def diffusers() -> Any:
    module = pytest.importorskip("diffusers", exc_type=ImportError)
    module.utils.logging.set_verbosity_error()
    return module


def autoencoder(diffusers: Any, config: dict[str, Any]) -> Any:
    levels = len(config["block_out_channels"])
    blocks = {"down_block_types": ["DownEncoderBlock2D"] * levels, "up_block_types": ["UpDecoderBlock2D"] * levels}
    with seeded(0):
        return scrambled(diffusers.AutoencoderKL(**config, **blocks).eval())


def check_alike(theirs: Any, mine: VAE, x: torch.Tensor) -> None:
    """The same moments of images as networks see them, and the same images of codes."""
    with torch.no_grad():
        own = theirs.encode(x).latent_dist
        z = torch.randn_like(own.mean)
        decoded = theirs.decode(z).sample
    units = mine.domain.location, mine.domain.scale
    mean, deviation = moments(mine, units[0] + units[1] * x)
    torch.testing.assert_close(mean.view_as(own.mean), own.mean, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(deviation.view_as(own.std), own.std, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(mine.decode(z.flatten(1)), units[0] + units[1] * decoded, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", CONFIGS)
def test_what_diffusers_has_is_read_and_written_back(name: str, diffusers: Any, tmp_path: Path) -> None:
    theirs = autoencoder(diffusers, CONFIGS[name] | {"scaling_factor": 0.25})
    theirs.save_pretrained(tmp_path / "theirs")
    for source in (theirs, tmp_path / "theirs"):
        mine = from_diffusers(source)
        with seeded(1):
            check_alike(theirs, mine, torch.randn(2, *mine.event_shape))
        assert latent_scales(mine) == {"z": 0.25}
    to_diffusers(mine, tmp_path / "mine")
    again = diffusers.AutoencoderKL.from_pretrained(tmp_path / "mine").eval()
    check_alike(again, mine, torch.randn(2, *mine.event_shape))
    assert again.config.scaling_factor == 0.25
    assert from_diffusers(theirs, size=(16, 24)).event_shape[1:] == (16, 24)


@pytest.mark.parametrize("likelihood", ["normal", "normal-fixed", "student-t"])
def test_what_is_trained_here_is_read_by_diffusers(likelihood: str, diffusers: Any, tmp_path: Path) -> None:
    mine = model_of_maps((8, 12), likelihood)
    measure_scales(mine, [Batch(3 + torch.randn(4, 2, 8, 12))])
    theirs = diffusers.AutoencoderKL.from_pretrained(to_diffusers(mine, tmp_path)).eval()
    check_alike(theirs, mine, torch.randn(2, 2, 8, 12))
    assert theirs.config.scaling_factor == latent_scales(mine)["z"]


def test_a_folder_brings_back_the_model_and_its_units(tmp_path: Path) -> None:
    mine = model_of_maps()
    back = from_diffusers(to_diffusers(mine, tmp_path))
    x, z = 3 + torch.randn(2, 2, 8, 8), torch.randn(2, 32)
    assert (back.domain.location, back.domain.scale) == (3.0, 0.5)
    torch.testing.assert_close(moments(back, x), moments(mine, x))
    torch.testing.assert_close(back.decode(z), mine.decode(z))
    (tmp_path / NOTES).unlink()
    assert from_diffusers(tmp_path).domain == Domain("real")


def test_names_of_attention_from_before_are_read(tmp_path: Path) -> None:
    mine = model_of_maps()
    to_diffusers(mine, tmp_path)
    older = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = {}
    for name, tensor in load_file(tmp_path / WEIGHTS).items():
        for new, old in older.items():
            if f"attentions.0.{new}." in name:
                name, tensor = name.replace(new, old), tensor[..., None, None] if tensor.dim() == 2 else tensor
        tensors[name] = tensor
    assert any("proj_attn" in name for name in tensors)
    save_file(tensors, tmp_path / WEIGHTS)
    z = torch.randn(2, 32)
    torch.testing.assert_close(from_diffusers(tmp_path).decode(z), mine.decode(z))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("_class_name", "VQModel", "_class_name is 'VQModel'; accepted: AutoencoderKL"),
        ("mid_block_add_attention", False, "mid_block_add_attention is False; accepted: True"),
        ("act_fn", "relu", "act_fn is 'relu'; accepted: silu or swish"),
        ("norm_num_groups", 3, "norm_num_groups is 3; accepted: 1 or 2 or 4 or 8"),
        ("out_channels", 3, "out_channels is 3; accepted: 2"),
        ("layers_per_block", 0, "layers_per_block is 0; accepted: whole numbers from 1 on"),
        ("down_block_types", ["AttnDownEncoderBlock2D"] * 2, "accepted: DownEncoderBlock2D for each of 2 levels"),
        ("nonsense", 1, "'nonsense' is not known"),
        ("sample_size", 9, "images are of 9x9; accepted: multiples of 2"),
        ("layers_per_block", 2, "lacks 'encoder.down_blocks.0.resnets.1.norm1.weight'"),
        ("latent_channels", 3, "has shape"),
        ("block_out_channels", "wide", "block_out_channels is 'wide'"),
    ],
)
def test_other_layers_are_refused_by_their_key(key: str, value: object, words: str, tmp_path: Path) -> None:
    to_diffusers(model_of_maps(), tmp_path)
    config = json.loads((tmp_path / CONFIG).read_text())
    (tmp_path / CONFIG).write_text(json.dumps(config | {key: value}))
    with refuses(words):
        from_diffusers(tmp_path)


def test_files_that_lack_or_are_broken_are_said(tmp_path: Path) -> None:
    with refuses("has no config.json"):
        from_diffusers(tmp_path)
    to_diffusers(model_of_maps(), tmp_path)
    tensors = load_file(tmp_path / WEIGHTS)
    save_file(tensors | {"more": torch.zeros(1)}, tmp_path / WEIGHTS)
    with refuses("has 'more', which an AutoencoderKL of its config has not"):
        from_diffusers(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(b"nothing")
    with refuses("is no safetensors file"):
        from_diffusers(tmp_path)
    (tmp_path / CONFIG).write_text("[")
    with refuses("is no JSON"):
        from_diffusers(tmp_path)
    with refuses("a Linear has no config"):
        from_diffusers(torch.nn.Linear(1, 1))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"latent": {"maps": False}}, "another decoder than this model; accepted: resnet"),
        ({"latent": {"posterior": {"name": "diagonal-normal", "hidden": [4]}}}, "another posterior"),
        ({"network": {"factors": [3]}}, "factors [3]"),
        ({"network": {"attention": [8]}}, "attention [8]"),
        ({"likelihood": "normal", "size": (7, 8)}, "images (7, 8)"),
    ],
)
def test_models_of_other_parts_are_refused_by_name(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    with refuses(words):
        to_diffusers(model_of_maps(**changes), tmp_path)
    assert not list(tmp_path.iterdir())
