"""What a suite would do: every job, what of it is done, what the rest takes, and the data that is not here."""

import shlex
from collections import Counter
from collections.abc import Sequence

from benchmarks.jobs import Job, Plan


def describe_plan(name: str, plan: Plan, missing: Sequence[str]) -> str:
    """Return a plan for people: a line for each job, then the sums by kind, then what is missing."""
    left = {job.name for job in plan.left()}
    lines = [f"{_state(job, left):<10}{shlex.join(job.command)}" for job in plan.jobs.values()]
    lines += ["", f"{name}: {len(plan.jobs)} jobs, {len(left)} left to run", *_sums(plan, left)]
    lines += [f"missing: {fault}" for fault in missing]
    return "\n".join(lines)


def _state(job: Job, left: set[str]) -> str:
    if job.name in left:
        return "to run"
    return "done" if job.artifact is not None else "not needed"


def _sums(plan: Plan, left: set[str]) -> list[str]:
    counts = Counter(job.kind for job in plan.jobs.values())
    lines = []
    for kind, count in counts.items():
        jobs = [job for job in plan.jobs.values() if job.kind == kind and job.name in left]
        lines.append(f"  {kind:<9}{count:>4} jobs, {len(jobs)} to run: {_cost(jobs)}")
    every = [job for job in plan.jobs.values() if job.name in left]
    return [*lines, f"  estimate of what is to run: {_cost(every)} (how it is estimated: docs/suites.md)"]


def _cost(jobs: list[Job]) -> str:
    on_gpus = sum(job.resources.hours * job.resources.gpus for job in jobs)
    on_cores = sum(job.resources.hours for job in jobs if job.resources.gpus == 0)
    disk = sum(job.resources.disk_gb for job in jobs)
    return f"{on_gpus:,.1f} GPU-hours, {on_cores:,.1f} hours on 2 CPU cores (one job at a time), {disk:,.1f} GB"
