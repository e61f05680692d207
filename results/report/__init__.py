"""One self-contained HTML page of tables, plots and pictures, in which each figure opens its records."""

from results.report.page import write_report

__all__ = ["write_report"]
