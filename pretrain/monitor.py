"""metrics.jsonl: one line per logged step."""

import json
import os
from pathlib import Path

from superinfo.files import keep_lines


class MetricsLog:
    """Appends lines to a file; on resume, drops those of steps that will be done again."""

    def __init__(self, path: Path, first_step: int) -> None:
        kept = keep_lines(path, lambda metrics: metrics["step"] < first_step)
        self._file = path.open("a", buffering=1)
        self.last: dict[str, float] = kept[-1] if kept else {}

    def write(self, metrics: dict[str, float]) -> None:
        """Append one step's metrics."""
        self.last = metrics
        self._file.write(json.dumps(metrics, allow_nan=False) + "\n")

    def sync(self) -> None:
        """Bring what was written to disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()
