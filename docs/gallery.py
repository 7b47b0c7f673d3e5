"""Writes docs/gallery.md, every recipe with what it is, its command, what was measured and a small picture; and from
the folders of runs, one for each recipe that there is a run of, called by its name, the pictures in docs/gallery.

python docs/gallery.py [FOLDER]

Without a folder pictures, and what is said of the runs that they are of (docs/gallery/runs.json), stay as they are.
"""

from __future__ import annotations

import io
import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from PIL import Image

import vaekit
from vaekit.runs.comparison import differences
from vaekit.show import plots
from vaekit.show.pictures.drawing import Subject, prepare
from vaekit.spec.keys import Spec
from vaekit.spec.recipes import RECIPES
from vaekit.spec.targets import resolve

HERE = Path(__file__).parent
PAGE, PICTURES = HERE / "gallery.md", HERE / "gallery"
WIDTH = 480
"""Pixels of a picture's width."""

GROUPS = {
    "First models": ["digits", "grey-mnist", "grey-mnist-sigmoid-adagrad", "softplus-mnist", "elu-mnist"],
    "Posteriors and bounds": [
        "binary-mnist-diagonal",
        "binary-mnist-full-rank",
        "iwae-mnist",
        "iwae-2-mnist",
        "renyi-mnist",
        "miwae-bound-mnist",
        "ciwae-mnist",
        "piwae-mnist",
        "aggressive-mnist",
        "beta-mnist",
        "geco-mnist",
        "planar-mnist",
        "sivi-mnist",
        "hamiltonian-mnist",
        "hyperspherical-mnist",
        "poincare-mnist",
        "vamp-mnist",
    ],
    "Independent dimensions": ["beta-tc-sprites", "factor-sprites", "dip-sprites", "capacity-sprites"],
    "Codes all together": ["infovae-mnist", "wae-mnist", "wae-gan-mnist", "rae-mnist"],
    "Classes and clusters": [
        "conditional-mnist",
        "m1",
        "m2",
        "m1-m2",
        "adgm",
        "sdgm",
        "gumbel-mnist",
        "gumbel-softmax-mnist",
        "categorical-mnist",
        "cluster-mnist",
    ],
    "Tables": ["table", "miwae", "not-miwae", "scvi"],
    "Topics of documents": ["prodlda", "lda"],
    "Tokens": ["vq-mnist", "fsq-mnist"],
    "Deep models and images": [
        "ladder-mnist",
        "vdvae-mnist",
        "images",
        "kl-autoencoder",
        "kl-f4",
        "kl-f8",
        "vdvae-cifar",
    ],
}

MEASURED: dict[str, tuple[str, str, str]] = {
    "grey-mnist": ("105.58 ± 0.06 nats a test image (loss)", "14 s", "lessons"),
    "grey-mnist-sigmoid-adagrad": ("132.47 ± 0.53 nats a test image (loss)", "17 s", "lessons"),
    "softplus-mnist": ("100.51 ± 0.13 nats a test image (loss)", "624 s", "lessons"),
    "elu-mnist": ("101.75 ± 0.23 nats a test image (loss)", "45 s", "lessons"),
    "binary-mnist-diagonal": ("112.45 ± 0.76 nats a test image (loss)", "55 s", "lessons"),
    "binary-mnist-full-rank": ("142.11 ± 0.57 nats a test image (loss) after 5 of 20 epochs", "117 s", "lessons"),
    "conditional-mnist": ("157.76 ± 0.03 nats a test image (loss, beta 10)", "80 s", "lessons"),
    "beta-mnist": ("183.37 ± 0.05 nats a test image (loss, beta 10)", "26 s", "lessons"),
    "iwae-mnist": ("NLL 86.45 ± 0.23 nats after 208 epochs by Muon and STL in batches of 512", "14 minutes", "quality"),
    "cluster-mnist": (
        "96 to 97% of test images in the cluster of their class in three runs of four, 87% in the fourth",
        "10 minutes",
        "clusters",
    ),
    "table": ("NLL 29.49 nats a row of Adult; made-up rows of quality 0.9717", "62 s", "synthesis"),
    "miwae": ("squared error of filled cells 0.641 ± 0.007 on red wine", "70 to 150 s", "tables"),
    "not-miwae": (
        "root mean square error of filled cells 1.4569 on red wine, high values missing",
        "180.6 s",
        "tables",
    ),
    "scvi": ("log p -672.64 ± 0.58 nats a held-out cell of pbmc68k_reduced", "56 s", "cells"),
    "prodlda": ("perplexity 1,735 a held-out word of Reuters", "40 s", "topics"),
    "lda": ("perplexity 1,871 a held-out word of Reuters", "32 s", "topics"),
    "images": ("4.503 ± 0.034 bits per dimension, 2,800 images", "21 minutes of a core", "images"),
}
"""What was measured of a recipe, in what time of training, and the report that says so."""

SHOWN = {
    "beta-mnist": "pairs",
    "conditional-mnist": "conditional-grid",
    "m1": "latents",
    "m2": "conditional-grid",
    "m1-m2": "latents",
    "adgm": "conditional-grid",
    "sdgm": "conditional-grid",
    "gumbel-mnist": "cluster-grid",
    "cluster-mnist": "cluster-grid",
    "binary-mnist-full-rank": "correlations",
    "kl-autoencoder": "reconstructions",
    "miwae": "reconstructions",
    "not-miwae": "missing",
    "prodlda": "topics",
    "lda": "topics",
}
"""The picture that shows what a recipe is for, where it is not its samples."""

LARGE = {"kl-f4": "images", "kl-f8": "images", "vdvae-cifar": "32×32 images"}
"""Recipes for GPUs that have not been trained, and of what data they are."""


@dataclass(frozen=True)
class Seen:
    """What is said of the run that a picture is of."""

    what: str
    on: str
    length: str
    score: str
    seconds: float
    changed: str = ""
    """What of its model, objective and training is not the recipe's, its length apart."""


def made(name: str, folder: Path) -> Seen:
    """The picture of the run in `folder`, written, and what is said of it."""
    run = vaekit.load_run(folder)
    what = SHOWN.get(name, "samples")
    prepared = prepare(Subject(run, None, 0), what, {})
    file = io.BytesIO()
    plots.save(prepared.draw(theme=plots.LIGHT), file)
    image = Image.open(file).convert("RGB")
    image = image.resize((WIDTH, image.height * WIDTH // image.width), Image.Resampling.LANCZOS)
    image.crop((0, 0, WIDTH, min(image.height, WIDTH))).save(PICTURES / f"{name}.webp", quality=60, method=6)
    history = run.history()
    terms = [each for each in history if each.split != "train"][-1].terms if len(history) > 1 else history[-1].terms
    training = [each for each in history if each.split == "train"]
    recipe = resolve(name, data=run.spec.data.name)
    whole = recipe.training
    steps = whole.steps is not None
    of, done = (whole.steps, training[-1].step) if steps else (whole.epochs, training[-1].epoch)
    unit = "steps" if steps else "epochs"
    length = f"{done:,} {unit}" if done >= of else f"{done:,} of {of:,} {unit}"
    on = f"{training[-1].rows:,} rows of {Path(run.spec.data.name).stem}"
    return Seen(what, on, length, _score(terms), sum(each.seconds for each in history), _changed(run, recipe))


USUAL = (
    "model.likelihood",
    *(f"training.{each}" for each in ("epochs", "steps", "batch_size", "checkpoint_every", "seed")),
)
"""What is said otherwise, of no account, or follows from the data."""


def _changed(run: vaekit.Run, recipe: Spec) -> str:
    """Settings of a run that are others in its recipe, as one would type them."""
    found = differences((replace(run, spec=recipe), run))
    own = {key: value for key, (_, value) in found.items() if key.startswith(("model", "objective", "training"))}
    return " ".join(f"{key}={value}" for key, value in own.items() if key not in USUAL)


def _score(terms: dict[str, float]) -> str:
    """The number that a run's last look at held-out data tells."""
    if "error" in terms:
        return f"{terms['error']:.1%} of labels wrong"
    if "accuracy" in terms:
        return f"{terms['accuracy']:.1%} in the cluster of their class"
    return f"loss {terms['loss']:.2f} nats"


def command(name: str) -> str:
    """The command that trains all of a recipe."""
    data = {"table": "table.csv", "miwae": "table.csv", "not-miwae": "table.csv"}.get(name)
    data = "documents.npz" if name in GROUPS["Topics of documents"] else data
    data = data or ("photos/" if name in LARGE or name in ("images", "kl-autoencoder") else None)
    return f"vaekit train {name}" + (f" --data {data}" if data else "")


def length(name: str) -> str:
    """How long a recipe trains, where it says so."""
    training = resolve(name).training
    return f"{training.steps:,} steps" if training.steps else f"{training.epochs:,} epochs"


def page(seen: dict[str, Seen]) -> str:
    """The page, of what was measured and of what was seen."""
    lines = [
        "# Gallery",
        "",
        "Every recipe: what it is, the command that trains it, what was measured, and a picture. `vaekit recipes NAME`",
        "prints a recipe as a file that you can edit.",
        "",
        "Numbers and times are of two processors without a GPU. Where there is a report, the number is the report's.",
        "A picture is often of a shorter run, on a machine that did other work too: how long it was, and what it",
        "reached, stands below it. A dash says that nothing was measured yet. A *loss* is the objective on held-out",
        "data, in nats for each image or row; lower is better. Compare losses only of the same data and likelihood.",
        "",
        "| recipe | for | number | time |",
        "|---|---|---|---|",
    ]
    for group, names in GROUPS.items():
        for name in names:
            number, time, report = MEASURED.get(name, ("", "", ""))
            if report:
                number += f" ([report](../benchmarks/{report}.md))"
            elif name in seen:
                number = f"{seen[name].score} after {seen[name].length} of {seen[name].on}"
                time = f"{seen[name].seconds:.0f} s"
            lines.append(f"| [{name}](#{name}) | {group} | {number or '—'} | {time or '—'} |")
    for group, names in GROUPS.items():
        lines += ["", f"## {group}"]
        for name in names:
            lines += ["", *_entry(name, seen.get(name))]
    lines += ["", "---", "", "Written by `python docs/gallery.py`, from the recipes and from folders of runs.", ""]
    return "\n".join(lines)


def _entry(name: str, seen: Seen | None) -> list[str]:
    spec = resolve(name)
    what = spec.title.split("; of a folder of images")[0].removesuffix("; --data FOLDER")
    lines = [f"### {name}", "", f"{what}. *{spec.source.removesuffix('.')}.*", "", "```sh", command(name), "```", ""]
    if name in MEASURED:
        number, time, report = MEASURED[name]
        link = f"([report](../benchmarks/{report}.md))"
        lines += [f"Measured: {number}, in {time} of training {link}. The whole recipe is {length(name)}."]
    elif name in LARGE:
        take = "([what that would take](../benchmarks/scale.md))"
        lines += [f"— Not trained yet: it is {length(name)} of {LARGE[name]}, for GPUs {take}."]
    else:
        lines += [f"The whole recipe is {length(name)}."]
    if seen is not None:
        with_ = f", with `{seen.changed}`" if seen.changed else ""
        caption = f"{seen.what}, after {seen.length} on {seen.on}{with_}, in {seen.seconds:.0f} s: {seen.score}"
        lines += ["", f"![{name}: {seen.what}](gallery/{name}.webp)", "", f"*The picture:* {caption}."]
    elif name not in LARGE:
        lines += ["", "— No picture yet."]
    return lines


def noted(notes: Path) -> dict[str, Seen]:
    """What was written down of the runs that pictures are of."""
    return {name: Seen(**each) for name, each in json.loads(notes.read_text(encoding="utf-8")).items()}


def main() -> None:
    """Pictures of the runs that there are, and the page."""
    PICTURES.mkdir(exist_ok=True)
    notes = PICTURES / "runs.json"
    seen = noted(notes) if notes.exists() else {}
    if len(sys.argv) > 1:
        for name in RECIPES:
            folder = Path(sys.argv[1]) / name
            if (folder / "weights.safetensors").exists() and (folder / "spec.json").exists():
                seen[name] = made(name, folder)
    notes.write_text(
        json.dumps(
            {name: {key: value for key, value in asdict(seen[name]).items() if value != ""} for name in sorted(seen)},
            indent=1,
            ensure_ascii=False,
        )
        + "\n",
        encoding="utf-8",
    )
    PAGE.write_text(page(seen), encoding="utf-8")


if __name__ == "__main__":
    main()
