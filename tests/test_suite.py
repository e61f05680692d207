"""A whole suite from outside: one command from images to tables, and again, and after a kill."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torchvision.models import resnet18

from superinfo.artifacts import CHECKPOINT, CONVERSION, RECORD, Conversion, Record

ENCODER = {"arch": "resnet18", "stem": "stl", "width": 0.125}
PRETRAIN: dict[str, Any] = {
    "name": "simclr_tiny",
    "data": {"kind": "scenes", "count": 64, "size": 32},
    "view_size": 32,
    "encoder": ENCODER,
    "method": {"kind": "simclr", "hidden_dim": 16, "output_dim": 8},
    "optimizer": {"kind": "adamw", "lr": 1e-3},
    "epochs": 2,
    "batch_size": 32,
}
DETECT: dict[str, Any] = {
    "name": "maskrcnn_tiny",
    "protocol": "test",
    "data": {"kind": "scenes", "size": 64, "classes": ["disk", "cross"], "train": 8, "test": 4, "objects": [1, 3]},
    "config": "mask_rcnn_fpn_cpu",
    "options": {
        "MODEL.FPN.OUT_CHANNELS": 16,
        "MODEL.ROI_BOX_HEAD.FC_DIM": 32,
        "MODEL.ROI_MASK_HEAD.CONV_DIM": 16,
        "SOLVER.IMS_PER_BATCH": 2,
        "SOLVER.MAX_ITER": 3,
        "INPUT.MIN_SIZE_TRAIN": [64],
        "INPUT.MIN_SIZE_TEST": 64,
    },
    "encoder": ENCODER,
}
PROBE: dict[str, Any] = {
    "name": "knn_tiny",
    "protocol": "test",
    "data": {
        "name": "scenes objects",
        "train": {"kind": "scenes", "count": 32, "size": 32},
        "test": {"kind": "scenes", "split": "test", "count": 16, "size": 32},
    },
    "task": {"kind": "knn"},
    "input_size": 32,
    "encoder": ENCODER,
}
SIMCLR = {"label": "SimCLR", "pretrain": "simclr.yaml"}
DETECTION: dict[str, Any] = {
    "title": "Detection",
    "baseline": "SimCLR",
    "rows": [{"label": "random"}, SIMCLR],
    "tasks": [{"detect": "detect.yaml"}],
}
PROBING: dict[str, Any] = {
    "title": "Probing",
    "rows": [SIMCLR, {"label": "theirs", "checkpoint": "theirs.pth", "source": "torchvision"}],
    "tasks": [{"probe": "knn.yaml"}],
}
SUITES: dict[str, dict[str, Any]] = {
    "tiny": {"name": "tiny", "tables": [DETECTION, PROBING]},
    "killed": {"name": "killed", "tables": [{**PROBING, "rows": [SIMCLR]}]},
    "failing": {
        "name": "failing",
        "tables": [{**PROBING, "rows": [SIMCLR, {**SIMCLR, "label": "too big", "set": {"batch_size": 1000}}]}],
    },
}


def make(folder: Path) -> Path:
    recipes = {"simclr": PRETRAIN, "detect": DETECT, "knn": PROBE}
    for name, content in (recipes | SUITES).items():
        (folder / f"{name}.yaml").write_text(json.dumps(content))
    torch.manual_seed(0)
    torch.save(resnet18().state_dict(), folder / "theirs.pth")
    return folder


def superinfo(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "superinfo.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in (folder / "runs").rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


@pytest.fixture(scope="module")
def benched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = make(tmp_path_factory.mktemp("tiny"))
    return folder, superinfo(folder, "bench", "tiny.yaml", "--device", "cpu")


def test_one_command_leads_from_images_to_tables(benched: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, first = benched
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines()[-1] == "runs/tiny"
    assert "100 of 100 backbone tensors matched (100 %)" in first.stderr
    assert "[7 of 7]" in first.stderr
    records = {(r.what.task, r.who.name): r for r in map(Record.read, (folder / "runs").rglob(RECORD))}
    shown = pd.read_csv(folder / "runs" / "tiny" / "table.csv")
    for task, name, metric in (
        ("instance_segmentation", "random", "mask/AP50"),
        ("instance_segmentation", "simclr_tiny", "mask/AP50"),
        ("knn", "simclr_tiny", "accuracy"),
        ("knn", "theirs", "accuracy"),
    ):
        value = records[task, name].metrics[metric].value
        assert value in shown.select_dtypes("number").to_numpy(), (task, name)
    for path in (folder / "runs").rglob(CONVERSION):
        evidence = Conversion.read(path)
        assert evidence.loaded
        assert all(loaded.matched == loaded.tensors for loaded in evidence.loaded.values())


def test_the_same_command_again_changes_nothing(benched: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, first = benched
    before = files(folder)
    again = superinfo(folder, "bench", "tiny.yaml", "--device", "cpu")
    assert again.returncode == 0, again.stderr
    assert again.stdout == first.stdout
    assert "7 jobs, 0 left to run" in again.stderr
    after = files(folder)
    assert {name: data for name, (_, data) in after.items()} == {name: data for name, (_, data) in before.items()}
    made = [name for name in before if not name.startswith("runs/tiny/")]
    assert {name: after[name] for name in made} == {name: before[name] for name in made}


def test_the_verb_table_shows_what_the_suite_left(benched: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = benched
    shown = superinfo(folder, "table", "tiny.yaml", "--format", "md")
    assert shown.stdout == (folder / "runs" / "tiny" / "table.md").read_text()


def test_a_dry_run_knows_what_is_done(benched: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = benched
    before = files(folder)
    told = superinfo(folder, "bench", "tiny.yaml", "--device", "cpu", "--dry-run")
    assert told.returncode == 0, told.stderr
    assert "tiny: 7 jobs, 0 left to run" in told.stdout
    assert files(folder) == before


def test_runs_of_a_suite_are_published(benched: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    folder, _ = benched
    copied = shutil.copytree(folder, tmp_path / "copy")
    program = (
        "import sys\nfrom pathlib import Path\nimport results.publish\n"
        "results.publish.RECORDS = Path('records')\nfrom superinfo.cli import main\nmain()"
    )
    arguments = ["bench", "tiny.yaml", "--device", "cpu", "--publish"]
    subprocess.run([sys.executable, "-c", program, *arguments], cwd=copied, check=True, capture_output=True)
    assert len(list((copied / "records").rglob(RECORD))) == 4


@pytest.mark.parametrize("stage", [CHECKPOINT, RECORD])
def test_a_suite_killed_after_a_stage_ends_as_if_it_had_not_been(
    benched: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path, stage: str
) -> None:
    uninterrupted, _ = benched
    folder = make(tmp_path)
    command = [sys.executable, "-m", "superinfo.cli", "bench", "killed.yaml", "--device", "cpu"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)
    deadline = time.monotonic() + 120
    while not (done := list((folder / "runs").rglob(stage))) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    made = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in done}
    assert made
    assert not (folder / "runs" / "killed" / "table.csv").exists()
    finished = superinfo(folder, "bench", "killed.yaml", "--device", "cpu")
    assert finished.returncode == 0, finished.stderr
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in done} == made
    assert superinfo(uninterrupted, "bench", "killed.yaml", "--device", "cpu").returncode == 0
    tables = [place / "runs" / "killed" / "table.md" for place in (folder, uninterrupted)]
    assert tables[0].read_bytes() == tables[1].read_bytes()


def test_a_row_that_fails_is_told_and_does_not_stop_the_others(tmp_path: Path) -> None:
    done = superinfo(make(tmp_path), "bench", "failing.yaml", "--device", "cpu")
    assert done.returncode == 1
    assert "failed: batch_size 1000 is more than the 64 images" in done.stderr
    assert "blocked: pretrain/simclr_tiny" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("superinfo: failing: 2 jobs did not end well")
    assert "Traceback" not in done.stderr
    table = (tmp_path / "runs" / "failing" / "table.md").read_text()
    (failed,) = [line for line in table.splitlines() if line.startswith("| too big")]
    (well,) = [line for line in table.splitlines() if line.startswith("| SimCLR")]
    assert "failed" in failed
    assert "failed" not in well


def test_the_table_of_a_suite_that_never_ran_says_so(tmp_path: Path) -> None:
    shown = superinfo(make(tmp_path), "table", "tiny.yaml")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.lower().count("nothing measured yet") == 2
