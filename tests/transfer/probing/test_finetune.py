"""Fine-tuning: on the labels it may use, learning, and ending after a kill where an undisturbed run does."""

import errno
import multiprocessing
import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from superinfo.artifacts import RECORD, Record
from superinfo.errors import Diverged, Interrupted, UserError
from superinfo.state import PATTERN
from tests.transfer.probing import tiny
from transfer.probing.encoder import open_encoder
from transfer.probing.finetune import _Run
from transfer.probing.probe import probe, record_path
from transfer.probing.recipe import ProbeRecipe
from transfer.probing.splits import stratified

TASK = {"kind": "finetune", "epochs": 6, "batch_size": 9, "lr": 0.05}


def recipe(data: dict[str, Any], workers: int = 0, **task: Any) -> ProbeRecipe:
    return tiny.recipe(data, TASK | task, workers=workers)


def test_it_learns_and_says_on_how_many_labels(tmp_path: Path) -> None:
    data = tiny.folders(tmp_path / "images")
    path = probe(recipe(data), None, 0, tmp_path / "runs", "cpu")
    record = Record.read(path)
    accuracy = record.metrics["accuracy"].value
    assert accuracy is not None
    assert accuracy > 90
    assert record.deviations == ["fine-tuned on 36 of 36 labelled images"]
    assert (record.what.task, record.what.samples) == ("finetune", 18)
    assert sorted(file.name for file in path.parent.iterdir() if file.name != ".lock") == [RECORD]
    tenth = Record.read(probe(recipe(data, label_fraction=0.01), None, 0, tmp_path / "runs", "cpu"))
    assert tenth.deviations == ["fine-tuned on 3 of 36 labelled images"]


def test_labels_are_drawn_from_each_class_alike_by_the_seed() -> None:
    labels = np.repeat([0, 1, 2], [200, 50, 3])
    chosen, others = stratified(labels, 0.1, [0, 2])
    assert Counter(labels[chosen].tolist()) == {0: 20, 1: 5, 2: 1}
    assert sorted([*chosen, *others]) == list(range(253))
    assert np.array_equal(chosen, stratified(labels, 0.1, [0, 2])[0])
    assert not np.array_equal(chosen, stratified(labels, 0.1, [1, 2])[0])


def run(fields: ProbeRecipe, runs: Path) -> None:
    torch.set_num_threads(1)
    probe(fields, None, 0, runs, "cpu")


def test_a_killed_run_ends_where_an_undisturbed_one_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tiny.folders(tmp_path / "images")
    slow: dict[str, Any] = {"epochs": 12, "save_minutes": 1e-6, "momentum": 0.9, "weight_decay": 1e-3}
    context = multiprocessing.get_context("fork")
    process = context.Process(target=run, args=(recipe(data, **slow), tmp_path / "killed"))
    process.start()
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "killed").glob(f"*/{PATTERN}"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not list((tmp_path / "killed").rglob(RECORD))

    resumed = Record.read(probe(recipe(data, workers=1, **slow), None, 0, tmp_path / "killed", "cpu"))
    assert "resumed at step" in capsys.readouterr().err
    whole = Record.read(probe(recipe(data, **slow), None, 0, tmp_path / "whole", "cpu"))
    same = {"metrics", "deviations", "what", "who", "run"}
    assert resumed.model_dump(include=same) == whole.model_dump(include=same)


@pytest.mark.parametrize("steps", [6, 24], ids=["underway", "at the end"])
def test_a_resumed_classifier_has_the_tensors_of_an_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    data = tiny.folders(tmp_path / "images")
    hashes: list[str] = []

    def remembered(state: dict[str, torch.Tensor]) -> str:
        hashes.append(str({key: tensor.double().sum().item() for key, tensor in state.items()}))
        return "tuned"

    monkeypatch.setattr("transfer.probing.finetune.tensors_sha256", remembered)
    probe(recipe(data), None, 0, tmp_path / "whole", "cpu")
    learn = _Run._learn

    def interrupted(self: _Run, *batch: Any) -> None:
        learn(self, *batch)
        if self.step + 1 == steps:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(_Run, "_learn", interrupted)
        with pytest.raises(Interrupted, match=f"stopped after step {steps}; the same command resumes"):
            probe(recipe(data), None, 0, tmp_path / "stopped", "cpu")
    folder = record_path(recipe(data), open_encoder(None, tiny.SPEC, 0).who, 0, tmp_path / "stopped").parent
    assert len(list(folder.glob(PATTERN))) == 1
    probe(recipe(data), None, 0, tmp_path / "stopped", "cpu")
    assert not list(folder.glob(PATTERN))
    assert len(hashes) == 2
    assert hashes[0] == hashes[1]


def test_a_record_that_cannot_be_written_costs_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tiny.folders(tmp_path / "images")
    (tmp_path / "images" / "train" / "red" / "003.png").write_bytes(b"no picture")
    fields = tiny.recipe(data, TASK, max_unreadable=0.05)
    whole = Record.read(probe(fields, None, 0, tmp_path / "whole", "cpu"))

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(Record, "write", fail)
        with pytest.raises(OSError, match="No space left"):
            probe(fields, None, 0, tmp_path / "full", "cpu")
        patched.undo()
        patched.setattr(_Run, "_learn", fail)
        path = probe(fields, None, 0, tmp_path / "full", "cpu")
    same = {"metrics", "deviations", "what", "who", "run"}
    assert Record.read(path).model_dump(include=same) == whole.model_dump(include=same)
    assert not list(path.parent.glob(PATTERN))


def test_features_that_a_killed_evaluation_left_in_part_are_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tiny.folders(tmp_path / "images")

    def killed(folder: Path, *, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            next(folder.glob("*/values.npy")).unlink()
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("transfer.probing.finetune.shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            probe(recipe(data), None, 0, tmp_path / "killed", "cpu")
    resumed = Record.read(probe(recipe(data), None, 0, tmp_path / "killed", "cpu"))
    whole = Record.read(probe(recipe(data), None, 0, tmp_path / "whole", "cpu"))
    assert resumed.metrics == whole.metrics


@pytest.mark.parametrize(
    ("batch_size", "remedy"),
    [
        (9, "--set task.batch_size=4 starts anew; on a GPU with more, or by --device cpu, the same command resumes"),
        (3, "on a GPU with more, or by --device cpu, the same command resumes"),
    ],
)
def test_a_gpu_that_is_too_small_is_told_with_a_batch_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_size: int, remedy: str
) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(_Run, "_learn", fail)
    with pytest.raises(UserError) as caught:
        probe(recipe(tiny.folders(tmp_path / "images"), batch_size=batch_size), None, 0, tmp_path / "runs", "cpu")
    assert str(caught.value) == f"tiny: fine-tuning on {batch_size} images at once: out of GPU memory; {remedy}"


def test_a_loss_that_is_not_finite_stops_the_run_and_leaves_no_record(tmp_path: Path) -> None:
    data = tiny.folders(tmp_path / "images")
    with pytest.raises(Diverged, match=r"not finite at step \d+; lower task\.lr \(now 1e\+30\)"):
        probe(recipe(data, lr=1e30), None, 0, tmp_path / "runs", "cpu")
    assert not list(tmp_path.rglob(RECORD))


def test_an_unreadable_training_image_is_counted_and_too_many_are_refused(tmp_path: Path) -> None:
    data = tiny.folders(tmp_path / "images")
    (tmp_path / "images" / "train" / "red" / "003.png").write_bytes(b"no picture")
    lenient = tiny.recipe(data, TASK, max_unreadable=0.05)
    record = Record.read(probe(lenient, None, 0, tmp_path / "lenient", "cpu"))
    assert record.deviations[-1] == "1 training images could not be read and were left out"
    with pytest.raises(UserError, match=r"data\.train: 1 images cannot be read.*003\.png"):
        probe(recipe(data), None, 0, tmp_path / "strict", "cpu")
