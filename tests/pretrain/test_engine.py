"""A pretraining run from outside: what it leaves, how it resumes, how it fails."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from pretrain.engine import STATE, pretrain
from pretrain.recipe import PretrainRecipe
from superinfo.artifacts import MANIFEST, Manifest, load_checkpoint, tensors_sha256
from superinfo.encoders import load_encoder
from superinfo.errors import Diverged, UserError

RECIPE = {
    "name": "simclr+superinfo_tiny",
    "data": {"kind": "scenes", "count": 96, "size": 32},
    "view_size": 32,
    "encoder": {"arch": "resnet18", "stem": "stl", "width": 0.125},
    "method": {"kind": "simclr", "hidden_dim": 16, "output_dim": 8},
    "term": {"kind": "superinfo", "compression": [1e-3, 1e-3], "prediction": [1e-4, 1e-4]},
    "optimizer": {"kind": "adamw", "lr": 1e-3, "warmup_epochs": 1},
    "epochs": 4,
    "batch_size": 32,
    "log_every": 1,
}


def recipe(**changes: object) -> PretrainRecipe:
    return PretrainRecipe.parse(RECIPE | changes, "test")


def test_a_run_leaves_a_checkpoint_that_says_what_it_is(tmp_path: Path) -> None:
    path = pretrain(recipe(), seed=3, runs=tmp_path, device="cpu")
    info, state = load_checkpoint(path)
    assert (info.method, info.term, info.epochs, info.seed, info.input_size) == ("simclr", "superinfo", 4, 3, 32)
    manifest = Manifest.read(path.parent / MANIFEST)
    assert manifest.tensors_sha256 == tensors_sha256(state)
    assert manifest.cost.parameters == sum(p.numel() for p in load_encoder(path)[0].parameters())
    lines = [json.loads(line) for line in (path.parent / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(12))
    assert {"loss", "base", "kl1", "kl2", "nll1", "nll2", "lr", "images_per_second"} <= lines[0].keys()
    assert not (path.parent / STATE).exists()


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    alike = {"crop_scale": [0.6, 1.0], "jitter": 0.0, "grayscale": 0.0, "blur": 0.0}
    chosen = recipe(epochs=30, term={"kind": "none"}, views=alike)
    path = pretrain(chosen, seed=0, runs=tmp_path, device="cpu")
    losses = [json.loads(line)["loss"] for line in (path.parent / "metrics.jsonl").read_text().splitlines()]
    assert sum(losses[-6:]) / 6 < sum(losses[:6]) / 6 - 0.2


def test_a_finished_run_is_left_alone(tmp_path: Path) -> None:
    path = pretrain(recipe(), seed=0, runs=tmp_path, device="cpu")
    before = {file: file.stat().st_mtime_ns for file in path.parent.iterdir()}
    assert pretrain(recipe(workers=1, save_minutes=5.0), seed=0, runs=tmp_path, device="cpu") == path
    assert {file: file.stat().st_mtime_ns for file in path.parent.iterdir()} == before


def test_workers_change_nothing(tmp_path: Path) -> None:
    alone = pretrain(recipe(), seed=0, runs=tmp_path / "a", device="cpu")
    helped = pretrain(recipe(workers=2), seed=0, runs=tmp_path / "b", device="cpu")
    assert tensors_sha256(load_checkpoint(alone)[1]) == tensors_sha256(load_checkpoint(helped)[1])


def test_seeds_change_the_encoder(tmp_path: Path) -> None:
    paths = [pretrain(recipe(), seed=seed, runs=tmp_path, device="cpu") for seed in (0, 1)]
    assert tensors_sha256(load_checkpoint(paths[0])[1]) != tensors_sha256(load_checkpoint(paths[1])[1])


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_ends_where_an_undisturbed_one_does(tmp_path: Path, signal_number: int) -> None:
    changes = {"save_minutes": 1e-4, "epochs": 12}
    file = tmp_path / "tiny.yaml"
    file.write_text(json.dumps(RECIPE | changes))
    command = [sys.executable, "-m", "superinfo.cli", "pretrain", str(file), "--runs", str(tmp_path / "killed")]
    command += ["--device", "cpu"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "killed").glob(f"*/{STATE}")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal_number)
    _, errors = process.communicate()
    assert process.returncode == (-9 if signal_number == signal.SIGKILL else 75), errors
    assert not list((tmp_path / "killed").glob("*/checkpoint.pt"))

    resumed = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "resumed at step" in resumed.stderr
    undisturbed = pretrain(recipe(**changes), seed=0, runs=tmp_path / "whole", device="cpu")
    path = Path(resumed.stdout.splitlines()[-1])
    assert tensors_sha256(load_checkpoint(path)[1]) == tensors_sha256(load_checkpoint(undisturbed)[1])
    steps = [json.loads(line)["step"] for line in (path.parent / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(36))


def test_a_loss_that_is_not_finite_stops_the_run_and_leaves_no_checkpoint(tmp_path: Path) -> None:
    optimizer = {"kind": "sgd", "lr": 1e20}
    with pytest.raises(Diverged, match=r"are not finite at step \d+.*lower optimizer\.lr") as caught:
        pretrain(recipe(optimizer=optimizer), seed=0, runs=tmp_path, device="cpu")
    assert caught.value.exit_code == 1
    assert not list(tmp_path.rglob("checkpoint.pt"))


def test_a_batch_larger_than_the_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="batch_size 128 is more than the 96 images"):
        pretrain(recipe(batch_size=128), seed=0, runs=tmp_path, device="cpu")


def test_an_unreadable_image_is_named(tmp_path: Path) -> None:
    source = tmp_path / "images" / "dog"
    source.mkdir(parents=True)
    for i in range(40):
        shutil.copy(_picture(tmp_path), source / f"{i}.png")
    (source / "7.png").write_bytes(b"no picture")
    data = {"kind": "folder", "name": "dogs", "root": str(tmp_path / "images")}
    for workers in (0, 1):
        with pytest.raises(UserError, match=r"images/dog/7\.png: not a readable image") as caught:
            pretrain(recipe(data=data, workers=workers), seed=0, runs=tmp_path / "runs", device="cpu")
        assert "\n" not in str(caught.value)
        assert not multiprocessing.active_children()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_without_a_gpu_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--device cuda: torch finds no GPU"):
        pretrain(recipe(), seed=0, runs=tmp_path, device="cuda")


def _picture(folder: Path) -> Path:
    import cv2
    import numpy as np

    path = folder / "picture.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8))
    return path
