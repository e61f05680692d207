"""--evaluate-only: a finished run scored again, and on other test data, without training."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from superinfo.artifacts import RECORD, Record
from superinfo.errors import SuperInfoError, UserError
from tests.transfer.detection.tiny_detector import RECIPE, tiny_detector
from transfer.detection import evaluate as evaluating
from transfer.detection import train
from transfer.detection.detect import detect
from transfer.detection.measure import PREDICTIONS
from transfer.detection.train import FINAL


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that the machine made deviate from its protocol."""
    recipe = tiny_detector(images_per_device=1)
    return detect(recipe, None, seed=0, runs=tmp_path_factory.mktemp("runs"), device="cpu")


@pytest.fixture
def runs(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of that run, where nothing is to be trained."""
    shutil.copytree(finished.parents[1], tmp_path / "runs")

    def trained(*_: Any, **__: Any) -> None:
        raise AssertionError("trained")

    monkeypatch.setattr(train, "Trainer", trained)
    return tmp_path / "runs"


def again(runs: Path, options: dict[str, Any] | None = None, **changes: Any) -> Path:
    return detect(tiny_detector(options, **changes), None, seed=0, runs=runs, device="cpu", evaluate_only=True)


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file() and file.name != "log.txt"}


def test_a_finished_run_is_scored_again_and_left_as_it_is(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (record,) = runs.glob(f"*/{RECORD}")
    before = contents(record.parent)
    assert again(runs) == record
    assert contents(record.parent) == before
    told = capsys.readouterr().err
    assert f"all {len(Record.read(record).metrics)} figures as in its record" in told


def test_figures_that_are_not_the_records_are_told(runs: Path) -> None:
    (record,) = runs.glob(f"*/{RECORD}")
    found = Record.read(record)
    better = found.metrics["box/AP"].model_copy(update={"value": 99.0})
    found.model_copy(update={"metrics": found.metrics | {"box/AP": better}}).write(record)
    (record.parent / PREDICTIONS).write_text("[]")
    before = contents(record.parent)
    with pytest.raises(SuperInfoError, match=r"box/AP is .* now, and 99\.0 in its record, which stays"):
        again(runs)
    partial = {name: metric for name, metric in found.metrics.items() if name != "mask/AP"}
    found.model_copy(update={"metrics": partial}).write(record)
    with pytest.raises(SuperInfoError, match="mask/AP is only in its record, which stays, or only there now"):
        again(runs)
    assert contents(record.parent) == before | {RECORD: record.read_bytes()}


def test_other_test_data_give_a_record_of_its_own(runs: Path) -> None:
    (trained,) = runs.glob(f"*/{RECORD}")
    path = again(runs, {"TEST.DETECTIONS_PER_IMAGE": 1}, data=RECIPE["data"] | {"test": 4, "test_split": "val"})
    record = Record.read(path)
    assert path != trained
    assert (record.what.split, record.what.samples) == ("val", 4)
    assert record.deviations == [
        f"evaluated only; trained by the run {trained.parent.name}",
        *(line for line in Record.read(trained).deviations if line.startswith("SOLVER.")),
    ]
    assert "SOLVER.IMS_PER_BATCH: 1 instead of 2 (1 process of 1 images)" in record.deviations
    assert not (path.parent / FINAL).exists()
    assert Record.read(trained).what.split == "test"
    assert again(runs, {"TEST.DETECTIONS_PER_IMAGE": 1}, data=RECIPE["data"] | {"test": 4, "test_split": "val"}) == path


@pytest.mark.parametrize("changes", [{"options": {"SOLVER.MAX_ITER": 5}}, {"data": RECIPE["data"] | {"train": 13}}])
def test_another_training_is_no_finished_run(runs: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="no finished run of tiny with random, seed 0; run it without --evaluate-only"):
        again(runs, **changes)
    assert len(list(runs.glob(f"*/{RECORD}"))) == 1


def test_a_detector_of_other_classes_than_the_data_is_told(runs: Path) -> None:
    """The files of a set may change under its name."""
    for file in runs.glob("data/scenes*/annotations/*.json"):
        file.write_text(file.read_text().replace('"cross"', '"ring"'))
    told = r"model_final\.pth: finds other classes than the data have, first 'cross' where they have 'ring'; restore"
    with pytest.raises(UserError, match=told):
        again(runs)
    (record,) = runs.glob(f"*/{RECORD}")
    record.unlink()
    with pytest.raises(UserError, match=told):
        detect(tiny_detector(), None, seed=0, runs=runs, device="cpu")
    assert not record.exists()


def test_what_cannot_be_scored_is_told_before_the_detector_looks_at_images(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looked(*_: Any) -> None:
        raise AssertionError("evaluated")

    monkeypatch.setattr(evaluating, "inference_on_dataset", looked)
    for file in runs.glob("data/scenes*/annotations/instances_test.json"):
        coco = json.loads(file.read_text())
        for each in coco["annotations"]:
            each["area"] = 1e11
        file.write_text(json.dumps(coco))
    with pytest.raises(UserError, match="no object counts for box/AP by coco"):
        again(runs)


def test_a_record_beside_it_that_cannot_be_read_is_no_hindrance(runs: Path) -> None:
    (trained,) = runs.glob(f"*/{RECORD}")
    broken = runs / trained.parent.name.replace("tiny--", "another--") / RECORD
    broken.parent.mkdir()
    broken.write_bytes(trained.read_bytes()[:200])
    assert Record.read(again(runs, data=RECIPE["data"] | {"test": 4})).what.samples == 4


def test_what_is_left_of_a_record_is_not_taken_for_a_finished_run(runs: Path) -> None:
    (record,) = runs.glob(f"*/{RECORD}")
    record.write_bytes(record.read_bytes()[:200])
    with pytest.raises(UserError, match=r"record\.json: ") as caught:
        detect(tiny_detector(), None, seed=0, runs=runs, device="cpu")
    assert "\n" not in str(caught.value)


def test_out_of_gpu_memory_in_evaluation_says_how_to_go_on(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    monkeypatch.setattr(evaluating, "inference_on_dataset", full)
    with pytest.raises(UserError, match="a test image: out of GPU memory; the same command goes on with --device"):
        again(runs)


@pytest.mark.usefixtures("counted_flops")
def test_out_of_gpu_memory_while_operations_are_counted_says_how_to_go_on(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tracing keeps what a forward pass without gradients does not."""

    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    monkeypatch.setattr("transfer.detection.evaluate.FlopCountAnalysis.total", full)
    with pytest.raises(UserError, match="a test image: out of GPU memory; the same command goes on with --device"):
        again(runs, data=RECIPE["data"] | {"test": 4})


def test_out_of_gpu_memory_says_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    monkeypatch.setattr(train.Trainer, "run_step", full)
    with pytest.raises(
        UserError, match=r"out of GPU memory at iteration 0 with 2 images per device; --set images_per_"
    ):
        detect(tiny_detector(), None, seed=0, runs=tmp_path, device="cpu")
    assert not list(tmp_path.rglob(RECORD))
