"""A log for MLflow (`pip install 'vaekit[mlflow]'`), in a database of the run's own unless `MLFLOW_TRACKING_URI` is
set: `mlflow ui --backend-store-uri sqlite:///RUN/logs/mlflow/mlflow.db`.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..runs.logs import Beginning, End, Entry
from ..system.extras import check_importable, needing

PARAMETERS = 100
"""Those that MLflow takes at a time."""
LONGEST = 6000
"""Letters of a value that it takes."""
STATUS = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}


@dataclass(frozen=True)
class MLflow:
    """A run of MLflow: numbers and pictures. In a database in logs/mlflow of the run, which takes seconds to be made;
    or where the environment's `MLFLOW_TRACKING_URI` says.
    """

    experiment: str = "vaekit"

    def __post_init__(self) -> None:
        with needing("the log 'mlflow'", "MLflow", "mlflow"):
            check_importable("mlflow", "sqlalchemy", "alembic")

    def __call__(self, beginning: Beginning) -> MLflowRun:
        return MLflowRun(self.experiment, beginning)


class MLflowRun:
    """A run of MLflow that is open; a training that goes on has the same one."""

    def __init__(self, experiment: str, beginning: Beginning) -> None:
        folder = beginning.folder.resolve()
        given = os.environ.get("MLFLOW_TRACKING_URI")
        self.place = given or _address(folder / "mlflow.db")
        if not given and beginning.key:
            _moved_with_its_run(folder, beginning.key)
        with _quiet():
            from mlflow.entities import Metric, Param, RunStatus
            from mlflow.tracking import MlflowClient

            self.metric, self.client = Metric, MlflowClient(self.place)
            self.key = beginning.key
            if not self.key:
                own = None if given else (folder / "artifacts").as_uri()
                found = self.client.get_experiment_by_name(experiment)
                place = found.experiment_id if found else self.client.create_experiment(experiment, own)
                self.key = self.client.create_run(place, run_name=beginning.name).info.run_id
                parameters = [Param(_name(key), str(value)[:LONGEST]) for key, value in beginning.settings.items()]
                for i in range(0, len(parameters), PARAMETERS):
                    self.client.log_batch(self.key, params=parameters[i : i + PARAMETERS])
            else:
                self.client.update_run(self.key, RunStatus.to_string(RunStatus.RUNNING))
        self.pictures = None if given else _files(folder, self.key) / "pictures"

    def write(self, entry: Entry) -> None:
        now = time.time_ns() // 10**6
        metrics = [self.metric(_name(name), value, now, entry.epoch) for name, value in entry.numbers.items()]
        self.client.log_batch(self.key, metrics=metrics)
        for path in entry.pictures.values():
            if self.pictures is None:
                self.client.log_artifact(self.key, str(path), "pictures")
            else:  # MLflow would go on writing to where the run began, in a process that has seen it there
                self.pictures.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, self.pictures / path.name)

    def close(self, end: End) -> None:
        self.client.set_terminated(self.key, STATUS[end])


def _address(database: Path) -> str:
    """What MLflow calls a database; `ValueError` of one that it would look for elsewhere."""
    from sqlalchemy.engine import make_url

    path = database.as_posix()
    address = f"sqlite:///{path}"
    if make_url(address).database != path:
        place = "set MLFLOW_TRACKING_URI to where it may keep it"
        raise ValueError(f"MLflow takes the % or ? in {path} for something else; rename the folder, or {place}")
    return address


def _moved_with_its_run(folder: Path, key: str) -> None:
    """Tell the database where its files lie now: MLflow keeps where they were when the run began."""
    with closing(sqlite3.connect(folder / "mlflow.db")) as database, database:
        place = _files(folder, key).as_uri()
        database.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", (place, key))


def _files(folder: Path, key: str) -> Path:
    """Where MLflow looks for the files of a run of a database in `folder`."""
    return folder / "artifacts" / key / "artifacts"


def _name(text: str) -> str:
    """`text` in the letters that MLflow takes.

    >>> _name("data.columns.größe (cm)")
    'data.columns.größe _cm_'
    """
    return re.sub(r"[^\w\-. :/]", "_", text)[:250]


@contextmanager
def _quiet() -> Iterator[None]:
    """Inside, MLflow tells nobody but us: no line for each change of a new database, no word home of its being used."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    before = {name: logging.getLogger(name).level for name in ("mlflow", "mlflow.store.db.utils", "alembic")}
    try:
        for name in before:
            logging.getLogger(name).setLevel(logging.WARNING)
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
