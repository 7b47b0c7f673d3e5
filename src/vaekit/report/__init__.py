"""report.html and pictures/ of a run: one page that needs nothing but itself, and says what is known of the run."""

from __future__ import annotations

from .page import write_report

__all__ = ["write_report"]
