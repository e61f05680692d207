"""From a store of records to tables: one that is declared, or one for each thing that was measured."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from results.bases import beside_the_term
from results.captions import caption_of, method_of
from results.cells import Figure, Slot, draw_cell, read_figure
from results.comparisons import find_best, find_differences
from results.declaration import Declaration, Group, Measured, MetricColumn
from results.groups import Selection, usual_protocol
from results.manifests import Manifests
from results.marks import Notes
from results.metrics import summarise
from results.protocols import Protocol
from results.quoted import citations, quoted_lines
from results.records import Run, Store, Unfinished
from results.rows import RowRuns, every, listed
from results.table import Cell, Column, Difference, Line, Table

LONGEST = 60
"""Letters of a protocol that a table is named after: records may say any text."""


def build(declaration: Declaration, store: Store) -> Table:
    """Return a declared table. Raises UserError for a metric that no record has and nothing here measures."""
    selections = [Selection.of(group, declaration, store) for group in declaration.groups]
    rows = _rows(declaration, selections, store)
    blocks = [_fill(selection, declaration, rows, store.manifests) for selection in selections]
    notes = Notes()
    lines = tuple(_line(index, row, blocks, notes) for index, row in enumerate(rows))
    columns = tuple(column.shown for block in blocks for column in block.columns)
    filters = [wanted for selection in selections for wanted in selection.published]
    published = quoted_lines(filters, columns, notes) if any(filters) else ()
    measured = [(block.selection.spec.header, usual_protocol(block.slots)) for block in blocks]
    return Table(
        name=declaration.name,
        title=declaration.title,
        caption=caption_of(measured, {one.spec.header: one.common for one in selections if one.runs}),
        method=method_of(declaration.test, [line.cells for line in lines]),
        columns=columns,
        lines=lines,
        published=published,
        notes=notes.all(),
        sources=citations(published),
    )


def build_all(store: Store) -> list[Table]:
    """Return a table for everything that was measured in one way, with a row for each pretraining."""
    measured: dict[Protocol, list[Run]] = {}
    for run in store.runs:
        measured.setdefault(Protocol.of(run), []).append(run)
    pending: dict[str, list[Unfinished]] = {}
    for one in store.unfinished:
        pending.setdefault(one.recipe, []).append(one)
    tables = []
    for protocol, runs in sorted(measured.items()):
        recipes = sorted({run.recipe for run in runs})
        awaited = tuple(one for recipe in recipes for one in pending.get(recipe, ()))
        tables.append(build(_declare(protocol, recipes, runs), replace(store, runs=tuple(runs), unfinished=awaited)))
    return tables


@dataclass(frozen=True)
class _FilledColumn:
    """A column with what it has for each row."""

    shown: Column
    figures: Sequence[Figure]
    differences: Sequence[Difference | None]
    best: int | None


@dataclass(frozen=True)
class _Block:
    """A group of columns with what it has for each row."""

    selection: Selection
    slots: Sequence[Slot]
    remarks: Sequence[Sequence[str]]
    columns: Sequence[_FilledColumn]


def _rows(declaration: Declaration, selections: Iterable[Selection], store: Store) -> list[RowRuns]:
    runs = list({id(run): run for selection in selections for run in selection.runs}.values())
    unfinished = list({id(one): one for selection in selections for one in selection.unfinished}.values())
    if declaration.rows == "auto":
        return every(runs, unfinished, store.manifests)
    return listed(declaration.rows, runs, unfinished)


def _fill(selection: Selection, declaration: Declaration, rows: Sequence[RowRuns], manifests: Manifests) -> _Block:
    slots = selection.slots(rows, declaration.seeds)
    places = {row.label: index for index, row in enumerate(rows)}
    bases = [None if row.base is None else places[row.base] for row in rows]
    columns = []
    for shown in selection.columns(declaration.name):
        figures = [read_figure(slot, shown) for slot in slots]
        differences: list[Difference | None] = [None] * len(rows)
        best = None
        if declaration.test != "none":
            samples = [figure.sample for figure in figures]
            usual = usual_protocol(slots)
            alike = [sample if sample and sample.protocol == usual else None for sample in samples]
            better = shown.higher_is_better
            differences = find_differences(samples, bases, declaration.test, higher_is_better=better)
            best = find_best(alike, declaration.test, higher_is_better=better)
        columns.append(_FilledColumn(shown, figures, differences, best))
    remarks = selection.remarks(slots)
    for index, base in enumerate(bases):
        if base is not None and any(column.shown.difference and column.differences[index] for column in columns):
            remarks[index] += beside_the_term(slots[index], slots[base], rows[base].label, manifests)
    return _Block(selection, slots, remarks, columns)


def _line(index: int, row: RowRuns, blocks: Sequence[_Block], notes: Notes) -> Line:
    """Return a row; what holds for all its columns is marked at its label."""
    remarks = [block.remarks[index] for block in blocks if block.slots[index].runs or block.slots[index].unfinished]
    of_row = [text for text in remarks[0] if all(text in others for others in remarks)] if remarks else []
    marks = notes.marks(of_row)
    cells: list[Cell] = []
    for block in blocks:
        of_group = [text for text in block.remarks[index] if text not in of_row]
        for column in block.columns:
            figure = column.figures[index]
            texts = of_group + ([figure.odd] if figure.odd else [])
            cells.append(
                draw_cell(
                    figure,
                    block.slots[index],
                    column.shown.metric,
                    column.differences[index],
                    notes.marks(texts),
                    best=column.best == index,
                )
            )
    return Line(row.label, tuple(cells), row.base, marks)


def _declare(protocol: Protocol, recipes: Sequence[str], runs: Sequence[Run]) -> Declaration:
    metrics = summarise({metric for run in runs for metric in run.metrics})
    shown = tuple(MetricColumn(metric=metric, difference=index == 0) for index, metric in enumerate(metrics))
    digest = hashlib.sha256(repr(tuple(protocol)).encode()).hexdigest()[:8]
    name = re.sub(r"[^A-Za-z0-9+._-]+", "-", protocol.protocol)[:LONGEST]
    return Declaration(
        name=f"{name}-{digest}",  # the same in any set of records
        title=f"{', '.join(recipes)} ({protocol.protocol_hash[:8]})",
        groups=(Group(runs=Measured(), metrics=shown),),
    )
