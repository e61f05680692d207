"""`superinfo bench`: a suite from its file to its tables."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.checks import find_faults
from benchmarks.estimate import describe_plan
from benchmarks.jobs import Plan, plan_suite
from benchmarks.machine import Machine
from benchmarks.outcome import Outcome, outcome_path
from benchmarks.outputs import failures, write_outputs
from benchmarks.slurm import cancel_leftovers
from benchmarks.suite import Suite
from benchmarks.watch import watched
from benchmarks.workflow import LOG, run_jobs
from results.table import Table
from superinfo.errors import UserError
from superinfo.files import exclusive, write_text
from superinfo.progress import say

LOCK = ".bench.lock"
AT_WORK = ".bench"
"""Says which suite holds the lock."""


@dataclass(frozen=True)
class Benched:
    """What a suite came to."""

    folder: Path
    tables: list[Table]
    failures: dict[str, Outcome]
    """By the job's name."""
    finished: list[Path]
    """Folders of the runs that its tables stand on."""


def run_suite(suite: Suite, runs: Path, machine: Machine) -> Benched:
    """Run what is left of a suite, then write its tables and pictures below `runs/<suite>`.

    A job that fails stops no other that does not need it. Raises UserError, before the first job and for all of it at
    once, if anything is wrong or missing, or if a suite runs in this folder already; Interrupted as `run_jobs` does.
    """
    found = find_faults(suite, machine)
    _refuse(suite, [*found.wrong.told(), *found.missing.told()])
    folder = runs / suite.name
    with _only_one(suite, runs):
        cancel_leftovers(folder / LOG)
        plan = plan_suite(suite, runs, machine)
        left = plan.left()
        say(f"{suite.name}: {len(plan.jobs)} jobs, {len(left)} left to run")
        if left:
            with watched(suite.name, left, folder) as look:
                ended = run_jobs(left, folder, machine, look)
            plan = plan_suite(suite, runs, machine)
            for name, outcome in ended.items():
                if plan.jobs[name].artifact is None:
                    _without_artifact(outcome).write(outcome_path(folder, name))
        tables = write_outputs(suite, plan, runs)
        return Benched(folder, tables, failures(plan, folder), _finished(plan))


def _without_artifact(outcome: Outcome) -> Outcome:
    if outcome.state != "done":
        return outcome
    made = f"it made {outcome.artifact}, which is not what was planned"
    return Outcome("failed", reason=f"{made}: its recipe or its files changed meanwhile; run the same command again")


def _finished(plan: Plan) -> list[Path]:
    records = [plan.jobs[cell.job].artifact for cell in plan.cells]
    return list(dict.fromkeys(record.parent for record in records if record is not None))


def foresee_suite(suite: Suite, runs: Path, machine: Machine) -> str:
    """Return what a suite would do, for people. Raises UserError if anything is wrong with it; data may be missing."""
    found = find_faults(suite, machine)
    _refuse(suite, found.wrong.told())
    return describe_plan(suite.name, plan_suite(suite, runs, machine), found.missing.told())


def _refuse(suite: Suite, faults: list[str]) -> None:
    if len(faults) == 1:
        raise UserError(f"{suite.name}: {faults[0]}")
    if faults:
        told = "; ".join(f"({number}) {fault}" for number, fault in enumerate(faults, 1))
        raise UserError(f"{suite.name}: {len(faults)} things are wrong: {told}")


@contextmanager
def _only_one(suite: Suite, runs: Path) -> Iterator[None]:
    """Hold a folder's only lock for suites: two of them may want the same run. The kernel frees it."""
    with ExitStack() as stack:
        try:
            stack.enter_context(exclusive(runs / LOCK, wait=False))
        except BlockingIOError:
            who = (runs / AT_WORK).read_text() if (runs / AT_WORK).exists() else "which has not said its name"
            raise UserError(f"{runs}: a suite runs here, {who}; wait for it, or give another --runs") from None
        write_text(runs / AT_WORK, f"{suite.name}, process {os.getpid()} on {socket.gethostname()}")
        yield
