"""A detection run of two processes on one machine."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed as dist

from superinfo.artifacts import RECORD, Record, tensors_sha256
from superinfo.errors import Diverged, Interrupted, UserError
from superinfo.runs import StopSignal
from superinfo.state import PATTERN
from tests.transfer.detection.tiny_detector import tiny_detector
from transfer.detection.detect import detect
from transfer.detection.launch import launch
from transfer.detection.train import FINAL


def meet_and_fail_in_the_second(folder: Path) -> None:
    rank = torch.tensor([float(dist.get_rank())])
    dist.all_reduce(rank)
    (folder / f"{dist.get_rank()}").write_text(f"{dist.get_world_size()} {rank.item()}")
    if dist.get_rank() == 1:
        raise Diverged("the loss is not finite, says the second")
    dist.barrier()


def test_processes_work_together_and_what_one_raises_is_raised_here(tmp_path: Path) -> None:
    with pytest.raises(Diverged, match="says the second"):
        launch(meet_and_fail_in_the_second, (tmp_path,), "cpu", 2)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"0": "2 1.0", "1": "2 1.0"}


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


def test_a_run_begun_with_another_batch_is_not_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StopSignal, "received", True)
    with pytest.raises(Interrupted, match="stopped after iteration 1; the same command resumes"):
        detect(tiny_detector(), None, seed=0, runs=tmp_path, device="cpu")
    monkeypatch.undo()
    with pytest.raises(UserError, match=r"begun with IMS_PER_BATCH 2, now 1, BASE_LR .*: resume it as it was begun"):
        detect(tiny_detector(images_per_device=1), None, seed=0, runs=tmp_path, device="cpu")
