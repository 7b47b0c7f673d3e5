"""The table of every named part, and the one way to build a part from a name and options.

A part's constructor states by its argument names what it needs: those that the model being built supplies (its
*context*, such as `latent` or `event_shape`), and those that a user may set, which have defaults. So a row in a table
is all that a new part takes, and one that needs something unusual of the model (the VampPrior its encoder) just asks
for it by name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, is_dataclass, replace
from functools import cached_property, lru_cache, partial
from types import MappingProxyType, SimpleNamespace
from typing import Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError
from torch import nn

from ..errors import nearest, unknown, wrong_kind
from ..likelihoods import LIKELIHOODS
from ..networks import DECODERS, ENCODERS
from ..objectives import OBJECTIVES, TERMS
from ..optimizers import OPTIMIZERS
from ..posteriors import POSTERIORS
from ..priors import PRIORS
from ..schedules import SCHEDULES, check_schedule, may_be_schedule
from ..settings import UNSET, setting
from .accepted import refused
from .structures import STRUCTURES

Factory = Callable[..., Any]
Table = Mapping[str, Factory]

_OPTIONS = ConfigDict(arbitrary_types_allowed=True, allow_inf_nan=False)

_DATA = ("condition", "event_shape", "domain")
CONTEXT: Mapping[str, frozenset[str]] = {
    "structures": frozenset(["builder"]),
    "encoders": frozenset(["in_shape", "out_shape", *_DATA]),
    "decoders": frozenset(["in_shape", "out_shape", "space", *_DATA]),
    "posteriors": frozenset(["features", "latent", "feature_shape", "latent_shape", *_DATA]),
    "priors": frozenset(["latent", "encoder", "posterior", "feature_shape", "latent_shape", *_DATA]),
    # `parameters` is what a subclass tells `Likelihood`.
    "likelihoods": frozenset(["event_shape", "domain", "parameters", "exposure"]),
    "objectives": frozenset(["latent", *_DATA]),
    "terms": frozenset(["latent", *_DATA]),
    "schedules": frozenset(),
    # What the training sets, and what is of no use in its loop.
    "optimizers": frozenset(["params", "lr", "foreach", "fused", "maximize", "capturable", "differentiable"]),
    "pictures": frozenset(),
    "loggers": frozenset(),
}
"""By family, the argument names that the model or the training supplies; all others are a user's options."""


@dataclass(frozen=True)
class Parts:
    """The named parts of each family. `PARTS` has the built-in ones; `extended` adds one's own.

    Of pictures and loggers, which are no part of a model, it has one's own alone: `show.pictures` and `interop.loggers`
    know the others.

    >>> mine = PARTS.extended(priors={"mine": PARTS.priors["standard-normal"]})
    >>> "mine" in mine.priors, "mine" in PARTS.priors
    (True, False)
    """

    structures: Table = field(default_factory=lambda: STRUCTURES)
    encoders: Table = field(default_factory=lambda: ENCODERS)
    decoders: Table = field(default_factory=lambda: DECODERS)
    posteriors: Table = field(default_factory=lambda: POSTERIORS)
    priors: Table = field(default_factory=lambda: PRIORS)
    likelihoods: Table = field(default_factory=lambda: LIKELIHOODS)
    objectives: Table = field(default_factory=lambda: OBJECTIVES)
    terms: Table = field(default_factory=lambda: TERMS)
    schedules: Table = field(default_factory=lambda: SCHEDULES)
    optimizers: Table = field(default_factory=lambda: OPTIMIZERS)
    pictures: Table = field(default_factory=dict)
    loggers: Table = field(default_factory=dict)
    source: str = ""
    """Where parts of one's own are from, which a run remembers: the file and the name in it, as `--parts` has them."""

    def __repr__(self) -> str:
        if self is globals().get("PARTS"):
            return "PARTS"
        return f"Parts({', '.join(f'{len(getattr(self, name))} {name}' for name in CONTEXT)})"

    def extended(self, **families: Table) -> Parts:
        """These parts and those given, family by family; one that was given before is replaced.

        Raises `ValueError` for the name of a part of vaekit's own: a run is loaded by names, and where the part of
        one's own is not given again, the other would be taken for it. `TypeError` for what makes no part.
        """
        known = list(CONTEXT)
        for family, table in families.items():
            if family not in known:
                raise ValueError(unknown("family of parts", family, known))
            _check_table(family, table)
        tables: dict[str, Any] = {
            family: MappingProxyType({**getattr(self, family), **table}) for family, table in families.items()
        }
        return replace(self, **tables)


PARTS = Parts()


def _check_table(family: str, table: Any) -> None:
    if not isinstance(table, Mapping):
        raise wrong_kind(family, table, "classes, or functions, by name, such as {'mine': Mine}")
    what, own = family.removesuffix("s"), getattr(PARTS, family)
    for name, part in table.items():
        made = isinstance(part, nn.Module) or (is_dataclass(part) and not isinstance(part, type))
        if made or not callable(part) or not isinstance(name, str):
            raise wrong_kind(f"{what} {name!r}", part, "a class, or a function that makes one, by a text is a text")
        if own.get(name, part) is not part:
            why = "runs are loaded by names, and it would be taken for the other one"
            raise ValueError(f"{what} {name!r} is one of vaekit's own; give yours another name: {why}")


@dataclass(frozen=True)
class Option:
    """One option of a part: its type, and its default (`inspect.Parameter.empty` where it must be given)."""

    type: Any
    default: Any

    @cached_property  # making it takes far longer than its use
    def adapter(self) -> TypeAdapter[Any]:
        """What checks a value of that type."""
        return TypeAdapter(self.type, config=_OPTIONS)


def options(factory: Factory, family: str) -> Mapping[str, Option]:
    """What a user may set of a part of `family`, by name.

    >>> list(options(PARTS.priors["vamp"], "priors"))
    ['components']
    """
    return _options(factory, family)


@lru_cache(maxsize=1000)  # a spec may name one part thousands of times
def _options(factory: Any, family: str) -> Mapping[str, Option]:
    made = factory
    while isinstance(made, partial):
        made = made.func
    hints = _hints(made.__init__ if inspect.isclass(made) else made, CONTEXT[family])
    return {
        name: Option(hints.get(name, Any), parameter.default)
        for name, parameter in inspect.signature(factory).parameters.items()
        if name not in CONTEXT[family]
        and parameter.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    }


@lru_cache(maxsize=1000)
def _taken(factory: Any) -> frozenset[str]:
    """The names of all that a part's constructor takes."""
    return frozenset(inspect.signature(factory).parameters)


def _hints(function: Any, but: Collection[str]) -> dict[str, Any]:
    """The types of a function's arguments `but` some, whose names may be there for a type checker alone."""
    function = inspect.unwrap(function)
    stated = {name: hint for name, hint in getattr(function, "__annotations__", {}).items() if name not in but}
    stated.pop("return", None)
    return get_type_hints(SimpleNamespace(__annotations__=stated), getattr(function, "__globals__", {}))


@dataclass(frozen=True)
class Entry:
    """One line of the catalogue: a part, the first paragraph of its description, and its options with their defaults.

    An option that must be given has None.
    """

    family: str
    name: str
    summary: str
    options: dict[str, Any]


def catalogue(parts: Parts = PARTS, family: str | None = None) -> list[Entry]:
    """All named parts, or those of one family; `ValueError` for an unknown family."""
    families = list(CONTEXT)
    if family is not None and family not in families:
        raise ValueError(unknown("family of parts", family, families))
    entries = []
    for each in [family] if family else families:
        for name, factory in getattr(parts, each).items():
            summary = " ".join((inspect.getdoc(factory) or "").split("\n\n")[0].split())
            defaults = {
                key: None if option.default is inspect.Parameter.empty else option.default
                for key, option in options(factory, each).items()
            }
            entries.append(Entry(each, name, summary, defaults))
    return entries


def check(parts: Parts, family: str, name: str, given: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    """The given options of the part called `name`, each validated against the type that its constructor states.

    Raises `ValueError`, one line, for an unknown name or option (with the nearest one), a value of another type, and a
    missing one. Where an option may be a schedule, a table with a `name` is one. `place` is the part's key in a spec.
    """
    table: Table = getattr(parts, family)
    what = family.removesuffix("s")
    if not isinstance(name, str) or name not in table:
        raise ValueError(unknown(what, name, ["a number", *table] if family == "schedules" else table))
    accepted = options(table[name], family)
    if others := [option for option in given if option not in accepted]:
        weights = [key for key, option in accepted.items() if may_be_schedule(option.type)]
        if others[0] == "weight" and weights and family == "terms":  # most of which have one
            of = f"the weights of {what} {name!r} are {' and '.join(weights)}"
            raise ValueError(f"{of}, such as {setting(f'{place or name}.{weights[0]}', '…')}")
        # Where the part was named anew, they may be those of the part that was there, such as a recipe's.
        other = place and not nearest(others[0], accepted)
        alone = f"; {setting(place, name)} drops all that were given before" if other else ""
        raise ValueError(unknown(f"option of {what} {name!r}:", others[0], accepted) + alone)
    values = {}
    for key, option in accepted.items():
        if given.get(key, UNSET) is UNSET:
            if option.default is inspect.Parameter.empty:
                raise ValueError(f"{what} {name!r} needs the option {key!r}")
            continue
        value = given[key]
        if may_be_schedule(option.type) and isinstance(value, str) and value in parts.schedules:
            value = {"name": value}
        if isinstance(value, Mapping) and "name" in value and may_be_schedule(option.type):
            rest = {k: v for k, v in value.items() if k != "name"}
            named = value["name"]
            value = build(parts, "schedules", named, rest)
            check_schedule(f"schedule {named!r}", value)
        try:
            values[key] = option.adapter.validate_python(value)
        except ValidationError as error:
            where = f"option {key!r} of {what} {name!r}"
            raise refused(
                where, f"{place}.{key}" if place else key, value, option.type, option.default, error
            ) from None
    return values


def build(parts: Parts, family: str, name: str, given: Mapping[str, Any], **context: Any) -> Any:
    """The part called `name`, made with the given options and with what of `context` its constructor asks for.

    Raises as `check` does: what `CONTEXT` does not give to a family is an option, which must be given.
    """
    values = check(parts, family, name, given)
    factory = getattr(parts, family)[name]
    wanted = CONTEXT[family] & _taken(factory)
    return factory(**{key: value for key, value in context.items() if key in wanted}, **values)
