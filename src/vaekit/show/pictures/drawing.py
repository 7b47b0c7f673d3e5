"""Drawing pictures of a run by their names: one when asked, or some after each epoch of a training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import shown
from ...runs.folder import subfolder
from ...settings import setting
from ...spec.parts import Parts, build, catalogue
from .. import plots
from ..outputs import write_figure
from . import PICTURES
from .base import Picture, Prepared, Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ...models import VAE
    from ...runs.run import Run
    from ...spec.keys import PartSpec
    from ..plots import Theme

FOLDER = "pictures"
"""Where a run has its pictures."""


@dataclass(frozen=True)
class Offer:
    """A picture by name: what it shows, and what a run lacks that it could be drawn of it, if anything."""

    name: str
    summary: str
    lacks: str


def with_pictures(parts: Parts) -> Parts:
    """`parts` with the pictures that vaekit has, beside one's own."""
    return parts.extended(pictures={**PICTURES, **parts.pictures})


def named(parts: Parts, name: str, options: Mapping[str, Any]) -> Picture:
    """The picture of that name with its options; `ValueError`, one line, where there is none, or no such option."""
    picture = build(with_pictures(parts), "pictures", name, options)
    if not isinstance(picture, Picture):
        wanted = "one that derives from vaekit.show.pictures.Picture"
        raise ValueError(f"picture {shown(name)} is a {type(picture).__name__}; accepted: {wanted}")
    return picture


def offers(run: Run) -> list[Offer]:
    """All named pictures, and whether each can be drawn of `run`."""
    return [
        Offer(entry.name, entry.summary, named(run.parts, entry.name, {}).lacks(run))
        for entry in catalogue(with_pictures(run.parts), "pictures")
    ]


def prepare(subject: Subject, name: str, options: Mapping[str, Any]) -> Prepared:
    """The picture of that name with its options, computed; `ValueError` where the run lacks what it needs."""
    return _prepared(name, _made(subject.run, name, options), subject)


def _prepared(name: str, picture: Picture, subject: Subject) -> Prepared:
    found: Any = picture(subject)
    if not isinstance(found, Prepared):
        given = f"picture {shown(name)} gives {type(found).__name__}"
        raise ValueError(f"{given}; accepted: vaekit.show.pictures.Prepared(title, text, draw)")
    return found


def draw(
    run: Run,
    name: str,
    *,
    split: str | None = None,
    seed: int = 0,
    theme: Theme | None = None,
    **options: Any,
) -> Figure:
    """The picture `name` of `run` as a matplotlib figure, of a split (by default the one held out), with its options.

    `vaekit parts pictures` lists the names and their options. Raises `ValueError`, one line, for those that there are
    not, and where the run lacks what the picture needs.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from vaekit import train
    >>> run = train("digits", Path(tempfile.mkdtemp()) / "run", epochs=1)
    >>> figure = draw(run, "samples", n=100)
    >>> figure.savefig(run.path / "samples.pdf")
    """
    theme = theme or plots.LIGHT
    prepared = prepare(Subject(run, split, seed), name, options)
    figure = prepared.draw(theme=theme)
    plots.add_title(figure, prepared.title, theme)
    return figure


def watch(run: Run, split: str) -> Callable[[VAE, int], dict[str, Path]]:
    """What is called after each epoch with the model and the epoch's number, draws what the run's spec asks for, and
    gives its files by name.

    The files are pictures/NAME_EPOCH.png, their name in the singular: sample_3.png. Data and noise are the same each
    time, so that epochs can be compared. Raises `ValueError` at once for a picture that could not be drawn.
    """
    wanted = _wanted(run, run.spec.pictures.every_epoch)
    for name, picture in wanted.items():
        if not picture.per_epoch:
            can = [key for key in with_pictures(run.parts).pictures if named(run.parts, key, {}).per_epoch]
            raise ValueError(f"picture {name!r} shows no single epoch; accepted: {', '.join(can)}")
    if wanted and split not in run.dataset.splits:
        rows = f"give a number of them, {setting('data.validation', '…')}"
        raise ValueError(f"pictures.every_epoch needs rows that are held out; {rows}")
    _wanted(run, run.spec.pictures.report)

    def look(model: VAE, epoch: int) -> dict[str, Path]:
        files = {}
        if wanted and epoch % run.spec.pictures.every == 0:
            folder = subfolder(run.path, FOLDER)
            subject = Subject(replace(run, model=model), split)
            for name, picture in wanted.items():
                figure = _prepared(name, picture, subject).draw(theme=plots.LIGHT)
                files[name] = folder / f"{name.removesuffix('s')}_{epoch}.png"
                write_figure(files[name], figure)
        return files

    return look


def _wanted(run: Run, specs: Sequence[PartSpec]) -> dict[str, Picture]:
    return {spec.name: _made(run, spec.name, spec.options) for spec in specs}


def _made(run: Run, name: str, options: Mapping[str, Any]) -> Picture:
    picture = named(run.parts, name, options)
    if missing := picture.lacks(run):
        raise ValueError(f"picture {shown(name)} needs {missing}; {run.path} has none")
    return picture
