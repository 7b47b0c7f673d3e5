"""Autoencoders in the layout of diffusers' `AutoencoderKL`: read as a VAE, and written by one.

A folder has config.json and diffusion_pytorch_model.safetensors. Both ways need JSON and safetensors alone; diffusers
itself (`AutoencoderKL.from_pretrained(folder)`) is only asked for by who uses it. Encoder and decoder are layer by
layer those of `networks.residual`; a `quant_conv` is folded into the convolution before it, which is exact since both
are linear.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from ..data.domains import Domain
from ..distributions.moments import typical
from ..errors import shown
from ..likelihoods import FixedNormal
from ..models import VAE
from ..models.scales import latent_scales
from ..networks.maps import Maps
from ..networks.residual import ResNetDecoder, ResNetEncoder
from ..posteriors import DiagonalNormal
from ..priors import StandardNormal
from ..runs.run import Run
from ..system.disk import write_atomic
from .configs import config_of
from .exported import FILES, NOTES, files_of

CONFIG, WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"
"""The files of a folder, beside vaekit's own notes, which have the units of the data and may lack."""
OF = "the folder of an AutoencoderKL"
CLAMP = (-30.0, 20.0)
"""Within which diffusers keeps log-variances."""
USUAL: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "block_out_channels": [64],
    "layers_per_block": 1,
    "act_fn": "silu",
    "latent_channels": 4,
    "norm_num_groups": 32,
    "sample_size": 32,
    "scaling_factor": 0.18215,
    "shift_factor": None,
    "latents_mean": None,
    "latents_std": None,
    "force_upcast": True,
    "use_quant_conv": True,
    "use_post_quant_conv": True,
    "mid_block_add_attention": True,
}
"""What diffusers takes for what a config leaves out."""


def from_diffusers(source: str | Path | nn.Module, size: tuple[int, int] | None = None) -> VAE:
    """The VAE of an `AutoencoderKL`: of a folder, or of the module itself, in evaluation mode.

    `size` is the height and width of images, the config's `sample_size` where it is not given; larger ones are encoded
    in tiles (`models.tiling`). The likelihood is a normal of sigma 1 around what is decoded, in the units of the images
    that the autoencoder was trained on, commonly from -1 to 1. Raises `ValueError`, one line, for what is no
    `AutoencoderKL` or has other layers than `networks.residual`, by the key of its config.
    """
    config, tensors, units = _read(source)
    channels = _checked(config)
    given = size or config["sample_size"]
    height, width = (given, given) if isinstance(given, int) else given
    factor = 2 ** (len(channels) - 1)
    if height % factor or width % factor:
        raise ValueError(f"images are of {height}x{width}; accepted: multiples of {factor}, what the levels divide by")
    image, maps = (config["in_channels"], height, width), config["latent_channels"]
    options: dict[str, Any] = {"channels": channels, "blocks": config["layers_per_block"]}
    options["groups"] = config["norm_num_groups"]
    with torch.device("cpu"):
        encoder = ResNetEncoder(image, **options)
        shape = (maps, *encoder.out_shape[1:])
        count, latent = (int(torch.Size(each).numel()) for each in (encoder.out_shape, shape))
        posterior = DiagonalNormal(count, latent, CLAMP, feature_shape=encoder.out_shape, latent_shape=shape)
        decoder = ResNetDecoder(shape, (1, *image), **options)
        likelihood = FixedNormal(image, Domain("real", **units))
        model = VAE(encoder, {"z": posterior}, {"z": StandardNormal(latent)}, decoder, likelihood)
    _load(model, tensors, config)
    posterior.code_scale.fill_(float(config["scaling_factor"] or 0))  # type: ignore[operator]
    return model.eval()


def to_diffusers(run: Run | VAE, folder: str | Path) -> Path:
    """Write a run's model as `AutoencoderKL.from_pretrained` reads it, and return the folder.

    It is given, and gives, data as networks see them: (x - location) / scale, which vaekit.json has. Its
    `scaling_factor` is what was measured (`models.scales`), else 1. Raises `ValueError`, one line, for another model
    than one of `resnet` networks, halved from level to level, with one latent of maps under a diagonal normal, and a
    likelihood whose mean is what is decoded.
    """
    model = run.model if isinstance(run, Run) else run
    encoder, maps = _writable(model)
    channels, blocks = _levels(encoder)
    scale = latent_scales(model).get(next(iter(model.posteriors)), 1.0)
    config = USUAL | {
        "_class_name": "AutoencoderKL",
        "in_channels": model.event_shape[0],
        "out_channels": model.event_shape[0],
        "block_out_channels": list(channels),
        "layers_per_block": blocks,
        "latent_channels": maps,
        "norm_num_groups": encoder.norm.num_groups,
        "sample_size": model.event_shape[1] if len({*model.event_shape[1:]}) == 1 else list(model.event_shape[1:]),
        "scaling_factor": scale,
        "down_block_types": ["DownEncoderBlock2D"] * len(channels),
        "up_block_types": ["UpDecoderBlock2D"] * len(channels),
    }
    mine = _own_tensors(model)
    tensors = {theirs: mine[own] for theirs, own in _names(len(channels), blocks) if own in mine}
    # Of a likelihood of several parameters the first ones are the means.
    for name in ("decoder.conv_out.weight", "decoder.conv_out.bias"):
        tensors[name] = tensors[name][: model.event_shape[0]]
    head, eye = tensors["encoder.conv_out.weight"], torch.eye(2 * maps)
    tensors |= {"quant_conv.weight": eye.to(head)[..., None, None], "quant_conv.bias": head.new_zeros(2 * maps)}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    content = save(whole, {"format": "pt"})
    write_atomic(folder / WEIGHTS, lambda path: path.write_bytes(content))
    write_atomic(folder / CONFIG, json.dumps(config, indent=2) + "\n")
    units = {"location": model.domain.location, "scale": model.domain.scale}
    notes = {**units, **files_of(folder / name for name in (WEIGHTS, CONFIG))}
    write_atomic(folder / NOTES, json.dumps(notes, indent=2) + "\n")
    return folder


# -- the layout --------------------------------------------------------------------------------------------------------

_BLOCK = {"norm1": "norm1", "conv1": "conv1", "norm2": "norm2", "conv2": "conv2", "conv_shortcut": "shortcut"}
_ATTENTION = {"group_norm": "norm", "to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "out"}
_FORMERLY = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""What layers of attention were called in files of diffusers before 0.13."""


def _names(levels: int, blocks: int) -> Iterator[tuple[str, str]]:
    """The names of diffusers' tensors, each with that of a VAE's; of all blocks also those of a shortcut, which only
    stands where the channels change.
    """
    layers = [*_encoder(levels, blocks), *_decoder(levels, blocks)]
    for theirs, mine in layers:
        parts = _ATTENTION if "attentions" in theirs else _BLOCK if "resnets" in theirs else {"": ""}
        for part, own in parts.items():
            for kind in ("weight", "bias"):
                yield ".".join(filter(None, (theirs, part, kind))), ".".join(filter(None, (mine, own, kind)))


def _encoder(levels: int, blocks: int) -> Iterator[tuple[str, str]]:
    yield "encoder.conv_in", "encoder.stages.layers.0"
    at = 1
    for level in range(levels):
        for block in range(blocks):
            yield f"encoder.down_blocks.{level}.resnets.{block}", f"encoder.stages.layers.{at + block}"
        at += blocks
        if level < levels - 1:
            yield f"encoder.down_blocks.{level}.downsamplers.0.conv", f"encoder.stages.layers.{at}.conv"
            at += 1
    yield from _middle("encoder", at)
    yield "encoder.conv_norm_out", "encoder.norm"
    yield "encoder.conv_out", "posterior.head.layers.0"


def _decoder(levels: int, blocks: int) -> Iterator[tuple[str, str]]:
    yield "post_quant_conv", "decoder.entry.0"
    yield "decoder.conv_in", "decoder.entry.1"
    yield from _middle("decoder", 0)
    at = 3
    for level in range(levels):
        for block in range(blocks + 1):
            yield f"decoder.up_blocks.{level}.resnets.{block}", f"decoder.stages.layers.{at + block}"
        at += blocks + 1
        if level < levels - 1:
            yield f"decoder.up_blocks.{level}.upsamplers.0.conv", f"decoder.stages.layers.{at}.conv"
            at += 1
    yield "decoder.conv_norm_out", "decoder.norm"
    yield "decoder.conv_out", "decoder.out"


def _middle(network: str, at: int) -> Iterator[tuple[str, str]]:
    parts = ("resnets.0", "attentions.0", "resnets.1")
    for i, part in enumerate(parts):
        yield f"{network}.mid_block.{part}", f"{network}.stages.layers.{at + i}"


# -- reading -----------------------------------------------------------------------------------------------------------


def _read(source: str | Path | nn.Module) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Any]]:
    """Config, tensors and the units of the data."""
    if isinstance(source, nn.Module):
        config = dict(getattr(source, "config", {}))
        if "block_out_channels" not in config:
            raise ValueError(f"a {type(source).__name__} has no config of an AutoencoderKL")
        return config, source.state_dict(), {}
    folder = Path(source)
    config = config_of(folder / CONFIG, OF)
    units = config_of(folder / NOTES, OF) if (folder / NOTES).exists() else {}
    units.pop(FILES, None)
    try:
        return config, load_file(folder / WEIGHTS), units
    except FileNotFoundError:
        raise ValueError(f"{folder} has no {WEIGHTS}; weights in other formats are not read") from None
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{folder / WEIGHTS} is no safetensors file: {shown(str(error).splitlines()[0])}") from None


def _checked(config: dict[str, Any]) -> tuple[int, ...]:
    """The channels of the levels of a config, with what is usual put in where it says nothing; `ValueError` where it
    says what `networks.residual` has not.
    """
    kind = config.get("_class_name", "AutoencoderKL")
    if kind != "AutoencoderKL":
        raise ValueError(f"config: _class_name is {shown(kind)}; accepted: AutoencoderKL")
    for name, value in USUAL.items():
        config.setdefault(name, value)
    channels = tuple(config["block_out_channels"])
    blocks = {"down_block_types": "DownEncoderBlock2D", "up_block_types": "UpDecoderBlock2D"}
    if others := [key for key in config if key not in USUAL and key not in blocks and not key.startswith("_")]:
        raise ValueError(f"config: {shown(others[0])} is not known; accepted: {', '.join((*USUAL, *blocks))}")
    sizes = {"block_out_channels": min(channels, default=0)} | {
        key: config[key] for key in ("in_channels", "layers_per_block", "latent_channels", "norm_num_groups")
    }
    for key, value in sizes.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"config: {key} is {shown(config[key])}; accepted: whole numbers from 1 on")
    wanted: dict[str, Sequence[Any]] = {
        "act_fn": ("silu", "swish"),
        "mid_block_add_attention": (True,),
        "out_channels": (config["in_channels"],),
        "norm_num_groups": [n for n in range(1, min(channels) + 1) if all(width % n == 0 for width in channels)],
    }
    for key, accepted in wanted.items():
        if config[key] not in accepted:
            raise ValueError(f"config: {key} is {shown(config[key])}; accepted: {' or '.join(map(str, accepted))}")
    for key, name in blocks.items():
        given = list(config.get(key, [name]))
        if given != [name] * len(channels):
            raise ValueError(f"config: {key} is {shown(given)}; accepted: {name} for each of {len(channels)} levels")
    return channels


def _load(model: VAE, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    """Copy diffusers' tensors into the networks of `model`; `ValueError` naming one that lacks or has another shape."""
    given = {_today(name): tensor.float() for name, tensor in tensors.items()}
    if not config["use_post_quant_conv"]:
        maps = config["latent_channels"]
        given |= {"post_quant_conv.weight": torch.eye(maps)[..., None, None], "post_quant_conv.bias": torch.zeros(maps)}
    _fold(given)
    names, mine = _names(len(config["block_out_channels"]), config["layers_per_block"]), _own_tensors(model)
    for theirs, own in names:
        if own not in mine:
            continue
        found = given.pop(theirs, None)
        if found is None:
            raise ValueError(f"{WEIGHTS} lacks {theirs!r}, which its config says is there")
        # Attention was once convolutions of 1×1.
        found = found.flatten(1) if found.dim() == 4 and mine[own].dim() == 2 else found
        if found.shape != mine[own].shape:
            shapes = f"{tuple(found.shape)}; accepted: {tuple(mine[own].shape)}, as its config says"
            raise ValueError(f"{WEIGHTS}: {theirs!r} has shape {shapes}")
        with torch.no_grad():
            mine[own].copy_(found)
    if given:
        raise ValueError(f"{WEIGHTS} has {shown(min(given))}, which an AutoencoderKL of its config has not")


def _fold(given: dict[str, Tensor]) -> None:
    """A 1×1 convolution of what a 3×3 one makes, `quant_conv`, made one with it."""
    weight, bias = (given.pop(f"quant_conv.{kind}", None) for kind in ("weight", "bias"))
    before = [given.get(f"encoder.conv_out.{kind}") for kind in ("weight", "bias")]
    if weight is None or bias is None or before[0] is None or before[1] is None:
        return
    product = weight.flatten(1).double()
    given["encoder.conv_out.weight"] = torch.einsum("ij,jkhw->ikhw", product, before[0].double()).float()
    given["encoder.conv_out.bias"] = (product @ before[1].double() + bias.double()).float()


def _today(name: str) -> str:
    *path, layer, kind = name.split(".") if "." in name else ("", "", name)
    return ".".join((*path, _FORMERLY.get(layer, layer), kind)) if "attentions" in path else name


def _own_tensors(model: VAE) -> dict[str, Tensor]:
    """The parameters of encoder, decoder and the one posterior, by their names in `_names`."""
    parts = {"encoder": model.encoder, "decoder": model.decoder, "posterior": next(iter(model.posteriors.values()))}
    return {f"{part}.{name}": each for part, module in parts.items() for name, each in module.named_parameters()}


# -- writing -----------------------------------------------------------------------------------------------------------


def _writable(model: VAE) -> tuple[ResNetEncoder, int]:
    """The encoder of a model that has the layers of an `AutoencoderKL`, and the maps of its latent; `ValueError` naming
    the part that has not.
    """
    encoder, decoder, posteriors = model.encoder, model.decoder, list(model.posteriors.values())
    head = getattr(posteriors[0], "head", None)
    lacks = {
        "encoder": not isinstance(encoder, ResNetEncoder) or encoder.head is not None or encoder.condition,
        "decoder": not isinstance(decoder, ResNetDecoder) or not decoder.maps or decoder.condition,
        "latents": len(posteriors) > 1,
        "posterior": not isinstance(posteriors[0], DiagonalNormal)
        or not isinstance(head, Maps)
        or len(head.layers) > 1,
    }
    wants = {
        "encoder": "resnet, without a condition",
        "decoder": "resnet, without a condition, of a latent of maps",
        "latents": "one",
        "posterior": "diagonal-normal of maps, without hidden layers",
    }
    for part, other in lacks.items():
        if other:
            raise ValueError(f"an AutoencoderKL has another {part} than this model; accepted: {wants[part]}")
    _check_means(model)
    maps = next(iter(model.shapes.values()))[0]
    return cast(ResNetEncoder, encoder), maps


def _levels(encoder: ResNetEncoder) -> tuple[tuple[int, ...], int]:
    """The channels and the blocks of the levels of an encoder; `ValueError` where they are no `AutoencoderKL`'s."""
    factor = 2 ** (len(encoder.factors))
    odd = any(size % factor for size in encoder.in_shape[1:])
    if encoder.attention or set(encoder.factors) - {2} or odd:
        what = f"attention {list(encoder.attention)}, factors {list(encoder.factors)}, images {encoder.in_shape[1:]}"
        raise ValueError(f"an AutoencoderKL has no {what}; accepted: attention none, factors 2, multiples of {factor}")
    return encoder.channels, encoder.blocks


@torch.no_grad()
def _check_means(model: VAE) -> None:
    """`ValueError` unless the mean of p(x given z) is what the decoder gives first, in the units of the domain."""
    shape, location, scale = getattr(model.likelihood, "parameter_shape", ()), model.domain.location, model.domain.scale
    same = False
    if model.domain.kind == "real" and len(shape) == 4 and isinstance(location, float) and isinstance(scale, float):
        decoded = torch.linspace(-0.5, 0.5, int(torch.Size(shape).numel())).view(1, *shape).to(model.scale)
        means = typical(model.likelihood(decoded)).reshape(1, *model.event_shape)
        same = bool(torch.allclose(means, location + scale * decoded[:, 0], atol=1e-4 * scale))
    if not same:
        name = type(model.likelihood).__name__
        raise ValueError(f"an AutoencoderKL decodes means of real numbers, not {name}; accepted: such as normal-fixed")
