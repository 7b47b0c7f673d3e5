"""Whether the parts of a model fit together: found out when it is made, by one datum of zeros, and said in one line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..data.batch import Batch
from ..distributions.moments import center, typical
from ..distributions.validation import draws, elements
from ..errors import MisfitError, number_of, shown, wrong_kind
from ..modules import evaluating
from ..networks.base import flat, shaped
from ..seeding import seeded
from .exactness import check_exact

if TYPE_CHECKING:
    from .semisupervised import SemiSupervisedVAE
    from .trace import Trace
    from .vae import VAE


def named_latents(
    posteriors: Mapping[str, nn.Module], priors: Mapping[str, nn.Module]
) -> tuple[nn.ModuleDict, nn.ModuleDict]:
    """Posteriors and priors as modules; `ValueError` unless they name the same latents in the same order, `TypeError`
    where they are no modules by name.
    """
    for what, given in (("posteriors", posteriors), ("priors", priors)):
        if not isinstance(given, Mapping | nn.ModuleDict):
            raise wrong_kind(what, given, f"modules by the names of their latents, such as {what}={{'z': …}}")
        check_modules({f"{what}[{name!r}]": part for name, part in given.items()})
    if not posteriors or list(posteriors) != list(priors):
        raise ValueError(
            f"posteriors {list(posteriors)} and priors {list(priors)} must name the same latents in the same order"
        )
    try:
        return nn.ModuleDict(posteriors), nn.ModuleDict(priors)
    except KeyError as error:  # a dot in it, or an attribute of modules, such as "type"
        raise ValueError(f"no name for a latent: {error.args[0]}") from None


def check_modules(parts: Mapping[str, object]) -> None:
    """`TypeError` for the first that is no module."""
    for name, part in parts.items():
        if not isinstance(part, nn.Module):
            raise wrong_kind(name, part, "a torch.nn.Module (by names, parts are those of vaekit.train)")


def check_density(likelihood: Any) -> None:
    """`ValueError` where a likelihood is no density of data of its domain."""
    domain, domains = likelihood.domain, getattr(likelihood, "domains", ())
    if domain.kind not in domains and getattr(likelihood, "is_density", True):
        what = f"a density of {' or '.join(domains)} data" if domains else "declared to be a density of no data"
        raise ValueError(f"{type(likelihood).__name__} is {what}, but was given {domain}")


def prior_sizes(model: VAE) -> dict[str, int]:
    """D of each named latent, as its prior says; nothing on the meta device, where parts of others need not work."""
    if model.scale.is_meta:
        return {}
    y = _zeros(model.condition - model.exposed)
    with torch.no_grad(), evaluating(model):
        if not model.apart:
            with _naming(model):
                found = model.generate(model.network_condition(_ones(model.condition)), _zeros_of)
            return {name: found[name][1].shape[-1] for name in model.priors}
        return {
            name: _over_codes(f"the prior of {name!r}", prior, y).event_shape[-1]
            for name, prior in model.priors.items()
        }


def check_parts(model: VAE) -> None:
    """`ValueError` where a part of `model` does not take what another gives it, or two are of different sizes."""
    if model.scale.is_meta:
        return
    with torch.no_grad(), seeded(0), evaluating(model):
        if not model.apart:
            _check_walk(model, torch.zeros(1, *model.event_shape))
            return
        x, y = torch.zeros(1, *model.inputs.shape), _zeros(model.condition - model.exposed)
        _check_latents(model, _features("the encoder", model.encoder, x, y), y)
        _check_decoder(model, y)


def check_labelled_parts(model: SemiSupervisedVAE) -> None:
    """As `check_parts`, of a model with a classifier, and with an auxiliary latent if it has one."""
    if model.scale.is_meta:
        return
    with torch.no_grad(), seeded(0), evaluating(model):
        x, y, a = torch.zeros(1, *model.inputs.shape), _zeros(model.condition), None
        auxiliary, skips = model.auxiliary, False
        if auxiliary:
            name, skips = "the auxiliary latent", auxiliary.skip
            q = _inferred(
                f"the posterior of {name}", auxiliary.posterior, _features("its encoder", auxiliary.encoder, x)
            )
            a = torch.zeros(1, *q.event_shape)
            z, n = torch.zeros(1, model.latent_size), model.latent_size + model.condition
            given = (z, y) if skips else (x, torch.zeros(1, n))
            p = _given(f"the prior of {name}", auxiliary.prior, _features("its generator", auxiliary.generator, *given))
            _check_sizes(name, q.event_shape[-1], p.event_shape[-1])
        logits = _features("the classifier", model.classifier, x, a)
        if logits.shape[-1] != model.condition:
            raise ValueError(
                f"the classifier gives {logits.shape[-1]} logits, but the model has {model.condition} classes"
            )
        both = y if a is None or y is None else torch.cat([y, a], -1)
        _check_latents(model, _features("the encoder", model.encoder, x, both), y)
        _check_decoder(model, both if skips else y)


def _check_walk(model: VAE, x: Tensor) -> None:
    """As `check_parts`, of a model that draws latents one from another in its own way, by data x (1, *event)."""
    y = _ones(model.condition)

    def zeros(name: str, q: Distribution) -> Tensor:
        _check_sizes(f"latent {name!r}", q.event_shape[-1], model.sizes[name])
        return _zeros_of(name, q)

    with _naming(model):
        z = model.side_by_side(model.infer(model.typed(Batch(x, y)), zeros))
        event = model.likelihood_of(z, model.network_condition(y)).event_shape
    if tuple(event) != model.event_shape:
        raise ValueError(f"the likelihood is one of data of shape {tuple(event)}, but says {model.event_shape}")
    check_exact(model, model.typed(Batch(x, y)), _zeros_of)


@contextmanager
def _naming(model: VAE) -> Iterator[None]:
    """Inside, an error that a part raises of what it is given is a `ValueError` of one line that names the part."""
    entered: list[tuple[str, nn.Module, tuple[Any, ...]]] = []

    def enter(name: str, part: nn.Module, inputs: tuple[Any, ...]) -> None:
        entered.append((name, part, inputs))

    def leave(*_: Any) -> None:
        entered.pop()

    parts: list[tuple[str, nn.Module]] = [("the likelihood", model.likelihood)]
    # Of networks all modules: they may be asked by methods of their own, such as a pyramid, or a way down.
    for name, network in (("the encoder", model.encoder), ("the decoder", model.decoder)):
        parts += [(name, each) for each in network.modules()]
    for what, heads in (("the posterior", model.posteriors), ("the prior", model.priors)):
        parts += [(f"{what} of {name!r}", each) for name, head in heads.items() for each in (head, *head.children())]
    hooks = [part.register_forward_pre_hook(partial(enter, name)) for name, part in parts]
    hooks += [part.register_forward_hook(leave) for _, part in parts]
    try:
        yield
    except Exception as error:
        if entered:
            raise _refusal(*entered[0], error) from error
        if isinstance(error, ValueError):
            raise
        raise ValueError(f"the parts of {type(model).__name__} do not fit together: {_line(error)}") from error
    finally:
        for hook in hooks:
            hook.remove()


def _check_latents(model: VAE, features: Tensor, y: Tensor | None) -> None:
    for name, posterior in model.posteriors.items():
        q = _inferred(f"the posterior of {name!r}", posterior, features)
        _check_sizes(f"latent {name!r}", q.event_shape[-1], model.sizes[name])


def _check_sizes(latent: str, posterior: int, prior: int) -> None:
    if posterior != prior:
        sizes = f"its posterior is of {posterior} dimensions, but its prior of {prior}"
        raise ValueError(f"{latent}: {sizes}; accepted: two of one size")


def _check_decoder(model: VAE, y: Tensor | None) -> None:
    z = shaped(model.decoder, torch.zeros(1, model.latent_size))
    wanted = getattr(model.likelihood, "parameter_shape", None)
    parameters = _decoded(model.decoder, z, y, wanted)
    if wanted is not None and tuple(parameters.shape[1:]) != tuple(wanted):
        raise ValueError(f"the decoder gives {tuple(parameters.shape[1:])}, but the likelihood wants {tuple(wanted)}")
    event = _distribution("the likelihood", _given("the likelihood", model.likelihood, parameters)).event_shape
    if tuple(event) != model.event_shape:
        raise ValueError(f"the likelihood is one of data of shape {tuple(event)}, but says {model.event_shape}")


def _decoded(decoder: nn.Module, z: Tensor, y: Tensor | None, wanted: Sequence[int] | None) -> Tensor:
    """What a decoder makes of one draw of z (1, …), which it is given as draws are, (1, 1, …)."""
    try:
        drawn = _tensor("the decoder", _given("the decoder", decoder, z.unsqueeze(0), y, lead=2))
        if drawn.shape[:2] == (1, 1) and (wanted is None or drawn.dim() == 2 + len(wanted)):
            return drawn[0]
        error = f"it gives {tuple(drawn.shape)} for {tuple(z.unsqueeze(0).shape)}"
    except ValueError as refused:
        error = str(refused.__cause__ or refused)
    made = _tensor("the decoder", _given("the decoder", decoder, z, y))  # which tells what else is wrong with it
    if wanted is not None and tuple(made.shape[1:]) != tuple(wanted):
        return made
    raise ValueError(
        f"the decoder takes codes (B, D), but not draws of them, (S, B, D): {shown(error.splitlines()[0])}; accepted: "
        "any dimensions before the last, such as z.flatten(0, -2) at first and .unflatten(0, z.shape[:-1]) at last"
    )


def _zeros_of(name: str, distribution: Distribution) -> Tensor:
    """Zeros for a draw, (1, D)."""
    return torch.zeros(*(distribution.batch_shape or (1,)), *distribution.event_shape)


def _ones(size: int) -> Tensor | None:
    return torch.ones(1, size) if size else None  # an exposure is above 0


def _zeros(size: int) -> Tensor | None:
    return torch.zeros(1, size) if size else None


def _given(name: str, part: nn.Module, x: Tensor, y: Tensor | None = None, lead: int = 1) -> Any:
    """What a part makes of x (1, …), or of so many leading dimensions, with its condition y (1, C) if there is one."""
    shape, condition = tuple(x.shape[lead:]), 0 if y is None else y.shape[-1]
    for what, own, given in (("inputs of shape", "in_shape", shape), ("condition", "condition", condition)):
        built = getattr(part, own, None)
        # One that takes no condition ignores it.
        if built not in (None, 0, given):
            raise ValueError(f"{name} was built for {what} {built}, but is given {given}")
    return called(name, part, x, y)


def _features(name: str, network: nn.Module, x: Tensor, y: Tensor | None = None) -> Tensor:
    """What a network makes of x (1, …), as vectors (1, F)."""
    made, says = _tensor(name, _given(name, network, x, y)), getattr(network, "out_shape", None)
    if says is not None and tuple(made.shape[1:]) != tuple(says):
        raise ValueError(f"{name} gives {tuple(made.shape[1:])}, but says that its out_shape is {tuple(says)}")
    return flat(network, made)


def _tensor(name: str, found: Any) -> Tensor:
    if not isinstance(found, Tensor):
        raise ValueError(f"{name} gives {type(found).__name__}; accepted: a tensor, a row for each datum")
    return found


def _inferred(name: str, posterior: nn.Module, features: Tensor) -> Any:
    """The q(z given x) of features (1, F)."""
    q = _of_codes(name, _given(name, posterior, features))
    if tuple(q.batch_shape) != (1,):
        what = f"gives {type(q).__name__} of the batch_shape {tuple(q.batch_shape)} for one datum"
        raise ValueError(f"{name} {what}; accepted: a distribution of each datum, of the batch_shape (B,)")
    return q


def _over_codes(name: str, prior: nn.Module, y: Tensor | None) -> Any:
    """The p(z given y) of a prior, which is given None where there is no condition."""
    if y is not None:
        found = called(name, prior, y)
    else:
        try:
            found = prior(None)
        except Exception as error:  # as in `called`
            raise _refusal(name, prior, (), error) from error
    p = _of_codes(name, found)
    shapes: dict[tuple[int, ...], str] = {(): "one of all data, of the batch_shape ()"}
    if y is not None:
        shapes[(1,)] = "one of each condition, of the batch_shape (B,)"
    if (shape := tuple(p.batch_shape)) not in shapes:
        of = " for one condition" if y is not None else ""
        what = f"gives {type(p).__name__} of the batch_shape {shape}{of}"
        raise ValueError(f"{name} {what}; accepted: {' or '.join(shapes.values())}")
    return p


def _of_codes(name: str, found: Any) -> Any:
    """`found`, where that is a distribution over codes; `ValueError` that says what it is otherwise."""
    if not _distribution(name, found).event_shape:
        kind = type(found).__name__
        raise ValueError(
            f"{name} gives {kind} of single numbers (its event_shape is empty); accepted: one over codes, such as "
            f"torch.distributions.Independent({kind}(…), 1)"
        )
    return found


def _distribution(name: str, found: Any) -> Any:
    if not hasattr(found, "event_shape"):
        raise ValueError(f"{name} gives {type(found).__name__}; accepted: a distribution of torch.distributions")
    return found


def called(name: str, part: nn.Module, *inputs: Tensor | None) -> Any:
    """What `part` gives for `inputs`, those that are there; `ValueError`, one line, where it raises any error."""
    given, own = [each for each in inputs if each is not None], next(part.parameters(), None)
    try:
        return part(*(each if own is None else each.to(own) for each in given))
    except Exception as error:  # whatever modules of others raise of shapes that are not theirs
        raise _refusal(name, part, given, error) from error


def _refusal(name: str, part: nn.Module, inputs: Sequence[Any], error: Exception) -> ValueError:
    """What is said of an error that `part` raised of its inputs (1, …)."""
    layers = (each.in_features for each in part.modules() if isinstance(each, nn.Linear))
    first = next((f", its first layer {size}" for size in layers), "")
    shapes = " and ".join(str(tuple(each.shape[1:])) for each in inputs if isinstance(each, Tensor))
    given = f"does not take what it is given, of shape {shapes}{first}" if shapes else "fails without a condition"
    return ValueError(f"{name} {given}: {_line(error)}")


def _line(error: Exception) -> str:
    return shown(next(iter(str(error).splitlines()), type(error).__name__))


def check_answers(trace: Trace) -> None:
    """`ValueError`, one line, where what a model is asked later has no number, though its training may go on without:
    codes, draws of a prior, reconstructions.
    """
    with torch.no_grad():
        for latent in trace.latents:
            _check_mean(f"the posterior of {latent.name!r}", latent.q, center(latent.q), latent.z)
            if not draws(latent.p):
                of = f"the prior of {latent.name!r} gives {type(elements(latent.p)).__name__}, which has no sample"
                raise ValueError(f"{of}; accepted: a distribution that can be drawn from, with `sample` or `rsample`")
        _check_mean("the likelihood", trace.px, typical(trace.px), trace.log_px)


def _check_mean(name: str, distribution: Distribution, mean: Tensor, others: Tensor) -> None:
    """`ValueError` where a `mean` is no number, though `others` of the distribution's numbers are finite."""
    if mean.isnan().any() and others.isfinite().all():
        what = f"{name} has no mean, that of its {type(elements(distribution)).__name__} is nan"
        raise ValueError(f"{what}; accepted: one with a `mean` that is a number, such as its median")


def check_pairs(model: VAE) -> None:
    """`ValueError` where a mass would be compared with a density, one-hots or codes with other ones, or densities of
    different spaces.
    """
    for name, prior in model.priors.items():
        check_pair(name, model.posteriors[name], prior)


def check_pair(name: str, posterior: nn.Module, prior: nn.Module) -> None:
    """The same of the latent of that name."""
    mine, theirs = _values(posterior), _values(prior)
    if mine != theirs:
        what = f"its posterior {_kind(posterior)} {mine}, but its prior {_kind(prior)} {theirs}"
        raise MisfitError(f"latent {name!r}: {what}; accepted: two of a kind")


def check_weighed(model: VAE) -> None:
    """`ValueError` where a prior of which a bound alone is known is beside a latent that is drawn, or summed out: its
    error would be in importance weights, and a mean of these would be no bound.
    """
    priors = {name: getattr(prior, "head", prior) for name, prior in model.priors.items()}
    drawn = [repr(name) for name, posterior in model.posteriors.items() if getattr(posterior, "tokens", None) is None]
    drawn += ["the label"] * model.classifies
    if drawn and (bounds := [name for name, prior in priors.items() if getattr(prior, "bound", False)]):
        what = f"the prior of {bounds[0]!r} gives a bound of log p, which weighs no draws, but {drawn[0]} is drawn"
        raise ValueError(f"{what}; accepted: transformer-tokens, or codes for all latents")


def _values(part: nn.Module) -> str:
    """Of what a posterior or a prior is a distribution."""
    groups, tokens = getattr(part, "groups", None), getattr(part, "tokens", None)
    if tokens is not None:
        return f"has {number_of(tokens[0], 'token')} of {number_of(tokens[1], 'code')}"
    if groups is not None:
        return f"has {number_of(groups, 'one-hot group')}"
    space = getattr(part, "space", None)
    return "is continuous" if space is None else f"is on {space}"


def _kind(part: nn.Module) -> str:
    """The name of a part's class, of one given another latent that of its head."""
    head = getattr(part, "head", None) if hasattr(part, "network") else None
    return type(part if head is None else head).__name__
