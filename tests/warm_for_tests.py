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
    from commands_for_tests import QUICK, command

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        command("train", "digits", "--out", Path(folder) / "run", *QUICK, "--samples=2", "--set=training.engine=replay")
