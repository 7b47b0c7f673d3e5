"""Weights that others trained: PyTorch's example VAE and pythae's saved models, as runs.

Both are an encoder of one hidden layer, a diagonal normal, and a decoder of one: the same layers here, so that codes
and reconstructions are equal. Files are .safetensors; torch's own are pickles, whose state dict can be given. A run of
them is one like any other, but that it knows no data of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isqrt, prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..data.domains import Domain
from ..errors import shown, unknown
from ..networks.weights import tensors_of
from ..runs.folder import check_free, locked
from ..runs.given import NOWHERE
from ..runs.run import Run, load_run
from ..seeding import plain_tensors
from ..spec.building import build_model
from ..spec.keys import DataSpec, LatentSpec, ModelSpec, PartSpec, Schema, Spec
from ..spec.saving import to_json
from ..system.disk import write_atomic
from ..training.weights import model_tensors, save_tensors
from .configs import config_of

CONFIG, PICKLED = "model_config.json", "model.pt"
"""The files of a folder of pythae's, of which the second is not read."""
CLAMP = (-30.0, 20.0)
"""Where log-variances are kept here, which the others leave as they come: nothing that a float32 could have used."""
CONFIGS = (
    "VAEConfig",
    "BetaVAEConfig",
    "BetaTCVAEConfig",
    "DisentangledBetaVAEConfig",
    "IWAEConfig",
    "CIWAEConfig",
    "MIWAEConfig",
    "PIWAEConfig",
    "INFOVAE_MMD_Config",
)
"""pythae's models that are made of its usual VAE networks and a standard normal prior, by their config's name."""
EXAMPLE = {
    "hidden": "fc1",
    "mean": "fc21",
    "log_variance": "fc22",
    "decoder_hidden": "fc3",
    "out": "fc4",
}
PYTHAE = {
    "hidden": "encoder.layers.0.0",
    "mean": "encoder.embedding",
    "log_variance": "encoder.log_var",
    "decoder_hidden": "decoder.layers.0.0",
    "out": "decoder.layers.1.0",
}
"""What the five linear layers are called."""
Layer = tuple[Tensor, Tensor]
"""Weight and bias."""


def from_pytorch_example(
    source: str | Path | nn.Module | Mapping[str, Tensor],
    out: str | Path,
    event_shape: Sequence[int] | None = None,
    *,
    overwrite: bool = False,
) -> Run:
    """PyTorch's example VAE (examples/vae/main.py) as a run in the folder `out`: fc1, fc21, fc22, fc3 and fc4 with ReLU
    between, of any sizes, pixels as Bernoulli probabilities.

    `source` is the module, its state dict, a checkpoint with that in it, or a file of that; what DataParallel,
    Lightning and torch.compile put before all names is left out. `event_shape` is the shape of a datum, (1, 28, 28) of
    784 numbers where it is not given. Grey levels, such as MNIST's as bytes, are brought to [0, 1]. Later versions of
    the example clamp what they decode to within 1e-4 of 0 and 1, which is left out. Raises `ValueError`, one line, for
    other tensors than these.
    """
    layers = _Layers.of(_tensors(source), EXAMPLE, "PyTorch's example VAE")
    size = layers.out[0].shape[0]
    if event_shape is not None:
        sides = event_shape if isinstance(event_shape, Sequence) else ()
        if not sides or not all(isinstance(each, int) and each > 0 for each in sides):
            raise ValueError(
                f"event_shape is {shown(event_shape)}; accepted: the sides of a datum, such as (1, 28, 28)"
            )
    shape = tuple(event_shape or ()) or ((1, isqrt(size), isqrt(size)) if isqrt(size) ** 2 == size else (size,))
    title = "PyTorch's example VAE, its weights read from elsewhere"
    spec, schema = _described(layers, shape, title, grey=True)
    return _written(layers, spec, schema, Path(out), overwrite)


def from_pythae(folder: str | Path, out: str | Path, *, overwrite: bool = False) -> Run:
    """A model that pythae saved, with its usual networks, as a run in the folder `out`.

    `folder` has model_config.json, and the weights as a .safetensors file. With `reconstruction_loss` "bce" pixels
    are Bernoulli probabilities, with "mse" normals of sigma 1 around what is decoded, in data from 0 to 1. Raises
    `ValueError`, one line, for networks of one's own, whose code would have to be run, and for other models.
    """
    folder = Path(folder)
    config = config_of(folder / CONFIG, "the folder of a model that pythae saved")
    if not all(config.get(f"uses_default_{each}", True) for each in ("encoder", "decoder")):
        raise ValueError(f"{folder} has networks of its own, as pickled code, which is not run; accepted: pythae's")
    name = str(config.get("name", "VAEConfig"))
    if name not in CONFIGS:
        raise ValueError(f"{folder / CONFIG}: {unknown('model', name, CONFIGS)}")
    loss = config.get("reconstruction_loss", "mse")
    if loss not in ("bce", "mse"):
        raise ValueError(f"{folder / CONFIG}: {unknown('reconstruction_loss', loss, ('bce', 'mse'))}")
    found = next(iter(sorted(folder.glob("*.safetensors"))), None)
    if found is None:
        old, new = str(folder / PICKLED), str(folder / "model.safetensors")
        made = f"safetensors.torch.save_file(torch.load({old!r}, weights_only=True)['model_state_dict'], {new!r})"
        raise ValueError(f"{folder} has no .safetensors file of weights; of {PICKLED}, a pickle, it is made by {made}")
    layers = _Layers.of(_tensors(found), PYTHAE, str(found))
    latent = layers.mean[0].shape[0]
    if (said := config.get("latent_dim", latent)) != latent:
        raise ValueError(
            f"{folder / CONFIG}: latent_dim is {shown(said)}, but the weights of {found.name} have {latent}"
        )
    shape, size = config.get("input_dim"), layers.out[0].shape[0]
    if not isinstance(shape, list) or not shape or not all(isinstance(n, int) and n > 0 for n in shape):
        raise ValueError(f"{folder / CONFIG}: input_dim is {shown(shape)}; accepted: a list of whole numbers")
    if prod(shape) != size:
        raise ValueError(f"{folder / CONFIG}: input_dim is {shape}, but the decoder gives {size} numbers")
    shape = [1, *shape] if len(shape) == 2 else shape
    title = f"pythae's {name.removesuffix('Config').removesuffix('_')}, its weights read from elsewhere"
    spec, schema = _described(layers, tuple(shape), title, grey=loss == "bce")
    return _written(layers, spec, schema, Path(out), overwrite)


@dataclass(frozen=True)
class _Layers:
    """Five linear layers, each weight and bias."""

    hidden: Layer
    mean: Layer
    log_variance: Layer
    decoder_hidden: Layer
    out: Layer

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], names: Mapping[str, str], what: str) -> _Layers:
        """Those called so among `tensors`; `ValueError` where one lacks, has another shape, or another is there."""
        wanted = [f"{each}.{kind}" for each in names.values() for kind in ("weight", "bias")]
        tensors = _unwrapped(tensors, wanted[0])
        if missing := [each for each in wanted if each not in tensors]:
            raise ValueError(f"{what} lacks {missing[0]!r}; needed: {', '.join(names.values())}")
        if others := [each for each in tensors if each not in wanted]:
            raise ValueError(f"{what} has {shown(others[0])} beside {', '.join(names.values())}: another model")
        found = cls(**{own: (tensors[f"{of}.weight"], tensors[f"{of}.bias"]) for own, of in names.items()})
        found._check(names, what)
        return found

    def _check(self, names: Mapping[str, str], what: str) -> None:
        for own, of in names.items():
            weight, bias = getattr(self, own)
            if weight.dim() != 2 or bias.shape != weight.shape[:1] or not weight.is_floating_point():
                raise ValueError(f"{what}: {of!r} is {tuple(weight.shape)} with {tuple(bias.shape)}, no linear layer")
            if not (weight.isfinite().all() and bias.isfinite().all()):
                raise ValueError(f"{what}: {of!r} has numbers that are not finite")
        width, latent = self.hidden[0].shape[0], self.mean[0].shape[0]
        into = {"mean": width, "log_variance": width, "decoder_hidden": latent}
        into |= {"out": self.decoder_hidden[0].shape[0]}
        for own, size in into.items():
            if (given := getattr(self, own)[0].shape[1]) != size:
                raise ValueError(f"{what}: {names[own]!r} takes {given} numbers, but is given {size}")
        if self.log_variance[0].shape != self.mean[0].shape or self.out[0].shape[0] != self.hidden[0].shape[1]:
            raise ValueError(f"{what}: its layers are not those of one VAE")

    def own(self) -> dict[str, Tensor]:
        """By the names that a model of vaekit's has for them, the two of the posterior as one."""
        head = [torch.cat(pair) for pair in zip(self.mean, self.log_variance, strict=True)]
        layers = {
            "encoder.layers.0": self.hidden,
            "posteriors.z.head": tuple(head),
            "decoder.layers.0": self.decoder_hidden,
            "decoder.layers.2": self.out,
        }
        pairs = {name: dict(zip(("weight", "bias"), each, strict=True)) for name, each in layers.items()}
        return {f"{name}.{kind}": each.float() for name, own in pairs.items() for kind, each in own.items()}


def _described(layers: _Layers, shape: tuple[int, ...], title: str, *, grey: bool) -> tuple[Spec, Schema]:
    """The spec and the schema of a run of these layers, of pixels as probabilities or of numbers from 0 to 1."""
    if prod(shape) != layers.out[0].shape[0]:
        raise ValueError(f"event_shape is {shape}, but a datum has {layers.out[0].shape[0]} numbers")
    likelihood: dict[str, Any] = {"name": "bernoulli"} if grey else {"name": "normal-fixed", "link": "sigmoid"}
    latent, posterior = layers.mean[0].shape[0], {"name": "diagonal-normal", "log_variance_clamp": CLAMP}
    parts = {
        own: PartSpec.model_validate({"name": "mlp", "hidden": [each[0].shape[0]], "activation": "relu"})
        for own, each in (("encoder", layers.hidden), ("decoder", layers.decoder_hidden))
    }
    model = ModelSpec(
        **parts,  # type: ignore[arg-type]
        likelihood=PartSpec.model_validate(likelihood),
        latents={"z": LatentSpec(size=latent, posterior=PartSpec.model_validate(posterior))},
    )
    data = DataSpec(name=NOWHERE, binarize="grey" if grey else None)
    stored = Domain("grey", levels=256) if grey else Domain("real")
    schema = Schema(event_shape=shape, domain=data.preprocessing.domain(stored), stored=stored)
    return Spec(title=title, data=data, model=model), schema


@plain_tensors()
def _written(layers: _Layers, spec: Spec, schema: Schema, out: Path, overwrite: bool) -> Run:
    check_free(out, overwrite)
    model, given = build_model(spec.model, schema), layers.own()
    mine = model_tensors(model)
    with torch.no_grad():
        for name, tensor in given.items():
            mine[name].copy_(tensor)
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        save_tensors(out / "weights.safetensors", mine)
        write_atomic(out / "spec.json", to_json(spec, schema))
    return load_run(out)


def _state_dict(given: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a state dict, or of the one within a checkpoint, as Lightning's `state_dict` is."""
    inside = {key: value for key, value in given.items() if isinstance(value, Mapping) and _all_tensors(value)}
    if len(inside) == 1 and not any(isinstance(each, Tensor) for each in given.values()):
        return dict(*inside.values())
    if not _all_tensors(given):
        odd = next((str(key) for key, value in given.items() if not isinstance(value, Tensor)), "")
        has = f"has {', '.join(map(repr, inside))}; give one of them" if inside else f"has {odd!r}, which is no tensor"
        raise ValueError(f"the state dict {has if given else 'has nothing in it'}; accepted: tensors by their names")
    return dict(given)


def _all_tensors(values: Mapping[str, Any]) -> bool:
    return bool(values) and all(isinstance(each, Tensor) for each in values.values())


def _unwrapped(tensors: Mapping[str, Tensor], first: str) -> Mapping[str, Tensor]:
    """Tensors without what stands before the name of each of them, where one is `first` then: as `module.` of
    DataParallel, the attribute that a module of Lightning has its model in, `_orig_mod.` of torch.compile.
    """
    before = [name.removesuffix(first) for name in tensors if name.endswith(f".{first}")]
    if len(before) != 1 or not all(name.startswith(before[0]) for name in tensors):
        return tensors
    return {name.removeprefix(before[0]): each for name, each in tensors.items()}


def _tensors(source: str | Path | nn.Module | Mapping[str, Any]) -> dict[str, Tensor]:
    """Tensors by their names, of a module, a state dict, what a training saved around one, or a file of one."""
    if isinstance(source, nn.Module):
        return dict(source.state_dict())
    if isinstance(source, Mapping):
        return _state_dict(source)
    return tensors_of(str(source), "a VAE", "accepted: a module, its state dict, or a .safetensors file of that")
