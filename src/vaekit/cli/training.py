"""The commands that train: train, refit-prior and compare."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import number_of
from ..settings import written
from ..show.endings import PAGES
from ..show.terminal import Bar, print_course, print_json, print_scores, print_table, say
from .ending import InterruptedTrainingError, discard_output, first, is_unread
from .options import Anew, Device, Json, Overwrite, RunPath, Seed, Split, check_out, loaded_run, named_parts

if TYPE_CHECKING:
    from ..runs.run import Run
    from ..show.explorer.live import LivePage


def train(  # noqa: PLR0913 - as many as the command has options
    context: typer.Context,
    target: Annotated[str | None, typer.Argument(help="A recipe, a dataset by name or path, or a .toml file.")] = None,
    data: Annotated[
        str | None, typer.Option(help="Other data for it, by name or path; with --resume where its own lie now.")
    ] = None,
    folder: Annotated[Path | None, typer.Option("--out", help="Run folder (default: runs/NAME).")] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="A.B=C", help="Change the spec; repeatable.")
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option("--column", metavar="NAME=KIND", help="What a table's column is, or none to leave it out."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Same as --set training.epochs=N.")] = None,
    labels: Annotated[int | None, typer.Option(min=1, help="Same as --set data.labels=N: how many are seen.")] = None,
    logs: Annotated[
        list[str] | None,
        typer.Option(
            "--log", metavar="NAME", help="Log to tensorboard, wandb or mlflow too; repeatable: training.log."
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(min=1, help="Importance samples of the final likelihood (default: 200, fewer for a short one)."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out, exactly where it was.")
    ] = False,
    overwrite: Overwrite = False,
    live: Annotated[
        bool, typer.Option("--live", help="Show it in a browser while it trains; then the explorer, until Ctrl-C.")
    ] = False,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port of --live (default: a free one).")] = None,
) -> None:
    """Train a model; ends with its scores and the path of report.html."""
    if port is not None and not live:
        raise ValueError(f"--port {port} is of the page of --live; give that too")
    with _page(port or 0) if live and first() else nullcontext() as page:
        from .. import composed
        from ..runs.course import is_scored

        scored = resume and folder is not None and is_scored(folder)
        with _training() as bar:
            run = composed.train(
                target,
                folder,
                data=data,
                sets=[
                    *(sets or ()),
                    *_kinds(columns or ()),
                    *([] if labels is None else [f"data.labels={labels}"]),
                    *([f"training.log={written(logs)}"] if logs else []),
                ],
                resume=resume,
                overwrite=overwrite,
                parts=named_parts(context),
                callbacks=bar.callbacks if page is None else page.live.callbacks(bar.callbacks),
                epochs=epochs,
            )
        if page is not None:
            page.live.stage = "scoring"
        if first():
            _score(run, samples, scored and not bar.trained)
        if page is not None:
            page.explore(run)


def _score(run: Run, samples: int | None, scored: bool) -> None:
    """Print the scores of a run that is trained, and write its report, unless it has been `scored` already."""
    from ..runs.course import DRAWS, draws_for
    from ..runs.folder import PAGE
    from ..show import report

    command = f"vaekit evaluate {shlex.quote(str(run.path))}"
    if scored and samples is None:
        say(f"{run.path} is finished, and has its scores; to train it longer: --epochs N; to score it anew: {command}")
        say(f"report: {run.path / PAGE}")
        return
    draws = samples or draws_for(run)
    if samples is None and draws < DRAWS:
        rows = f"{number_of(len(run.dataset.splits[run.held_out]), 'datum', 'data')} of {run.held_out}"
        more = f"{command} --samples {DRAWS}"
        say(f"scoring {rows} by {draws} draws each, since the training was short; for more: {more}")
    scores = run.evaluate(run.held_out, draws)
    print_scores(scores)
    print_course(run)
    say(f"report: {report.write_report(run, scores)}")


def _page(port: int) -> AbstractContextManager[LivePage]:
    from ..show.explorer.place import check_place

    check_place(None, port)

    from ..show.explorer.live import live_page

    return live_page(port)


def refit_prior(  # noqa: PLR0913 - as many as the command has options
    context: typer.Context,
    path: RunPath,
    prior: Annotated[str, typer.Option(help="mixture, flow, vamp, … (vaekit parts priors), or vae: a second stage.")],
    folder: Annotated[Path | None, typer.Option("--out", help="Run folder (default: RUN-PRIOR).")] = None,
    latent: Annotated[str | None, typer.Option(help="The latent whose prior it is, where there are several.")] = None,
    data: Annotated[str | None, typer.Option(help="Where the run's data lie now.")] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="A.B=C", help="Change the new spec; repeatable.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Same as --set training.epochs=N.")] = None,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Importance samples of the scores (default: 200, fewer for a short one).")
    ] = None,
    overwrite: Overwrite = False,
    device: Device = "auto",
) -> None:
    """Fit a new prior to the codes of a finished run, all else of it fixed, into a new run; ends with the scores of
    both on the same data, and the path of report.html.
    """
    from .. import composed
    from ..runs.refitting import unconverged
    from ..show import report

    with _training() as bar:
        found = composed.refit_prior(
            loaded_run(path, device, context, data),
            prior,
            folder,
            latent=latent,
            sets=sets or (),
            samples=samples,
            overwrite=overwrite,
            callbacks=bar.callbacks,
            epochs=epochs,
        )
    for table in report.tables(found):
        say(f"\n{table.title}")
        print_table(table.heads, table.rows)
    made, scores = found.runs[1], found.rows[1].evaluation
    print_course(made)
    if said := unconverged(made):
        say(said)
    say(f"report: {report.write_report(made, scores)}")


def compare(  # noqa: PLR0913 - as many as the command has options
    context: typer.Context,
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN RUN...", help="Folders of runs on the same data, or recipes."),
    ],
    path: Annotated[
        Path | None, typer.Option("--out", help="Write a page, .html, or the curves: .png, .svg or .pdf.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="Other data for recipes; of runs where theirs lie now.")] = None,
    sets: Anew = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs of recipes.")] = None,
    samples: Annotated[int, typer.Option(min=1, help="Importance samples K for each datum.")] = 200,
    split: Split = "test",
    as_json: Json = False,
    overwrite: Overwrite = False,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Score runs on the same data, the first as the baseline; say what differs between them; show them side by side.

    A recipe stands for its run in runs/NAME, which is trained, or gone on with, unless it is finished.
    """
    check_out(path, overwrite, PAGES)

    from ..runs import comparison
    from ..show import report

    loaded = [_load_or_train(each, data, sets, epochs, device, context) for each in runs]
    found = comparison.compare(loaded, samples, split=split, seed=seed)
    if path is not None:
        report.write_comparison(found, path)
    if as_json:
        rows = [asdict(row) for row in found.rows]
        print_json({"dataset": found.dataset, "split": found.split, "runs": rows, "differences": found.differences})
        return
    say(report.about(found))
    for table in report.tables(found):
        say(f"\n{table.title}")
        print_table(table.heads, table.rows)
    if path is not None:
        say(f"{path}")


@contextmanager
def _training() -> Iterator[Bar]:
    """Inside, a bar shows the progress of a training, and an interrupt says how to go on."""
    from ..errors import LostProcessError, NotBegunError

    bar = Bar()
    try:
        with bar:
            yield bar
    except (KeyboardInterrupt, OSError, SystemExit) as error:
        lost = str(error) if isinstance(error, LostProcessError) else ""
        if is_unread(error):
            discard_output()
            lost = "nobody reads the output any more"
        if not bar.folders or not (lost or isinstance(error, KeyboardInterrupt)):
            raise
        resume = None if isinstance(error, NotBegunError) else ["train", "--resume", "--out", str(bar.folders[-1])]
        raise InterruptedTrainingError(resume, lost) from None


def _kinds(columns: Sequence[str]) -> list[str]:
    """The setting of the kinds of columns that are given as NAME=KIND."""
    pairs = [each.rpartition("=")[::2] for each in columns]
    if bad := [each for each, (name, _) in zip(columns, pairs, strict=True) if not name]:
        raise ValueError(f"--column {bad[0]!r} is not NAME=KIND, such as age=positive")
    return [f"data.columns={written(dict(pairs))}"] if pairs else []


def _load_or_train(
    name: str, data: str | None, sets: list[str] | None, epochs: int | None, device: str, context: typer.Context
) -> Run:
    from ..composed import ensure
    from ..spec.recipes import RECIPES

    if name not in RECIPES or Path(name).exists():
        return loaded_run(Path(name), device, context, data, sets)
    if sets:
        raise ValueError(f"--set {sets[0]} is for data of runs in folders; {name} is a recipe")
    with _training() as bar:
        parts, folder = named_parts(context), Path("runs") / name
        path = ensure(name, folder, data=data, epochs=epochs, parts=parts, callbacks=bar.callbacks).path
    return loaded_run(path, device, context)
