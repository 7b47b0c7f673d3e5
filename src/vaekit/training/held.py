"""Parts of a model that a training leaves as they are, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn

from ..errors import UntrainableError, unknown
from ..models import VAE, Auxiliary
from ..settings import named


def parts_of(model: VAE) -> Iterator[tuple[str, nn.Module]]:
    """The parts that a user names, those of each latent by themselves."""
    for name, part in model.named_children():
        if isinstance(part, (nn.ModuleDict, Auxiliary)):
            yield from ((f"{name}.{key}", each) for key, each in part.named_children())
        else:
            yield name, part


def own_modules(model: VAE) -> Iterator[tuple[str, list[nn.Module]]]:
    """The parts by name, each with the modules that are its own: an encoder that a prior holds, too, is the encoder."""
    known: set[nn.Module] = set()
    for name, part in parts_of(model):
        own = [each for each in part.modules() if each not in known]
        known.update(own)
        yield name, own


def of_inference(model: VAE) -> set[nn.Parameter]:
    """The weights of q(z given x): those of the modules that a model names as `inferring`, an encoder's also where a
    prior holds it. All others are of p(x, z).
    """
    return {weight for name in model.inferring for weight in model.get_submodule(name).parameters()}


def trained_parts(model: VAE, only: Sequence[str]) -> set[str]:
    """The parts that `only` names, one by one or all of a kind ("priors"); all of them where it is empty.

    Raises `ValueError` for a name that there is not, `UntrainableError` where nothing of them can be trained.
    """
    own = dict(own_modules(model))
    if not only:
        return set(own)
    kinds = dict.fromkeys(name.partition(".")[0] for name in own)
    for each in only:
        if each not in own and each not in kinds:
            raise ValueError(unknown("part of training.only", each, dict.fromkeys([*kinds, *own])))
    found = {name for name in own if name in only or name.partition(".")[0] in only}
    if not any(weight.requires_grad for name in found for weight in _weights(own[name])):
        given, which = named("training.only", list(only)), " and ".join(sorted(found))
        raise UntrainableError(f"{given}, but {which} has no weights that could be trained; name another")
    return found


def _weights(own: Sequence[nn.Module]) -> list[nn.Parameter]:
    return [weight for each in own for weight in each.parameters(recurse=False)]


@contextmanager
def holding(model: VAE, only: Sequence[str]) -> Iterator[None]:
    """Inside, all parts of `model` but those that `only` names are held: their weights have no gradients, and
    `into_training` leaves them in evaluation mode, where nothing moves that they keep of data, and codes are those that
    are scored. Without `only` nothing is. Raises as `trained_parts` does.
    """
    trained = trained_parts(model, only)
    held = [(name, own) for name, own in own_modules(model) if name not in trained]
    frozen = [weight for _, own in held for weight in _weights(own) if weight.requires_grad]
    for weight in frozen:
        weight.requires_grad_(False)
    model.held = frozenset(name for name, _ in held)
    try:
        yield
    finally:
        model.held = frozenset()
        for weight in frozen:
            weight.requires_grad_(True)


def into_training(model: VAE) -> None:
    """Put a model into training mode, but for its parts that are held."""
    model.train()
    for name, own in own_modules(model):
        if name in model.held:
            for each in own:
                each.training = False
