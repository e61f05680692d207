"""The jobs that Slurm still has of a suite that was killed."""

import re
import shutil
import subprocess
import time
from pathlib import Path

from superinfo.errors import SuperInfoError
from superinfo.progress import say

RUN_ID = re.compile(r"^SLURM run ID: ([\w-]+)$", re.MULTILINE)
"""As Snakemake's plugin says it; it gives its jobs this name."""
PATIENCE = 300
"""Seconds for jobs to save and end, of which Slurm gives each KillWait, by default 30."""
TICK = 1.0


def cancel_leftovers(log: Path) -> None:
    """Cancel the jobs that a suite's last start left in Slurm's queue; return when they have saved and ended.

    A suite that ends or is interrupted leaves none. `log` is Snakemake's of that start; where there is none, or no
    Slurm here, nothing is done. Raises SuperInfoError if the jobs do not end.
    """
    said = RUN_ID.search(log.read_text(errors="replace")) if log.exists() and shutil.which("squeue") else None
    if said is None or not (jobs := _jobs(said[1])):
        return
    say(f"{log.parent}: killed before, it left jobs to Slurm, {len(jobs)}: cancelled; they save, and start again")
    subprocess.run(["scancel", "--name", said[1]], capture_output=True, check=False)
    deadline = time.monotonic() + PATIENCE
    while jobs := _jobs(said[1]):
        if time.monotonic() >= deadline:
            raise SuperInfoError(f"{log.parent}: killed before, it left Slurm jobs that do not end: {', '.join(jobs)}")
        time.sleep(TICK)


def _jobs(name: str) -> list[str]:
    """Return the ids of jobs of a name that wait, run or end."""
    command = ["squeue", "--noheader", "--name", name, "--format=%i"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
