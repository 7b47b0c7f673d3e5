"""The commands for many runs, and for many files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import number_of
from ..show.terminal import print_json, print_table, say
from .ending import InterruptedTrainingError
from .options import Anew, Device, Json, Overwrite, RunPath, Seed, loaded_run, note

if TYPE_CHECKING:
    from ..many.score import Scored
    from ..runs.swept import Trial

Ray = Annotated[
    str | None,
    typer.Option(help="Address of a Ray cluster whose machines see the same folders, or local."),
]


def sweep(  # noqa: PLR0913 - as many as the command has options
    context: typer.Context,
    target: Annotated[str | None, typer.Argument(help="A recipe, a dataset by name or path, or a .toml file.")] = None,
    over: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=A,B,C", help="Values to go over, or KEY=LOW..HIGH[:log] to search; repeatable."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of each setting: 0, 1, …")] = 3,
    data: Annotated[str | None, typer.Option(help="Other data for it, by name or path.")] = None,
    folder: Annotated[Path | None, typer.Option("--out", help="Folder of all (default: runs/NAME-sweep).")] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="A.B=C", help="Change the spec of all; repeatable.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Same as --set training.epochs=N.")] = None,
    by: Annotated[str, typer.Option(help="Rank by nll or elbo, of held-out data or of a split: test.nll.")] = "nll",
    samples: Annotated[int, typer.Option(min=1, help="Importance samples of a likelihood.")] = 200,
    search: Annotated[str | None, typer.Option(help="Choose settings by Optuna: tpe or random.")] = None,
    trials: Annotated[int, typer.Option(min=1, help="Settings that a search tries.")] = 20,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Runs at once, each a process (default: one a processor or GPU).")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of each (default: processors / jobs).")] = None,
    ray: Ray = None,
    as_json: Json = False,
) -> None:
    """Train with every combination of settings, several seeds each, and compare; the same command again goes on.

    Ends with a table, the best settings first, and the path of sweep.html.
    """
    from ..many.sweep import sweep as run_them
    from ..show import report
    from ..spec.parts import PARTS

    def tell(trial: Trial) -> None:
        if not as_json and trial.outcome is not None:
            why = trial.outcome.error
            say(f"{trial.name}: {why}" if why else f"{trial.name}: done, {trial.outcome.seconds:.1f} s")

    try:
        found = run_them(
            target,
            over or (),
            seeds=seeds,
            out=folder,
            data=data,
            sets=sets or (),
            parts=context.obj or PARTS,
            by=by,
            samples=samples,
            search=search,
            trials=trials,
            jobs=jobs,
            threads=threads,
            ray=ray,
            on_trial=tell,
            epochs=epochs,
        )
    except KeyboardInterrupt:
        raise InterruptedTrainingError(None) from None
    if as_json:
        print_json({"folder": str(found.folder), "by": found.by, "settings": found.frame.to_dict("records")})
    else:
        say(report.about_sweep(found))
        for table in report.sweep_tables(found):
            say(f"\n{table.title}")
            print_table(table.heads, table.rows)
    best = found.best
    if not as_json:
        say(f"\nbest: {best.name}\n{found.folder / report.sweep.PAGE}")
    if found.failed:
        note(f"{len(found.failed)} of {len(found.trials)} runs have failed; the same command tries them again")


def score(  # noqa: PLR0913 - as many as the command has options
    context: typer.Context,
    run: RunPath,
    shards: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Files of data, or folders of them.")],
    out: Annotated[Path, typer.Option("--out", help="A folder, for a Parquet file each, or a .parquet file of all.")],
    samples: Annotated[int, typer.Option(min=1, help="Importance samples K for each row.")] = 1000,
    sets: Anew = None,
    codes: Annotated[bool, typer.Option("--codes", help="Write latent codes too, posterior means.")] = False,
    overwrite: Overwrite = False,
    seed: Seed = 0,
    ray: Ray = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="With --ray: files at once (default: processors).")] = None,
    device: Device = "auto",
) -> None:
    """Score each row of many files: log p with its Monte Carlo error, and the ELBO, in nats; the same command again
    goes on, file by file.
    """
    from ..data.exposure import empty_rows
    from ..data.tabular import impossible_rows
    from ..many.score import score as score_them
    from ..models.remarks import remarks
    from ..spec.parts import PARTS

    loaded = loaded_run(run, device, context, sets=sets)
    for each in remarks(loaded.model):
        note(each)

    def tell(scored: Scored) -> None:
        say(f"{scored.path}: {number_of(scored.rows, 'row')}")
        if scored.impossible:
            note(scored.why)
            note(impossible_rows(scored.impossible, scored.rows))
        if scored.empty:
            note(empty_rows(scored.empty, scored.rows))

    asked: dict[str, Any] = {"samples": samples, "codes": codes, "seed": seed, "overwrite": overwrite}
    parts = context.obj or PARTS
    found = score_them(loaded, shards, out, **asked, parts=parts, jobs=jobs, ray=ray, on_file=tell)
    if kept := sum(each.kept for each in found):
        say(f"{kept} of {len(found)} files were there already")
