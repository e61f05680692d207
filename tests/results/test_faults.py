"""Each planted fault is found, by name; and sound records and tables have none."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from results.declaration import Declaration
from results.faults import find_faults, find_table_faults
from results.records import Run, Unreadable
from results.table import Cell, Line, State, Table
from results.tables import build
from tests.results.made import SIMCLR, TERM, declaration, run, runs, store

ROWS = [
    {"label": "SimCLR", "match": {"name": SIMCLR}},
    {"label": "SuperInfo", "match": {"name": TERM}, "base": "SimCLR"},
]
METHOD, BETTER = [50.0, 51.0, 52.0, 50.5], [53.0, 54.1, 55.0, 53.4]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the manifests of the first seeds of both rows."""
    for name in (SIMCLR, TERM):
        for seed in range(4):
            place = tmp_path / f"{name}-{seed}"
            place.mkdir()
            (place / "manifest.json").write_text(json.dumps({"tensors_sha256": f"{name}{seed}"}))
    return tmp_path


def faults(folder: Path, *measured: Run | list[Run] | Unreadable) -> list[str]:
    return find_faults(store(*measured, folder=folder))


def declared() -> Declaration:
    return declaration(rows=ROWS)


def sound() -> Table:
    return build(declared(), store(runs(SIMCLR, METHOD), runs(TERM, BETTER)))


def changed(table: Table, label: str, **fields: object) -> Table:
    """Return a table one of whose cells says something else."""
    lines = tuple(
        replace(line, cells=(replace(line.cells[0], **fields),)) if line.label == label else line  # type: ignore[arg-type]
        for line in table.lines
    )
    return replace(table, lines=lines)


def test_sound_records_and_tables_have_no_fault(folder: Path) -> None:
    random = run("random", {"box/AP": 20.0, "box/AP50": 45.0, "box/AP75": 15.0, "box/APl": None})
    elsewhere = run("resnet50", 30.0, recipe_hash=None, tensors="f" * 64)
    assert faults(folder, runs(SIMCLR, METHOD), runs(TERM, BETTER), random, elsewhere) == []
    assert find_table_faults(sound()) == []


def test_an_unreadable_file_is_found(folder: Path) -> None:
    (fault,) = faults(folder, Unreadable(folder / "record.json", "cut short"))
    assert fault == f"{folder / 'record.json'}: unreadable: cut short"


def test_a_record_whose_checkpoint_has_no_manifest_is_found(folder: Path) -> None:
    (fault,) = faults(folder, run(SIMCLR, 1.0, tensors="f" * 64))
    assert "no manifest" in fault
    assert "f" * 12 in fault


def test_a_duplicate_seed_is_found(folder: Path) -> None:
    again = run(SIMCLR, 51.0, 1, folder=folder / "again")
    (fault,) = faults(folder, runs(SIMCLR, METHOD), again)
    assert "duplicate of seed 1" in fault
    assert faults(folder, runs(SIMCLR, METHOD), run(SIMCLR, 51.0, 1, what={"split": "val"})) == []


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_a_record_whose_metrics_are_nan_is_found(folder: Path, odd: float) -> None:
    found = faults(folder, run(SIMCLR, odd))
    assert any("mask/AP is" in fault and "no number" in fault for fault in found)


def test_a_record_without_any_value_is_found(folder: Path) -> None:
    (fault,) = faults(folder, run(SIMCLR, {"mask/AP": None}))
    assert "no metric has a value" in fault


def test_a_record_of_fractions_that_call_themselves_percent_is_found(folder: Path) -> None:
    (fault,) = faults(folder, runs(SIMCLR, METHOD), run(TERM, 0.53))
    assert "fractions among percents" in fault
    assert TERM in fault


def test_a_fraction_among_a_rows_percents_is_found_whatever_else_its_record_holds(folder: Path) -> None:
    measured = runs(SIMCLR, [{"box/AP50": value, "box/AP50-disk": 60.0} for value in (50.0, 0.51, 52.0)])
    (fault,) = faults(folder, measured)
    assert str(measured[1].folder) in fault
    assert "box/AP50 is 0.51, where other seeds of its row reach 52: a fraction among percents" in fault


def test_a_figure_that_is_merely_low_is_no_fraction(folder: Path) -> None:
    assert faults(folder, runs(SIMCLR, METHOD), run(TERM, 0.1)) == []


@pytest.mark.parametrize(
    "figures",
    [
        {"box/AP": 0.25, "box/AP50": 46.0, "box/AP75": 24.0},
        {"accuracy": 0.71, "accuracy_low": 69.5, "accuracy_high": 72.5},
        {"accuracy": 7100.0},
    ],
    ids=["AP", "accuracy", "ten thousandths"],
)
def test_one_fraction_among_the_percents_of_a_record_is_found(folder: Path, figures: Mapping[str, float]) -> None:
    (fault,) = faults(folder, run(SIMCLR, figures))
    assert SIMCLR in fault
    assert "percent" in fault or "a fraction?" in fault


def test_a_fraction_among_percents_is_found_in_a_column() -> None:
    table = build(declared(), store(runs(SIMCLR, METHOD), runs(TERM, [0.5], unit="fraction")))
    assert any("'SuperInfo' has a figure in fraction among percent" in fault for fault in find_table_faults(table))


def test_a_figure_of_the_other_direction_is_found_in_a_column() -> None:
    table = build(declared(), store(runs(SIMCLR, METHOD), runs(TERM, [1.0], higher=False)))
    assert any("'SuperInfo' has a figure of the other direction than ↑" in fault for fault in find_table_faults(table))


def test_two_protocols_in_one_column_without_a_mark_are_found() -> None:
    marked = build(declared(), store(runs(SIMCLR, METHOD), runs(TERM, [1.0], what={"samples": 190})))
    assert find_table_faults(marked) == []
    unmarked = replace(marked, lines=tuple(replace(line, marks=()) for line in marked.lines))
    (fault,) = find_table_faults(unmarked)
    assert "'SuperInfo' was measured otherwise without a mark: samples 190 instead of 200" in fault


def test_a_row_of_runs_that_were_measured_in_two_ways_makes_no_other_row_odd() -> None:
    mixed = [run(SIMCLR, 1.0), run(SIMCLR, 1.0, 1, what={"samples": 190})]
    table = build(declared(), store(mixed, runs(TERM, [2.0], what={"samples": 190})))
    (fault,) = find_table_faults(table)
    assert "'SimCLR' has no number" in fault
    unmarked = replace(table, lines=tuple(replace(line, marks=()) for line in table.lines))
    _, fault = find_table_faults(unmarked)
    assert "'SimCLR' was measured otherwise without a mark: samples 200 instead of 190" in fault


def test_a_mark_for_something_else_does_not_say_that_a_protocol_is_another() -> None:
    other = runs(TERM, [1.0], what={"samples": 190}, deviations=["one GPU"])
    table = build(declared(), store(runs(SIMCLR, METHOD), other))
    (mark,) = (note.mark for note in table.notes if note.text == "One GPU.")
    lines = tuple(replace(line, marks=(mark,)) if line.label == "SuperInfo" else line for line in table.lines)
    assert find_table_faults(table) == []
    (fault,) = find_table_faults(replace(table, lines=lines))
    assert "'SuperInfo' was measured otherwise without a mark" in fault


@pytest.mark.parametrize(
    "values", [[51.0, 50.0, 53.0, 51.0], BETTER[:2], [50.5, 51.5, 52.5, 51.0]], ids=["noise", "too few", "level"]
)
def test_a_best_in_bold_inside_noise_is_found(values: list[float]) -> None:
    table = build(declared(), store(runs(SIMCLR, METHOD), runs(TERM, values)))
    (fault,) = find_table_faults(changed(table, "SuperInfo", best=True))
    assert "'SuperInfo' is bold, though its difference to 'SimCLR' is not told from noise" in fault


def test_a_worse_row_in_bold_is_found() -> None:
    (fault,) = find_table_faults(changed(sound(), "SimCLR", best=True))
    assert "'SimCLR' is bold" in fault


def test_a_cell_without_a_number_is_found() -> None:
    table = build(declared(), store(runs(SIMCLR, METHOD), run(TERM, None)))
    (fault,) = find_table_faults(table)
    assert "'SuperInfo' has no number" in fault
    assert any("'SimCLR' shows nan" in fault for fault in find_table_faults(changed(sound(), "SimCLR", mean=math.nan)))


def test_a_published_number_without_a_source_is_found() -> None:
    quoted = Line("Theirs", (Cell(State.PUBLISHED, mean=40.0),))
    (fault,) = find_table_faults(replace(sound(), published=(quoted,)))
    assert "'Theirs' quotes a figure without its source" in fault


def test_published_among_measured_rows_are_found() -> None:
    quoted = Line("Theirs", (Cell(State.PUBLISHED, mean=40.0, source="moco"),))
    (fault,) = find_table_faults(replace(sound(), lines=(*sound().lines, quoted)))
    assert "'Theirs' stands among rows of the other kind" in fault
