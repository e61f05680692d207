"""Jobs that run any command: what a workflow does with them is the same whatever their verb."""

from pathlib import Path

from benchmarks.jobs import Job
from superinfo.resources import Resources


def errand(name: str, script: str, *needs: str, threads: int = 1, gpus: int = 0) -> Job:
    return Job(name, ("sh", "-c", script), needs, None, Resources(), gpus, threads)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
