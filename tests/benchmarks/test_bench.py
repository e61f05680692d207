"""What a suite makes of how its jobs ended."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks import bench
from benchmarks.jobs import Job
from benchmarks.machine import Machine
from benchmarks.outcome import Outcome
from benchmarks.suite import load_suite
from benchmarks.workflow import Watch


def test_a_job_that_made_something_else_than_planned_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_jobs(jobs: Sequence[Job], folder: Path, machine: Machine, watch: Watch) -> dict[str, Outcome]:
        return {job.name: Outcome("done", artifact="runs/other/record.json") for job in jobs}

    monkeypatch.setattr(bench, "run_jobs", run_jobs)
    table = {"title": "Mine", "rows": [{"label": "random"}], "tasks": [{"detect": "maskrcnn_fpn_scenes"}]}
    (tmp_path / "mine.yaml").write_text(json.dumps({"name": "mine", "tables": [table]}))
    machine = Machine("local", "cpu", 1, 1, ())
    benched = bench.run_suite(load_suite(str(tmp_path / "mine.yaml")), tmp_path / "runs", machine)
    (outcome,) = benched.failures.values()
    assert outcome.state == "failed"
    assert outcome.reason.startswith("it made runs/other/record.json, which is not what was planned")
    assert "failed" in (tmp_path / "runs" / "mine" / "table.md").read_text()
