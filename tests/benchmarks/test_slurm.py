"""What a suite that was killed left to Slurm, whose commands are stand-ins here; tests/test_slurm.py has real ones."""

import os
from pathlib import Path

import pytest

from benchmarks import slurm
from benchmarks.slurm import cancel_leftovers
from superinfo.errors import SuperInfoError
from superinfo.files import write_text
from tests.benchmarks.errands import lines

RUN = "1b3a2781-d076-46e1-9c8f-970057fdbd0f"


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log of Snakemake's, and a Slurm that has the jobs of the file `queue`, which `scancel` empties."""
    for name, script in {"squeue": f"cat {tmp_path}/queue", "scancel": f"> {tmp_path}/queue"}.items():
        write_text(tmp_path / "bin" / name, f'#!/bin/sh\necho {name} "$@" >> {tmp_path}/told\n{script}\n')
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(slurm, "TICK", 0.01)
    write_text(tmp_path / "queue", "41\n42\n")
    write_text(tmp_path / "suite" / "snakemake.log", f"Building DAG of jobs...\nSLURM run ID: {RUN}\nJob stats:\n")
    return tmp_path / "suite" / "snakemake.log"


def test_what_was_left_is_cancelled_by_its_name(log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cancel_leftovers(log)
    look = f"squeue --noheader --name {RUN} --format=%i"
    assert lines(tmp_path / "told") == [look, f"scancel --name {RUN}", look]
    assert "left jobs to Slurm, 2: cancelled" in capsys.readouterr().err


def test_nothing_is_cancelled_where_nothing_is_left(log: Path, tmp_path: Path) -> None:
    write_text(tmp_path / "queue", "")
    cancel_leftovers(log)
    assert [told.split()[0] for told in lines(tmp_path / "told")] == ["squeue"]


def test_slurm_is_not_asked_after_a_suite_that_ran_here(log: Path, tmp_path: Path) -> None:
    log.write_text("Building DAG of jobs...\n")
    cancel_leftovers(log)
    cancel_leftovers(tmp_path / "new" / "snakemake.log")
    assert lines(tmp_path / "told") == []


def test_jobs_that_do_not_end_are_told(log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin" / "scancel").write_text("#!/bin/sh\n")
    monkeypatch.setattr(slurm, "PATIENCE", 0)
    with pytest.raises(SuperInfoError, match=r"suite: killed before, it left Slurm jobs that do not end: 41, 42"):
        cancel_leftovers(log)
