"""What became of a job: the file that Snakemake takes for its output, and that says more than an exit code."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from superinfo.files import write_json

State = Literal["done", "failed", "blocked"]


@dataclass(frozen=True, slots=True)
class Outcome:
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
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> "Outcome | None":
        """Read an outcome; None if there is none."""
        try:
            return cls(**json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
