"""Records to tables."""

from results.records import load_records

__all__ = ["load_records"]
