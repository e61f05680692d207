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
GAP = 2
"""Between columns."""
STYLES = {
    Tone.PLAIN: "",
    Tone.BEST: "bold",
    Tone.ABSENT: "dim",
    Tone.BETTER: "green",
    Tone.WORSE: "red",
    Tone.UNSURE: "dim",
}


def render_terminal(tables: Sequence[Table], width: int | None = None) -> str:
    """Return tables as text of at most `width` columns; by default those of the terminal, or WIDTH if there is none.

    Long labels are folded; a table with too many columns is continued below. Figures are never broken: text is wider
    than `width` only where a label's start and one column are. Colour and bold type are for terminals alone.
    """
    console = Console()
    room = width or (console.width if console.is_terminal else WIDTH)
    drawn = [_draw(words(table), room) for table in tables]
    text = io.StringIO()
    out = Console(
        file=text,
        width=max([room, *(wide for wide, _ in drawn)]),
        height=100,
        force_terminal=console.is_terminal,
        color_system="standard" if console.is_terminal and not console.no_color else None,
        legacy_windows=False,
        markup=False,
        emoji=False,
        highlight=False,
    )
    for k, (_, table) in enumerate(drawn):
        if k:
            out.print()
        out.print(table)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def _draw(sheet: Sheet, room: int) -> tuple[int, RenderableType]:
    """Return the table, and the width that it needs."""
    columns = [_column(head, [row.entries[k] for row in sheet.rows]) for k, head in enumerate(sheet.heads)]
    widths = [max(map(cell_len, (*header, *cells))) + GAP for header, cells in columns]
    stubs = [(RUNS, [row.runs for row in sheet.rows])]
    if sheet.bases:
        stubs.insert(0, (BASE, [row.base for row in sheet.rows]))
    labels = [_with_marks(row.label, row.marks) for row in sheet.rows]
    texts = [labels, *([cells for name, cells in stubs if name == BASE])]
    runs = max(map(cell_len, (RUNS, *stubs[-1][1]))) + GAP
    folded = _fold(texts, room - runs - max(widths, default=0))
    left = sum(folded) + GAP * (len(folded) - 1) + runs
    parts: list[RenderableType] = [Text(sheet.title, style="bold")]
    wide = left
    for panel in cut_panels(sheet.heads, widths, room - left):
        wide = max(wide, left + sum(widths[k] for k in panel))
        parts += [Text(), _grid(sheet, labels, folded, [columns[k] for k in panel], panel)]
    below = [spoken(sheet), *(f"[{mark}] {text}" for mark, text in sheet.notes)]
    return wide, Group(*parts, Text(), *(Text(line, style="dim", overflow="fold") for line in below if line))


def _column(head: Head, entries: Sequence[Entry]) -> tuple[list[str], list[str]]:
    """Return the lines of a heading and the texts of the cells below it, figures aligned at their points."""
    tails = [_tail(entry) for entry in entries]
    longest = max(map(cell_len, tails), default=0)
    cells = [
        entry.text if entry.tone is Tone.ABSENT and not entry.marks else entry.text + tail.ljust(longest)
        for entry, tail in zip(entries, tails, strict=True)
    ]
    narrow = max([12, *map(cell_len, cells)])
    group = [] if head.differences else wrap(head.group, narrow)
    return [*group, *wrap(head.name, narrow), head.unit], cells


def _tail(entry: Entry) -> str:
    return _with_marks(entry.plain[len(entry.text) :], entry.marks)


def _with_marks(text: str, marks: Sequence[str]) -> str:
    return f"{text} [{','.join(marks)}]" if marks else text


def _fold(texts: Sequence[Sequence[str]], room: int) -> list[int]:
    """Return widths of columns of text: their own, or an equal part of the room where that is less."""
    most = max(12, (room - GAP * (len(texts) - 1)) // len(texts))
    return [min(most, max([len(LABEL), *map(cell_len, column)])) for column in texts]


def _grid(
    sheet: Sheet,
    labels: Sequence[str],
    folded: Sequence[int],
    columns: Sequence[tuple[list[str], list[str]]],
    panel: Sequence[int],
) -> Grid:
    grid = Grid(box=box.SIMPLE_HEAD, padding=(0, GAP, 0, 0), pad_edge=False, show_edge=False)
    high = max((len(header) for header, _ in columns), default=1)
    for name, width in zip((LABEL, BASE), folded, strict=False):
        grid.add_column(Text("\n" * (high - 1) + name), width=width, overflow="fold")
    grid.add_column(Text("\n" * (high - 1) + RUNS), justify="right", no_wrap=True)
    for header, _ in columns:
        grid.add_column(Text("\n" * (high - len(header)) + "\n".join(header)), justify="right", no_wrap=True)
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
