"""A detection run from outside: weights in, record out, resumed after a kill."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from detectron2.data import DatasetCatalog

from superinfo import cli
from superinfo.artifacts import OVERLAY, PICTURES, RECORD, WEIGHTS, Record, load_checkpoint, tensors_sha256
from superinfo.errors import Diverged, EvidenceRefused, UserError
from superinfo.state import PATTERN
from tests.transfer.detection.tiny import MASKS
from tests.transfer.detection.tiny_detector import tiny_detector
from transfer.convert import convert
from transfer.detection import measure
from transfer.detection.data import Splits, register
from transfer.detection.detect import detect
from transfer.detection.train import FINAL, Trainer

MakeCheckpoint = Callable[..., Path]


@pytest.mark.usefixtures("counted_flops")
def test_a_record_says_who_was_measured_on_what(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    checkpoint = make_checkpoint(stem="stl", width=0.125)
    weights = convert(checkpoint, tmp_path / "weights")
    path = detect(tiny_detector(), weights, seed=1, runs=tmp_path / "runs", device="cpu")
    record = Record.read(path)
    assert record.who.tensors_sha256 == tensors_sha256(load_checkpoint(checkpoint)[1])
    assert (record.who.method, record.who.encoder.stem, record.seed) == ("simclr", "stl", 1)
    assert (record.what.split, record.what.samples) == ("test", 6)
    shown = {f"{kind}/{metric}" for kind in ("box", "mask") for metric in ("AP", "AP50", "AP75", "AP-disk", "AP-cross")}
    assert shown <= record.metrics.keys()
    assert all(metric.value is None or 0 <= metric.value <= 100 for metric in record.metrics.values())
    assert record.cost.parameters > 1000
    assert record.cost.flops is not None
    picture = cv2.imread(str(path.parent / PICTURES))
    assert picture is not None
    assert picture.std() > 10
    assert not list(path.parent.glob(PATTERN))


def test_random_weights_are_said_to_be_random_and_a_finished_run_is_left_alone(tmp_path: Path) -> None:
    path = detect(tiny_detector(), None, seed=0, runs=tmp_path, device="cpu")
    assert Record.read(path).who.tensors_sha256 is None
    before = {file: file.stat().st_mtime_ns for file in path.parent.iterdir()}
    assert detect(tiny_detector(), None, seed=0, runs=tmp_path, device="cpu") == path
    assert {file: file.stat().st_mtime_ns for file in path.parent.iterdir()} == before


def test_fine_tuning_starts_from_the_converted_weights(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    checkpoint = make_checkpoint(width=0.125)
    weights = convert(checkpoint, tmp_path / "weights")
    unchanged = {"SOLVER.BASE_LR": 0.0, "SOLVER.MAX_ITER": 1}
    path = detect(tiny_detector(unchanged), weights, seed=0, runs=tmp_path / "runs", device="cpu")
    _, state = load_checkpoint(checkpoint)
    trained = torch.load(path.parent / FINAL, weights_only=True)["model"]
    assert torch.equal(trained["backbone.bottom_up.res4.1.conv2.weight"], state["layer3.1.conv2.weight"])


def test_training_goes_by_what_the_loader_has_read_and_the_json_is_freed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Precise statistics draw from the training images again, after the last iteration."""
    objects: list[int] = []

    def registered(*given: Any) -> Splits:
        splits.append(register(*given))
        return splits[0]

    def step(trainer: Trainer) -> None:
        objects.append(len(splits[0].train.annotations.coco["annotations"]))
        stepped(trainer)

    splits: list[Splits] = []
    stepped = Trainer.run_step
    monkeypatch.setattr(measure, "register", registered)
    monkeypatch.setattr(Trainer, "run_step", step)
    options = {"TEST.PRECISE_BN.ENABLED": True, "TEST.PRECISE_BN.NUM_ITER": 2, "MODEL.RESNETS.NORM": "BN"}
    detect(tiny_detector(options | {"SOLVER.MAX_ITER": 2}), None, seed=0, runs=tmp_path, device="cpu")
    assert objects == [0, 0]
    assert splits[0].train.name not in DatasetCatalog


def test_a_killed_run_ends_where_an_undisturbed_one_does(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    options = {"SOLVER.MAX_ITER": 12}
    file = tmp_path / "tiny.yaml"
    file.write_text(json.dumps(tiny_detector(options, save_minutes=1e-4).model_dump(mode="json")))
    command = ["detect", str(file), "--weights", "random", "--device", "cpu", "--runs", str(tmp_path / "killed")]
    process = subprocess.Popen([sys.executable, "-m", "superinfo.cli", *command], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "killed").glob(f"*/{PATTERN}")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not list((tmp_path / "killed").rglob(RECORD))

    capfd.readouterr()
    cli.app(command, standalone_mode=False)
    told = capfd.readouterr()
    assert "resumed at iteration" in told.err
    (record,) = map(Path, told.out.splitlines())
    assert record.name == RECORD
    whole = detect(tiny_detector(options), None, seed=0, runs=tmp_path / "whole", device="cpu")
    ended = [
        tensors_sha256(torch.load(folder / FINAL, weights_only=True)["model"])
        for folder in (record.parent, whole.parent)
    ]
    assert ended[0] == ended[1]


def test_a_loss_that_is_not_finite_stops_the_run_and_leaves_no_record(tmp_path: Path) -> None:
    options = {"SOLVER.OPTIMIZER": "SGD", "SOLVER.BASE_LR": 1e18, "SOLVER.WARMUP_ITERS": 0}
    with pytest.raises(Diverged, match=r"not finite at iteration \d+; lower SOLVER\.BASE_LR"):
        detect(tiny_detector(options), None, seed=0, runs=tmp_path, device="cpu")
    assert not list(tmp_path.rglob(RECORD))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"INPUT.MIN_SIZE_TEST": -5}, "cannot be tested"),
        ({"MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_TYPE": "cubic"}, r"the first iteration failed \(ValueError: .*cubic"),
        (
            {"DATALOADER.SAMPLER_TRAIN": "RepeatFactorTrainingSampler", "DATALOADER.REPEAT_THRESHOLD": -1},
            r"cannot be trained \(ValueError: math domain error\)",
        ),
    ],
)
def test_what_detectron2_refuses_late_is_told_in_a_line(tmp_path: Path, options: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=rf"^tiny--random-.*: {told}.*; correct the recipe's `options`") as caught:
        detect(tiny_detector(options), None, seed=0, runs=tmp_path, device="cpu")
    assert "\n" not in str(caught.value)


def test_weights_that_are_not_what_the_evidence_speaks_of_are_refused(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    weights = convert(make_checkpoint(width=0.125), tmp_path / "weights")
    with (weights / WEIGHTS).open("ab") as file:
        file.write(b"x")
    with pytest.raises(EvidenceRefused, match=r"detectron2\.pkl: not the file that conversion\.json speaks of"):
        detect(tiny_detector(), weights, seed=0, runs=tmp_path, device="cpu")
    with pytest.raises(UserError, match="no converted weights"):
        detect(tiny_detector(), tmp_path, seed=0, runs=tmp_path, device="cpu")


def test_an_unreadable_image_is_named(tmp_path: Path) -> None:
    recipe = tiny_detector({"SOLVER.MAX_ITER": 12})
    register(recipe.data, tmp_path, MASKS)
    images = next((tmp_path / "data").glob("scenes*/JPEGImages"))
    broken = images / "train_000003.jpg"
    broken.write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"train_000003\.jpg: not a readable image") as caught:
        detect(recipe, None, seed=0, runs=tmp_path, device="cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", ["train.detect_in_first_image", "evaluate.inference_on_dataset"])
def test_an_error_leaves_no_workers_which_an_exiting_python_would_wait_for(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise UserError("the first image is broken")

    monkeypatch.setattr(f"transfer.detection.{place}", fail)
    with pytest.raises(UserError, match="first image") as caught:
        detect(tiny_detector({"DATALOADER.NUM_WORKERS": 1}), None, seed=0, runs=tmp_path, device="cpu")
    left = multiprocessing.active_children()
    for worker in left:
        worker.kill()
    assert left == []
    assert caught.tb is not None, "what it holds is not freed before"


def test_an_overlay_that_is_not_what_was_proven_is_refused(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    weights = convert(make_checkpoint(width=0.125), tmp_path / "weights")
    overlay = weights / OVERLAY
    overlay.write_text(overlay.read_text().replace("RGB", "BGR"))
    with pytest.raises(EvidenceRefused, match=r"detectron2\.yaml: not the file that conversion\.json speaks of"):
        detect(tiny_detector(), weights, seed=0, runs=tmp_path, device="cpu")


def test_a_detector_that_finds_nothing_has_an_ap_of_zero(tmp_path: Path) -> None:
    options = {"MODEL.ROI_HEADS.SCORE_THRESH_TEST": 1.5, "SOLVER.MAX_ITER": 1}
    record = Record.read(detect(tiny_detector(options), None, seed=0, runs=tmp_path, device="cpu"))
    assert [record.metrics[f"{kind}/AP50"].value for kind in ("box", "mask")] == [0.0, 0.0]
