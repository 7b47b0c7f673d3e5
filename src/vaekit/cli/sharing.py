"""The command that gives a run to others."""

from __future__ import annotations

from typing import Annotated

import typer

from ..show.terminal import say
from .options import Anew, Given, RunPath, Seed, loaded_run, note


def push(  # noqa: PLR0913 - as many as the command has options
    context: typer.Context,
    run: RunPath,
    repo: Annotated[str, typer.Argument(metavar="REPO", help="The repository, user/name, made if it is not there.")],
    private: Annotated[bool, typer.Option("--private", help="Make a repository that only you see.")] = False,
    licence: Annotated[
        str | None, typer.Option("--license", help="Of the weights, as the hub calls it: apache-2.0, cc-by-4.0, …")
    ] = None,
    data_licence: Annotated[
        str | None, typer.Option("--data-license", help="Of the data, where they are not a named dataset.")
    ] = None,
    samples: Annotated[
        int, typer.Option(min=0, help="Importance samples of the scores on the card; 0 leaves scores out.")
    ] = 100,
    data: Given = None,
    sets: Anew = None,
    seed: Seed = 0,
) -> None:
    """Put a run on the Hugging Face Hub, with a model card: scores, pictures, licences. `vaekit.from_pretrained` reads
    it. Of the data it takes what spec.json and the pictures have.
    """
    from ..interop.hub import Licences
    from ..interop.hub import push as pushed

    loaded = loaded_run(run, "cpu", context, data, sets)
    if not (run / "pictures").is_dir():
        note(f"{run} has no pictures for the card: vaekit evaluate {run} --report draws them")
    scores = (lambda: loaded.evaluate(loaded.held_out, samples, seed=seed)) if samples else None
    say(pushed(loaded, repo, scores, licences=Licences(licence, data_licence), private=private))
