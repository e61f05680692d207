"""CSV for programs."""

import io
import math
import random
from dataclasses import replace

import pandas as pd

from results.render.tidy import FIELDS, render_csv
from results.table import Cell, Difference, State, Table, Verdict


def read(text: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text), keep_default_na=False, na_values={"mean": [""], "std": [""], "p": [""]})


def test_each_cell_of_each_line_of_each_table_is_a_row(paper: Table, rivals: Table) -> None:
    frame = read(render_csv([paper, rivals]))
    assert tuple(frame.columns) == FIELDS
    expected = [
        (table.name, section, line.label, column.key)
        for table in (paper, rivals)
        for section, lines in (("measured", table.lines), ("published", table.published))
        for line in lines
        for column in table.columns
    ]
    assert list(frame[["table", "section", "row", "column"]].itertuples(index=False, name=None)) == expected


def test_a_row_tells_all_of_its_cell(paper: Table) -> None:
    frame = read(render_csv([paper]))
    row = frame[(frame["row"] == "simclr+superinfo_r50_in1k_200e") & (frame["column"] == "nll")].iloc[0].to_dict()
    assert row == {
        "table": "voc",
        "title": "Detection on VOC",
        "section": "measured",
        "row": "simclr+superinfo_r50_in1k_200e",
        "base": "random init",
        "column": "nll",
        "group": "scenes",
        "header": "NLL",
        "unit": "nats",
        "better": "lower",
        "state": "measured",
        "mean": 2.75,
        "std": math.sqrt(0.125),
        "runs": 2,
        "expected": 2,
        "values": "2.5 3.0",
        "difference": "0.5",
        "p": 0.0123456789,
        "low": "-0.5",
        "high": "1.5",
        "verdict": "worse",
        "pairs": "3",
        "best": False,
        "marks": "",
        "notes": "",
        "source": "",
        "records": "",
    }
    marked = frame[frame["marks"] == "b"].iloc[0]
    assert (marked["row"], marked["notes"]) == (row["row"], "One run diverged & was left out.")
    assert list(frame[frame["section"] == "published"]["source"]) == ["moco", "moco", "", "swav", "", ""]
    assert set(frame["state"]) == {state.value for state in State}


def test_numbers_read_back_equal_to_the_last_digit(paper: Table) -> None:
    draw = random.Random(0)
    numbers = [draw.uniform(-1, 1) * 10.0 ** draw.randint(-20, 20) for _ in range(7 * 3)]
    values = iter(numbers)

    def cell() -> Cell:
        mean, spread, p, value, low, high, one = (next(values) for _ in range(7))
        found = Difference(value, p, (low, high), Verdict.NOISE, 2)
        return Cell(State.MEASURED, mean, spread, 1, 1, (one,), found)

    lines = (replace(paper.lines[0], cells=(cell(), cell(), cell())),)
    frame = pd.read_csv(io.StringIO(render_csv([replace(paper, lines=lines, published=(), sources=())])), dtype=str)
    names = ["mean", "std", "p", "difference", "low", "high", "values"]
    assert [float(value) for value in frame[names].to_numpy().ravel()] == numbers


def test_no_tables_are_a_heading() -> None:
    assert render_csv([]).replace('"', "") == ",".join(FIELDS) + "\n"
