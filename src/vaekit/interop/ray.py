"""Ray has the runs of a sweep, or the files of a scoring, done by many machines (`pip install 'vaekit[ray]'`).

They need a folder that all of them see by the same path: what is read lies there, and so does what is written. A Ray
that is started here ("local") listens to this machine alone, has no dashboard and sends no statistics.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..runs.jobs import Job, Outcome, line_of, packed, understood
from ..system.extras import needing
from ..system.workers import called

LOCAL = "local"
"""In place of the address of a cluster: one is started here, and ended."""
LOOPBACK = "127.0.0.1"


class RayPool:
    """Jobs as Ray's tasks, `jobs` at once with so many `threads` (processors) each, by a function MODULE:NAME."""

    def __init__(self, function: str, address: str, jobs: int, threads: int) -> None:
        _ray()
        self.function, self.address, self.jobs, self.threads = function, address, jobs, threads

    def results(self, jobs: Iterator[Job]) -> Generator[tuple[Job, Outcome]]:
        """The jobs with what has become of each, as they end; who stops taking them ends those under way."""
        with connected(self.address, self.jobs * self.threads) as ray:
            task = ray.remote(num_cpus=self.threads, max_retries=0)(_answer)
            running: dict[Any, Job] = {}
            try:
                while True:
                    while len(running) < self.jobs and (job := next(jobs, None)) is not None:
                        running[task.remote(self.function, packed(job))] = job
                    if not running:
                        return
                    for ended in ray.wait(list(running))[0]:
                        yield running.pop(ended), _outcome(ray, ended)
            finally:
                for each in running:
                    ray.cancel(each, force=True)


def _answer(function: str, line: str) -> str:
    return called(function)(line)


def _outcome(ray: Any, ended: Any) -> Outcome:
    try:
        return understood(ray.get(ended))
    except ray.exceptions.RayError as error:
        lines = str(error).splitlines()
        return Outcome({}, error=lines[0] if lines else line_of(error))


class _Scorer:
    """An actor that scores one file after another, by a run that it loads when it is first asked."""

    def __init__(self) -> None:
        self.score: Any = None

    def __call__(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The number of rows of a file, or why there are none, in a line: a user's mistake is no traceback of Ray's."""
        function, text, shard, output = (str(asked[key][0]) for key in ("function", "text", "shard", "output"))
        rows, error = 0, ""
        try:
            self.score = self.score or called(function)(text)
            rows = self.score(shard, output)
        except (ValueError, ArithmeticError, OSError) as found:
            error = line_of(found)
        return {"output": [output], "rows": [rows], "error": [error]}


def scored_by_ray(
    function: str, text: str, pairs: Sequence[tuple[str, str]], address: str, jobs: int
) -> Iterator[tuple[str, int]]:
    """Score files into others by Ray Data, `jobs` at once: each output with its number of rows, as it is done.

    `function` (MODULE:NAME), given `text`, gives what scores one. Raises `ValueError` where one can't be scored.
    """
    if not pairs:
        return
    with connected(address, jobs) as ray:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        items = [{"function": function, "text": text, "shard": shard, "output": output} for shard, output in pairs]
        actors = ray.data.ActorPoolStrategy(size=min(jobs, len(pairs)))
        dataset = ray.data.from_items(items, override_num_blocks=len(pairs))
        for row in dataset.map_batches(_Scorer, batch_size=1, compute=actors, num_cpus=1).iter_rows():
            if row["error"]:
                raise ValueError(row["error"])
            yield row["output"], int(row["rows"])


@contextmanager
def connected(address: str, processors: int) -> Iterator[Any]:
    """Inside, Ray is there: that of a cluster, or one of this machine's own with so many processors.

    Where the program is connected already, that connection is used and left as it is.
    """
    ray = _ray()
    if ray.is_initialized():
        yield ray
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    loggers = [logging.getLogger(name) for name in ("ray", "ray.data")]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.ERROR)
    given: dict[str, Any] = {"address": address}
    if address == LOCAL:
        given |= {"num_cpus": processors, "include_dashboard": False, "_node_ip_address": LOOPBACK}
    try:
        try:
            ray.init(log_to_driver=False, configure_logging=False, **given)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ValueError(f"no Ray at {address!r}: {line_of(error)}; accepted: HOST:PORT, or local") from None
        yield ray
    finally:
        ray.shutdown()
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)


def _ray() -> Any:
    with needing("this", "Ray", "ray", "or leave the address of Ray out"):
        import ray
        import ray.data
    return ray
