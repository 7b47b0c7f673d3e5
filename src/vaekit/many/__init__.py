"""Many runs and many files: done here, by processes of this machine, or by Ray."""

from __future__ import annotations
