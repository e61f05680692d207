"""`superinfo table` from outside: by name, of a folder, of two folders, and its check."""

import io
import json
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pytest

from results.committed import ROOT
from results.publish import RECORDS
from superinfo.artifacts import Record
from superinfo.cli import main
from tests.demo import copy_demo

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def records(tmp_path: Path) -> Path:
    return copy_demo(tmp_path / "records")


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return the verb, run in an empty folder: its exit code and what it prints to both streams."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["superinfo", "table", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        return int(end.value.code or 0), printed.out, printed.err

    return run


def a_record(records: Path) -> Path:
    return next(records.glob("*--simclr_r18*/record.json"))


@pytest.mark.parametrize(("format", "suffix"), [("md", "md"), ("latex", "tex")])
def test_a_table_by_name_is_the_committed_one(table: Run, format: str, suffix: str) -> None:
    committed = (ROOT / "results" / "tables" / f"demo.{suffix}").read_text()
    for name in ("demo", ROOT / "results" / "tables" / "demo.yaml"):
        assert table(name, "--records", RECORDS, "--format", format) == (0, committed, "")


def test_a_declared_table_shows_what_others_published_where_nothing_was_run(table: Run) -> None:
    code, shown, _ = table("voc_detection", "--format", "md")
    assert code == 0
    for words in ("Published by others", "55.9", "Nothing measured yet"):
        assert words in shown


@pytest.mark.parametrize("names", [(), ("demo",)], ids=["all", "by name"])
def test_a_record_that_cannot_be_read_is_told_and_the_others_are_shown(
    table: Run, records: Path, names: Sequence[str]
) -> None:
    random, simclr = (
        f"{Record.read(path).metrics['box/AP'].value:.1f}"
        for path in (next(records.glob("*--random*/record.json")), a_record(records))
    )
    a_record(records).write_text("{")
    code, shown, told = table(*names, "--records", records)
    assert code == 0
    assert random in shown
    assert simclr not in shown
    assert f"{a_record(records)}: left out, cannot be read" in told


def test_a_figure_that_is_no_number_is_told_of_a_record_that_is_shown(table: Run, records: Path) -> None:
    record = json.loads(a_record(records).read_text())
    record["metrics"]["box/AP"]["value"] = math.nan
    a_record(records).write_text(json.dumps(record))
    code, shown, told = table("demo", "--records", records)
    assert (code, "undefined" in shown) == (0, True)
    assert told == f"{a_record(records)}: box/AP is nan: no figure, and shown as undefined\n"


def test_two_folders_are_compared(table: Run, records: Path, tmp_path: Path) -> None:
    before = copy_demo(tmp_path / "before")
    record = json.loads(a_record(records).read_text())
    record["metrics"]["box/AP"]["value"] += 2.5
    a_record(records).write_text(json.dumps(record))
    for names in ((), ("demo",)):
        code, shown, _ = table(*names, "--records", records, "--against", before, "--format", "md")
        assert code == 0
        assert shown.count("+2.5") == 1
        assert "too few" in shown


def test_a_folder_against_itself_shows_that_nothing_moved(table: Run, records: Path) -> None:
    code, shown, _ = table("--records", records, "--against", records, "--format", "csv")
    assert code == 0
    assert set(pd.read_csv(io.StringIO(shown))["difference"].dropna()) == {0.0}


def test_the_check_of_this_checkout_finds_nothing(table: Run) -> None:
    code, shown, _ = table("--check")
    assert (code, shown.endswith("nothing found\n")) == (0, True)


def test_the_check_prints_each_finding_and_fails(table: Run, records: Path) -> None:
    shutil.copytree(a_record(records).parent, records / "copy")
    next(records.glob("simclr+superinfo*/manifest.json")).unlink()
    code, shown, told = table("--check", "--records", records)
    assert code == 1
    assert ["duplicate of seed 0" in shown, "no manifest" in shown, len(shown.splitlines())] == [True, True, 2]
    assert told == "superinfo: 2 findings in 4 records and their tables\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name a suite or a table, or give --records DIR"),
        (["dmeo"], "dmeo: no table of that name (did you mean `demo`?)"),
        (["demo", "--format", "xls"], "--format xls: choose terminal, md, csv, latex, html"),
        (["demo", "--check"], "takes no name"),
        (["--records", "gone"], "gone: no such folder"),
        (["demo", "--records", "gone"], "gone: no such folder"),
        (["demo", "--against", "gone"], "gone: no such folder"),
        (["none.yaml"], "none.yaml: no such table file"),
    ],
)
def test_a_mistake_is_told_in_one_line(table: Run, arguments: list[object], said: str) -> None:
    code, shown, told = table(*arguments)
    assert (code, shown) == (2, "")
    assert said in told
    assert len(told.splitlines()) == 1
