"""TensorBoard's events of a detector in training: what metrics.json says, each iteration once, after kills too."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from detectron2.utils.events import EventStorage
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]
from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]

from superinfo.artifacts import RECORD
from tests.transfer.detection.tiny_detector import tiny_detector
from transfer.detection import hooks, train
from transfer.detection.detect import detect
from transfer.detection.events import EventsWriter

ITERATIONS, SAVED, KILLED = 8, 3, 5
RECIPE = tiny_detector({"SOLVER.MAX_ITER": ITERATIONS})


class Killed(BaseException):
    pass


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that went on, from a state some iterations back, with what a SIGKILL had left."""
    runs = tmp_path_factory.mktemp("killed")
    left = runs / "left"
    shown = hooks.ShowProgress.after_step

    def after_step(hook: hooks.ShowProgress) -> None:
        shown(hook)
        if hook.trainer.iter == SAVED:
            hook.trainer.save()
        if hook.trainer.iter == KILLED:
            shutil.copytree(runs / "first", left)
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "LOG_EVERY", 1)
        patch.setattr(hooks.ShowProgress, "after_step", after_step)
        with pytest.raises(Killed):
            detect(RECIPE, None, seed=0, runs=runs / "first", device="cpu")
        patch.undo()
        patch.setattr(train, "LOG_EVERY", 1)
        return detect(RECIPE, None, seed=0, runs=left, device="cpu").parent


def curves(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]


def events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    reader = EventAccumulator(str(folder / "tensorboard"))
    reader.Reload()
    return {tag: [(event.step, event.value) for event in reader.Scalars(tag)] for tag in reader.Tags()["scalars"]}


def test_after_a_kill_the_events_are_those_of_the_curves_each_iteration_once(resumed: Path) -> None:
    lines = curves(resumed)
    assert [line["iteration"] for line in lines] == list(range(ITERATIONS))
    found = events(resumed)
    assert {"total_loss", "loss_mask", "lr", "time"} <= found.keys()
    # `time` differs between sessions: an event of the killed one would not be that of the line.
    for name, values in found.items():
        told = {line["iteration"]: line[name] for line in lines if name in line}
        assert [step for step, _ in values] == list(told), name
        assert [value for _, value in values] == pytest.approx(list(told.values()), rel=1e-6), name


def test_what_was_logged_before_the_kill_is_in_two_files_in_the_runs_folder(resumed: Path) -> None:
    assert len(list((resumed / "tensorboard").iterdir())) == 2
    assert list(resumed.glob("events*")) == []


def test_a_run_that_was_stopped_after_training_keeps_its_curves(resumed: Path) -> None:
    before = curves(resumed), events(resumed)
    (resumed / RECORD).unlink()
    assert detect(RECIPE, None, seed=0, runs=resumed.parent, device="cpu") == resumed / RECORD
    assert (curves(resumed), events(resumed)) == before


def test_what_was_written_is_in_the_file_even_if_tensorboard_lags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = RecordWriter.write

    def write_slowly(writer: RecordWriter, data: bytes) -> None:
        time.sleep(0.02)
        write(writer, data)

    monkeypatch.setattr(RecordWriter, "write", write_slowly)
    writer = EventsWriter(tmp_path / "now" / "tensorboard", 0, 20)
    with EventStorage(7) as storage:
        storage.put_scalars(**{f"loss_{i}": float(i) for i in range(8)})
        writer.write()
    shutil.copytree(tmp_path / "now", tmp_path / "left")
    writer.close()
    assert events(tmp_path / "left") == {f"loss_{i}": [(7, float(i))] for i in range(8)}
