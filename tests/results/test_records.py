"""The store: everything below a folder is found, and what cannot be read is listed and stops nothing."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from results import records
from results.records import Unreadable, read_store
from superinfo.artifacts import MANIFEST, RECORD, Metric, Record
from superinfo.errors import UserError
from superinfo.runs import FAILED, LOCK

ROOT = Path(__file__).parents[2]
MakeRecord = Callable[..., Record]


def fields(record: Record, **changes: Any) -> dict[str, Any]:
    return record.model_dump(mode="json") | changes


def write(path: Path, content: dict[str, Any]) -> Path:
    path.mkdir(parents=True)
    (path / RECORD).write_text(json.dumps(content))
    return path / RECORD


def test_records_are_found_at_any_depth_in_the_order_of_their_paths(record: MakeRecord, tmp_path: Path) -> None:
    for folder, name in (("z", "c"), ("a/b/c", "b"), ("a", "a"), (".hidden", "d")):
        record(name, 1.0).write(tmp_path / folder / RECORD)
    (tmp_path / "a" / "other.json").write_text("{}")
    store = read_store(tmp_path)
    assert [run.who.name for run in store.runs] == ["a", "b", "c"]
    assert [run.folder for run in store.runs] == [tmp_path / "a", tmp_path / "a/b/c", tmp_path / "z"]
    assert (store.folder, store.unfinished, store.unreadable) == (tmp_path, (), ())


def test_a_run_has_all_that_its_record_says_but_the_recipe(record: MakeRecord, tmp_path: Path) -> None:
    made = record("a", 1.5, 2.5, 3.5, 4.5, 5.5, None).model_copy(update={"command": "superinfo detect x"})
    made.write(tmp_path / "a" / RECORD)
    (run,) = read_store(tmp_path).runs
    for name in ("seed", "who", "what", "recipe_hash", "protocol_hash", "command", "cost", "provenance"):
        assert getattr(run, name) == getattr(made, name), name
    assert (run.id, run.deviations, run.recipe) == (made.run, ("half the schedule", "one GPU"), "mask_fpn")
    assert run.metrics == made.metrics
    assert list(run.metrics) == list(made.metrics)
    assert run.metrics.get("none") is None
    assert "none" not in run.metrics


def test_metrics_keep_their_units_and_directions(record: MakeRecord, tmp_path: Path) -> None:
    metrics = {
        "nats": Metric(value=-0.0, unit="nats", higher_is_better=False),
        "none": Metric(value=None, unit="percent", higher_is_better=True),
        "r2": Metric(value=1e300, unit="R2", higher_is_better=True),
    }
    record("a", 1.0).model_copy(update={"metrics": metrics}).write(tmp_path / "a" / RECORD)
    record("b", 1.0).model_copy(update={"metrics": {}}).write(tmp_path / "b" / RECORD)
    first, second = read_store(tmp_path).runs
    assert first.metrics == metrics
    assert dict(second.metrics) == {}


def test_committed_records_of_version_1_are_in_the_store_and_say_how_they_measured() -> None:
    store = read_store(ROOT / "results" / "records")
    assert store.unreadable == ()
    demo = [run for run in store.runs if run.recipe == "maskrcnn_fpn_scenes"]
    assert {run.who.method for run in demo} >= {"random", "simclr"}
    assert len({run.protocol_hash for run in demo}) == 1


def test_every_file_that_cannot_be_read_is_listed_with_its_reason(record: MakeRecord, tmp_path: Path) -> None:
    whole = fields(record("a", 1.0))
    write(tmp_path / "whole", whole)
    broken: dict[str, bytes] = {
        "bytes": b"\xff\xfe\x00",
        "deep": b"[" * 100_000,
        "empty": b"",
        "foreign": b'{"AP": 31.4}',
        "list": b"[]",
        "newer": json.dumps(whole | {"format": "superinfo.record/9"}).encode(),
        "truncated": json.dumps(whole).encode()[:-100],
        "vast": json.dumps(whole | {"seed": 10**30}).encode(),
    }
    for name, content in broken.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / RECORD).write_bytes(content)
    (tmp_path / "folder" / RECORD).mkdir(parents=True)
    store = read_store(tmp_path)
    assert [run.who.name for run in store.runs] == ["a"]
    reasons = {each.path.parent.name: each.reason for each in store.unreadable}
    assert [each.path.name for each in store.unreadable] == [RECORD] * 9
    assert list(reasons) == sorted([*broken, "folder"])
    assert reasons["newer"] == "superinfo.record/9: newer than this version reads (2): update superinfo"
    assert reasons["truncated"].startswith("not a Record of this version: Invalid JSON: EOF")
    assert all(reason and "\n" not in reason for reason in reasons.values())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("version", [1, 2])
def test_a_figure_that_is_no_number_is_undefined_and_told(
    record: MakeRecord, tmp_path: Path, value: float, version: int
) -> None:
    content = fields(record("a", 1.0))
    content["metrics"]["mask/AP"]["value"] = value
    if version == 1:
        content["format"] = "superinfo.record/1"
        del content["command"], content["protocol_hash"]
    path = write(tmp_path / "a", content)
    store = read_store(tmp_path)
    (run,) = store.runs
    assert run.metrics["mask/AP"].value is None
    assert run.metrics["box/AP"].value == 1.0
    assert store.unreadable == (Unreadable(path, f"mask/AP is {value}: no figure, and shown as undefined"),)


def test_a_cost_that_is_no_number_makes_a_record_unreadable(record: MakeRecord, tmp_path: Path) -> None:
    content = fields(record("NaN", 1.0))
    content["cost"]["wall_seconds"] = float("nan")
    path = write(tmp_path / "a", content)
    ((found,), runs) = (store := read_store(tmp_path)).unreadable, store.runs
    assert runs == ()
    assert found.path == path
    assert "cost.wall_seconds" in found.reason


def test_names_with_markup_or_control_characters_are_kept_as_data(record: MakeRecord, tmp_path: Path) -> None:
    name = "<script>alert(1)</script>, [bold] & \\textbf{x} 100% \x1b[31m \n\u202e NaN"
    record(name, 1.0, dataset=name).write(tmp_path / "a" / RECORD)
    (run,) = read_store(tmp_path).runs
    assert (run.who.name, run.what.dataset) == (name, name)


def test_links_are_followed_and_none_is_followed_twice(record: MakeRecord, tmp_path: Path) -> None:
    record("a", 1.0).write(tmp_path / "disk" / "a" / RECORD)
    record("b", 1.0).write(tmp_path / "runs" / "b" / RECORD)
    (tmp_path / "runs" / "a").symlink_to(tmp_path / "disk" / "a")
    (tmp_path / "runs" / "b" / "up").symlink_to(tmp_path / "runs")
    (tmp_path / "runs" / "aa").symlink_to(tmp_path / "runs" / "b")
    (tmp_path / "runs" / "self").symlink_to(tmp_path / "runs" / "self")
    (tmp_path / "runs" / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "runs" / "c").mkdir()
    (tmp_path / "runs" / "c" / RECORD).symlink_to(tmp_path / "nowhere")
    store = read_store(tmp_path / "runs")
    assert [(run.who.name, run.folder.name) for run in store.runs] == [("a", "a"), ("b", "b")]
    told = {str(each.path.relative_to(tmp_path / "runs")): each.reason for each in store.unreadable}
    assert told == {f"c/{RECORD}": "no file", "self": os.strerror(40)}


def test_manifests_are_found_where_records_are(record: MakeRecord, tmp_path: Path) -> None:
    record("a", 1.0).write(tmp_path / "disk" / "a" / RECORD)
    (tmp_path / "runs" / ".hidden").mkdir(parents=True)
    (tmp_path / "runs" / "folder" / MANIFEST).mkdir(parents=True)
    for folder in ("disk/a", "disk/pretrained", "runs/.hidden"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / MANIFEST).write_text("{}")
    (tmp_path / "runs" / "link").symlink_to(tmp_path / "disk")
    store = read_store(tmp_path / "runs")
    below = tmp_path / "runs" / "link"
    assert [run.folder for run in store.runs] == [below / "a"]
    assert store.manifests.paths == (below / "a" / MANIFEST, below / "pretrained" / MANIFEST)
    assert store.unreadable == (Unreadable(tmp_path / "runs" / "folder" / MANIFEST, "no file"),)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_listed(record: MakeRecord, tmp_path: Path) -> None:
    record("a", 1.0).write(tmp_path / "a" / RECORD)
    record("b", 1.0).write(tmp_path / "b" / RECORD)
    (tmp_path / "a" / RECORD).chmod(0)
    (tmp_path / "b").chmod(0)
    try:
        assert [each.reason for each in read_store(tmp_path).unreadable] == ["Permission denied"] * 2
    finally:
        (tmp_path / "b").chmod(0o700)


def test_an_error_of_the_disk_is_listed(record: MakeRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record("a", 1.0).write(tmp_path / "a" / RECORD)
    record("b", 1.0).write(tmp_path / "b" / RECORD)
    (tmp_path / "mask--c-s0-01234567").mkdir()
    read_bytes, scandir = Path.read_bytes, os.scandir

    def refuse(path: Path) -> bytes:
        if path.parent.name in {"a", "mask--c-s0-01234567"}:
            raise PermissionError(13, "Permission denied", str(path))
        return read_bytes(path)

    def refuse_folder(path: str) -> Any:
        if Path(path).name == "b":
            raise OSError(5, "Input/output error", path)
        return scandir(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    monkeypatch.setattr(os, "scandir", refuse_folder)
    store = read_store(tmp_path)
    assert (store.runs, store.unfinished) == ((), ())
    assert [(each.path.name, each.reason) for each in store.unreadable] == [
        (RECORD, "Permission denied"),
        ("b", "Input/output error"),
        ("mask--c-s0-01234567", "Permission denied"),
    ]


def test_a_run_without_a_record_is_running_failed_or_interrupted(record: MakeRecord, tmp_path: Path) -> None:
    made = record("a", 1.0)
    made.write(tmp_path / made.run / RECORD)
    (tmp_path / made.run / FAILED).touch()
    for seed in range(3):
        (tmp_path / f"mask--simclr+rc_r18-s{seed}-01234567").mkdir()
    for other in ("features", "data", "simclr_r18-s0-01234567"):  # the last one pretrains
        (tmp_path / other).mkdir()
    running, failed, interrupted = sorted(tmp_path.glob("mask--*"))
    (failed / FAILED).write_text('{"reason": "the loss is not finite", "time": "now"}\n')
    hold = "import sys\nfrom pathlib import Path\nfrom superinfo.files import exclusive\n"
    hold += "with exclusive(Path(sys.argv[1]), wait=False):\n    print(flush=True)\n    sys.stdin.read()"
    command = [sys.executable, "-c", hold, str(running / LOCK)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        store = read_store(tmp_path)
    found = [(each.folder, each.recipe, each.name, each.seed, each.state, each.reason) for each in store.unfinished]
    assert [run.id for run in store.runs] == [made.run]
    assert found == [
        (running, "mask", "simclr+rc_r18", 0, "running", ""),
        (failed, "mask", "simclr+rc_r18", 1, "failed", "the loss is not finite"),
        (interrupted, "mask", "simclr+rc_r18", 2, "interrupted", ""),
    ]


def test_a_folder_without_anything_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone: no such folder"):
        read_store(tmp_path / "gone")
    (tmp_path / "empty" / "data").mkdir(parents=True)
    with pytest.raises(UserError, match=r"empty: no record\.json below it"):
        read_store(tmp_path / "empty")


def test_several_processes_read_what_one_does(
    record: MakeRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(7):
        record("a" * (seed + 1), float(seed), seed=seed).write(tmp_path / f"{seed}" / RECORD)
    (tmp_path / "3" / RECORD).write_text("{")
    alone = read_store(tmp_path)
    monkeypatch.setattr(records, "PER_PROCESS", 2)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.chdir(tmp_path)
    together = read_store(tmp_path)
    assert together == alone
    assert [run.seed for run in together.runs] == [0, 1, 2, 4, 5, 6]


def test_reading_the_store_imports_neither_torch_nor_pandas(record: MakeRecord, tmp_path: Path) -> None:
    record("a", 1.0).write(tmp_path / "a" / RECORD)
    program = (
        "import sys\nfrom pathlib import Path\nfrom results.records import read_store\n"
        "assert len(read_store(Path(sys.argv[1])).runs) == 1\n"
        "print([name for name in ('torch', 'pandas', 'numpy', 'pretrain', 'transfer') if name in sys.modules])"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout == "[]\n"
