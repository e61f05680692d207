"""A whole suite from outside: one command from images to a table, and again, and after a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from superinfo.artifacts import CONVERSION, RECORD, Conversion, Record

PRETRAIN: dict[str, Any] = {
    "name": "simclr_tiny",
    "data": {"kind": "scenes", "count": 64, "size": 32},
    "view_size": 32,
    "encoder": {"arch": "resnet18", "stem": "stl", "width": 0.125},
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
    "encoder": PRETRAIN["encoder"],
}
SUITE: dict[str, Any] = {
    "name": "tiny",
    "title": "A tiny suite",
    "baseline": "SimCLR",
    "detect": "detect.yaml",
    "rows": [
        {"label": "random"},
        {"label": "SimCLR", "pretrain": "simclr.yaml"},
        {"label": "SimCLR+SuperInfo", "pretrain": "superinfo.yaml"},
    ],
}
TERM = {"kind": "superinfo", "compression": [1e-3, 1e-3], "prediction": [1e-3, 1e-3]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    weighed = {"extends": "simclr.yaml", "name": "simclr+superinfo_tiny", "term": TERM}
    for name, content in (("simclr", PRETRAIN), ("superinfo", weighed), ("detect", DETECT), ("tiny", SUITE)):
        (tmp_path / f"{name}.yaml").write_text(json.dumps(content))
    return tmp_path


def superinfo(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "superinfo.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in (folder / "runs").rglob("*")
        if path.is_file() and not path.name.endswith(".lock")
    }


def runs_of_rows(folder: Path) -> dict[str, int]:
    """Return the number of runs behind the mask AP of each row."""
    table = pd.read_csv(folder / "runs" / "tiny" / "table.csv")
    mask = table[table["column"] == "mask/AP"]
    return dict(zip(mask["row"], mask["runs"].astype(int), strict=True))


def test_one_command_leads_from_images_to_a_table_and_again_changes_nothing(folder: Path) -> None:
    first = superinfo(folder, "bench", "tiny.yaml", "--device", "cpu")
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines()[-1] == "runs/tiny"
    assert "100 of 100 backbone tensors matched (100 %)" in first.stderr
    outputs = {path.name for path in (folder / "runs" / "tiny").iterdir()}
    tables = {f"table.{suffix}" for suffix in ("txt", "md", "csv", "tex", "html")}
    assert outputs == tables | {"random.png", "simclr.png", "simclr-superinfo.png"}
    assert runs_of_rows(folder) == {"random": 1, "SimCLR": 1, "SimCLR+SuperInfo": 1}
    table = pd.read_csv(folder / "runs" / "tiny" / "table.csv").set_index(["row", "column"])
    records = {r.who.name: r for r in map(Record.read, (folder / "runs").rglob(RECORD))}
    for label, name in (("random", "random"), ("SimCLR", "simclr_tiny"), ("SimCLR+SuperInfo", "simclr+superinfo_tiny")):
        assert table.loc[(label, "mask/AP50"), "mean"] == records[name].metrics["mask/AP50"].value
        expected = records[name].metrics["box/AP"].value, records["simclr_tiny"].metrics["box/AP"].value
        assert None not in expected
        if label != "SimCLR":
            assert table.loc[(label, "box/AP"), "difference"] == pytest.approx(expected[0] - expected[1])  # type: ignore[operator]
    for path in (folder / "runs").rglob(CONVERSION):
        evidence = Conversion.read(path)
        assert evidence.loaded
        assert all(loaded.matched == loaded.tensors for loaded in evidence.loaded.values())

    before = files(folder)
    again = superinfo(folder, "bench", "tiny.yaml", "--device", "cpu")
    assert again.returncode == 0, again.stderr
    assert again.stdout == first.stdout
    assert {name: data for name, (_, data) in files(folder).items()} == {
        name: data for name, (_, data) in before.items()
    }
    artifacts = [name for name in before if "/tiny/" not in name]
    assert {name: files(folder)[name] for name in artifacts} == {name: before[name] for name in artifacts}
    shown = superinfo(folder, "table", "tiny.yaml", "--format", "md")
    assert shown.stdout == (folder / "runs" / "tiny" / "table.md").read_text()


@pytest.mark.parametrize("stage", ["checkpoint.pt", CONVERSION, RECORD])
def test_a_suite_killed_after_a_stage_finishes_without_doing_it_again(folder: Path, stage: str) -> None:
    command = [sys.executable, "-m", "superinfo.cli", "bench", "tiny.yaml", "--device", "cpu"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)
    deadline = time.monotonic() + 120
    while not (done := list((folder / "runs").rglob(stage))) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    made = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in done}
    assert made
    assert not (folder / "runs" / "tiny" / "table.csv").exists()
    finished = superinfo(folder, "bench", "tiny.yaml", "--device", "cpu")
    assert finished.returncode == 0, finished.stderr
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in done} == made
    assert runs_of_rows(folder) == {"random": 1, "SimCLR": 1, "SimCLR+SuperInfo": 1}


def test_a_row_that_fails_is_told_and_does_not_stop_the_others(folder: Path) -> None:
    (folder / "superinfo.yaml").write_text(json.dumps({"extends": "simclr.yaml", "batch_size": 1000}))
    done = superinfo(folder, "bench", "tiny.yaml", "--device", "cpu")
    assert done.returncode == 2  # the recipe is wrong, not the suite
    assert "SimCLR+SuperInfo, seed 0: failed: batch_size 1000 is more than the 64 images" in done.stderr
    assert "Traceback" not in done.stderr
    assert runs_of_rows(folder) == {"random": 1, "SimCLR": 1, "SimCLR+SuperInfo": 0}


def test_the_table_of_a_suite_that_never_ran_says_so(folder: Path) -> None:
    shown = superinfo(folder, "table", "tiny.yaml")
    assert shown.returncode == 0, shown.stderr
    assert "Nothing measured yet" in shown.stdout
    for row in SUITE["rows"]:
        assert row["label"] in shown.stdout
