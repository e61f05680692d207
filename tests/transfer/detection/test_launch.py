"""A detection run of two processes on one machine."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.multiprocessing.spawn import ProcessExitedException

from superinfo.artifacts import RECORD, Record, tensors_sha256
from superinfo.errors import Interrupted, SuperInfoError, UserError
from superinfo.runs import StopSignal
from superinfo.state import PATTERN
from tests.transfer.detection.meeting import meet_and_fail_in_the_second
from tests.transfer.detection.tiny_detector import RECIPE, tiny_detector
from transfer.detection.detect import detect
from transfer.detection.launch import _unexplained, launch
from transfer.detection.train import FINAL, Trainer
from transfer.detection.trained import CONFIG


def test_processes_work_together_and_what_one_raises_is_raised_here(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="disk is full, says the second") as caught:
        launch(meet_and_fail_in_the_second, (tmp_path,), "cpu", 2)
    assert caught.value.errno == errno.ENOSPC
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        "0": "2 processes, 7",
        "1": "2 processes, 7",
    }


def test_more_processes_than_gpus_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match="2 processes see 1 GPUs"):
        launch(meet_and_fail_in_the_second, (tmp_path,), "cuda", 2)


def command(folder: Path, **changes: Any) -> list[str]:
    file = folder / "tiny.yaml"
    file.write_text(json.dumps(tiny_detector(**changes).model_dump(mode="json")))
    return [sys.executable, "-m", "superinfo.cli", "detect", str(file), "--weights", "random", "--device", "cpu"]


@pytest.mark.slow
def test_two_processes_stopped_by_a_signal_resume_and_end_as_if_undisturbed(tmp_path: Path) -> None:
    options = {"SOLVER.MAX_ITER": 12}
    file = command(tmp_path, options=options | {"DATALOADER.NUM_WORKERS": 1}, save_minutes=1e-4)
    whole = detect(tiny_detector(options), None, seed=0, runs=tmp_path / "whole", device="cpu", devices=2)
    run = [*file, "--runs", str(tmp_path / "stopped"), "--devices", "2"]
    process = subprocess.Popen(run, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "stopped").glob(f"*/{PATTERN}")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 75, told
    assert "the same command resumes" in told.splitlines()[-1]
    assert not list((tmp_path / "stopped").rglob(RECORD))

    resumed = subprocess.run(run, capture_output=True, text=True, check=True)
    assert "resumed at iteration" in resumed.stderr
    path = Path(resumed.stdout.strip())
    hashes = [
        tensors_sha256(torch.load(folder / FINAL, weights_only=True)["model"]) for folder in (path.parent, whole.parent)
    ]
    assert hashes[0] == hashes[1]
    assert Record.read(path).metrics == Record.read(whole).metrics

    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", *run[1:-2], "--evaluate-only"]
    again = subprocess.run(torchrun, capture_output=True, text=True, check=True)
    assert again.stdout.splitlines()[-1:] == [str(path)]
    assert f"all {len(Record.read(path).metrics)} figures as in its record" in again.stderr


def test_a_signal_to_all_processes_while_it_evaluates_on_the_way_saves_the_run(tmp_path: Path) -> None:
    """As Slurm and `superinfo bench` send it: the workers that read test images get it too."""
    data = RECIPE["data"] | {"test": 200}
    options = RECIPE["options"] | {"DATALOADER.NUM_WORKERS": 2}
    file = command(tmp_path, data=data, options=options, evaluate_every=1)
    run = [*file, "--runs", str(tmp_path / "runs")]
    process = subprocess.Popen(run, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 120
    while "Inference done" not in log_of(tmp_path / "runs") and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGTERM)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 75, told
    assert "stopped after iteration 1; the same command resumes" in told.splitlines()[-1]
    assert list((tmp_path / "runs").glob(f"*/{PATTERN}"))


def log_of(runs: Path) -> str:
    return "".join(log.read_text() for log in runs.glob("*/log.txt"))


def stop_after_the_first_iteration(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(StopSignal, "received", True)
        with pytest.raises(Interrupted, match="stopped after iteration 1; the same command resumes"):
            detect(tiny_detector(**changes), None, seed=0, runs=folder, device="cpu")


def test_a_run_asked_for_fewer_images_starts_anew_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the error tells to do where a GPU has too little memory."""
    stop_after_the_first_iteration(tmp_path, monkeypatch)
    record = Record.read(detect(tiny_detector(images_per_device=1), None, seed=0, runs=tmp_path, device="cpu"))
    told = capsys.readouterr().err
    assert "begun with IMS_PER_BATCH 2, now 1, BASE_LR" in told
    assert "as images_per_device asks, it starts anew" in told
    assert "1 images an iteration, 1 in each of 1 process" in told
    assert "resumed" not in told
    assert "SOLVER.IMS_PER_BATCH: 1 instead of 2 (1 process of 1 images)" in record.deviations
    assert not list(tmp_path.rglob(f"{PATTERN}*"))


def test_a_run_goes_on_by_the_schedule_it_was_begun_with_whatever_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(Trainer, "_machine", lambda _: "cuda in 8 processes")
        stop_after_the_first_iteration(tmp_path, monkeypatch, images_per_device=1)
    path = detect(tiny_detector(), None, seed=0, runs=tmp_path, device="cpu")
    assert "resumed at iteration 1" in capsys.readouterr().err
    assert "IMS_PER_BATCH: 1\n" in (path.parent / CONFIG).read_text()
    deviations = Record.read(path).deviations
    assert "SOLVER.IMS_PER_BATCH: 1 instead of 2 (1 process of 1 images)" in deviations
    assert deviations[-1] == "resumed at iteration 1 on cpu in 1 process, until then on cuda in 8 processes"


def test_a_process_that_is_killed_is_told_in_a_line() -> None:
    killed = ProcessExitedException("terminated with signal SIGKILL", 1, 42, -9, "SIGKILL")
    told = _unexplained(killed)
    assert isinstance(told, SuperInfoError)
    assert "process 1 of the run was killed (SIGKILL)" in str(told)
    assert isinstance(_unexplained(ProcessExitedException("", 0, 42, -15, "SIGTERM")), Interrupted)
