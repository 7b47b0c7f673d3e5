"""A function of tensors recorded as the operations that it makes, and called without anything in between."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.fx import Graph

from ..seeding import seeded
from .capturing import Captured, on_cuda, refuse_others
from .checking import Comparison, DiffersError, tolerance_of
from .inductor import Compilation, CompilationError
from .products import faster, use_onednn
from .replay import replayed
from .splitting import once_and_again
from .surroundings import Surroundings
from .tracing import Function, Operations, traced

ENGINES = ("auto", "python", "replay", "inductor")
VARIABLE = "VAEKIT_ENGINE"
LONG = 10_000
"""Calls for which compiling pays, also where nothing is kept of an earlier time: it then takes a quarter of a minute or
more, and saves one to three milliseconds of each call.
"""
SOON = 20
"""Calls before a recording: parts may make themselves ready in the first."""
WORTHWHILE, WORTHWHILE_WITHOUT = 1000, 100
"""Calls for which a recording pays, with gradients and without: it takes half a second, and two for the first of a
process, where torch loads what traces; it saves a quarter of the time of each call, or half of it.
"""
NEVER = 2**62
SWITCH = 1000
"""Calls after which what was compiled is called: by their number, not by when the compiler is done, since the order of
sums, hence the bits of a resumed run, depend on it.
"""

log = logging.getLogger(__name__)


def engine_of(asked: str = "auto") -> str:
    """The engine that is asked for, by the environment or else so; `ValueError` for one that there isn't."""
    for name, value in ((VARIABLE, os.environ.get(VARIABLE)), ("engine", asked)):
        if value:
            if value not in ENGINES:
                raise ValueError(f"{name} is {value!r}; accepted: {', '.join(ENGINES)}")
            return value
    return "auto"


@dataclass(frozen=True)
class Use:
    """What a recording is for."""

    what: str
    """What is recorded, as the log calls it."""
    calls: int = 0
    """How many calls of it there will be in all."""
    gradients: bool = False
    """Whether its results are gradients."""
    engine: str = "auto"
    """One of `ENGINES`; the environment's `VAEKIT_ENGINE` wins."""
    level: int = logging.WARNING
    """How it is logged that there is none."""
    chosen: dict[str, str] = field(default_factory=dict)
    """How it is made, which a recording writes down: given to the next part of the same run, that goes on alike."""
    split: bool = False
    """Whether `Recording.split` will be called, and its second part as often as `calls` says."""
    lasting: int | None = None
    """How many of its results, from the first on, are kept beyond the next call (None: all). On CUDA that one writes
    over the others.
    """

    @property
    def python(self) -> bool:
        """Whether it runs as Python, by what is asked or was found before."""
        return engine_of(self.engine) == "python" or self.chosen.get("backend") == "python"

    @property
    def starts(self) -> int:
        """The number of calls after which to record."""
        pays = self.calls >= (WORTHWHILE if self.gradients else WORTHWHILE_WITHOUT) or engine_of(self.engine) in (
            "replay",
            "inductor",
        )
        return SOON if pays and not self.python else NEVER

    @property
    def switch(self) -> int | None:
        """The number of calls after which it is compiled, None where it never is."""
        engine = engine_of(self.engine)
        if engine == "replay" or self.chosen.get("backend") == "replay" or self.chosen.get("stale", "") == "again":
            return None
        return 0 if engine == "inductor" else SWITCH if self.calls >= LONG else None


class Recording:
    """What `record` makes: called as the function that it is of, with tensors of the same shapes and types.

    It is replayed operation by operation and, where it is called often, compiled beside the first calls.
    """

    def __init__(self, operations: Operations, compared: Comparison, use: Use, inputs: Sequence[Tensor]) -> None:
        self.operations, self.compared, self.use = operations, compared, use
        self.chosen = use.chosen
        self.state = compared.surroundings.state()
        self.inputs, self.looks = list(inputs), 0
        self.is_due = False
        self.chosen.setdefault("products", faster(operations.graph))
        if self.chosen["products"] == "onednn":
            use_onednn(operations.graph)
        once, again = once_and_again(operations.graph) if use.split else (None, operations.graph)
        self.once, self.run = (replayed(once) if once else None), replayed(again)
        self._launch_together()
        self.compilation: Compilation | None = None
        if use.switch is not None:
            self._begin_compiling(again)

    def at(self, number: int) -> Recording:
        """Itself, before the call of that number in the run: whether it is compiled depends on that alone."""
        if self.compiles_at(number):
            self._take_compiled()
        return self

    def compiles_at(self, number: int) -> bool:
        """Whether `at` of that number waits for the compiler, if it must."""
        return self.compilation is not None and number >= (self.use.switch or 0)

    def __call__(self, *inputs: Tensor) -> list[Tensor | None]:
        """The results for `inputs`."""
        if self.is_due:
            self._confirm(inputs)
        return self._results(*inputs)

    def split(self) -> tuple[Callable[..., list[Tensor]], Callable[..., list[Tensor | None]]]:
        """What of it is the same for the same inputs, and the rest, which takes also the results of that."""
        return self._first, self._rest

    def stale(self) -> bool:
        """Whether what it took as it was is so no more. Now and then it is compared again, at the next call."""
        self.looks += 1
        self.is_due = self.looks & (self.looks - 1) == 0  # at 1, 2, 4, 8, …
        stale = self.compared.surroundings.state() != self.state
        if stale:  # what becomes so more than once is not compiled each time
            self.chosen["stale"] = "again" if "stale" in self.chosen else "once"
        return stale

    @torch.no_grad()
    def _first(self, *inputs: Tensor) -> list[Tensor]:
        return list(self.once(*inputs, *self.operations.kept)) if self.once else []

    @torch.no_grad()
    def _rest(self, *inputs_and_known: Tensor) -> list[Tensor | None]:
        inputs, known = inputs_and_known[: self.operations.inputs], inputs_and_known[self.operations.inputs :]
        return self.operations.spread(self.run(*inputs, *self.operations.kept, *known))

    def _results(self, *inputs: Tensor) -> list[Tensor | None]:
        return self._rest(*inputs, *self._first(*inputs))

    def _launch_together(self) -> None:
        """On CUDA make one launch of the operations, if they can be captured."""
        try:
            self.run = self._together(self.run)
        except Exception as error:  # of many kinds: what waits for the host, memory
            what = "%s are launched one operation at a time, which is slower, since they can't be captured: %s"
            log.log(self.use.level, what, self.use.what, _reason(error))

    def _together(self, run: Callable[..., list[Tensor]]) -> Callable[..., list[Tensor]]:
        """`run`, on CUDA as one launch."""
        if not on_cuda([*self.inputs, *self.operations.kept]):
            return run
        refuse_others(self.operations.graph)
        kept = range(self.operations.inputs, self.operations.inputs + len(self.operations.kept))
        return Captured(run, self._taken(), kept, self.use.lasting, self._undisturbed)

    def _taken(self) -> list[Tensor]:
        """What `run` takes."""
        taken = [*self.inputs, *self.operations.kept, *self._first(*self.inputs)]
        return [each.detach() for each in taken]

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        with self.compared.surroundings.put_back(), seeded(0):
            yield

    def _begin_compiling(self, again: Graph) -> None:
        try:
            self.compilation = Compilation(again, self._taken())
        except Exception as error:
            self._stay_replayed(error)

    def _take_compiled(self) -> None:
        """From now on call what was compiled, if that gives the same."""
        before, compilation, self.compilation = self.run, self.compilation, None
        try:
            self.run = self._together(compilation.result())  # type: ignore[union-attr]
            self._own_results()
            self.compared.refuse(self._results, self.inputs)
            self.chosen["backend"] = "inductor"
        except Exception as error:
            self.run = before
            self._stay_replayed(error)

    def _own_results(self) -> None:
        """Results that share memory are copied: a compiler may see that two are the same, who changes one may not."""
        with self._undisturbed():
            lying = [each.untyped_storage()._cdata for each in self._results(*self.inputs) if each is not None]
        shared = [i for i, each in enumerate(lying) if each in lying[:i]]
        if shared:
            run = self.run

            def copied(*tensors: Tensor) -> list[Tensor]:
                return [each.clone() if i in shared else each for i, each in enumerate(run(*tensors))]

            self.run = copied

    def _stay_replayed(self, error: Exception) -> None:
        self.chosen["backend"] = "replay"
        log.log(self.use.level, "%s are not compiled, which is faster: %s", self.use.what, _reason(error))

    def _confirm(self, inputs: Sequence[Tensor]) -> None:
        """Compare it again with Python, which takes its place where they differ."""
        self.is_due = False
        try:
            self.compared.refuse(self._results, inputs)
        except Exception as error:
            self.chosen["backend"] = "python"
            self._results = self.compared.function  # type: ignore[method-assign,assignment]
            _say(self.use, error)


def record(
    function: Function,
    inputs: Sequence[Tensor],
    use: Use,
    *,
    reads: Sequence[object] = (),
    others: Sequence[Tensor] | None = None,
    python: Function | None = None,
) -> Recording | None:
    """`function` of tensors like `inputs` as a `Recording`, or None where it is to be called as it is.

    `reads` are the objects whose attributes it reads: parameters and buffers of modules among them are read by
    reference, and may be changed in place. What is random is drawn from torch's streams, in the same order. `others`
    are other inputs of the kind, on which it is compared as well; `python` is what it is compared with, if not
    `function`. It never raises: why there is no recording is logged, once. Nothing is drawn or changed that stays.

    >>> doubled = record(lambda x: [2 * x], [torch.ones(2)], Use("doublings"))
    >>> doubled(torch.tensor([3.0, 4.0]))
    [tensor([6., 8.])]
    """
    try:
        if use.python:
            return None
        compared = Comparison(python or function, Surroundings(reads))
        compared.surroundings.refuse_hooks()
        compared.refuse_unsteady(inputs)
        with compared.surroundings.put_back():
            operations = traced(function, inputs, compared.surroundings.modules())
        compared = replace(compared, tolerance=tolerance_of(operations.graph))
        made = Recording(operations, compared, use, inputs)
        for given in [inputs, *([others] if others is not None else [])]:
            compared.refuse(made._results, given)
        return made
    except Exception as error:  # of whatever kind: parts of others say it themselves when they are run as they are
        _say(use, error)
        return None


def _say(use: Use, error: Exception) -> None:
    log.log(use.level, "%s run as Python, which is slower, since they can't be recorded: %s", use.what, _reason(error))


def _reason(error: Exception) -> str:
    own = isinstance(error, (CompilationError, DiffersError, ValueError))
    lines = str(error).splitlines() or [""]
    return lines[0] if own else f"{type(error).__name__}: {lines[0]}"
