"""Pages that need nothing but themselves: report.html of a run, with its pictures/, and the comparison of several."""

from __future__ import annotations

from .comparison import about, tables, write_comparison
from .page import write_report
from .sweep import about_sweep, sweep_tables, write_sweep

__all__ = ["about", "about_sweep", "sweep_tables", "tables", "write_comparison", "write_report", "write_sweep"]
