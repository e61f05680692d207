"""metrics.jsonl: one line per logged step."""

import json
import os
from pathlib import Path


class MetricsLog:
    """Appends lines to a file; on resume, drops those of steps that will be done again."""

    def __init__(self, path: Path, first_step: int) -> None:
        kept = [line for line in _complete_lines(path) if json.loads(line)["step"] < first_step]
        path.write_text("".join(kept))
        self._file = path.open("a", buffering=1)
        self.last: dict[str, float] = json.loads(kept[-1]) if kept else {}

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


def _complete_lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    return [line for line in path.read_text().splitlines(keepends=True) if line.endswith("}\n")]
