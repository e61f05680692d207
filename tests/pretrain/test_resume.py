"""A run that is stopped goes on as if nothing had happened, and says what it cannot go on from."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pretrain.engine import INTERRUPTED, pretrain
from pretrain.recipe import PretrainRecipe, checkpoint_path
from superinfo.artifacts import MANIFEST, Manifest, load_checkpoint, tensors_sha256
from superinfo.errors import UserError
from superinfo.state import PATTERN
from tests.pretrain import tiny

RECIPE = tiny.RECIPE | {"save_minutes": 1e-4}
BASES = [
    pytest.param({"name": "simclr+superinfo_killed", "chunk_size": 16}, marks=pytest.mark.slow),
    pytest.param(
        {
            "name": "moco+mib_killed",
            "method": {"kind": "moco", "hidden_dim": 16, "output_dim": 8, "queue_length": 100, "norm_groups": 2},
            "term": {"kind": "mib", "weight": 1e-3, "variance": "learned", "warmup_epochs": 5},
        }
    ),
    pytest.param(
        {
            "name": "byol+rc_killed",
            "method": {"kind": "byol", "hidden_dim": 16, "output_dim": 8, "prediction_dim": 16},
            "term": {"kind": "rc", "weight": 0.1},
        },
        marks=pytest.mark.slow,
    ),
    pytest.param(
        {
            "name": "barlow_twins+lbe_killed",
            "method": {"kind": "barlow_twins", "hidden_dim": 16, "output_dim": 32},
            "term": {"kind": "lbe", "weights": [0.25, 0.5, 1.0]},
            "optimizer": {"kind": "lars", "lr": 0.1, "weight_decay": 1e-6},
        },
        marks=pytest.mark.slow,
    ),
]


def recipe(**changes: Any) -> PretrainRecipe:
    return tiny.recipe(save_minutes=1e-4, **changes)


def tensors(path: Path) -> str:
    return tensors_sha256(load_checkpoint(path)[1])


@pytest.mark.parametrize("base", BASES, ids=lambda base: str(base["name"]))
def test_ten_kills_at_random_steps_and_other_worker_counts_change_no_tensor(
    tmp_path: Path, base: dict[str, Any]
) -> None:
    script = Path(__file__).with_name("killed_often.py")
    command = [sys.executable, str(script), str(tmp_path)]
    fields = json.dumps(RECIPE | {"epochs": 24} | base)
    run = subprocess.run(command, input=fields, capture_output=True, text=True, timeout=400, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    kills, killed, whole = json.loads(run.stdout)
    assert kills == 10
    assert killed == whole
    (log,) = tmp_path.glob("killed/*/metrics.jsonl")
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == list(range(72))
    assert not list(log.parent.glob("training-*"))


@pytest.mark.parametrize("processes", [1, 2])
def test_a_scheduler_s_signal_saves_and_tells_and_the_same_command_resumes(tmp_path: Path, processes: int) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(json.dumps(RECIPE | {"save_minutes": 60, "epochs": 12}))
    command = [sys.executable, "-m", "superinfo.cli", "pretrain", str(file), "--runs", str(tmp_path / "runs")]
    command += ["--device", "cpu", "--devices", str(processes)]
    folder = checkpoint_path(recipe(epochs=12), 0, tmp_path / "runs").parent
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (folder / "metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGUSR1)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 75, errors
    assert output == ""
    assert errors.splitlines()[-1].endswith("the same command resumes")
    assert (folder / INTERRUPTED).exists()
    assert len(list(folder.glob(PATTERN))) == 1

    resumed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert resumed.stdout.splitlines() == [str(folder / "checkpoint.pt")]
    assert resumed.stderr.count("resumed at step") == 1
    (step,) = re.findall(r"resumed at step (\d+)", resumed.stderr)
    assert Manifest.read(folder / MANIFEST).execution["resumed_at_step"] == int(step)
    assert not (folder / INTERRUPTED).exists()
    steps = [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(36))


def test_a_broken_state_gives_way_to_the_one_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = pretrain(recipe(), seed=0, runs=tmp_path / "whole", device="cpu")
    folder = _stopped(tmp_path, monkeypatch)
    older, newest = sorted(folder.glob(PATTERN))
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    path = pretrain(recipe(), seed=0, runs=tmp_path / "stopped", device="cpu")
    told = capsys.readouterr().err
    assert f"{newest}: broken training state" in told
    assert f"resumed at step {int(older.stem.removeprefix('training-'))}" in told
    assert tensors(path) == tensors(whole)
    assert not list(folder.glob("training-*"))


def test_a_run_without_a_whole_state_is_not_silently_started_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _stopped(tmp_path, monkeypatch)
    for path in folder.glob(PATTERN):
        path.write_bytes(path.read_bytes()[:-1])
    for _ in range(2):
        with pytest.raises(UserError, match="no whole training state left; delete"):
            pretrain(recipe(), seed=0, runs=tmp_path / "stopped", device="cpu")


def test_what_another_recipe_left_in_the_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _stopped(tmp_path, monkeypatch)
    other = checkpoint_path(recipe(epochs=5), 0, tmp_path / "stopped")
    folder.rename(other.parent)
    with pytest.raises(UserError, match=r"training-\d+\.state: state of another recipe .* move it out"):
        pretrain(recipe(epochs=5), seed=0, runs=tmp_path / "stopped", device="cpu")
    done = pretrain(recipe(epochs=1), seed=0, runs=tmp_path / "stopped", device="cpu")
    for state in other.parent.glob(PATTERN):
        state.unlink()
    done.rename(other)
    with pytest.raises(UserError, match=r"checkpoint\.pt: checkpoint of another recipe, simclr\+superinfo_tiny; move"):
        pretrain(recipe(epochs=5), seed=0, runs=tmp_path / "stopped", device="cpu")


def _stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a run that failed half-way, with its last two states."""

    def fail(*_: object) -> None:
        raise RuntimeError("power cut")

    with monkeypatch.context() as patched:
        patched.setattr("pretrain.engine.publish", fail)
        with pytest.raises(RuntimeError, match="power cut"):
            pretrain(recipe(), seed=0, runs=tmp_path / "stopped", device="cpu")
    folder = checkpoint_path(recipe(), 0, tmp_path / "stopped").parent
    assert len(list(folder.glob(PATTERN))) == 2
    return folder
