"""Priors that are fitted to the codes of a finished run: a second stage, which leaves the first as it is."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..data.frames import check_data, frame_among
from ..errors import RunError, TakenError, UntrainableError, number_of, unknown
from ..seeding import plain_tensors
from ..settings import option, standing, typed_as
from ..spec.keys import LatentSpec, ModelSpec, ObjectiveSpec, PartSpec, Spec, TrainingSpec
from ..spec.parts import options as options_of
from .comparison import Comparison, compare
from .course import draws_for
from .given import NOWHERE
from .keeping import Callbacks
from .run import Run, load_run
from .starting import KEY
from .training import train

VAE_PRIOR = "vae"
"""The prior that is itself a VAE of the codes: a second latent above the one that it is the prior of."""
ENOUGH = 0.1
"""Nats a datum that a fit may still gain in its last epochs when it is taken for converged."""
IN_TURN = ("hierarchical", "ladder")
"""Structures whose last latent is the one that others are drawn from."""


@standing("spec")
@plain_tensors()
def refit_prior(  # noqa: PLR0913 - those of train, and what is fitted
    run: Run | str | Path,
    prior: str,
    out: str | Path | None = None,
    *,
    latent: str | None = None,
    data: str | Path | Any | None = None,
    sets: Iterable[str] = (),
    samples: int | None = None,
    overwrite: bool = False,
    callbacks: Callbacks | None = None,
    **options: Any,
) -> Comparison:
    """Fit a new prior p(z) to the codes of a finished `run`, and compare the run that results with it on the same data.

    Encoder, posterior, decoder and likelihood stay what they are, bit for bit: of -ELBO the cross-entropy of p and the
    aggregate posterior q(z) is minimised alone, E_q(z) [-log p(z)], by draws of q(z given x) (ex-post density
    estimation, Ghosh et al. 2020, section 4; two stages, Dai & Wipf 2019, section 3). `prior` is one by name; with
    "vae" it is a second VAE, whose latent is called u: p(z given u) p(u). A prior that can be fitted by expectation
    maximisation begins so, and goes on by gradients, by the optimiser, the learning rate and the clipping of the first
    training.

    The new run lies in `out` (default RUN-PRIOR), is one like any other, and names the first as `training.start`.
    `latent` says whose prior it is, where there are several; `data` where the run's data lie now, or the data frame
    that it was trained on; `sets` change the new spec ("model.latents.z.prior.components=50"), and `options` are those
    of its training (epochs=20). The comparison is of held-out data, by `samples` draws of each (default 200, fewer
    after a short training): `rows` before and after, `nll_difference` of the second with the standard error of the
    pairs, nats; `runs` are both. Raises `ValueError`, one line, before anything is written, for a prior that there is
    not, has no weights, or does not fit the latent, and for a run that is not finished.

    >>> import tempfile
    >>> from vaekit import train
    >>> first = train("digits", Path(tempfile.mkdtemp()) / "first", epochs=2)
    >>> found = refit_prior(first, "diagonal-normal", samples=5, epochs=1)
    >>> found.runs[1].spec.model.latents["z"].prior.name, found.runs[1].path.name
    ('diagonal-normal', 'first-diagonal-normal')
    """
    run = run if isinstance(run, Run) else load_run(run)
    if run.unfinished:
        raise RunError(run.unfinished)
    if run.spec.data.name == NOWHERE:
        what = "a prior is fitted to codes of the data that a run was trained on, which it does not know"
        raise RunError(f"{run.path} was trained elsewhere: {what}")
    check_data(data)
    spec, frame = refitted(run, prior, latent), frame_among(data)
    place = run.place if data is None else None if frame is not None else str(data)
    if place is not None and spec.data.codes is None:
        spec = spec.model_copy(update={"data": spec.data.model_copy(update={"name": place})})
    usual = run.path.with_name(f"{run.path.resolve().name}-{prior}")
    told = {"sets": sets, "overwrite": overwrite, "parts": run.parts, "callbacks": callbacks}
    folder = usual if out is None else Path(out).expanduser()
    name, typed = spec.training.only[0].removeprefix("priors."), {KEY: "RUN", "training.only": "prior"}
    with typed_as({**typed, f"model.latents.{name}.prior": "prior"}):
        try:
            made = train(spec, folder, data=frame, **told, **options)  # type: ignore[arg-type]
        except UntrainableError:
            what = f"{option('prior', prior)} has no weights that could be fitted to codes"
            raise ValueError(f"{what}; accepted: one that has, such as mixture, flow or vae") from None
        except TakenError:
            go_on = f"one that was interrupted goes on with: vaekit train --resume --out {shlex.quote(str(folder))}"
            anew = f"name another folder, or add {option('overwrite')} to replace it"
            raise RunError(f"{folder} holds a run already; {anew}; {go_on}") from None
    run = replace(run, place=place, loaded=run.loaded or made.loaded)
    return compare([run, made], samples or draws_for(made), split=run.held_out)


def unconverged(made: Run) -> str:
    """That the fit of a prior had not come to its end when its epochs had, and what helps, in a line; else nothing. It
    has where the mean loss of the last fifth of them is less than a tenth of a nat below that of the fifth before.
    """
    records = made.history()
    losses = [each.terms["loss"] for each in records if each.split == records[-1].split]
    few = max(1, len(losses) // 5)
    before, last = losses[-2 * few : -few], losses[-few:]
    if not before or (fell := sum(before) / few - sum(last) / few) < ENOUGH:
        return ""
    more = option("epochs", 2 * made.spec.training.epochs)
    of = f"the last {number_of(few, 'epoch')} of {len(losses)}"
    return f"the fit had not converged: in {of} its loss fell by {fell:.2f} nats; more help: {more}"


def refitted(run: Run, prior: str, latent: str | None = None) -> Spec:
    """The spec of the run that results: that of `run` with another prior of the `latent`, which alone is trained.

    Raises `ValueError`, one line, for a latent or a prior that there is not.
    """
    model, parts = run.spec.model, run.parts
    if prior not in (known := [*parts.priors, VAE_PRIOR]):
        raise ValueError(unknown("prior", prior, known))
    name = _latent(run, latent)
    if prior == VAE_PRIOR:
        model, only = _with_vae(run, name)
    else:
        given: dict[str, Any] = {"name": prior}
        if "fit_after" in options_of(parts.priors[prior], "priors") and not _given(run, name):
            given |= {"fit_after": 0.0}
        groups = getattr(run.model.posteriors[name], "groups", None)
        if groups and "groups" in options_of(parts.priors[prior], "priors"):
            given |= {"groups": groups}
        own = model.latents[name].model_copy(update={"prior": PartSpec.model_validate(given)})
        model, only = _with_latents(model, {name: own}), (f"priors.{name}",)
    before = run.spec.training
    training = TrainingSpec(
        start=str(run.path.resolve()),
        only=only,
        batch_size=before.batch_size,
        seed=before.seed,
        device=before.device,
        engine=before.engine,
        optimizer=before.optimizer,
        learning_rate=before.learning_rate,
        clip=before.clip,
    )
    title = f"{run.spec.title or run.path.resolve().name}; prior {prior} fitted to its codes"
    return run.spec.model_copy(
        update={"title": title, "model": model, "training": training, "objective": ObjectiveSpec(name="elbo")}
    )


def _latent(run: Run, latent: str | None) -> str:
    """The latent whose prior it is: the one that is asked for, the only one, or the last of a hierarchy."""
    names, structure = list(run.spec.model.latents), run.spec.model.kind.name
    if latent is not None and latent not in names:
        raise ValueError(unknown("latent", latent, names))
    if latent is None and len(names) > 1 and structure not in IN_TURN:
        which = f"say whose prior: {option('latent', names[0])}"
        raise ValueError(f"{run.path} has the latents {', '.join(names)}; {which}")
    name = latent or names[-1]
    if name not in run.model.priors:
        which = f"its priors are {', '.join(run.model.priors)}, each given those before"
        raise ValueError(f"{run.path} has no one prior of {name!r} (structure {structure!r}): {which}")
    return name


def _given(run: Run, name: str) -> bool:
    """Whether the prior of a latent is given anything: what is seen of y, labels that are summed out too, or another
    latent.
    """
    return run.model.condition > run.model.exposed or bool(run.model.given(name)[1])


def _with_vae(run: Run, name: str) -> tuple[ModelSpec, tuple[str, ...]]:
    """The model with a latent above that of this name, as many numbers, and the parts of it that are new."""
    model, structure, names = run.spec.model, run.spec.model.kind.name, list(run.spec.model.latents)
    if structure not in ("vae", "hierarchical") or names[-1] != name or (structure == "vae" and len(names) > 1):
        what = f"prior 'vae' is for a run of one latent, or the last of a hierarchy, not for {name!r} of {run.path}"
        others = ", ".join(each for each in run.parts.priors if each in ("flow", "mixture"))
        raise ValueError(f"{what} (structure {structure!r}, latents {', '.join(names)}); accepted there: {others}")
    above = next(each for each in ("u", *(f"u{i}" for i in range(2, len(names) + 3))) if each not in names)
    own = model.latents[name].model_copy(update={"prior": PartSpec(name="diagonal-normal")})
    new = _with_latents(model, {name: own, above: LatentSpec(size=run.model.sizes[name])})
    new = new.model_copy(update={"structure": PartSpec(name="hierarchical")})
    return new, (f"priors.{name}", f"posteriors.{above}", f"priors.{above}")


def _with_latents(model: ModelSpec, latents: dict[str, LatentSpec]) -> ModelSpec:
    return model.model_copy(update={"latents": {**model.latents, **latents}})
