"""The page as one file that needs nothing else: scene, script, style and the model's programs are in it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from ...distributions.normals import UnitNormal
from ...interop.export.graph import DecodeColumns, Graph, ScoreColumns, Store, graph_of
from ...interop.export.programs import Port, Program, program
from ...system.disk import write_atomic
from ...system.progress import working
from ..pictures.base import Subject, outline, visible
from ..pictures.columns import is_table
from .answers import Answers
from .place import check_layout, check_place
from .scene import points_within, scene_of
from .values import as_json, inlined
from .web import PAGE, SCRIPT, STYLE, asset, operators

if TYPE_CHECKING:
    from ...runs.run import Run

LARGEST = 10 * 2**20
"""Bytes that a file has at most, unless its programs alone take more or more points are asked for."""
POINTS = 2000
TRIED = 256
"""Data on which it is tried whether half precision will do."""
LINK, SOURCE = f'<link rel="stylesheet" href="{STYLE}">', f'<script src="{SCRIPT}" defer></script>'
"""What of the page stands for its style and its script."""
POLICY = (
    "default-src 'none'; script-src 'sha256-{hash}'; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; "
    "form-action 'none'"
)


def write_page(
    run: Run,
    path: Path,
    *,
    split: str | None = None,
    points: int | None = None,
    seed: int = 0,
    layout: str = "t-sne",
) -> tuple[str, tuple[str, ...]]:
    """Write the page of a run as one file, whole or not at all; gives it, and what it can't do, a line each.

    Without `points` it has as many as keep it below 10 MB, at most 2,000. Raises `ValueError`, one line, where the
    model decodes by what the page can't compute.
    """
    check_place(path, overwrite=True)
    check_layout(layout)
    page, notes = whole_page(run, split, points, seed, layout)
    write_atomic(path, page)
    return page, notes


def whole_page(
    run: Run,
    split: str | None = None,
    points: int | None = None,
    seed: int = 0,
    layout: str = "t-sne",
    most: int = POINTS,
) -> tuple[str, tuple[str, ...]]:
    """The page of a run with all that it needs in it, and what it can't do, as `write_page` writes it."""
    programs, weights, notes = programs_of(run, split, seed)
    if points is None:
        taken = len(weights) + sum(map(len, map(asset, (PAGE, SCRIPT, STYLE))))
        points = points_within(run, most, int(0.95 * (LARGEST - taken)))
    scene = scene_of(run, split=split, points=points, seed=seed, layout=layout)
    about = [*scene.about, *notes]
    scene = replace(scene, about=about, can=_abilities(run, programs), programs=dict(programs), weights=weights)
    return page_of(as_json(scene)), notes


def page_of(scene: str) -> str:
    """The page with all that it needs in it, whatever names are in the `scene`, which is JSON."""
    script = asset(SCRIPT)
    policy = POLICY.format(hash=b64encode(sha256(script.encode()).digest()).decode("ascii"))
    page = asset(PAGE).replace(SOURCE, "")
    page = page.replace(
        LINK, f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n<style>{asset(STYLE)}</style>'
    )
    before, end, after = page.rpartition("</body>")
    data = f'<script type="application/json" id="scene">{inlined(scene)}</script>'
    return f"{before}{data}\n<script>{script}</script>\n{end}{after}"


def programs_of(run: Run, split: str | None = None, seed: int = 0) -> tuple[dict[str, Graph], str, tuple[str, ...]]:
    """The programs that a page answers by, the weights of all as base64, and what is left out, a line each.

    Raises `ValueError` where it can't decode.
    """
    known, given, store, notes = operators(), _examples(run, split, seed), Store(), []
    made: dict[str, Graph] = {}
    with working("recording the model", len(given)) as step:
        for done, (name, data) in enumerate(given.items()):
            try:
                one = _program(run, name)
                inputs = [_given(port, data, seed) for port in one.inputs]
                made[name] = graph_of(one, store, inputs, known)
            except Exception as error:  # of torch's compiler, whose errors are of many types
                why = " ".join(str(error).split("\n")[0].split())
                if name == "decode":
                    raise ValueError(f"{run.path}: its decoder can't be put into a file: {why}") from error
                notes.append(f"this file can't {name} ({why}); a page that is served can")
            step(done + 1)
    return made, store.text(), tuple(notes)


def _program(run: Run, name: str) -> Program:
    labels = bool(run.schema.classes)
    of_columns = {"decode": DecodeColumns, "score": ScoreColumns} if is_table(run) else {}
    return of_columns[name](run.model, labels) if name in of_columns else program(name, run.model, labels)


def _examples(run: Run, split: str | None, seed: int) -> dict[str, dict[str, Tensor]]:
    """The inputs of each program for some data."""
    subject = Subject(run, split, seed)
    rows = np.sort(subject.chosen(TRIED))
    batch, answers = subject.rows(rows), Answers(run)
    z = answers.codes(batch)[0].cpu()
    y = subject.data.y
    given = {} if y is None else {"y": y[torch.as_tensor(rows, device=y.device)].cpu()}
    x = torch.from_numpy(visible(batch).reshape(len(batch), -1))
    found = {"decode": {"z": z, **given}, "encode": {"x": x, **given}}
    return found | ({"score": {"x": x, **given}} if answers.has_scores else {})


def _given(port: Port, data: Mapping[str, Tensor], seed: int) -> Tensor:
    """What an input is given of `data`; of noise, numbers that are drawn."""
    if port.name == "noise":
        rows = len(next(iter(data.values())))
        return torch.from_numpy(np.random.default_rng(seed).standard_normal((rows, *port.shape))).to(port.dtype)
    return data[port.name].to(port.dtype)


def _abilities(run: Run, programs: dict[str, Graph]) -> tuple[str, ...]:
    """What a file can be asked by itself."""
    latents, apart = outline(run.model).latents, run.model.apart
    independent = apart and all(isinstance(_cells(each.q), Normal) for each in latents)
    plain = apart and all(isinstance(_cells(each.p), UnitNormal) for each in latents)
    found = list(programs)
    if "encode" in programs:
        found += ["impute", *(["draw"] if independent else [])]
    return (*found, *(["prior"] if plain else []))


def _cells(distribution: Distribution) -> Distribution:
    """What the numbers of a vector are of, where they are independent."""
    return distribution.base_dist if isinstance(distribution, Independent) else distribution
