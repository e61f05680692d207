"""What became of a job: the file that Snakemake takes for its output, and that says more than an exit code."""

import json
import os
from pathlib import Path
from typing import Literal, NamedTuple

from superinfo.files import write_json

State = Literal["done", "failed", "blocked"]
TAIL = 4000
"""Bytes at the end of a log that its last line is looked for in."""


class Outcome(NamedTuple):
    """How a job ended. An interrupted job has no outcome: it is to run again."""

    state: State
    """blocked: what it needs failed, and it was not started."""
    artifact: str = ""
    """Where the job's artifact lies, of a job that is done; as its verb says it."""
    code: int = 0
    """Exit code of the verb."""
    reason: str = ""
    """Of a job that is not done, in one line."""

    def write(self, path: Path) -> None:
        """Write the outcome atomically."""
        write_json(path, self._asdict())

    @classmethod
    def read(cls, path: Path) -> "Outcome | None":
        """Read an outcome; None if there is none."""
        try:
            return cls(**json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None


def outcome_path(folder: Path, name: str) -> Path:
    """Return where the outcome of a job of the suite in `folder` lies, or will lie."""
    return folder / "jobs" / f"{name}.json"


def log_path(folder: Path, name: str) -> Path:
    """Return where what it says on stderr lies, or will lie."""
    return folder / "jobs" / f"{name}.log"


def last_line(log: Path) -> str:
    """Return the last line of a log that says anything; empty if there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
            lines = file.read().decode(errors="replace").split("\n")
    except FileNotFoundError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
