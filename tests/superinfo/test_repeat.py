"""The command that a record or manifest holds is one that repeats it."""

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from superinfo.artifacts import MANIFEST, Manifest, Record
from superinfo.cli import app
from superinfo.repeat import command_line

ENCODER = {"arch": "resnet18", "stem": "stl", "width": 0.125}
SCENES = {"kind": "scenes", "size": 16}
KNN: dict[str, Any] = {
    "name": "knn_tiny",
    "protocol": "test",
    "data": {
        "name": "scenes",
        "train": SCENES | {"count": 16},
        "test": SCENES | {"count": 8, "split": "test"},
    },
    "task": {"kind": "knn", "k": 3},
    "input_size": 16,
    "encoder": ENCODER,
}
SIMCLR: dict[str, Any] = {
    "name": "simclr_tiny",
    "data": SCENES | {"count": 16},
    "view_size": 16,
    "encoder": ENCODER,
    "method": {"kind": "simclr", "hidden_dim": 8, "output_dim": 8},
    "optimizer": {"kind": "adamw", "lr": 1e-3},
    "epochs": 1,
    "batch_size": 8,
    "monitor": {"tensorboard": False},
}
MASK: dict[str, Any] = {
    "name": "maskrcnn_tiny",
    "protocol": "test",
    "data": {"kind": "scenes", "size": 64, "classes": ["disk", "cross"], "train": 8, "test": 4, "objects": [1, 3]},
    "config": "mask_rcnn_fpn_cpu",
    "options": {"SOLVER.IMS_PER_BATCH": 2, "SOLVER.MAX_ITER": 1, "INPUT.MIN_SIZE_TRAIN": [64]},
    "encoder": ENCODER,
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for recipe in (KNN, SIMCLR, MASK):
        (tmp_path / f"my {recipe['name']}.yaml").write_text(json.dumps(recipe))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def type_in(command: str, capsys: pytest.CaptureFixture[str]) -> Path:
    """Run a command line; return the artifact that it names."""
    program, *arguments = shlex.split(command)
    assert program == "superinfo"
    capsys.readouterr()
    app(arguments, standalone_mode=False)
    return Path(capsys.readouterr().out.splitlines()[-1])


def test_a_command_names_all_that_figures_depend_on_and_no_more() -> None:
    inputs = ["--weights", "runs/simclr+rc_r18-s0-01234567/detectron2"]
    assert command_line("detect", "maskrcnn_fpn_scenes", inputs, 3, Path("runs"), ["a.b=c", "x=[1, 2]"]) == (
        "superinfo detect maskrcnn_fpn_scenes --weights runs/simclr+rc_r18-s0-01234567/detectron2 --seed 3"
        " --set a.b=c --set 'x=[1, 2]'"
    )
    assert command_line("pretrain", "my recipe.yaml", (), 0, Path("/disk/runs")) == (
        "superinfo pretrain 'my recipe.yaml' --seed 0 --runs /disk/runs"
    )


def test_the_command_of_a_probes_record_gives_the_same_run_and_the_same_figures(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = type_in(
        "superinfo probe 'my knn_tiny.yaml' --checkpoint random --set task.k=2 --set 'data.name=a $name'"
        " --seed 4 --device cpu",
        capsys,
    )
    first = Record.read(path)
    assert first.command is not None
    assert "cpu" not in first.command
    shutil.rmtree(path.parent)
    assert type_in(first.command, capsys) == path
    again = Record.read(path)
    assert again.metrics == first.metrics
    assert again.command == first.command


def test_the_command_of_a_manifest_gives_the_same_run_and_the_same_tensors(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = type_in(
        "superinfo pretrain 'my simclr_tiny.yaml' --runs 'other runs' --set optimizer.lr=2e-3 --device cpu", capsys
    )
    first = Manifest.read(path.parent / MANIFEST)
    assert first.command is not None
    shutil.rmtree(path.parent)
    assert type_in(first.command, capsys) == path
    again = Manifest.read(path.parent / MANIFEST)
    assert (again.tensors_sha256, again.command) == (first.tensors_sha256, first.command)


def test_the_command_of_a_detectors_record_gives_the_same_run_and_the_one_that_scored_it_again_too(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = "superinfo detect 'my maskrcnn_tiny.yaml' --weights random --device cpu --seed 2"
    path = type_in(typed, capsys)
    command = Record.read(path).command
    assert command == "superinfo detect 'my maskrcnn_tiny.yaml' --weights random --seed 2"
    assert type_in(command, capsys) == path
    other = type_in(f"{typed} --evaluate-only --set data.test_split=val", capsys)
    assert other != path
    command = Record.read(other).command
    assert command is not None
    assert "--evaluate-only" in command
    assert type_in(command, capsys) == other
