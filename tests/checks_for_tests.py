"""What has to hold of any spec: it is trained, loaded, resumed, scored and drawn from, or refused in one clear line."""

from __future__ import annotations

import contextlib
import io
import json
import math
import shutil
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from runs_for_tests import equal, untimed, weights

from vaekit import cli, train
from vaekit.errors import NonFiniteError
from vaekit.evaluation.scores import Evaluation
from vaekit.models.scoring import Scores
from vaekit.runs.run import Run, load_run
from vaekit.spec.parsing import parse
from vaekit.training.checkpoint import Checkpoints

_T = TypeVar("_T")
LONGEST = 600
"""Characters of one clear line."""
ERRORS = 6
"""Standard errors by which an NLL may be above -ELBO."""


@dataclass
class Found:
    """What became of a spec: "trained", "refused" or "not finite", its message, and what is wrong with that."""

    number: int
    status: str = ""
    message: str = ""
    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def need(self, holds: bool, fault: str) -> None:
        if not holds:
            self.faults.append(fault)

    def tried(self, what: str, work: Callable[[], _T]) -> _T | None:
        """What `work` gives; an error is a fault."""
        try:
            return work()
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            self.faults.append(f"{what}: {type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})")
            return None

    def refused(self, error: Exception) -> None:
        self.status, self.message = "refused", str(error)
        self.need(
            isinstance(error, (ValueError, ArithmeticError, OSError)), f"refused by {type(error).__name__}: {error}"
        )
        self.need(0 < len(self.message) <= LONGEST and "\n" not in self.message, f"no clear line: {self.message}")


def check(number: int, values: Mapping[str, Any], folder: Path, outputs: bool = False) -> Found:
    """All that has to hold of a spec, in `folder`, made for it and deleted; with `outputs`, of the files, too."""
    found, started = Found(number), time.perf_counter()
    folder.mkdir(parents=True)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            _check(found, values, folder, outputs)
        found.warnings = sorted({f"{each.category.__name__}: {each.message}"[:200] for each in caught})
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    found.seconds = time.perf_counter() - started
    return found


def _check(found: Found, values: Mapping[str, Any], folder: Path, outputs: bool) -> None:
    whole = folder / "whole"
    try:
        spec = parse(values)
        run = train(spec, whole)
    except NonFiniteError as error:
        found.refused(error)
        found.status = "not finite"
        return
    except Exception as error:
        found.refused(error)
        found.need(not whole.exists(), "refused, but there is a folder")
        return
    found.status = "trained"
    for record in run.history():
        bad = [name for name, value in record.terms.items() if not math.isfinite(value)]
        found.need(not bad, f"not finite in the record of epoch {record.epoch}, {record.split}: {bad}")
    _learned(found, run)
    loaded = found.tried("load_run", lambda: load_run(whole))
    if loaded is None:
        return
    found.need(equal(weights(run.model), weights(loaded.model)), "other weights after loading")
    _scored(found, run, loaded)
    _drawn(found, run, loaded)
    _resumed(found, run, folder / "resumed")
    if outputs:
        _written(found, run, folder)


def _deaf(run: Run) -> bool:
    """Whether the untrained decoder gives the same for all latents, to four digits: its ReLUs are off."""
    model = run.untrained()
    z = torch.randn(64, model.latent_size, generator=torch.Generator().manual_seed(0))
    y = run.conditions(1)
    made = model.decode(z, None if y is None else y.expand(64, *y.shape[1:]))
    return bool((made.std(0) <= 1e-4 * (1e-6 + made.abs().mean(0))).all())


def _learned(found: Found, run: Run) -> None:
    """Every part has been changed by the training, but for those that a dead ReLU or an objective leaves as it is."""
    before, changed = dict(run.untrained().named_parameters()), dict[str, bool]()
    for name, value in run.model.named_parameters():
        part = ".".join(name.split(".")[: 2 if name.startswith(("posteriors.", "priors.")) else 1])
        changed[part] = changed.get(part, False) or not torch.equal(value, before[name])
    objective = run.spec.objective.options
    held = ("free_bits", "beta") if run.spec.training.early_stopping is None else objective
    latents = run.spec.model.latents.items()
    if _deaf(run):  # nothing comes back through the decoder, and a weight of the KL may be 0 all along
        changed = {part: any_changed for part, any_changed in changed.items() if not part.startswith("posteriors.")}
    # What pseudo-inputs learn comes through encoder and posterior.
    behind = {"encoder", *(f"priors.{name}" for name, latent in latents if latent.prior.name == "vamp")}
    for part, any_changed in changed.items():
        free = part.startswith("priors.") and any(key in objective for key in held)
        found.need(any_changed or free or part in behind, f"not trained: {part}")


def _scored(found: Found, run: Run, loaded: Run) -> None:
    gaps: list[torch.Tensor] = []
    one = found.tried("evaluate", lambda: run.evaluate("train", 5, on_scores=lambda each: gaps.append(_gap(each))))
    other = found.tried("evaluate, loaded", lambda: loaded.evaluate("train", 5))
    if one is None or other is None:
        return
    apart = [name for name, value in asdict(one).items() if not _same(value, asdict(other)[name])]
    found.need(not apart, f"other scores after loading: {apart}")
    # Pareto's k needs more draws than these.
    bad = [name for name, value in asdict(one).items() if not _finite(value) and name != "pareto_k"]
    found.need(not bad, f"scores that are no numbers: {bad}")
    if one.is_likelihood and _below(gaps):
        gaps.clear()
        run.evaluate("train", 300, on_scores=lambda each: gaps.append(_gap(each)))
        found.need(not _below(gaps), "NLL above -ELBO")


def _gap(scores: Scores) -> torch.Tensor:
    """log p(x) less the ELBO, (B,) nats."""
    return (scores.log_prob - scores.elbo).double()


def _below(gaps: Sequence[torch.Tensor]) -> bool:
    """Whether what is at least 0 is below it by more than it varies."""
    gap = torch.cat(list(gaps))
    return bool(gap.mean() < -ERRORS * gap.std() / len(gap) ** 0.5 - 1e-4 * (1 + gap.abs().max()))


def _drawn(found: Found, run: Run, loaded: Run) -> None:
    held, event, domain = run.held_out, run.schema.event_shape, run.schema.domain
    n, size = len(run.dataset.splits[held]), run.model.latent_size
    works: dict[str, tuple[Callable[[Run], Any], tuple[int, ...]]] = {
        "sample": (lambda each: each.sample(6, seed=1), (6, *event)),
        "sample of means": (lambda each: each.sample(5, draw=False, seed=1), (5, *event)),
        "encode": (lambda each: each.encode(held)[0], (n, size)),
        "encode by draws": (lambda each: each.encode(held, draw=True, seed=0)[0], (n, size)),
        "reconstruct": (lambda each: each.reconstructions(held, 3, seed=0), (min(n, 3), 2, *event)),
        "reconstruct by draws": (
            lambda each: each.reconstructions(held, 3, samples=2, draw=True, seed=0),
            (min(n, 3), 3, *event),
        ),
    }
    for what, (work, shape) in works.items():
        one = found.tried(what, lambda work=work: np.asarray(work(run)))  # type: ignore[misc]
        if one is None:
            continue
        if what in ("sample", "encode", "reconstruct by draws"):
            other = found.tried(what, lambda work=work: np.asarray(work(loaded)))  # type: ignore[misc]
            found.need(other is not None and np.array_equal(one, other), f"{what}: another after loading")
        found.need(one.shape == shape, f"{what}: shape {one.shape}, not {shape}")
        found.need(bool(np.isfinite(one).all()), f"{what}: no finite numbers")
        if what in ("sample", "reconstruct by draws") and not domain.relaxed:
            drawn = one if what == "sample" else one[:, 1:]
            with contextlib.suppress(ValueError):
                domain.check(drawn, what)
                continue
            found.faults.append(f"{what}: outside {domain}, by {run.spec.model.likelihood.name}")  # type: ignore[union-attr]


def _resumed(found: Found, run: Run, folder: Path) -> None:
    """Killed in its last epoch, and resumed, it is the run that was not."""
    shutil.copytree(run.path, folder)
    (folder / "weights.safetensors").unlink()
    Checkpoints(folder / "checkpoints").all()[-1].unlink()
    resumed = found.tried("resume", lambda: train(None, folder, resume=True))
    if resumed is not None:
        found.need(equal(weights(run.model), weights(resumed.model)), "other weights after resuming")
        found.need(_same(untimed(run.history()), untimed(resumed.history())), "other records after resuming")


def _written(found: Found, run: Run, folder: Path) -> None:
    """The commands' files."""
    from vaekit.show.report import write_report

    commands: dict[str, tuple[str, ...]] = {
        "evaluate": ("--samples", "3", "--split", run.held_out, "--json"),
        "sample": ("--out", str(folder / "s.npy"), "-n", "3"),
        "encode": ("--out", str(folder / "e.csv"), "--split", run.held_out),
        "reconstruct": ("--out", str(folder / "r.npy"), "--split", run.held_out, "-n", "2"),
        "plot": (),
    }
    for name, options in commands.items():
        out, said = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
            status = found.tried(
                f"vaekit {name}", lambda name=name, options=options: cli.main([name, str(run.path), *options])
            )
        found.need(status in (0, None), f"vaekit {name}: {said.getvalue().strip()[:300]}")
        if name == "evaluate" and status == 0:
            found.tried("its JSON", lambda out=out: json.loads(out.getvalue()))
    scores: Evaluation | None = found.tried("evaluate", lambda: run.evaluate(run.held_out, 3))
    if scores is not None:
        found.tried("report", lambda: write_report(run, scores))


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, float):
        return a == b or (math.isnan(a) and math.isnan(b))
    if isinstance(a, Mapping):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)


def _finite(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_finite, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)
