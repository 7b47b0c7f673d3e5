"""A log for Weights & Biases (`pip install 'vaekit[wandb]'`), without a network unless `WANDB_MODE=online` is set."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from ..runs.logs import Beginning, End, Entry
from ..system.extras import check_importable, needing


@dataclass(frozen=True)
class WandB:
    """A run of Weights & Biases: numbers, pictures and histograms of weights. In logs/wandb of the run, to be sent by
    `wandb sync`; at once where the environment says `WANDB_MODE=online`.
    """

    project: str = "vaekit"

    def __post_init__(self) -> None:
        with needing("the log 'wandb'", "Weights & Biases", "wandb"):
            check_importable("wandb")

    def __call__(self, beginning: Beginning) -> WandBRun:
        return WandBRun(self.project, beginning)


class WandBRun:
    """A run of Weights & Biases that is open; a training that goes on has the same one."""

    def __init__(self, project: str, beginning: Beginning) -> None:
        import wandb

        self.wandb: Any = wandb
        mode: Any = os.environ.get("WANDB_MODE", "offline")
        # Its console would take over standard output, and its git and code say what nobody asked to tell.
        quiet = wandb.Settings(console="off", silent=True, disable_git=True, disable_code=True, reinit="create_new")
        self.run = wandb.init(
            project=project,
            name=beginning.name,
            id=beginning.key or None,
            resume="allow",
            config=beginning.settings,
            dir=beginning.folder,
            mode=mode,
            settings=quiet,
        )
        self.key = str(self.run.id)
        self.place = f"{beginning.folder}, {mode}; it is sent by wandb sync"
        if mode == "online":
            self.place = str(self.run.url)

    def write(self, entry: Entry) -> None:
        values: dict[str, Any] = dict(entry.numbers)
        values |= {f"pictures/{name}": self.wandb.Image(str(path)) for name, path in entry.pictures.items()}
        for name, each in entry.histograms.items():
            values[f"weights/{name}"] = self.wandb.Histogram(np_histogram=(list(each.counts), list(each.edges)))
        self.run.log(values, step=entry.epoch)

    def close(self, end: End) -> None:
        self.run.finish(exit_code={"finished": 0, "interrupted": 130, "failed": 1}[end])
