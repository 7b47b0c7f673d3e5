"""Scores of the rows of many files, written by this process or by Ray."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd
import torch

from ..data.workbooks import parquet_rows
from ..interop.ray import scored_by_ray
from ..runs.pieces import PARQUET
from ..runs.run import Run, load_run
from ..runs.scoring import FILE, Met, Question, identity, outputs_of, score_shard, shards_of, state_of
from ..runs.tables import apart
from ..settings import option, standing
from ..show.endings import check_output
from ..show.outputs import read_about, write_frames
from ..spec.own import parts_from
from ..spec.parts import PARTS, Parts
from ..system.disk import drop_temporaries, refuse_no_folder
from ..system.workers import processors

RUN, SHARD, ODD = "vaekit.scores", "vaekit.shard", "vaekit.impossible"
"""What a file of scores says of itself: of what it is the answer, of which state of its shard, and of how many rows
log p is -inf, for which cells, and how many are without a count.
"""


@dataclass(frozen=True)
class Scored:
    """A file of scores: of how many rows it is, and whether it was there already."""

    path: Path
    rows: int
    kept: bool = False
    impossible: int = 0
    """Of how many rows log p is -inf."""
    why: str = ""
    """For which cells it is, in a line."""
    empty: int = 0
    """How many rows are without a count, given their total: log p of them is 0."""


@standing("spec")
def score(  # noqa: PLR0913 - all that may be said of many files
    run: Run | str | Path,
    shards: Sequence[str | Path] | str | Path,
    out: str | Path,
    *,
    samples: int = 1000,
    codes: bool = False,
    seed: int = 0,
    device: str = "cpu",
    parts: Parts | str = PARTS,
    jobs: int | None = None,
    ray: str | None = None,
    overwrite: bool = False,
    on_file: Callable[[Scored], None] = lambda scored: None,
) -> list[Scored]:
    """Score each row of many files by a run, or its folder, into Parquet files: log p with its Monte Carlo error, the
    ELBO, with `codes` the posterior means.

    `shards` are files that hold data of the run's kind, folders of such files, or folders of images, each of which is
    one, its rows named by their files. A Parquet file is read a block of rows at a time. `out` is a folder, which gets
    a file for each of them, or one .parquet file of all their rows. Each file is written whole or not at all; called
    again, those that are there in the folder are kept, unless their shard has changed since. With `overwrite` what is
    there of them is made anew; without, a file of all rows is not to be there. Scores are by `samples` importance
    samples from `seed`, the same for a row whatever else is scored, and by whom (the last bits may depend on the device
    and the number of threads).

    `ray` is the address of a Ray cluster whose machines see all these folders by the same paths, or "local"; as many
    `jobs` as there are processors are done at once then, one file each. Raises `ValueError`, one line, for what the run
    can't be asked about, and where `out` has scores of another run, or asked otherwise.

    >>> import tempfile
    >>> import numpy as np, pandas as pd
    >>> from vaekit import load_dataset, train
    >>> folder = Path(tempfile.mkdtemp())
    >>> np.save(folder / "some.npy", load_dataset("digits").splits["test"].x[:7])
    >>> (found,) = score(train("digits", folder / "run", epochs=1), folder / "some.npy", folder / "scores", samples=10)
    >>> found.rows, pd.read_parquet(found.path)["row"].tolist()
    (7, [0, 1, 2, 3, 4, 5, 6])
    """
    named = parts_from(parts) if isinstance(parts, str) else parts
    own = run if isinstance(run, Run) else load_run(run, device, named)
    question, every = Question(samples, codes, seed), shards_of([shards] if isinstance(shards, (str, Path)) else shards)
    path, about = Path(out), identity(own, question)
    if path.suffix.lower() == PARQUET and not path.is_dir():
        if ray is not None:
            raise ValueError(
                f"{option('out', out)} is one file; with {option('ray', ray)} give a folder, of a file each"
            )
        if path.resolve() in {each.resolve() for each in every}:
            raise ValueError(f"{option('out', out)} is a file that is read; name another")
        check_output(path, (PARQUET,), overwrite=overwrite)
        met = Met()
        rows = write_frames(path, _joined(own, every, question, met), {RUN: about}, lambda: _odd(met, every))
        scored = _told(Scored(path, rows))
        on_file(scored)
        return [scored]
    refuse_no_folder(path, "or a .parquet file")
    outputs = outputs_of(every, path)
    left = [pair for pair in zip(every, outputs, strict=True) if overwrite or _is_left(about, *pair)]
    path.mkdir(parents=True, exist_ok=True)
    drop_temporaries(path)
    made: dict[Path, Scored] = {}
    for scored in _answers(own, question, left, parts=parts, jobs=jobs, ray=ray):
        scored = _told(scored)
        made[scored.path] = scored
        on_file(scored)
    return [made.get(each) or _told(Scored(each, parquet_rows(each), True)) for each in outputs]


def _answers(
    run: Run,
    question: Question,
    left: Sequence[tuple[Path, Path]],
    *,
    parts: Parts | str,
    jobs: int | None,
    ray: str | None,
) -> Iterator[Scored]:
    """The files of scores that are left to be made, as they are made."""
    if ray is None:
        about = identity(run, question)
        for shard, output in left:
            yield _write(run, question, about, shard, output)
        return
    if parts is not PARTS and not isinstance(parts, str):
        raise ValueError("parts that are objects can't be sent to other machines; name them by file, FILE.py:NAME")
    device = str(run.model.scale.device)
    asked = {
        "run": str(run.path.resolve()),
        "device": "cuda" if device.startswith("cuda") else device,
        "parts": parts if isinstance(parts, str) else None,
        "threads": torch.get_num_threads(),
        "question": asdict(question),
        "reading": {key: getattr(run.spec.data, key) for key in run.anew},
    }
    pairs = [(str(shard.resolve()), str(output.resolve())) for shard, output in left]
    paths = {str(output.resolve()): output for _, output in left}
    for place, rows in scored_by_ray(SCORER, json.dumps(asked), pairs, ray, jobs or processors()):
        yield Scored(paths[place], rows)


def scorer_of(text: str) -> Callable[[str, str], int]:
    """What scores one file into another and says of how many rows it is, by a run that is loaded now: for another
    process, which is told in JSON.
    """
    asked = json.loads(text)
    torch.set_num_threads(asked["threads"])
    run = load_run(asked["run"], asked["device"], parts_from(asked["parts"]) if asked["parts"] else PARTS)
    run, question = run.reading(**asked["reading"]), Question(**asked["question"])
    about = identity(run, question)
    return lambda shard, output: _write(run, question, about, Path(shard), Path(output)).rows


SCORER = f"{__name__}:{scorer_of.__name__}"
"""By which other processes find it."""


def _write(run: Run, question: Question, about: str, shard: Path, output: Path) -> Scored:
    said = {RUN: about, SHARD: state_of(shard)}
    met = Met()
    return Scored(
        output, write_frames(output, score_shard(run, shard, question, met), said, lambda: _odd(met, [shard]))
    )


def _odd(met: Met, shards: Sequence[Path]) -> dict[str, str]:
    name = shards[0].name if len(shards) == 1 else f"the {len(shards):,} files"
    return {ODD: json.dumps({"impossible": met.rows, "why": met.cells.said(name), "empty": met.empty})}


def _told(scored: Scored) -> Scored:
    """With what its file says of itself that is odd."""
    return replace(scored, **json.loads(read_about(scored.path, ODD) or "{}"))


def _is_left(about: str, shard: Path, output: Path) -> bool:
    """Whether a file is still to be scored; `ValueError` where something else is in its place."""
    if not output.exists():
        return True
    if output.is_dir():
        raise ValueError(f"{output} is a folder, where a file of scores is to be; name another folder")
    if (there := read_about(output, RUN)) != about:
        anew = f"name another folder, or make all in it anew: {option('overwrite')}"
        raise ValueError(f"{output} {_other(there, about)}; {anew}")
    return read_about(output, SHARD) != state_of(shard)


def _other(there: str | None, about: str) -> str:
    """What is in the place of scores: those of another run, or of the same asked otherwise; None says what none are."""
    if there is None:
        return "is there, and has no scores that vaekit score has written"
    theirs, asked = json.loads(there), json.loads(about)
    if theirs.pop("model", None) != asked.pop("model"):
        return "has the scores of another run, or of this one trained further"
    other = next(key for key in [*asked, *theirs] if theirs.get(key) != asked.get(key))
    return f"has scores that were asked for otherwise: {other} is {theirs.get(other)} there, {asked.get(other)} here"


def _joined(run: Run, shards: Sequence[Path], question: Question, met: Met) -> Iterator[pd.DataFrame]:
    """The scores of several files one below another, of more than one with the name of each."""
    for shard in shards:
        for frame in score_shard(run, shard, question, met):
            if len(shards) > 1:
                frame.insert(0, apart(FILE, frame.columns), shard.name)
            yield frame
