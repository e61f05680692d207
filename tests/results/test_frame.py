"""Records as a frame: the schema is what it says, every figure is in it, and Parquet gives it back."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from results import load_records
from results.frame import SCHEMA, write_parquet
from superinfo.artifacts import RECORD, Metric, Record
from superinfo.errors import UserError

MakeRecord = Callable[..., Record]


@pytest.fixture
def folder(record: MakeRecord, tmp_path: Path) -> Path:
    record("b", 1.0, 2.0, 3.0, 4.0, 5.0, None).write(tmp_path / "x" / "y" / "b" / RECORD)
    nats = {"information/retained": Metric(value=7.5, unit="nats", higher_is_better=False)}
    who = {"epochs": None, "dataset": None, "name": "<a>, [b]"}
    other = record("a", 7.5, seed=3)
    other = other.model_copy(
        update={"metrics": nats, "who": other.who.model_copy(update=who), "command": "superinfo x"}
    )
    other.write(tmp_path / "x" / "a" / RECORD)
    return tmp_path


def test_the_frame_has_the_columns_and_types_of_the_schema(folder: Path, tmp_path: Path) -> None:
    frame = load_records(folder)
    assert list(frame.columns) == [field.name for field in SCHEMA]
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == {field.name: field.dtype for field in SCHEMA}
    assert len({field.name for field in SCHEMA}) == len(SCHEMA)
    assert all(field.meaning for field in SCHEMA)


def test_there_is_a_row_for_each_run_and_metric_with_all_that_is_known_of_it(folder: Path) -> None:
    frame = load_records(folder)
    assert len(frame) == 7
    first, *_ = frame.to_dict("records")
    assert first["run"] == "mask_fpn--a-s3-01234567"
    assert (first["seed"], first["pretraining_seed"], first["samples"]) == (3, 103, 1000)
    assert (first["name"], first["method"], first["term"]) == ("<a>, [b]", "simclr", "superinfo")
    assert pd.isna(first["pretraining_set"])
    assert pd.isna(first["epochs"])
    assert first["encoder"] == "resnet18 x0.5 stl"
    assert (first["pretraining_hash"], first["tensors_sha256"]) == ("cd" * 32, "ab" * 32)
    assert (first["task"], first["dataset"]) == ("instance_segmentation", "scenes (8 classes)")
    assert (first["split"], first["protocol"], first["protocol_version"]) == ("test", "mask_fpn", 1)
    assert (first["recipe"], first["recipe_hash"], first["protocol_hash"]) == ("mask_fpn", "cd" * 32, "ef" * 32)
    assert first["deviations"] == "half the schedule; one GPU"
    assert (first["metric"], first["value"], first["unit"]) == ("information/retained", 7.5, "nats")
    assert first["higher_is_better"] is False
    assert (first["wall_seconds"], first["peak_memory_mib"]) == (12.5, 300.5)
    assert (first["parameters"], first["flops"]) == (11, 1e9)
    assert (first["commit"], first["created"]) == ("abc+", "2025-01-02T03:04:05+00:00")
    assert (first["command"], first["folder"]) == ("superinfo x", str(folder / "x" / "a"))
    rest = frame[frame["run"] == "mask_fpn--b-s0-01234567"]
    assert list(rest["metric"]) == ["box/AP", "box/AP50", "box/AP75", "mask/AP", "mask/AP50", "mask/AP75"]
    assert list(rest["value"][:5]) == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert pd.isna(rest["value"].iloc[5])
    assert set(rest["unit"]) == {"percent"}
    assert set(rest["epochs"]) == {6}
    assert set(rest["higher_is_better"]) == {True}


def test_parquet_gives_the_frame_back(folder: Path, tmp_path: Path) -> None:
    frame = load_records(folder)
    write_parquet(frame, tmp_path / "new" / "records.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "new" / "records.parquet"), frame)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["records.parquet"]


def test_a_record_that_cannot_be_read_is_warned_of_and_the_others_are_there(folder: Path) -> None:
    (folder / RECORD).write_text("{")
    with pytest.warns(UserWarning, match=rf"{RECORD}: not a Record") as told:
        assert len(load_records(folder)) == 7
    assert len(told) == 1
    assert told[0].filename == __file__


def test_a_frame_of_no_readable_record_still_has_its_columns_and_types(tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text("{")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame = load_records(tmp_path)
    assert len(frame) == 0
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == {field.name: field.dtype for field in SCHEMA}


def test_a_folder_name_that_is_no_text_does_not_stop_the_frame(record: MakeRecord, tmp_path: Path) -> None:
    record("a", 1.0).write(tmp_path / "caf\udce9" / RECORD)
    frame = load_records(tmp_path)
    assert set(frame["folder"]) == {f"{tmp_path}/caf\ufffd"}
    write_parquet(frame, tmp_path / "records.parquet")


def test_a_folder_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no record\.json below it"):
        load_records(tmp_path)


def test_a_record_of_a_committed_run_is_in_the_frame_to_the_last_digit() -> None:
    committed = Path(__file__).parents[2] / "results" / "records"
    frame = load_records(committed)
    path = sorted(committed.glob(f"*/{RECORD}"))[0]
    stored = json.loads(path.read_bytes())
    rows = frame[frame["run"] == stored["run"]].set_index("metric")["value"]
    expected = {name: metric["value"] for name, metric in stored["metrics"].items()}
    assert {name: None if pd.isna(value) else value for name, value in rows.items()} == expected
