"""The verbs from outside: what they import, print and refuse."""

import json
import os
import pty
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from results.records import read_store

ROOT = Path(__file__).parents[1]


def superinfo(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "superinfo.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


def test_help_imports_neither_torch_nor_pydantic() -> None:
    program = (
        "import sys\nfrom superinfo.cli import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit as end:\n    assert not end.code\n"
        "heavy = ('torch', 'pydantic', 'numpy', 'rich', 'pretrain', 'transfer')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for verb in ("pretrain", "convert", "detect", "probe", "predict", "bench", "table", "report"):
        assert verb in done.stdout


TABLE = [sys.executable, "-m", "superinfo.cli", "table", "demo"]
ASCII = os.environ | {"PYTHONIOENCODING": "ascii"}


def test_a_terminal_that_knows_few_letters_is_shown_what_it_can_show() -> None:
    ours, its = pty.openpty()
    shown = b""
    with subprocess.Popen(TABLE, stdout=its, cwd=ROOT, env=ASCII) as verb:
        os.close(its)
        with suppress(OSError):  # at its end
            while piece := os.read(ours, 4096):
                shown += piece
    os.close(ours)
    assert verb.returncode == 0
    assert b"box AP" in shown
    assert b"\\u2191" in shown


def test_a_table_in_a_file_is_utf_8_in_any_locale() -> None:
    done = subprocess.run([*TABLE, "--format", "md"], capture_output=True, check=True, cwd=ROOT, env=ASCII)
    assert "↑" in done.stdout.decode()


SIMCLR = "simclr_r18w25_scenes_6e"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["pretrain", "nothing"], "nothing: no recipe of that name"),
        (["pretrain", "nothing.yaml"], "nothing.yaml: no such recipe file"),
        (["pretrain", SIMCLR, "--set", "epoch=3"], "`epoch` is not a field (did you mean `epochs`?)"),
        (["pretrain", SIMCLR, "--set", "epochs=three"], "`epochs` should be a valid integer"),
        (["pretrain", SIMCLR, "--set", "optimizer.rate=1"], "`optimizer.rate` is not a field"),
        (["pretrain", SIMCLR, "--set", "encoder.width=0.1"], "`encoder.width` must be a multiple of 1/8"),
        (["pretrain", SIMCLR, "--device", "tpu"], "--device tpu: choose auto, cpu or cuda"),
        (["pretrain", SIMCLR, "--set", "data={kind: folder, name: x, root: /none}"], "/none: no such folder"),
        (["convert", "none.pt", "--out", "x"], "none.pt: no such file"),
        (["convert", "none.pt", "--out", "x", "--to", "onnx"], "--to onnx: unknown target"),
        (["detect", "maskrcnn_fpn_scenes", "--weights", "none"], "none: no converted weights"),
        (["probe", "linear_cifar10", "--checkpoint", "none.pt"], "none.pt: no such file"),
        (
            ["probe", "linear_cifar10", "--checkpoint", "random", "--set", "task.solver.rate=1"],
            "`task.solver.rate` is not",
        ),
        (["table"], "name a suite or a table, or give --records DIR"),
        (["table", "--records", "."], "no record.json below it"),
        (["report", "--records", ".", "--out", "page.html"], "no record.json below it"),
        (["report", "--records", "none", "--out", "page.html"], "none: no such folder"),
        (["report", "--records", ".", "--out", "."], "--out .: a folder; name the file to write, such as report.html"),
        (["bench", "nothing"], "nothing: no suite of that name"),
    ],
)
def test_a_mistake_is_told_in_one_line(tmp_path: Path, arguments: list[str], told: str) -> None:
    done = superinfo(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    *_, last = done.stderr.strip().splitlines()
    assert last.startswith("superinfo: ")
    assert told in last
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.pt"))


def test_a_report_is_one_file_whose_path_comes_last(tmp_path: Path) -> None:
    done = superinfo("report", "--records", str(ROOT / "results/records"), "--out", "here/page.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "here/page.html\n"
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["page.html"]


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    assert "Traceback" in superinfo("pretrain", "nothing", "--debug", cwd=tmp_path).stderr


def test_an_empty_folder_of_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    data = json.dumps({"kind": "folder", "name": "x", "root": str(tmp_path / "empty")})
    done = superinfo("pretrain", SIMCLR, "--set", f"data={data}", cwd=tmp_path)
    assert done.returncode == 2
    assert "empty: no images below this folder" in done.stderr.splitlines()[-1]


def test_a_disk_that_fills_leaves_no_part_of_a_file(tmp_path: Path) -> None:
    """No file may grow beyond 100 kB: the checkpoint's write fails as on a full disk."""
    program = (
        "import resource, sys\nresource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "sys.argv = ['superinfo', *sys.argv[1:]]\nfrom superinfo.cli import main\nmain()"
    )
    recipe = {
        "name": "tiny",
        "data": {"kind": "scenes", "count": 16, "size": 16},
        "view_size": 16,
        "encoder": {"arch": "resnet18", "width": 0.125},
        "method": {"kind": "simclr", "hidden_dim": 8, "output_dim": 8},
        "optimizer": {"kind": "adamw", "lr": 1e-3},
        "epochs": 1,
        "batch_size": 8,
    }
    (tmp_path / "tiny.yaml").write_text(json.dumps(recipe))
    command = [sys.executable, "-c", program, "pretrain", "tiny.yaml", "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert "checkpoint.pt" in last
    assert "Traceback" not in done.stderr
    assert not [path.name for path in tmp_path.rglob("*") if "checkpoint" in path.name]


def test_a_run_that_ends_in_an_error_says_so_in_its_folder(tmp_path: Path) -> None:
    recipe = {
        "name": "knn_tiny",
        "protocol": "test",
        "data": {
            "name": "x",
            "train": {"kind": "folder", "name": "x", "root": str(tmp_path / "gone")},
            "test": {"kind": "scenes", "count": 8, "size": 16, "split": "test"},
        },
        "task": {"kind": "knn"},
        "input_size": 16,
        "encoder": {"arch": "resnet18", "width": 0.125},
    }
    (tmp_path / "tiny.yaml").write_text(json.dumps(recipe))
    done = superinfo("probe", "tiny.yaml", "--checkpoint", "random", "--device", "cpu", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    (run,) = read_store(tmp_path / "runs").unfinished
    assert (run.recipe, run.name, run.seed, run.state) == ("knn_tiny", "random", 0, "failed")
    assert done.stderr.splitlines()[-1] == f"superinfo: {run.reason}"
    assert "gone: no such folder" in run.reason
