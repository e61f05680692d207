"""What a suite adds to each of its jobs: 200 jobs that do nothing, in chains of pretraining, conversion and two tasks.

Two at once, as two cores run them; the verbs' own start-up is no part of it. Run it alone:
`python -m benchmarks.perf.suite`.
"""

import json
import tempfile
import time
from pathlib import Path

from benchmarks.jobs import Job
from benchmarks.machine import Machine
from benchmarks.workflow import run_jobs
from superinfo.resources import Resources

COUNT = 200
MOST_SECONDS = 0.1
"""Of each job."""


def main() -> None:
    """Run the jobs in a temporary folder, print a table and one line of JSON."""
    jobs = [job for number in range(COUNT // 4) for job in _chain(number)]
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        ended = run_jobs(jobs, Path(folder), Machine("local", "cpu", 2, 2, ()), lambda: None)
        seconds = time.perf_counter() - start
    assert all(outcome.state == "done" for outcome in ended.values())
    each = seconds / len(jobs)
    print(f"{len(jobs)} jobs that do nothing, two at once, Snakemake's start-up included")
    print(f"{'':<12}{'seconds':>10}{'ms a job':>12}")
    print(f"{'measured':<12}{seconds:>10.1f}{1000 * each:>12.1f}")
    print(f"{'limit':<12}{MOST_SECONDS * len(jobs):>10.1f}{1000 * MOST_SECONDS:>12.1f}")
    result = {"name": "suite", "jobs": len(jobs), "seconds": round(seconds, 2)}
    print(json.dumps(result | {"seconds_a_job": round(each, 4), "ratio": round(MOST_SECONDS / each, 2)}))


def _chain(number: int) -> list[Job]:
    names = [f"{kind}/{number}" for kind in ("pretrain", "convert", "detect", "probe")]
    needs = [(), (names[0],), (names[1],), (names[1],)]
    return [
        Job(name, ("true",), needed, None, Resources(), gpus=0, threads=1)
        for name, needed in zip(names, needs, strict=True)
    ]


if __name__ == "__main__":
    main()
