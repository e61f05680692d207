"""Records to tables."""

from results.frame import load_records

__all__ = ["load_records"]
