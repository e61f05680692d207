"""Publishing: records are copied with all that they stand on, whole, and what is published stands."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from results.publish import publish
from results.records import read_store
from superinfo.artifacts import (
    CONVERSION,
    MANIFEST,
    OVERLAY,
    PICTURES,
    RECORD,
    Cost,
    Manifest,
    Metric,
    Provenance,
    Record,
)
from superinfo.errors import UserError

MakeRecord = Callable[..., Record]
COST = Cost(wall_seconds=1.0, peak_memory_mib=2.0, parameters=3)
CLEAN = "0123456789ab" * 3 + "0123"


@pytest.fixture
def runs(record: MakeRecord, tmp_path: Path) -> Path:
    """Two seeds of one pretraining's measurement, a random one, and the pretraining; with all that runs leave."""
    runs = tmp_path / "runs"
    for seed in range(2):
        _measured(runs, record("simclr_tiny", 10.0 + seed, seed=seed))
    random = record("random", 5.0)
    _measured(runs, random.model_copy(update={"who": _who(random, recipe_hash=None, tensors_sha256=None)}))
    _pretrained(runs / "simclr_tiny-s0-01234567", "ab" * 32)
    _pretrained(runs / "byol_tiny-s0-01234567", "cd" * 32)
    (runs / "moco_tiny-s0-01234567").mkdir()
    (runs / "moco_tiny-s0-01234567" / MANIFEST).write_text("{")
    return runs


def _who(record: Record, **changes: Any) -> Any:
    return record.who.model_copy(update=changes)


def _measured(runs: Path, record: Record, commit: str | None = CLEAN) -> Path:
    folder = runs / record.run
    provenance = record.provenance.model_copy(update={"commit": commit})
    record.model_copy(update={"provenance": provenance}).write(folder / RECORD)
    for name in ("metrics.json", PICTURES, "model_final.pth", "log.txt", ".lock"):
        (folder / name).write_text(f"{name} of {record.run}")
    return folder


def _pretrained(folder: Path, tensors: str) -> None:
    Manifest(
        run=folder.name,
        command="superinfo pretrain simclr_tiny --seed 0",
        recipe={},
        recipe_hash="cd" * 32,
        tensors_sha256=tensors,
        metrics={},
        cost=COST,
        provenance=Provenance(created="now", commit=CLEAN, versions={}, hardware={}),
    ).write(folder / MANIFEST)
    (folder / "detectron2").mkdir()
    kept = ("metrics.jsonl", f"detectron2/{CONVERSION}", f"detectron2/{OVERLAY}")
    for name in (*kept, "checkpoint.pt", "detectron2/detectron2.pkl"):
        (folder / name).write_text(f"{name} of {folder.name}")


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def measured(runs: Path) -> list[Path]:
    return sorted(path.parent for path in runs.glob(f"*/{RECORD}"))


def test_records_come_with_curves_pictures_and_what_they_stand_on_and_without_weights(
    runs: Path, tmp_path: Path
) -> None:
    records = tmp_path / "new" / "records"
    made = publish(runs, records, measured(runs))
    names = ["simclr_tiny-s0-01234567", *(folder.name for folder in measured(runs))]
    assert made == [records / name for name in names]
    expected = [f"{folder.name}/{name}" for folder in measured(runs) for name in ("metrics.json", RECORD)]
    expected += [f"{folder.name}/{PICTURES}" for folder in measured(runs) if "-s0-" in folder.name]
    pretraining = (MANIFEST, "metrics.jsonl", f"detectron2/{CONVERSION}", f"detectron2/{OVERLAY}")
    expected += [f"simclr_tiny-s0-01234567/{name}" for name in pretraining]
    copied = files(records)
    assert sorted(copied) == sorted(expected)
    assert all(content == (runs / name).read_bytes() for name, content in copied.items())
    assert len(read_store(records).runs) == 3
    assert {path.name for path in records.iterdir()} == set(names)


def test_publishing_again_changes_nothing_also_without_the_pretraining_at_hand(runs: Path, tmp_path: Path) -> None:
    records = tmp_path / "records"
    made = publish(runs, records, measured(runs))
    before = {name: (records / name).stat().st_mtime_ns for name in files(records)}
    (runs / "simclr_tiny-s0-01234567").rename(tmp_path / "away")
    assert publish(runs, records, measured(runs)) == made
    assert {name: (records / name).stat().st_mtime_ns for name in files(records)} == before


def test_a_conversion_made_after_its_pretraining_was_published_is_brought(runs: Path, tmp_path: Path) -> None:
    records, evidence = tmp_path / "records", runs / "simclr_tiny-s0-01234567" / "detectron2"
    evidence.rename(tmp_path / "later")
    publish(runs, records, measured(runs)[:2])
    before = files(records)
    (tmp_path / "later").rename(evidence)
    publish(runs, records, measured(runs)[:2])
    added = {f"simclr_tiny-s0-01234567/detectron2/{name}" for name in (CONVERSION, OVERLAY)}
    assert files(records).keys() - before.keys() == added
    assert before.items() <= files(records).items()


def test_a_run_repeated_with_the_same_results_leaves_what_is_published(runs: Path, tmp_path: Path) -> None:
    records = tmp_path / "records"
    publish(runs, records, measured(runs))
    before = files(records)
    for folder in measured(runs):
        fields = json.loads((folder / RECORD).read_bytes())
        fields["cost"]["wall_seconds"] += 1
        fields["provenance"]["created"] = "later"
        (folder / RECORD).write_text(json.dumps(fields))
    publish(runs, records, measured(runs))
    assert files(records) == before


def test_other_results_in_a_published_name_are_refused_and_nothing_is_written(
    runs: Path, record: MakeRecord, tmp_path: Path
) -> None:
    records = tmp_path / "records"
    last = measured(runs)[-1]
    publish(runs, records, [last])
    before = files(records)
    stored = Record.read(last / RECORD)
    other = {"box/AP": Metric(value=99.0, unit="percent", higher_is_better=True)}
    stored.model_copy(update={"metrics": other}).write(last / RECORD)
    with pytest.raises(UserError, match="other results than") as caught:
        publish(runs, records, measured(runs))
    assert str(caught.value).startswith(f"{last / RECORD}: other results than {records / last.name / RECORD}; remove")
    assert files(records) == before


def test_other_tensors_in_a_published_name_are_refused(runs: Path, tmp_path: Path) -> None:
    records = tmp_path / "records"
    pretraining = runs / "simclr_tiny-s0-01234567"
    publish(runs, records, measured(runs)[1:])
    for folder in (records / pretraining.name, runs / "byol_tiny-s0-01234567"):
        fields = json.loads((folder / MANIFEST).read_bytes())
        (folder / MANIFEST).write_text(json.dumps(fields | {"tensors_sha256": "ef" * 32}))
    with pytest.raises(UserError) as caught:
        publish(runs, records, measured(runs))
    published = records / pretraining.name / MANIFEST
    assert str(caught.value).startswith(f"{pretraining / MANIFEST}: other tensors than {published}; remove")


def test_a_record_whose_pretraining_is_not_there_is_refused(runs: Path, tmp_path: Path) -> None:
    (runs / "simclr_tiny-s0-01234567" / MANIFEST).unlink()
    with pytest.raises(UserError, match=r"no manifest\.json below .* is of the tensors that it measured, abababababab"):
        publish(runs, tmp_path / "records", measured(runs))
    assert not (tmp_path / "records").exists()


def test_a_file_from_elsewhere_stands_on_no_manifest(runs: Path, record: MakeRecord, tmp_path: Path) -> None:
    external = record("moco_v2_800ep", 30.0)
    folder = _measured(runs, external.model_copy(update={"who": _who(external, recipe_hash=None)}))
    assert publish(runs, tmp_path / "records", [folder]) == [tmp_path / "records" / folder.name]


def test_an_unfinished_run_is_refused(runs: Path, tmp_path: Path) -> None:
    (measured(runs)[0] / RECORD).unlink()
    first = next(runs.glob("*--random-*"))
    with pytest.raises(UserError, match=r"no record\.json: only finished runs are published"):
        publish(runs, tmp_path / "records", [first, *measured(runs)])
    assert not (tmp_path / "records").exists()


@pytest.mark.parametrize(
    ("commit", "told"), [("0123456789abcdef+", "0123456789ab with changes"), (None, "outside of git")]
)
def test_a_record_of_code_that_nobody_else_has_is_published_and_told(
    runs: Path, record: MakeRecord, tmp_path: Path, capsys: pytest.CaptureFixture[str], commit: str | None, told: str
) -> None:
    folder = _measured(runs, record("simclr_tiny", 1.0, seed=9), commit)
    publish(runs, tmp_path / "records", [folder, *measured(runs)[:1]])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{folder.name}: measured by code that nobody else has ({told})")
    assert (tmp_path / "records" / folder.name / RECORD).exists()
