"""The jobs of a plan, run by Snakemake on this machine or a cluster."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.jobs import Job
from benchmarks.machine import Machine
from benchmarks.outcome import Outcome, last_line, log_path, outcome_path
from superinfo.errors import Interrupted, SuperInfoError
from superinfo.files import write_json, write_text
from superinfo.runs import StopSignal

SNAKEFILE = Path(__file__).parent / "Snakefile"
PLAN = "plan.json"
LOG = "snakemake.log"
REQUEUED = 20
"""Times that an interrupted job is started again before its suite ends; then the same command goes on."""
DATA_ROOTS = ("SUPERINFO_DATA", "DETECTRON2_DATASETS")
"""What a job needs of the environment, which a pod does not inherit."""
LATENCY = 120
"""Seconds that a shared file system may take to show a file."""
TICK = 0.2

Watch = Callable[[], object]
"""Called a few times a second while jobs run."""


def run_jobs(jobs: Sequence[Job], folder: Path, machine: Machine, watch: Watch) -> dict[str, Outcome]:
    """Run jobs, each after what it needs of them; return what became of each.

    `folder` is the suite's own, and takes plan, logs and outcomes. Raises Interrupted on SIGTERM, SIGUSR1 and Ctrl-C,
    after the jobs that run have saved what they have; a second Ctrl-C does not wait for them. This process has no jobs
    that outlive it, but for a cluster's.
    """
    plan = _write_plan(jobs, folder, machine)
    with StopSignal() as stop, (folder / LOG).open("wb") as log:
        process = subprocess.Popen(
            _command(plan, folder, machine),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            stopping = False
            while process.poll() is None:
                watch()
                if stop.received and not stopping:
                    stopping = True
                    _stop(process, machine)
                _wait(process)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        watch()
    if stop.received:
        raise Interrupted(f"{folder}: stopped; the same command goes on")
    outcomes = {job.name: Outcome.read(outcome_path(folder, job.name)) for job in jobs}
    if process.returncode and not any(outcomes.values()):
        ended = f"Snakemake ended with {process.returncode} before any job did"
        raise SuperInfoError(f"{folder / LOG}: {ended}: {_complaint(folder / LOG)}")
    unknown = Outcome("failed", code=process.returncode, reason=f"no outcome; {folder / LOG} says why")
    return {name: outcome or unknown for name, outcome in outcomes.items()}


def _write_plan(jobs: Sequence[Job], folder: Path, machine: Machine) -> Path:
    """Write what the jobs' own processes need to know; forget how the same jobs ended before."""
    for job in jobs:
        outcome_path(folder, job.name).unlink(missing_ok=True)
        log_path(folder, job.name).unlink(missing_ok=True)
    names = {job.name for job in jobs}
    plan: dict[str, Any] = {
        "folder": str(folder.resolve()),
        "directory": os.getcwd(),
        "environment": {name: os.environ[name] for name in DATA_ROOTS if name in os.environ},
        "gpus": list(machine.gpus),
        "jobs": {
            job.name: {
                "command": list(job.command),
                "needs": [need for need in job.needs if need in names],
                "threads": job.threads,
                "gpus": job.gpus,
                "memory_mb": job.memory_mb,
                "minutes": job.minutes,
            }
            for job in jobs
        },
    }
    write_json(folder / PLAN, plan)
    return folder / PLAN


def _command(plan: Path, folder: Path, machine: Machine) -> list[str]:
    snakefile = SNAKEFILE
    if machine.executor == "kubernetes":  # whose pods are sent it from below this folder
        snakefile = folder / SNAKEFILE.name
        write_text(snakefile, SNAKEFILE.read_text())
    command = [
        sys.executable,
        "-P",  # the user's folder may have a module of the name of one of ours
        "-m",
        "benchmarks.scheduler",
        str(os.getpid()),
        "--snakefile",
        str(snakefile),
        "--directory",
        str(folder),
    ]
    command += ["--executor", machine.executor, "--config", f"plan={plan.resolve()}"]
    # After a SIGKILL there is neither a lock nor an output that counts as incomplete, and only what is left is planned.
    command += ["--nolock", "--ignore-incomplete", "--rerun-triggers", "mtime", "--drop-metadata", "--keep-going"]
    command += ["--scheduler", "greedy", "--nocolor", "--retries", str(REQUEUED)]
    if machine.is_local:
        command += ["--cores", str(machine.cores), "--latency-wait", "0"]
        return [*command, "--resources", f"gpu={len(machine.gpus)}", f"jobs={machine.at_once}"]
    if machine.executor == "kubernetes":
        # Its plugin takes pods to share no disk, and asks where outcomes are stored: where they lie in any case.
        command += ["--default-storage-provider", "fs", "--default-storage-prefix", str(folder.resolve())]
    return [*command, "--jobs", str(machine.at_once), "--latency-wait", str(LATENCY)]


def _stop(process: subprocess.Popen[bytes], machine: Machine) -> None:
    """Have the running jobs save and end. Snakemake starts no more on SIGTERM; on SIGINT it cancels a cluster's."""
    if machine.is_local:
        os.killpg(process.pid, signal.SIGTERM)
    else:
        process.send_signal(signal.SIGINT)


def _complaint(log: Path) -> str:
    """Return what Snakemake says of the first job that it could not submit, or else its last words."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    said = [line.removeprefix("message: ") for line in lines if line.startswith("message: ")]
    return next((text for text in said if text != "None"), last_line(log))


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(TICK)
    except subprocess.TimeoutExpired:
        return
