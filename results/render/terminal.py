"""Tables for a terminal, by rich."""

import io
import sys
from collections.abc import Sequence
from textwrap import wrap

from rich import box
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from results.render.panels import cut_panels
from results.render.parts import BASE, LABEL, RUNS, Entry, Head, Row, Sheet, Tone, spoken, words
from results.table import Table

WIDTH = 120
"""Of text that does not go to a terminal."""
HEAD_ROOM = 12
"""Characters of a heading; longer ones are folded, between words unless a word is longer than LONGEST."""
LONGEST = 24
GAP = 3
"""Between columns; rich draws one of it."""
STYLES = {
    Tone.PLAIN: "",
    Tone.BEST: "bold",
    Tone.ABSENT: "dim",
    Tone.BETTER: "green",
    Tone.WORSE: "red",
    Tone.UNSURE: "dim",
}


def render_terminal(tables: Sequence[Table], width: int | None = None) -> str:
    """Return tables as plain text of at most `width` columns; without a width, as they are to be printed.

    That is in colour and as wide as the terminal, or plain and WIDTH wide where the output is no terminal. Long labels
    are folded, and a table with too many columns is continued below. Figures are never broken: text is wider than
    asked for only where the start of a label and one column are.
    """
    here = Console() if width is None and sys.stdout.isatty() else None
    room = width or (here.width if here else WIDTH)
    drawn = [_draw(words(table), room) for table in tables]
    text = io.StringIO()
    out = Console(
        file=text,
        width=max([room, *(wide for wide, _ in drawn)]),
        height=100,
        force_terminal=here is not None,
        color_system="standard" if here and not here.no_color else None,
        legacy_windows=False,
    )
    for k, (_, table) in enumerate(drawn):
        if k:
            out.print()
        out.print(table)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def _draw(sheet: Sheet, room: int) -> tuple[int, RenderableType]:
    """Return the table, and the width that it needs."""
    columns = [_column(head, [row.entries[k] for row in sheet.rows]) for k, head in enumerate(sheet.heads)]
    widths = [cell_len(lines[0]) + GAP for lines, _ in columns]
    labels = [_with_marks(row.label, row.marks) for row in sheet.rows]
    runs = max(map(cell_len, (RUNS, *(row.runs for row in sheet.rows)))) + GAP
    texts = [
        [*labels, *(section.heading for section in sheet.sections)],
        *([[row.base for row in sheet.rows]] if sheet.bases else []),
    ]
    folded = _fold(texts, _room_of_labels(sheet.heads, widths, room - runs))
    left = sum(folded) + GAP * len(folded) + runs
    parts: list[RenderableType] = [Text(sheet.title, style="bold")]
    wide = left
    for panel in cut_panels(sheet.heads, widths, room - left + GAP):
        wide = max(wide, left + sum(widths[k] for k in panel) - GAP)
        parts += [Text(), _grid(sheet, labels, folded, [columns[k] for k in panel], panel)]
    below = [spoken(sheet), *(f"[{mark}] {text}" for mark, text in sheet.notes)]
    return wide, Group(*parts, Text(), *(Text(line, style="dim", overflow="fold") for line in below if line))


def _column(head: Head, entries: Sequence[Entry]) -> tuple[list[str], list[str]]:
    """Return the lines of a heading and the cells below it, all of one width, figures aligned at their points."""
    tails = [_tail(entry) for entry in entries]
    longest = max(map(cell_len, tails), default=0)
    cells = [
        entry.text if entry.tone is Tone.ABSENT and not entry.marks else entry.text + tail.ljust(longest)
        for entry, tail in zip(entries, tails, strict=True)
    ]
    longest_word = max(map(cell_len, f"{head.group} {head.name}".split()), default=0)
    narrow = max([HEAD_ROOM, min(LONGEST, longest_word), *map(cell_len, cells)])
    group = [] if head.differences else wrap(head.group, narrow)
    lines = [*group, *wrap(head.name, narrow), head.unit]
    width = max(map(cell_len, (*lines, *cells)))
    return [_to_the_right(line, width) for line in lines], [_to_the_right(cell, width) for cell in cells]


def _to_the_right(text: str, width: int) -> str:
    return " " * (width - cell_len(text)) + text


def _tail(entry: Entry) -> str:
    return _with_marks(entry.plain[len(entry.text) :], entry.marks)


def _with_marks(text: str, marks: Sequence[str]) -> str:
    return f"{text} [{','.join(marks)}]" if marks else text


def _room_of_labels(heads: Sequence[Head], widths: Sequence[int], room: int) -> int:
    """Return what the figures leave where all fit, else a third, and less where one column would not fit beside it."""
    columns: dict[int, int] = {}
    for head, width in zip(heads, widths, strict=True):
        columns[head.column] = columns.get(head.column, 0) + width
    return max(room - sum(widths), min(room // 3, room - max(columns.values(), default=0)))


def _fold(texts: Sequence[Sequence[str]], room: int) -> list[int]:
    """Return widths of columns of text: their own, or an equal part of the room where that is less."""
    most = max(len(LABEL), room // len(texts) - GAP)
    return [min(most, max([len(LABEL), *map(cell_len, column)])) for column in texts]


def _grid(
    sheet: Sheet,
    labels: Sequence[str],
    folded: Sequence[int],
    columns: Sequence[tuple[list[str], list[str]]],
    panel: Sequence[int],
) -> Grid:
    grid = Grid(box=box.SIMPLE_HEAD, padding=(0, GAP - 1, 0, 0), pad_edge=False, show_edge=False)
    high = max((len(header) for header, _ in columns), default=1)
    for name, width in zip((LABEL, BASE), folded, strict=False):
        grid.add_column(Text("\n" * (high - 1) + name), width=width, overflow="fold")
    grid.add_column(Text("\n" * (high - 1) + RUNS), justify="right", no_wrap=True)
    for header, _ in columns:
        grid.add_column(Text("\n" * (high - len(header)) + "\n".join(header)), no_wrap=True)
    k = 0
    for section in sheet.sections:
        if section.heading:
            grid.add_section()
            grid.add_row(Text(section.heading, style="italic"))
        for row in section.rows:
            grid.add_row(*_stubs(row, labels[k], sheet), *_cells(row, panel, [cells[k] for _, cells in columns]))
            k += 1
    return grid


def _stubs(row: Row, label: str, sheet: Sheet) -> list[Text]:
    return [Text(label), *([Text(row.base)] if sheet.bases else []), Text(row.runs)]


def _cells(row: Row, panel: Sequence[int], texts: Sequence[str]) -> list[Text]:
    return [Text(text, style=STYLES[row.entries[k].tone]) for k, text in zip(panel, texts, strict=True)]
