"""One thread per worker, no window; and the fixtures, for processes that run tests."""

from __future__ import annotations

import gc
import os

import pytest

# Read when torch and matplotlib are first imported, and inherited by the commands that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the command line has it: on a busy machine threads else spin
os.environ["MPLBACKEND"] = "Agg"

gc.disable()  # while libraries are imported and tests collected, all of which stays


def pytest_configure(config: pytest.Config) -> None:
    """The process that hands tests to pytest-xdist's workers runs none: it does not wait for torch."""
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        config.pluginmanager.import_plugin("fixtures_for_tests")


def pytest_collection_finish() -> None:
    """Garbage is looked for in what tests make, not in all tests and libraries each time."""
    gc.freeze()
    gc.enable()
