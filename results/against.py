"""Two result sets side by side: what moved, and whether it is more than noise."""

from collections.abc import Collection, Hashable, Iterator, Sequence
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

    Rows are paired by label, those of other labels by what was pretrained. What only one set has stands alone.
    Differences are ours minus theirs.
    """
    theirs = {table.name: table for table in others}
    found = [_compare(table, theirs.pop(table.name, None), names) for table in ours]
    return found + [_compare(None, table, names) for table in theirs.values()]


def _compare(ours: Table | None, theirs: Table | None, names: tuple[str, str]) -> Table:
    sides = [_Side(table) for table in (ours, theirs)]
    shown = ours or theirs
    assert shown is not None
    keys = list(dict.fromkeys(key for side in sides for key in side.columns))
    rows = _pair_rows(*sides)
    notes = Notes()
    columns: list[Column] = []
    drawn: list[list[Cell]] = [[] for _ in rows]
    for key in keys:
        known = next(side.columns[key] for side in sides if key in side.columns)
        own = [side.columns.get(key, known) for side in sides]
        columns += [
            replace(
                own[side],
                key=f"{key} {'ab'[side]}",
                group=" ".join(filter(None, (known.group, known.header))),
                header=names[side],
                difference=side == 0,
            )
            for side in (1, 0)
        ]
        pairs = [tuple(side.cell(label, key) for side, label in zip(sides, row, strict=True)) for row in rows]
        alike = _kind(own[0]) == _kind(own[1])
        samples = [_sample(pair[side], known) if alike else None for side in (0, 1) for pair in pairs]
        bases = [index + len(pairs) for index in range(len(pairs))] + [None] * len(pairs)
        differences = find_differences(samples, bases, "paired", higher_is_better=known.higher_is_better)
        for row, (a, b), difference, cells in zip(rows, pairs, differences, drawn, strict=False):
            marked = [sides[side].remark(cell, row[side], notes) for side, cell in ((1, b), (0, a))]
            extra = tuple(notes.mark(text) for text in _unlike(a, b, *own))
            cells += [
                replace(b, difference=None, best=False, marks=marked[0]),
                replace(a, difference=difference, best=False, marks=marked[1] + extra),
            ]
    return Table(
        name=shown.name,
        title=shown.title,
        caption=_caption(ours, theirs, names),
        method=method_of("paired", drawn),
        columns=tuple(columns),
        lines=tuple(Line(a or b, tuple(cells), names[1]) for (a, b), cells in zip(rows, drawn, strict=True)),
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

    def rows_by_pretraining(self, without: Collection[str]) -> dict[frozenset[Hashable], list[str]]:
        """Return the labels of rows by what was pretrained, but for some and for those without runs."""
        found: dict[frozenset[Hashable], list[str]] = {}
        for label, line in self.lines.items():
            recipes = frozenset(pretraining_recipe(run) for cell in line.cells for run in cell.records)
            if recipes and label not in without:
                found.setdefault(recipes, []).append(label)
        return found


def _pair_rows(ours: _Side, theirs: _Side) -> list[tuple[str, str]]:
    """Return the rows of either side, each by its label in both; empty where a side has no such row.

    What tells rows of one name apart is said only where there are several, so that labels differ between sets.
    """
    here, there = ours.rows_by_pretraining(theirs.lines), theirs.rows_by_pretraining(ours.lines)
    pairs = {labels[0]: there[key][0] for key, labels in here.items() if len(labels) == len(there.get(key, ())) == 1}
    rows = [(label, label if label in theirs.lines else pairs.get(label, "")) for label in ours.lines]
    taken = {label for _, label in rows}
    return rows + [("", label) for label in theirs.lines if label not in taken]


def _kind(column: Column) -> tuple[str, bool]:
    return column.unit, column.higher_is_better


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


def _unlike(ours: Cell, theirs: Cell, our_column: Column, their_column: Column) -> Iterator[str]:
    """Yield what else than chance two figures may differ by."""
    if ours.state is not State.MEASURED or theirs.state is not State.MEASURED:
        return
    if _kind(our_column) != _kind(their_column):
        kinds = [f"{column.unit} {column.arrow}" for column in (our_column, their_column)]
        yield f"Not compared: in {kinds[0]} instead of {kinds[1]}."
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
