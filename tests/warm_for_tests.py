"""Imported by the server from which `processes_for_tests` forks: a training there loads what trainings load when it is
first needed, once for all.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

WARM = "VAEKIT_TESTS_WARM"
"""The variable of the environment that only the server has."""

if os.environ.pop(WARM, None):
    import torch
    from commands_for_tests import command
    from runs_for_tests import small_run

    from vaekit.show import terminal

    terminal.WORK_SECONDS = 1e9  # as fixtures_for_tests.py has it
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        small_run(Path(folder) / "run", "training.engine=replay")
        command("evaluate", Path(folder) / "run", "--samples=2")
