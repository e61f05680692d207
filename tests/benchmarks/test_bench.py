"""What a suite makes of how its jobs ended."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks import bench
from benchmarks.jobs import Job, plan_suite, record_path
from benchmarks.machine import Machine
from benchmarks.origins import Random
from benchmarks.outcome import Outcome
from benchmarks.suite import load_suite
from benchmarks.workflow import Watch

ALONE = Machine("local", "cpu", 1, 1, ())


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    table = {"title": "Mine", "rows": [{"label": "random"}], "tasks": [{"detect": "maskrcnn_fpn_scenes"}]}
    (tmp_path / "mine.yaml").write_text(json.dumps({"name": "mine", "tables": [table]}))
    return tmp_path / "mine.yaml"


def test_a_job_that_made_something_else_than_planned_has_failed(suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_jobs(jobs: Sequence[Job], folder: Path, machine: Machine, watch: Watch) -> dict[str, Outcome]:
        return {job.name: Outcome("done", artifact="runs/other/record.json") for job in jobs}

    monkeypatch.setattr(bench, "run_jobs", run_jobs)
    runs = suite.parent / "runs"
    (outcome,) = bench.run_suite(load_suite(str(suite)), runs, ALONE).failures.values()
    assert outcome.state == "failed"
    assert outcome.reason.startswith("it made runs/other/record.json, which is not what was planned")
    assert "failed" in (runs / "mine" / "table.md").read_text()


def test_a_record_that_cannot_be_read_has_failed_and_is_not_overwritten(
    suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = suite.parent / "runs"
    mine = load_suite(str(suite))
    (cell,) = plan_suite(mine, runs, ALONE).cells
    assert isinstance(cell.origin, Random)
    record = record_path(cell.recipe, cell.origin.who_with(cell.recipe.encoder), cell.seed, runs)
    record.parent.mkdir(parents=True)
    record.write_text('{"run":')
    monkeypatch.setattr(bench, "run_jobs", lambda *_: pytest.fail("nothing is left to run"))
    (outcome,) = bench.run_suite(mine, runs, ALONE).failures.values()
    assert outcome.reason.startswith(f"{record}: not a Record of this version: Invalid JSON")
    assert outcome.reason.endswith("move it away, and the same command measures again")
    assert "failed" in (runs / "mine" / "table.md").read_text()
    assert record.read_text() == '{"run":'


def test_a_second_suite_in_one_folder_is_refused_by_the_name_of_the_first(
    suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second: list[subprocess.CompletedProcess[str]] = []

    def run_jobs(jobs: Sequence[Job], folder: Path, machine: Machine, watch: Watch) -> dict[str, Outcome]:
        command = [sys.executable, "-m", "superinfo.cli", "bench", "demo", "--device", "cpu", "--runs", str(runs)]
        second.append(subprocess.run(command, capture_output=True, text=True, check=False))
        return {}

    monkeypatch.setattr(bench, "run_jobs", run_jobs)
    runs = suite.parent / "runs"
    bench.run_suite(load_suite(str(suite)), runs, ALONE)
    (refused,) = second
    assert refused.returncode == 2
    assert f"{runs}: a suite runs here, mine, process {os.getpid()} on " in refused.stderr
    assert not (runs / "demo").exists()
