"""A pretraining run from outside: what it leaves, how it resumes, how it fails."""

import json
import multiprocessing
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from pretrain.engine import pretrain
from pretrain.learner import Learner
from pretrain.model import build_model
from pretrain.schedule import Moment
from superinfo.artifacts import MANIFEST, Manifest, load_checkpoint, tensors_sha256
from superinfo.encoders import load_encoder
from superinfo.errors import Diverged, UserError
from superinfo.state import PATTERN
from tests.pretrain.tiny import RECIPE, recipe


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
    assert not list(path.parent.glob(PATTERN))


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


def test_no_more_workers_are_started_than_there_are_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learn, seen = Learner.learn, set()

    def look(*arguments: Any) -> Any:
        seen.add(len(multiprocessing.active_children()))
        return learn(*arguments)

    monkeypatch.setattr(Learner, "learn", look)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
    pretrain(recipe(workers=3), seed=0, runs=tmp_path, device="cpu")
    assert seen == {1}


def test_seeds_change_the_encoder(tmp_path: Path) -> None:
    paths = [pretrain(recipe(), seed=seed, runs=tmp_path, device="cpu") for seed in (0, 1)]
    assert tensors_sha256(load_checkpoint(paths[0])[1]) != tensors_sha256(load_checkpoint(paths[1])[1])


def test_a_loss_that_is_not_finite_stops_the_run_and_leaves_no_checkpoint(tmp_path: Path) -> None:
    optimizer = {"kind": "sgd", "lr": 1e20}
    with pytest.raises(Diverged, match=r"are not finite at step \d+.*lower optimizer\.lr") as caught:
        pretrain(recipe(optimizer=optimizer), seed=0, runs=tmp_path, device="cpu")
    assert caught.value.exit_code == 1
    assert not list(tmp_path.rglob("checkpoint.pt"))


@pytest.mark.parametrize("changes", [{"clip_norm": 1.0, "lr": 1e20}, {"lr": 1e38}])
def test_weights_that_are_not_finite_stop_the_run_whatever_watches_it(
    tmp_path: Path, changes: dict[str, float]
) -> None:
    watched = {"queries": RECIPE["data"] | {"split": "val", "count": 40}, "every_epochs": 1}
    optimizer = {"kind": "sgd", **changes}
    alone = recipe(optimizer=optimizer, monitor={"tensorboard": False, "knn": watched}, epochs=1, batch_size=96)
    with pytest.raises(Diverged, match=r"not finite at step 0.*lower optimizer\.lr"):
        pretrain(alone, seed=0, runs=tmp_path, device="cpu")
    assert not list(tmp_path.rglob("checkpoint.pt"))


def test_a_batch_larger_than_the_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="batch_size 128 is more than the 96 images"):
        pretrain(recipe(batch_size=128), seed=0, runs=tmp_path, device="cpu")


def test_an_unreadable_image_gives_its_place_to_another_and_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = _pictures(tmp_path / "images", 40, {7, 8})
    data = {"kind": "folder", "name": "dogs", "root": str(tmp_path / "images")}
    hashes = []
    for workers in (0, 2):
        runs = tmp_path / f"runs{workers}"
        chosen = recipe(data=data, workers=workers, max_unreadable=0.05)
        path = pretrain(chosen, seed=0, runs=runs, device="cpu")
        hashes.append(tensors_sha256(load_checkpoint(path)[1]))
        last = json.loads((path.parent / "metrics.jsonl").read_text().splitlines()[-1])
        assert last["unreadable"] == 2
        told = capsys.readouterr().err
        assert all(told.count(f"{file}: not a readable image") == 1 for file in broken)
    assert hashes[0] == hashes[1]


def test_more_unreadable_images_than_stated_stop_the_run(tmp_path: Path) -> None:
    _pictures(tmp_path / "images", 40, {7})
    data = {"kind": "folder", "name": "dogs", "root": str(tmp_path / "images")}
    for workers in (0, 1):
        with pytest.raises(UserError, match=r"1 of 40 images .* max_unreadable .*7\.png: not a readable") as caught:
            pretrain(recipe(data=data, workers=workers, epochs=1), seed=0, runs=tmp_path / "runs", device="cpu")
        assert "\n" not in str(caught.value)
        assert not multiprocessing.active_children()


def test_unreadable_images_are_counted_over_all_processes(tmp_path: Path) -> None:
    """Each process meets some of them alone; together they are too many."""
    _pictures(tmp_path / "images", 40, {7, 8, 9, 10})
    data = {"kind": "folder", "name": "dogs", "root": str(tmp_path / "images")}
    file = tmp_path / "dogs.yaml"
    file.write_text(json.dumps(RECIPE | {"data": data, "max_unreadable": 0.09}))
    command = [sys.executable, "-m", "superinfo.cli", "pretrain", str(file), "--device", "cpu", "--devices", "2"]
    run = subprocess.run([*command, "--runs", str(tmp_path)], capture_output=True, text=True, check=False, timeout=200)
    assert run.returncode == 2, run.stderr[-2000:]
    told = [line for line in run.stderr.splitlines() if line.startswith("superinfo:")]
    assert len(told) == 1
    assert "4 of 40 images cannot be read, more than max_unreadable (0.09)" in told[0]


def test_images_mended_between_two_sessions_are_not_held_against_a_run(tmp_path: Path) -> None:
    whole = _pictures(tmp_path / "images", 40, {7})[0]
    data = {"kind": "folder", "name": "dogs", "root": str(tmp_path / "images")}
    with pytest.raises(UserError, match="1 of 40 images cannot be read"):
        pretrain(recipe(data=data), seed=0, runs=tmp_path / "runs", device="cpu")
    shutil.copy(whole.with_name("8.png"), whole)
    path = pretrain(recipe(data=data), seed=0, runs=tmp_path / "runs", device="cpu")
    lines = [json.loads(line) for line in (path.parent / "metrics.jsonl").read_text().splitlines()]
    assert [line["unreadable"] for line in lines[1:]] == [0] * (len(lines) - 1)


def test_a_set_without_one_readable_image_is_refused(tmp_path: Path) -> None:
    _pictures(tmp_path / "images", 40, set(range(40)))
    data = {"kind": "folder", "name": "dogs", "root": str(tmp_path / "images")}
    with pytest.raises(UserError, match=r"none of the 40 images can be read; the first: .*0\.png"):
        pretrain(recipe(data=data, max_unreadable=1.0), seed=0, runs=tmp_path / "runs", device="cpu")


@pytest.mark.parametrize(
    ("changes", "devices", "told"),
    [
        ({"batch_size": 32}, 3, "batch_size 32 is not divisible by 3 processes"),
        ({"batch_size": 2}, 2, "batch_size 2 leaves 2 processes one image each"),
        ({"chunk_size": 12}, 1, "chunk_size 12 does not divide the 32 images of a process"),
    ],
)
def test_a_batch_that_cannot_be_shared_out_is_refused(
    tmp_path: Path, changes: dict[str, int], devices: int, told: str
) -> None:
    with pytest.raises(UserError, match=told):
        pretrain(recipe(**changes), seed=0, runs=tmp_path, device="cpu", devices=devices)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"batch_size": 1}, "batch_size"),
        ({"chunk_size": 1}, "chunk_size"),
        ({"method": {"kind": "moco", "queue_length": 32}}, "queue_length must be at least 2 x batch_size, 64"),
    ],
)
def test_a_batch_that_cannot_train_is_refused(changes: dict[str, object], told: str) -> None:
    with pytest.raises(UserError, match=told):
        recipe(**changes)


def test_a_loss_that_is_not_finite_names_the_term_too(tmp_path: Path) -> None:
    term = {"kind": "superinfo", "compression": [1e38, 1e38], "prediction": [0.0, 0.0]}
    with pytest.raises(Diverged, match=r"lower optimizer\.lr .* or the term's coefficients"):
        pretrain(recipe(term=term), seed=0, runs=tmp_path, device="cpu")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "32 images at once: out of GPU memory; --set chunk_size=16 or --set precision=bf16-mixed starts anew"),
        (
            {"batch_size": 30, "chunk_size": 15},
            "15 images at once: out of GPU memory; --set chunk_size=6 or --set precision",
        ),
        ({"precision": "bf16-mixed"}, "32 images at once: out of GPU memory; --set chunk_size=16 starts anew"),
        ({"precision": "bf16-mixed", "chunk_size": 2}, "2 images at once: out of GPU memory"),
    ],
)
def test_a_gpu_s_lack_of_memory_is_told_with_what_takes_less_and_a_larger_one_resumes(
    tmp_path: Path,
    changes: dict[str, Any],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    chosen, learn, small = recipe(epochs=1, save_minutes=1e-5, **changes), Learner.learn, True

    def run_out(learner: Learner, pixels: torch.Tensor, moment: Moment) -> Any:
        if small and moment.step == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.\nGPU 0 has ...")
        return learn(learner, pixels, moment)

    monkeypatch.setattr(Learner, "learn", run_out)
    with pytest.raises(UserError, match=f"^{re.escape(f'simclr+superinfo_tiny: {told}')}") as caught:
        pretrain(chosen, seed=0, runs=tmp_path, device="cpu")
    assert str(caught.value).endswith("; on a GPU with more the same command resumes")
    small = False
    assert pretrain(chosen, seed=0, runs=tmp_path, device="cpu").exists()
    assert "resumed at step 1" in capsys.readouterr().err


def test_clipping_bounds_the_gradient(tmp_path: Path) -> None:
    """SGD moves the weights by no more than rate x norm in a step."""
    optimizer = {"kind": "sgd", "lr": 1.0, "momentum": 0.0, "clip_norm": 1e-3}
    alone = {"optimizer": optimizer, "epochs": 1, "batch_size": 96, "term": {"kind": "none"}}
    path = pretrain(recipe(**alone), seed=0, runs=tmp_path, device="cpu")
    before, after = build_model(recipe(**alone), seed=0).encoder, load_encoder(path)[0]
    squares = [(p - q).square().sum() for p, q in zip(before.parameters(), after.parameters(), strict=True)]
    assert 1e-4 < torch.stack(squares).sum().sqrt().item() < 1.001e-3


def test_what_changes_no_result_changes_no_tensor(tmp_path: Path) -> None:
    plain = pretrain(recipe(), seed=0, runs=tmp_path / "a", device="cpu")
    watched = {"queries": RECIPE["data"] | {"split": "val", "count": 40}, "every_epochs": 1, "k": 5}
    other = recipe(monitor={"tensorboard": True, "knn": watched}, log_every=3)
    path = pretrain(other, seed=0, runs=tmp_path / "b", device="cpu")
    assert tensors_sha256(load_checkpoint(plain)[1]) == tensors_sha256(load_checkpoint(path)[1])
    lines = [json.loads(line) for line in (path.parent / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines if "knn" in line] == [1, 2, 3, 4]
    assert all(0 <= line["knn"] <= 1 for line in lines if "knn" in line)
    assert list((path.parent / "tensorboard").iterdir())


def test_knn_needs_labels_and_the_same_classes(tmp_path: Path) -> None:
    _pictures(tmp_path / "images", 40, set())
    unlabelled = {"kind": "folder", "name": "dogs", "root": str(tmp_path / "images" / "dog")}
    other = {"queries": RECIPE["data"] | {"split": "val", "classes": ["disk"]}}
    with pytest.raises(UserError, match=r"monitor\.knn\.queries: .* other classes"):
        pretrain(recipe(monitor={"knn": other}), seed=0, runs=tmp_path, device="cpu")
    with pytest.raises(UserError, match=r"dogs has no labels; leave monitor\.knn out"):
        pretrain(recipe(data=unlabelled, monitor={"knn": {"queries": unlabelled}}), seed=0, runs=tmp_path, device="cpu")


def test_two_processes_train_as_one_does_but_for_batch_norm(tmp_path: Path) -> None:
    """The joint loss of the first step: the same images, noise and negatives; batch norm sees half of them."""
    file = tmp_path / "tiny.yaml"
    file.write_text(json.dumps(RECIPE | {"epochs": 1}))
    command = [sys.executable, "-m", "superinfo.cli", "pretrain", str(file), "--device", "cpu", "--devices", "2"]
    run = subprocess.run([*command, "--runs", str(tmp_path)], capture_output=True, text=True, check=False, timeout=200)
    assert run.returncode == 0, run.stderr[-2000:]
    path = Path(run.stdout.strip())
    manifest = Manifest.read(path.parent / MANIFEST)
    assert manifest.execution == {
        "processes": 2,
        "batch_norm": "over 16 images",
        "device": "cpu",
        "precision": "32-true",
    }
    chunked = pretrain(recipe(epochs=1, chunk_size=16), seed=0, runs=tmp_path / "one", device="cpu")
    two, one = (
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (path.parent, chunked.parent)
    )
    for name in ("loss", "base", "kl1", "kl2", "nll1", "nll2"):
        assert two[0][name] == pytest.approx(one[0][name], rel=1e-5), name
        assert two[2][name] == pytest.approx(one[2][name], rel=1e-3), name


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_without_a_gpu_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--device cuda: torch finds no GPU"):
        pretrain(recipe(), seed=0, runs=tmp_path, device="cuda")


def _pictures(root: Path, count: int, broken: set[int]) -> list[Path]:
    """Write pictures of one class; return those that are none."""
    (root / "dog").mkdir(parents=True)
    draw = np.random.default_rng(0)
    for i in range(count):
        cv2.imwrite(str(root / "dog" / f"{i}.png"), draw.integers(0, 256, (40, 40, 3), np.uint8))
    files = [root / "dog" / f"{i}.png" for i in broken]
    for file in files:
        file.write_bytes(b"no picture")
    return files
