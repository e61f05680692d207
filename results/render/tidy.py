"""Tables as CSV, by pandas: everything, in full precision."""

from collections.abc import Iterator, Sequence

import pandas as pd

from results.table import Cell, Column, Line, Table

FIELDS = (
    "table",
    "title",
    "section",
    "row",
    "base",
    "column",
    "group",
    "header",
    "unit",
    "better",
    "state",
    "mean",
    "std",
    "runs",
    "expected",
    "values",
    "difference",
    "p",
    "low",
    "high",
    "verdict",
    "pairs",
    "best",
    "marks",
    "notes",
    "source",
    "records",
)
"""A row for each line and column of each table. `values` of runs and ids of `records` are parted by spaces; `low` and
`high` bound the difference with 95 % confidence, and `pairs` are the runs it is told from."""


def render_csv(tables: Sequence[Table]) -> str:
    """Return tables as one CSV of FIELDS; numbers read back equal to the last digit."""
    frame = pd.DataFrame([row for table in tables for row in _rows(table)], columns=list(FIELDS), dtype=object)
    # A file name that is no Unicode text cannot be written as such.
    return frame.to_csv(index=False, lineterminator="\n").encode("utf-8", "backslashreplace").decode()


def _rows(table: Table) -> Iterator[list[object]]:
    notes = {note.mark: note.text for note in table.notes}
    for section, lines in (("measured", table.lines), ("published", table.published)):
        for line in lines:
            for column, cell in zip(table.columns, line.cells, strict=True):
                yield [table.name, table.title, section, *_row(line, column, cell, notes)]


def _row(line: Line, column: Column, cell: Cell, notes: dict[str, str]) -> list[object]:
    found, marks = cell.difference, (*line.marks, *cell.marks)
    low, high = found.interval if found and found.interval else (None, None)
    return [
        line.label,
        line.base,
        column.key,
        column.group,
        column.header,
        column.unit,
        "higher" if column.higher_is_better else "lower",
        cell.state.value,
        cell.mean,
        cell.spread,
        cell.runs,
        cell.expected,
        " ".join(map(repr, cell.values)),
        found.value if found else None,
        found.p if found else None,
        low,
        high,
        found.verdict.value if found else None,
        found.runs if found else None,
        cell.best,
        " ".join(marks),
        "; ".join(notes[mark] for mark in marks),
        cell.source,
        " ".join(run.id for run in cell.records),
    ]
