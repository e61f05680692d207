"""A comparison of rows: mean and spread over runs, and the difference to a baseline row."""

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from superinfo.artifacts import Record
from superinfo.errors import UserError

METRICS = ("box/AP", "box/AP50", "box/AP75", "mask/AP", "mask/AP50", "mask/AP75")
"""Shown by default, in percent."""


@dataclass(frozen=True)
class Row:
    """A line of a table: what it is called, and its runs, none of which may have been made yet."""

    label: str
    records: tuple[Record, ...]


@dataclass(frozen=True)
class Cell:
    """One metric of one row. All in the metric's own unit; None where there is no value."""

    mean: float | None
    """None also where only some of the runs have a value: the others' mean would flatter the row."""
    spread: float | None
    """Standard deviation over runs (n - 1); None for fewer than two."""
    difference: float | None
    """To the baseline row's mean; None in that row itself."""


@dataclass(frozen=True)
class Line:
    """A row with its figures."""

    label: str
    runs: int
    cells: dict[str, Cell]


@dataclass(frozen=True)
class Table:
    """What is measured, and a line for each row."""

    title: str
    caption: str
    baseline: str | None
    lines: tuple[Line, ...]


def compare(title: str, rows: Sequence[Row], baseline: str | None, metrics: Sequence[str] = METRICS) -> Table:
    """Build the table. `baseline` is the label of the row that the others are compared with.

    Raises UserError if the baseline is no row, if two rows have one label, or if the records measure different things.
    """
    labels = [row.label for row in rows]
    if baseline is not None and baseline not in labels:
        raise UserError(f"baseline {baseline!r}: no row of that label; rows: {', '.join(labels)}")
    if twice := [label for label in labels if labels.count(label) > 1]:
        raise UserError(f"rows: {twice[0]!r} is the label of more than one; give each its own")
    means = {row.label: {metric: _mean(row, metric) for metric in metrics} for row in rows}
    lines = []
    for row in rows:
        reference = means[baseline] if baseline is not None and row.label != baseline else {}
        cells = {
            metric: Cell(
                mean=(mean := means[row.label][metric]),
                spread=_spread(row, metric),
                difference=_difference(mean, reference.get(metric)),
            )
            for metric in metrics
        }
        lines.append(Line(row.label, len(row.records), cells))
    return Table(title, _caption(rows, baseline), baseline, tuple(lines))


def compare_all(records: Sequence[Record]) -> list[Table]:
    """Build a table for each recipe that measured, a row for each that pretrained, without a baseline.

    Runs are averaged only where their recipes are the same but for the seed; the hash tells rows of one name apart.
    """
    groups: dict[tuple[str, str], dict[tuple[str, str, str], list[Record]]] = {}
    for record in records:
        who = (record.who.name, record.who.encoder.title, (record.who.recipe_hash or "")[:8])
        groups.setdefault((_measured(record), record.recipe_hash), {}).setdefault(who, []).append(record)
    return [
        compare(f"{measured} ({recipe_hash[:8]})", _label_apart(rows), None)
        for (measured, recipe_hash), rows in sorted(groups.items())
    ]


def _label_apart(rows: Mapping[tuple[str, str, str], Sequence[Record]]) -> list[Row]:
    """Label rows by name, and where names are alike by encoder and recipe hash too."""
    names = Counter(name for name, _, _ in rows)
    return [
        Row(who[0] if names[who[0]] == 1 else f"{who[0]} ({', '.join(filter(None, who[1:]))})", tuple(runs))
        for who, runs in sorted(rows.items())
    ]


def _measured(record: Record) -> str:
    what = record.what
    return (
        f"{what.task.replace('_', ' ')} on {what.dataset}, {what.split} split of {what.samples:,} images, "
        f"{what.protocol} v{what.protocol_version}"
    )


def _caption(rows: Sequence[Row], baseline: str | None) -> str:
    measured = {_measured(record) for row in rows for record in row.records}
    if len(measured) > 1:
        raise UserError(
            f"records measure different things and belong in different tables: {'; '.join(sorted(measured))}"
        )
    against = f"; differences are to {baseline}" if baseline else ""
    return f"{next(iter(measured))}; percent{against}" if measured else "nothing measured yet"


def _values(row: Row, metric: str) -> list[float]:
    found = (record.metrics.get(metric) for record in row.records)
    return [entry.value for entry in found if entry is not None and entry.value is not None]


def _mean(row: Row, metric: str) -> float | None:
    values = _values(row, metric)
    return statistics.fmean(values) if values and len(values) == len(row.records) else None


def _spread(row: Row, metric: str) -> float | None:
    values = _values(row, metric)
    return statistics.stdev(values) if len(values) > 1 and len(values) == len(row.records) else None


def _difference(value: float | None, reference: float | None) -> float | None:
    return None if value is None or reference is None else math.fsum((value, -reference))
