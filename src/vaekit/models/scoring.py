"""Scores of data from many posterior samples: the ELBO and its parts, and the importance-weighted likelihood.

A sample costs little more than the decoder's matrix products, whatever the number of data and of samples, in memory
that does not grow with either: see benchmarks/report.md.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..data.batch import Batch
from ..distributions.moments import DRAWS
from ..distributions.quantised import Quantised
from ..distributions.validation import unvalidated
from ..engine import Recording, Use, record
from ..modules import Uncompiled
from ..system.allocator import keep_freed_memory
from .given import check_samples
from .importance import kept_size, log_mean_variance, pareto_shape
from .trace import Trace

MEMORY = 48 * 2**20
"""Bytes that scoring takes at most, unless told otherwise. With more, what is computed no longer fits the caches."""
ENCODES = 250
"""Samples for each encoding of a datum, at least, if so many are asked for: the encoder then costs next to nothing."""
MERGED = 64
"""Chunks whose sums are kept until they are merged."""


@dataclass(frozen=True)
class Scores:
    """Estimates from K posterior samples of each of B data, all nats per datum, (B,) unless said."""

    reconstruction: Tensor
    """E_q log p(x given z)."""
    kl_terms: dict[str, Tensor]
    """KL(q || p) of each latent, as additive terms (B, T)."""
    log_prob: Tensor
    """log of the mean of K weights: in expectation a lower bound of log p(x), tight as K grows (Burda et al. 2016)."""
    log_prob_variance: Tensor
    """Monte Carlo variance of `log_prob` by the jackknife (see `importance`); NaN for K = 1."""
    effective_samples: Tensor
    """1 / sum of the squares of the weights divided by their sum: from 1, where one is all that counts, to K."""
    pareto_k: Tensor
    """The shape of the weights' tail (see `importance`): above 0.7 neither `log_prob` nor its variance is reliable."""
    latent_mean: Tensor
    """The means of the posteriors, (B, D)."""
    tokens: dict[str, Tensor] = field(default_factory=dict)
    """The tokens (B, T) of each quantised latent that no draw of another changes."""

    @property
    def kl(self) -> Tensor:
        return torch.stack([terms.sum(-1) for terms in self.kl_terms.values()]).sum(0)

    @property
    def elbo(self) -> Tensor:
        return self.reconstruction - self.kl

    def rows(self, kept: Tensor) -> Scores:
        """Those of the data that are `kept`, of bool (B,)."""
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        of_names: dict[str, Any] = {
            part: {name: each[kept] for name, each in own.pop(part).items()} for part in ("kl_terms", "tokens")
        }
        return Scores(**of_names, **{name: each[kept] for name, each in own.items()})

    def without(self, never: Tensor) -> Scores:
        """With the log-probability of 0 for the data that can `never` be, of bool (B,): that is exact, so that it has
        no error, and weights of what else is seen of such data tell nothing of it.
        """
        exact = {"reconstruction": -torch.inf, "log_prob": -torch.inf, "log_prob_variance": 0.0}
        exact |= dict.fromkeys(("effective_samples", "pareto_k"), torch.nan)
        return replace(self, **{name: getattr(self, name).masked_fill(never, value) for name, value in exact.items()})

    def of_nothing(self, empty: Tensor, samples: int) -> Scores:
        """With the log-probability of 1 for the data that are `empty`, of bool (B,), which can't be anything else: that
        is exact, and each of the `samples` counts as much.
        """
        exact = {"reconstruction": 0.0, "log_prob": 0.0, "log_prob_variance": 0.0}
        exact |= {"effective_samples": float(samples), "pareto_k": torch.nan}
        return replace(self, **{name: getattr(self, name).masked_fill(empty, value) for name, value in exact.items()})


def sum_type(device: torch.device) -> torch.dtype:
    """The type to add many numbers in: float64, where the device has it."""
    return torch.float32 if device.type == "mps" else torch.float64


@dataclass(frozen=True)
class Sums:
    """What scores are made of: averages over draws of what is computed of each of B data."""

    peak: Tensor
    """The largest log w of a datum's weights w, (B,)."""
    weight: Tensor
    """w / exp(peak), (B,)."""
    square: Tensor
    """(w / exp(peak))², (B,)."""
    largest: Tensor
    """The largest log w of all, not an average, (M, B) from the largest on; all of them where there are few."""
    log_px: Tensor
    """log p(x given z), (B,)."""
    kl_terms: dict[str, Tensor]
    """The KL of each latent as additive terms, (B, T)."""
    mean: dict[str, Tensor]
    """The mean of each latent's posterior, (B, D)."""
    tokens: dict[str, Tensor]
    """The tokens of each quantised latent that no draw of another changes, (B, T)."""

    def tensors(self) -> list[Tensor]:
        """All of them."""
        return [
            self.peak,
            self.weight,
            self.square,
            self.largest,
            self.log_px,
            *self.kl_terms.values(),
            *self.mean.values(),
            *self.tokens.values(),
        ]

    def of_names(self, tensors: Sequence[Tensor]) -> Sums:
        """Others, given as `tensors` gives them, of the same names."""
        peak, weight, square, largest, log_px, *others = tensors
        rest = iter(others)
        kl_terms, mean, tokens = ({name: next(rest) for name in own} for own in (self.kl_terms, self.mean, self.tokens))
        return Sums(peak, weight, square, largest, log_px, kl_terms, mean, tokens)


def sums(trace: Trace, constants: bool = True, kept: int | None = None) -> Sums:
    """The sums of a trace's draws, and the `kept` largest weights, or all; without `constants`, only what is not the
    same for all draws.

    Where all that is discrete is summed out, one sample stands for all draws: hence averages.
    """
    kind = sum_type(trace.x.device)
    weights = trace.log_weight.to(kind)
    peak = weights.amax(0)
    scaled = (weights - _some(peak)).exp()
    kl_terms = {
        latent.name: latent.kl_terms.to(kind) for latent in trace.latents if constants or not latent.constant_kl
    }
    return Sums(
        peak,
        scaled.mean(0),
        scaled.square().mean(0),
        _largest(weights, kept),
        trace.log_px.to(kind).mean(0),
        {name: terms.mean(0) if terms.dim() == 3 else terms for name, terms in kl_terms.items()},
        {latent.name: latent.mean.to(kind) for latent in trace.latents if constants or latent.per_draw},
        _tokens(trace) if constants else {},
    )


def _some(peak: Tensor) -> Tensor:
    """The largest log-weights, 0 in place of -inf: of weights that are all 0, so that their mean is 0."""
    return peak.masked_fill(peak.isneginf(), 0.0)


def _tokens(trace: Trace) -> dict[str, Tensor]:
    known = {latent.name: latent.q for latent in trace.latents if latent.cases is None and not latent.per_draw}
    return {name: q.indices for name, q in known.items() if isinstance(q, Quantised)}


def _largest(weights: Tensor, kept: int | None) -> Tensor:
    """The `kept` largest of weights (S, B) in each column, or all, from the largest on."""
    return weights.topk(min(kept or len(weights), len(weights)), 0).values


def chunks(samples: int, chunk: int) -> list[int]:
    """The draws of each chunk, of at most `chunk` each. Raises `ValueError` for samples below 1."""
    check_samples(samples)
    return [min(chunk, samples - done) for done in range(0, samples, chunk)]


def score(parts: Iterable[tuple[int, Sums]]) -> Scores:
    """The scores of all draws from those of parts: how many, and their sums, the first with what is the same for all.

    Weights are relative to the largest so far, so that none overflows; the value does not depend on the parts.
    """
    return scores_of(*_merged_in_turn(parts, None))


def scores_of(samples: int, total: Sums) -> Scores:
    """The scores that the sums of K = `samples` draws give."""
    log_sum = total.peak + total.weight.log() + math.log(samples)
    squares = total.square / total.weight.square() / samples  # of the weights divided by their sum
    return Scores(
        reconstruction=total.log_px,
        kl_terms=total.kl_terms,
        log_prob=total.peak + total.weight.log(),
        log_prob_variance=log_mean_variance(total.largest, log_sum, squares, samples),
        effective_samples=1 / squares,
        pareto_k=pareto_shape(total.largest, samples),
        latent_mean=torch.cat(list(total.mean.values()), -1),
        tokens=total.tokens,
    )


def _merged_in_turn(parts: Iterable[tuple[int, Sums]], kept: int | None) -> tuple[int, Sums]:
    """Those of all draws, few of them at a time."""
    waiting: list[tuple[int, Sums]] = []
    for part in parts:
        waiting.append(part)
        if len(waiting) == MERGED:
            waiting = [_merged(waiting, kept)]
    return _merged(waiting, kept)


def _merged(parts: Sequence[tuple[int, Sums]], kept: int | None) -> tuple[int, Sums]:
    """All of their draws, and the sums of them with the `kept` largest weights, or all."""
    if len(parts) == 1:
        return parts[0]
    draws, each = [many for many, _ in parts], [part for _, part in parts]
    samples = sum(draws)
    peaks = torch.stack([part.peak for part in each])
    share = (torch.tensor(draws, dtype=peaks.dtype, device="cpu") / samples).to(peaks.device, non_blocking=True)
    peak = peaks.amax(0)
    own = (peaks - _some(peak)).exp()

    def average(values: Sequence[Tensor], scale: Tensor | float = 1.0) -> Tensor:
        return torch.tensordot(share, scale * torch.stack(list(values)), 1)

    def averages(found: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Of what the last has; what it leaves out is the same in all."""
        return found[0] | {name: average([one[name] for one in found]) for name in found[-1]}

    return samples, Sums(
        peak,
        average([part.weight for part in each], own),
        average([part.square for part in each], own.square()),
        _largest(torch.cat([part.largest for part in each]), kept),
        average([part.log_px for part in each]),
        averages([part.kl_terms for part in each]),
        averages([part.mean for part in each]),
        each[0].tokens,
    )


def _of_all_data(parts: Sequence[Sums]) -> Sums:
    """The sums of several batches as those of one."""
    tensors = zip(*(part.tensors() for part in parts), strict=True)
    return parts[0].of_names([torch.cat(each, -1 if i < 5 else 0) for i, each in enumerate(tensors)])


class Scorer:
    """Scores of batches by `trace(batch, samples)` of a model, from `samples` draws, within `memory` bytes.

    Chunks of draws of which there are many alike are replayed from a recording, once it has given what the model as
    Python gives; what is drawn is the same. Whether that pays is told by the number of `rows` that are to come, if
    given. Chunks that can't be recorded are made by Python, which is logged once: the first of each datum where its
    posterior has no mean in closed form. The model may not change meanwhile.
    """

    def __init__(
        self, trace: Callable[..., Trace], model: nn.Module, samples: int, memory: int = MEMORY, rows: int = 0
    ) -> None:
        check_samples(samples)
        self.trace, self.model, self.samples, self.memory, self.rows = trace, model, samples, memory, rows
        self.kept = kept_size(samples)
        self.use = Use("chunks of scores", level=logging.INFO, split=True)
        self.alike: Counter[Any] = Counter()
        self.recordings: dict[Any, _Recording | None] = {}
        self.scored = self.blocks = 0
        self.on_rows: Callable[[int], None] = lambda rows: None
        """Told how many data have been scored so far."""

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Scores:
        """Scores of a batch, given its y; of rows whose exposure is 0, the log-probability of no counts, 0."""
        keep_freed_memory()
        rows, chunk = plan(self.trace, batch, len(batch), self.samples, self.memory)
        blocks = [batch.take(slice(start, start + rows)) for start in range(0, len(batch), rows)]
        draws = chunks(self.samples, chunk)
        self.blocks = max(self.rows, len(batch)) // rows
        found = []
        for block in blocks:
            found.append(_merged_in_turn(self._chunks(block, draws), self.kept))
            self.scored += len(block)
        scores = scores_of(self.samples, _of_all_data([total for _, total in found]))
        if batch.y is None or not getattr(self.model, "exposed", False):
            return scores
        empty = (batch.y[:, -1] == 0) & (batch.x.flatten(1) == 0).all(1)
        return scores.of_nothing(empty, self.samples)

    def _chunks(self, block: Batch, draws: Sequence[int]) -> Iterator[tuple[int, Sums]]:
        """Each chunk's number of draws and their sums, for the data of a block."""
        drawn, alike = 0, Counter((many, not i) for i, many in enumerate(draws))
        for i, many in enumerate(draws):
            yield many, self._summed(block, many, not i, alike[many, not i] * self.blocks)
            drawn += many
            self.on_rows(self.scored + len(block) * drawn // self.samples)

    def _summed(self, block: Batch, draws: int, constants: bool, alike: int) -> Sums:
        """The sums of a chunk of the data of a block, one of so many that are `alike`."""

        def made(*given: Tensor) -> Sums:
            return sums(self.trace(block.of(given), draws), constants, self.kept)

        given = block.tensors
        kind = draws, constants, *(each.shape for each in given)
        self.alike[kind] += 1
        before = self.alike[kind] - 1
        use = replace(self.use, calls=alike, chosen={})
        if before >= use.starts and kind not in self.recordings:
            self.recordings[kind] = _recorded(made, given, self.model, use)
            if self.recordings[kind] is None:
                self.use = replace(self.use, level=logging.DEBUG)  # it has been said
        found = self.recordings.get(kind)
        return found(before, *given) if found else made(*given)


class _Recording:
    """The sums of a chunk as operations, those of the data alone made once for all chunks of the same data."""

    def __init__(self, recording: Recording, names: Sums) -> None:
        self.recording, self.names = recording, names
        self.given: Sequence[Tensor] = ()
        self.known: list[Tensor] = []

    def __call__(self, number: int, *given: Tensor) -> Sums:
        once, again = self.recording.at(number).split()
        if not (self.given and all(one is other for one, other in zip(self.given, given, strict=True))):
            self.given, self.known = given, once(*given)
        return self.names.of_names(again(*given, *self.known))  # type: ignore[arg-type]


def _recorded(made: Callable[..., Sums], given: Sequence[Tensor], model: nn.Module, use: Use) -> _Recording | None:
    """What gives the sums as `made` does, or None where they can't be recorded."""
    names: list[Sums] = []

    def tensors(*given: Tensor) -> list[Tensor]:
        with unvalidated():
            names[:] = [made(*given)]
        return names[0].tensors()

    recording = record(tensors, given, use, reads=[model], others=[each.flip(0) for each in given])
    return _Recording(recording, names[0]) if recording else None


class _OutputBytes(Uncompiled):
    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, Tensor):
                self.total += tensor.numel() * tensor.element_size()
        return out


def plan(trace: Callable[..., Trace], batch: Batch, n: int, samples: int, memory: int) -> tuple[int, int]:
    """(rows, chunk): of n data how many at once, of `samples` draws each how many at once, stay within `memory` bytes.

    `trace(batch, samples)` is tried on the first datum of a batch. Counted are the outputs of all operations, more than
    what is alive at any time; but never less is taken than one draw for one datum.
    """

    def used(rows: int, draws: int) -> int:
        with _OutputBytes() as counter, torch.no_grad():
            t = trace(batch.take(slice(1)).repeat(rows), draws)
            # A mean may be drawn, `DRAWS` at once; twice that, since flows hold on to theirs until cycles are freed.
            # Below is room for the means that are the same for all draws.
            _ = t.log_weight, t.kl, [each.q.sample(torch.Size((2 * DRAWS,))) for each in t.latents if each.per_draw]
        return counter.total

    one = used(1, 1)
    draw = max(0, used(1, 2) - one)
    row = max(0, used(2, 1) - one - draw)
    left = memory - (one - row - draw)
    rows = min(n, max(1, left // max(1, row + max(min(samples, ENCODES), DRAWS) * draw)))
    return rows, max(1, (left // rows - row) // draw) if draw else samples
