"""What the page shows of one table: its words beside its data, its plots and its pictures."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from results.records import Run
from results.render.parts import Entry, Head, Row, Sheet, visible, words
from results.report.gallery import plots_of_table
from results.report.pictures import Picture, read_picture
from results.report.plots import Plot
from results.table import Cell, Line, Table
from superinfo.artifacts import PICTURES

ROWS = 500
"""Of a table that the page shows at most, measured and published ones each."""
SHEETS = 6
"""Of pictures that a table shows at most, one for each row."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A row, and what stands behind each of its entries."""

    row: Row
    entries: tuple[tuple[Entry, Cell | None], ...]
    """None behind a difference, which the figure before it explains."""


@dataclass(frozen=True, slots=True)
class Body:
    """Rows under one heading."""

    heading: str
    rows: tuple[Shown, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """Pictures of a row's first run."""

    label: str
    run: Run
    picture: Picture


@dataclass(frozen=True, slots=True)
class Section:
    """One table in the page."""

    table: Table
    sheet: Sheet
    groups: tuple[tuple[str, int], ...]
    """Header above, and how many columns it spans."""
    bodies: tuple[Body, ...]
    plots: tuple[Plot, ...]
    pictures: tuple[Sample, ...]
    left_out: tuple[str, ...]
    """Sentences."""

    @property
    def heads(self) -> tuple[Head, ...]:
        """Return the headings of columns."""
        return self.sheet.heads


def make_section(table: Table, taken: set[str]) -> Section:
    """Put a table into words, plots and pictures; `taken` are the names of plots that the page has already."""
    sheet = words(table)
    lines = iter((*table.lines, *table.published))
    bodies = [(body.heading, [(row, next(lines)) for row in body.rows]) for body in sheet.sections]
    return Section(
        table=table,
        sheet=sheet,
        groups=tuple((group, len(list(heads))) for group, heads in groupby(sheet.heads, lambda head: head.group)),
        bodies=tuple(
            Body(heading, tuple(_shown(row, line, sheet.heads) for row, line in rows[:ROWS]))
            for heading, rows in bodies
        ),
        plots=tuple(plots_of_table(table, taken)),
        pictures=tuple(_pictures(table.lines)),
        left_out=tuple(
            f"Of {len(rows):,} rows the first {ROWS} are shown; `superinfo table --format csv` has all."
            for _, rows in bodies
            if len(rows) > ROWS
        ),
    )


def runs_behind(sections: Sequence[Section]) -> list[Run]:
    """Return the runs behind the figures shown: the first of each figure, then the second of each, and so on."""
    ranked = [
        (rank, run)
        for section in sections
        for body in section.bodies
        for shown in body.rows
        for _, cell in shown.entries
        if cell is not None
        for rank, run in enumerate(cell.records)
    ]
    return [run for _, run in sorted(ranked, key=lambda each: each[0])]


def _shown(row: Row, line: Line, heads: Iterable[Head]) -> Shown:
    cells = (None if head.differences else line.cells[head.column] for head in heads)
    return Shown(row, tuple(zip(row.entries, cells, strict=True)))


def _pictures(lines: Iterable[Line]) -> Iterator[Sample]:
    left = SHEETS
    for line in lines:
        runs = sorted(
            {run.folder: run for cell in line.cells for run in cell.records}.values(), key=lambda run: run.seed
        )
        found = ((run, read_picture(run.folder / PICTURES)) for run in runs)
        if left and (sample := next(((run, picture) for run, picture in found if picture is not None), None)):
            left -= 1
            yield Sample(visible(line.label), *sample)
