"""Which processes train together, as torchrun, srun or nobody says."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from pretrain.engine import INTERRUPTED, pretrain
from pretrain.launch import build_fabric
from superinfo import processes
from superinfo.artifacts import MANIFEST, Manifest
from superinfo.errors import UserError
from superinfo.processes import is_main_process, started_by_a_launcher
from tests.pretrain import tiny

TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}
SRUN = {"SLURM_STEP_NUM_TASKS": "6", "SLURM_STEP_NUM_NODES": "2", "SLURM_PROCID": "3"}
NAMES = {*TORCHRUN, *SRUN, "RANK", "LOCAL_RANK", "SLURM_NTASKS"}


@pytest.mark.parametrize(
    ("environment", "expected", "main"),
    [
        ({}, None, True),
        ({"LOCAL_RANK": "1"}, None, False),
        (TORCHRUN | {"RANK": "0"}, (4, 2), True),
        (TORCHRUN | {"RANK": "4", "LOCAL_RANK": "0"}, (4, 2), False),
        (SRUN, (3, 2), False),
        (SRUN | {"SLURM_PROCID": "0"}, (3, 2), True),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, None, True),
    ],
)
def test_the_launcher_says_how_many_processes_there_are(
    environment: dict[str, str], expected: tuple[int, int] | None, main: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert started_by_a_launcher() == expected
    assert is_main_process() == main


def test_machines_with_unequal_numbers_of_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (SRUN | {"SLURM_STEP_NUM_TASKS": "5"}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="5 processes on 2 machines: start as many on every one"):
        started_by_a_launcher()


def test_a_job_that_slurm_gave_several_tasks_trains_alone_unless_srun_starts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "train", "SLURM_PROCID": "0"}.items():
        monkeypatch.setenv(name, value)
    path = pretrain(tiny.recipe(epochs=1), seed=0, runs=tmp_path, device="cpu")
    assert Manifest.read(path.parent / MANIFEST).execution["processes"] == 1


def test_torchrun_s_processes_train_together(tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(tiny.RECIPE | {"epochs": 1}))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "superinfo.cli", "pretrain", str(file), "--device", "cpu", "--runs", str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert run.returncode == 0, run.stderr[-2000:]
    (path,) = map(Path, run.stdout.splitlines())
    assert Manifest.read(path.parent / MANIFEST).execution["processes"] == 2
    assert not (path.parent / INTERRUPTED).exists()


def test_lightning_s_processes_wait_for_one_another_as_long_as_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "PATIENCE", timedelta(seconds=7))
    strategy = build_fabric(tiny.recipe(), "cpu", 2).strategy
    assert vars(strategy)["_timeout"] == timedelta(seconds=7)


def test_half_precision_by_fp16_is_refused_on_a_cpu(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="16-mixed needs a GPU; use bf16-mixed"):
        pretrain(tiny.recipe(precision="16-mixed"), 0, tmp_path, "cpu")
