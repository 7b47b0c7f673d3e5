"""Pages that need nothing but themselves: report.html of a run, with its pictures/, and the comparison of several."""

from __future__ import annotations

from .comparison import about, tables, write_comparison
from .page import write_report

__all__ = ["about", "tables", "write_comparison", "write_report"]
