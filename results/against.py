"""Two result sets side by side: what moved, and whether it is more than noise."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace

from results.captions import method_of
from results.comparisons import Sample, find_differences
from results.marks import Notes
from results.protocols import Protocol, describe_difference
from results.replicates import Replicates
from results.rows import pretraining_recipe
from results.table import Cell, Column, Line, Note, State, Table


def compare_sets(ours: Sequence[Table], others: Sequence[Table], names: tuple[str, str]) -> list[Table]:
    """Return a table for each of either set, paired by name; `names` are what to call the two sets.

    Rows are paired by label. What only one set has stands alone. Differences are ours minus theirs.
    """
    theirs = {table.name: table for table in others}
    found = [_compare(table, theirs.pop(table.name, None), names) for table in ours]
    return found + [_compare(None, table, names) for table in theirs.values()]


def _compare(ours: Table | None, theirs: Table | None, names: tuple[str, str]) -> Table:
    sides = [_Side(table) for table in (ours, theirs)]
    shown = ours or theirs
    assert shown is not None
    keys = list(dict.fromkeys(column.key for side in sides for column in side.columns.values()))
    labels = list(dict.fromkeys(label for side in sides for label in side.lines))
    notes = Notes()
    columns: list[Column] = []
    drawn: dict[str, list[Cell]] = {label: [] for label in labels}
    for key in keys:
        column = next(side.columns[key] for side in sides if key in side.columns)
        columns += [
            replace(
                column,
                key=f"{key} {side}",
                group=" ".join(filter(None, (column.group, column.header))),
                header=name,
                difference=side == "a",
            )
            for side, name in zip("ba", reversed(names), strict=True)
        ]
        pairs = [(sides[0].cell(label, key), sides[1].cell(label, key)) for label in labels]
        samples = [_sample(cell, column) for side in (0, 1) for cell in (pair[side] for pair in pairs)]
        bases = [index + len(pairs) for index in range(len(pairs))] + [None] * len(pairs)
        differences = find_differences(samples, bases, "paired", higher_is_better=column.higher_is_better)
        for label, (a, b), difference in zip(labels, pairs, differences, strict=False):
            marked = [sides[side].remark(cell, label, notes) for side, cell in ((1, b), (0, a))]
            extra = tuple(notes.mark(text) for text in _unlike(a, b))
            drawn[label] += [
                replace(b, difference=None, best=False, marks=marked[0]),
                replace(a, difference=difference, best=False, marks=marked[1] + extra),
            ]
    return Table(
        name=shown.name,
        title=shown.title,
        caption=_caption(ours, theirs, names),
        method=method_of("paired", [cell for cells in drawn.values() for cell in cells]),
        columns=tuple(columns),
        lines=tuple(Line(label, tuple(cells), names[1]) for label, cells in drawn.items()),
        published=(),
        notes=notes.all(),
    )


class _Side:
    """One set's table by label and key; empty where it has no such table."""

    def __init__(self, table: Table | None) -> None:
        self.columns = {column.key: column for column in table.columns} if table else {}
        self.lines = {line.label: line for line in table.lines} if table else {}
        self._places = {key: index for index, key in enumerate(self.columns)}
        self._texts = _texts(table.notes if table else ())

    def cell(self, label: str, key: str) -> Cell:
        """Return a cell, or one that is missing."""
        line, place = self.lines.get(label), self._places.get(key)
        return Cell(State.MISSING) if line is None or place is None else line.cells[place]

    def remark(self, cell: Cell, label: str, notes: Notes) -> tuple[str, ...]:
        """Return the marks among the new notes that a cell has of its own and of its row."""
        line = self.lines.get(label)
        return tuple(notes.mark(self._texts[mark]) for mark in (*(line.marks if line else ()), *cell.marks))


def _texts(notes: Sequence[Note]) -> dict[str, str]:
    return {note.mark: note.text for note in notes}


def _sample(cell: Cell, column: Column) -> Sample | None:
    if cell.state is not State.MEASURED:
        return None
    replicates = Replicates.of(cell.records)
    values = replicates.values(column.metric)
    return Sample(tuple(values), replicates.design, Protocol.of(cell.records[0]))


def _caption(ours: Table | None, theirs: Table | None, names: tuple[str, str]) -> str:
    """Return the caption of both, or each behind its set's name where they measured unlike things."""
    said = {name: table.caption for name, table in zip(names, (ours, theirs), strict=True) if table is not None}
    if len(set(said.values())) == 1:
        return next(iter(said.values()))
    return " ".join(f"{name}: {caption}" for name, caption in said.items())


def _unlike(ours: Cell, theirs: Cell) -> Iterator[str]:
    """Yield what else than chance two figures may differ by."""
    if ours.state is not State.MEASURED or theirs.state is not State.MEASURED:
        return
    a, b = ours.records[0], theirs.records[0]
    if Protocol.of(a) != Protocol.of(b):
        yield f"Not compared: {describe_difference(a, b)}."
    if (new := _pretrainings(ours)) != (old := _pretrainings(theirs)):
        yield f"Of other pretrainings: {', '.join(new.values())} instead of {', '.join(old.values())}."


def _pretrainings(cell: Cell) -> dict[Hashable, str]:
    """Return what a figure's runs were pretrained by, but for seeds, each with its name and the start of its hash."""
    return {
        pretraining_recipe(run): f"{run.who.name} {(run.who.recipe_hash or run.who.tensors_sha256 or '')[:8]}".rstrip()
        for run in cell.records
    }
