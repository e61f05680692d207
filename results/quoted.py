"""Published rows as lines of a table, each cell with its source and its footnotes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal

from results.citations import read_sources
from results.literature import WHOLE, Published, PublishedFilter, Quoted, Unit, read_published, select
from results.marks import Notes
from results.table import Cell, Column, Line, State
from results.vocabulary import MEANINGS, NEVER_TOLD, TOLD_WHERE_ROWS_DIFFER, Tag
from superinfo.errors import UserError

Cells = Mapping[int, Published]
"""Rows by the index of the column that shows them."""


def quoted_lines(
    filters: Sequence[PublishedFilter | None],
    columns: Sequence[Column],
    notes: Notes,
    rows: Sequence[Quoted] | None = None,
) -> tuple[Line, ...]:
    """Return the published lines of a table; `filters` are parallel to `columns`, None for what nobody published.

    A line is one pretrained encoder of one source; where that has several figures of it for one column, it gets as
    many lines. Values are converted exactly to the column's unit, percent or fraction. What a reader has to know of a
    figure, and what tells it from others in its group of columns, is a footnote. `rows` are the shipped ones unless
    given.

    Raises UserError if a column has another unit or its filter selects several metrics, and as `select` does.
    """
    everything = read_published() if rows is None else rows
    found: list[tuple[Quoted, int]] = []
    for index, (wanted, column) in enumerate(zip(filters, columns, strict=True)):
        chosen = [] if wanted is None else select(wanted, everything)
        if len(metrics := sorted({quoted.row.metric for quoted in chosen})) > 1:
            raise UserError(f"column {column.key}: {' and '.join(metrics)} in one column; let its filter name one")
        if chosen and column.unit not in WHOLE:
            raise UserError(f"column {column.key}: unit {column.unit} of published figures; percent and fraction are")
        found += [(quoted, index) for quoted in chosen]
    found.sort(key=lambda one: (one[0].path, one[0].line, one[1]))
    shown = [(quoted.row, index) for quoted, index in found]
    common = _common_tags(shown, columns)
    lines = list(_lines(shown))
    labels = _labels([next(iter(cells.values())) for cells, _ in lines])
    drawn = []
    for label, (cells, alike) in zip(labels, lines, strict=True):
        texts = {
            index: list(_footnotes(row, columns[index], common.get(columns[index].group, frozenset()), alike))
            for index, row in cells.items()
        }
        drawn.append(_draw(label, cells, columns, texts, notes))
    return tuple(drawn)


def citations(lines: Iterable[Line]) -> tuple[str, ...]:
    """Return the sources of published lines in full, in order of appearance, each behind its key in brackets."""
    sources = read_sources()
    keys = dict.fromkeys(cell.source for line in lines for cell in line.cells if cell.source)
    return tuple(f"[{key}] {sources[key].citation}" for key in keys)


def _common_tags(shown: Iterable[tuple[Published, int]], columns: Sequence[Column]) -> dict[str, frozenset[Tag]]:
    """Return, for each group of columns, the tags that all its figures have."""
    common: dict[str, frozenset[Tag]] = {}
    for row, index in shown:
        if not row.value:
            continue
        group = columns[index].group
        common[group] = common.get(group, frozenset(row.tags)) & frozenset(row.tags)
    return common


def _lines(shown: Iterable[tuple[Published, int]]) -> Iterator[tuple[Cells, bool]]:
    """Yield the rows of each line, and whether tags fail to tell it from another line of its encoder.

    The figures of one measurement stay together, in the encoder's first line that has room for all of them.
    """
    encoders: dict[tuple[object, ...], dict[Published, dict[int, Published]]] = {}
    for row, index in shown:
        encoder = (row.source, row.method, row.variant, row.pretrain_dataset, row.backbone, row.epochs, row.batch_size)
        measurement = row.model_copy(update={"metric": "", "value": "", "std": "", "note": ""})
        encoders.setdefault(encoder, {}).setdefault(measurement, {})[index] = row
    for measurements in encoders.values():
        lines: list[dict[int, Published]] = []
        for cells in measurements.values():
            room = next((line for line in lines if not line.keys() & cells.keys()), None)
            if room is None:
                lines.append(dict(cells))
            else:
                room.update(cells)
        tags = [{row.tags for row in line.values()} for line in lines]
        for line, own in zip(lines, tags, strict=True):
            yield line, sum(bool(own & other) for other in tags) > 1


def _labels(rows: Sequence[Published]) -> list[str]:
    """Return what tells the lines' encoders apart: always method and source, the others where they are said.

    Backbone and pretraining set are named where the lines have several.
    """
    several_backbones = len({row.backbone for row in rows}) > 1
    several_sets = len({row.pretrain_dataset for row in rows} - {"none"}) > 1
    labels = []
    for row in rows:
        parts = [
            row.method,
            row.backbone if several_backbones else "",
            row.pretrain_dataset if several_sets and row.pretrain_dataset != "none" else "",
            row.variant,
            f"{row.epochs} epochs" if row.epochs else "",
            f"batch {row.batch_size}" if row.batch_size else "",
        ]
        labels.append(f"{', '.join(filter(None, parts))} [{row.source}]")
    return labels


def _draw(
    label: str, cells: Cells, columns: Sequence[Column], texts: Mapping[int, Sequence[str]], notes: Notes
) -> Line:
    """Return a line; a footnote of all its figures stands at its label, others at their cells."""
    first, *others = texts.values()
    shared = [text for text in first if all(text in other for other in others)]
    marks = notes.marks(shared)
    drawn = []
    for index, column in enumerate(columns):
        own = notes.marks(text for text in texts.get(index, ()) if text not in shared)
        drawn.append(_cell(cells[index], column, own) if index in cells else Cell(State.MISSING))
    return Line(label, tuple(drawn), marks=marks)


def _cell(row: Published, column: Column, marks: tuple[str, ...]) -> Cell:
    if not row.value:
        return Cell(State.MISSING, marks=marks, source=row.source)
    return Cell(
        State.PUBLISHED,
        mean=_convert(row.value, row.unit, column),
        spread=_convert(row.std, row.unit, column) if row.std else None,
        runs=row.trials or 0,
        marks=marks,
        source=row.source,
    )


def _convert(figure: str, unit: Unit, column: Column) -> float:
    wanted: Unit = "percent" if column.unit == "percent" else "fraction"
    return float(Decimal(figure) * WHOLE[wanted] / WHOLE[unit])


def _footnotes(row: Published, column: Column, common: frozenset[Tag], alike: bool) -> Iterator[str]:
    """Yield what a reader has to be told of a figure, where `common` tags are those of all figures in its group."""
    if not row.value:
        yield f"No figure of {row.source} is at hand; its rows in results/published/ are there to be filled."
        return
    untold = NEVER_TOLD | (TOLD_WHERE_ROWS_DIFFER & common)
    yield from (MEANINGS[tag] for tag in row.tags if tag not in untold)
    if alike and row.setting:
        yield f"Measured as: {row.setting}."
    if row.trials:
        yield f"Mean of {row.trials} trials."
    if row.unit != column.unit:
        yield f"Converted from {row.unit} to {column.unit}."
    if row.note:
        yield row.note
