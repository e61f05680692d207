"""Runs: their names, their one owner, and what they say of their origin."""

import json
import mmap
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import pytest

from superinfo import runs
from superinfo.artifacts import CHECKPOINT, RECORD
from superinfo.errors import Diverged, Interrupted, UserError
from superinfo.runs import (
    FAILED,
    StopSignal,
    interruptible,
    locked,
    parse_run_id,
    peak_memory_mib,
    provenance,
    reset_peak_memory,
    run_id,
    unfinished_state,
)

ROOT = Path(__file__).parents[2]
Git = Callable[..., str]


def test_a_run_id_is_row_seed_and_the_first_eight_of_the_hash() -> None:
    assert run_id("simclr+superinfo_r50_in1k_200e", 3, "0123456789abcdef" * 4) == (
        "simclr+superinfo_r50_in1k_200e-s3-01234567"
    )


@pytest.mark.parametrize("row", ["random", "simclr+superinfo_r50_in1k_200e", "a--b-s1-0123abcd"])
def test_the_id_of_a_measurement_says_recipe_row_and_seed(row: str) -> None:
    assert parse_run_id(run_id(f"maskrcnn_fpn--{row}", 12, "0123456789abcdef")) == ("maskrcnn_fpn", row, 12)


def test_a_runs_owner_removes_what_a_killed_one_left_but_no_conversion_at_work(tmp_path: Path) -> None:
    (tmp_path / ".checkpoint.pt.1.tmp").touch()
    (tmp_path / ".detectron2.1.tmp").mkdir()
    with locked(tmp_path):
        assert sorted(path.name for path in tmp_path.iterdir()) == [".detectron2.1.tmp", ".lock"]


@pytest.mark.parametrize("name", ["simclr_r50_in1k_200e-s3-01234567", "a--b", "a--b-s1-0123", "demo", "features"])
def test_any_other_folder_is_not_taken_for_a_measurements(name: str) -> None:
    assert parse_run_id(name) is None


LOCK = """
import sys
from pathlib import Path
from superinfo.errors import SuperInfoError
from superinfo.runs import locked
try:
    with locked(Path(sys.argv[1])):
        print("held")
except SuperInfoError as error:
    print(error.exit_code, error)
"""


def test_a_second_process_on_a_run_is_turned_away_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "run"

    def ask() -> list[str]:
        command = [sys.executable, "-c", LOCK, str(folder)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()

    with locked(folder):
        (answer,) = ask()
    assert answer.startswith(f"2 {folder}: another process works on this run")
    assert ask() == ["held"]


def test_an_error_inside_a_locked_run_is_not_taken_for_the_locks(tmp_path: Path) -> None:
    with pytest.raises(BlockingIOError, match="mine"), locked(tmp_path / "run"):
        raise BlockingIOError("mine")
    with locked(tmp_path / "run"):
        pass


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Diverged("the loss is not finite"), "the loss is not finite"),
        (UserError("x.yaml: no such file"), "x.yaml: no such file"),
        (RuntimeError("out of\nmemory \x1b[31m"), "RuntimeError: memory ?[31m"),
        (ValueError(), "ValueError: "),
    ],
)
def test_a_run_that_ends_in_an_error_says_so_until_it_is_begun_anew(
    tmp_path: Path, error: Exception, reason: str
) -> None:
    with pytest.raises(type(error)), locked(tmp_path / "run"):
        raise error
    assert unfinished_state(tmp_path / "run") == ("failed", reason)
    (line,) = (tmp_path / "run" / FAILED).read_text().splitlines()
    assert datetime.now(UTC) - datetime.fromisoformat(json.loads(line)["time"]) < timedelta(minutes=1)
    with locked(tmp_path / "run"):
        assert not (tmp_path / "run" / FAILED).exists()
    assert unfinished_state(tmp_path / "run") == ("interrupted", "")


@pytest.mark.parametrize("end", [Interrupted("stopped"), KeyboardInterrupt(), SystemExit(0)])
def test_a_run_that_is_stopped_has_not_failed(tmp_path: Path, end: BaseException) -> None:
    with pytest.raises(type(end)), locked(tmp_path / "run"):
        raise end
    assert unfinished_state(tmp_path / "run") == ("interrupted", "")


@pytest.mark.parametrize("artifact", [CHECKPOINT, RECORD])
def test_a_finished_run_does_not_become_a_failed_one(tmp_path: Path, artifact: str) -> None:
    (tmp_path / artifact).touch()
    with pytest.raises(UserError), locked(tmp_path):
        raise UserError("its figures differ now")
    assert not (tmp_path / FAILED).exists()


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff"])
def test_a_broken_mark_of_failure_is_still_one(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FAILED).write_bytes(content)
    assert unfinished_state(tmp_path) == ("failed", "for a reason that cannot be read")


WORK = """
import sys
from pathlib import Path
from superinfo.runs import locked
with locked(Path(sys.argv[1])):
    print("at work", flush=True)
    sys.stdin.read()
"""


def test_a_run_at_work_is_seen_as_running_and_a_killed_one_as_interrupted(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WORK, str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "at work\n"
    assert unfinished_state(tmp_path) == ("running", "")
    process.kill()
    process.communicate()
    assert unfinished_state(tmp_path) == ("interrupted", "")


def test_a_lock_that_cannot_be_made_is_no_users_quarrel(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file") as caught, locked(tmp_path / "file"):
        pass
    assert not isinstance(caught.value, UserError)


def test_provenance_has_time_versions_and_machine() -> None:
    found = provenance()
    created = datetime.fromisoformat(found.created)
    assert created.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - created) < timedelta(minutes=1)
    assert found.versions["python"] == ".".join(map(str, sys.version_info[:3]))
    for package in ("torch", "torchvision", "numpy", "lightly", "lightning-fabric"):
        assert found.versions[package] == version(package)
    assert "detectron2" in found.versions
    assert found.hardware["cpu"]
    assert isinstance(found.hardware["cores"], int)
    assert isinstance(found.hardware["threads"], int)
    assert found.hardware["processes"] == 1


def test_a_gpu_that_a_run_does_not_use_is_neither_listed_nor_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the GPU was asked")

    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    for question in ("get_device_name", "max_memory_allocated", "reset_peak_memory_stats"):
        monkeypatch.setattr(f"torch.cuda.{question}", refuse)
    reset_peak_memory()
    assert peak_memory_mib() > 0
    hardware = provenance().hardware
    assert hardware["device"] == "cpu"
    assert "gpu" not in hardware


def test_a_gpu_that_a_run_uses_is_listed_and_its_memory_is_what_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_initialized", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "Some GPU")
    monkeypatch.setattr("torch.cuda.max_memory_allocated", lambda: 3 * 2**20)
    monkeypatch.setattr("superinfo.processes.world_size", lambda: 2)
    assert provenance().hardware.items() >= {"device": "cuda", "gpu": "Some GPU", "processes": 2}.items()
    assert peak_memory_mib() == 3


def test_a_package_that_is_not_there_is_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "PACKAGES", ("numpy", "no-such-package"))
    assert provenance().versions["no-such-package"] == "not installed"


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Git:
    """Move this project's code to a folder of its own; return a `git` that works there."""
    monkeypatch.setattr(runs, "__file__", str(tmp_path / "superinfo" / "runs.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    (tmp_path / "superinfo").mkdir()
    (tmp_path / "superinfo" / "runs.py").write_text("code")

    def run(*arguments: str) -> str:
        command = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    return run


def test_outside_git_there_is_no_commit(git: Git) -> None:
    assert provenance().commit is None
    git("init")
    assert provenance().commit is None, "nothing is committed yet"


def test_the_commit_carries_a_plus_when_the_tree_has_changes(git: Git, tmp_path: Path) -> None:
    git("init")
    git("add", ".")
    git("commit", "-m", "all")
    commit = git("rev-parse", "HEAD")
    assert re.fullmatch("[0-9a-f]{40}", commit)
    assert provenance().commit == commit
    (tmp_path / "superinfo" / "runs.py").write_text("changed")
    assert provenance().commit == f"{commit}+"
    git("checkout", ".")
    (tmp_path / "new.py").touch()
    assert provenance().commit == f"{commit}+"


def test_a_schedulers_warning_is_remembered_and_the_old_handlers_come_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)]
    for number in (signal.SIGTERM, signal.SIGUSR1):
        with StopSignal() as stop:
            assert not stop.received
            signal.raise_signal(number)
            assert stop.received
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)] == before


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="this kernel keeps one peak")
def test_peak_memory_counts_what_was_used_and_let_go() -> None:
    reset_peak_memory()
    before = peak_memory_mib()
    with mmap.mmap(-1, 100 * 2**20) as block:  # malloc might hand out memory that is resident already
        block.write(b"x" * len(block))
    assert peak_memory_mib() - before >= 95
    reset_peak_memory()
    assert peak_memory_mib() - before < 50


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_before_there_is_anything_to_save_ends_the_run_as_interrupted(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with (
        pytest.raises(Interrupted, match="simclr: stopped; the same command resumes") as caught,
        interruptible("simclr"),
    ):
        signal.raise_signal(number)
    assert caught.value.exit_code == 75
    assert signal.getsignal(number) == before
