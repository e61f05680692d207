"""Tables in GitHub's Markdown, by tabulate."""

import re
from collections.abc import Sequence

from tabulate import tabulate

from results.render.parts import BASE, LABEL, RUNS, Entry, Head, Section, Sheet, Tone, spoken, words
from results.table import Table


def render_markdown(tables: Sequence[Table]) -> str:
    """Return tables in GitHub's Markdown, each with title, caption and notes."""
    return "\n".join(_render(words(table)) for table in tables)


def _render(sheet: Sheet) -> str:
    stubs = [LABEL, *([BASE] if sheet.bases else []), RUNS]
    rows = [row for section in sheet.sections for row in _rows(section, sheet)]
    table = tabulate(
        rows,
        [*stubs, *map(_heading, sheet.heads)],
        tablefmt="pipe",
        disable_numparse=True,
        colalign=["left"] * (len(stubs) - 1) + ["right"] * (len(sheet.heads) + 1),
    )
    notes = [f"<sup>{_inline(mark)}</sup> {_inline(text)}" for mark, text in sheet.notes]
    blocks = (f"**{_inline(sheet.title)}**", table, _paragraph(spoken(sheet)), "\\\n".join(notes))
    return "\n\n".join(filter(None, blocks)) + "\n"


def _heading(head: Head) -> str:
    if head.differences:
        return head.name
    unit, _, arrow = head.unit.rpartition(" ")
    words_ = (head.group and f"{head.group}:", head.name, arrow, unit and f"({unit})")
    return _inline(" ".join(filter(None, words_)))


def _rows(section: Section, sheet: Sheet) -> list[list[str]]:
    width = len(sheet.heads) + 2 + sheet.bases
    heading = [[f"**{section.heading}**", *[""] * (width - 1)]] if section.heading else []
    return heading + [
        [
            _inline(row.label) + _raised(row.marks),
            *([_inline(row.base)] if sheet.bases else []),
            row.runs,
            *map(_cell, row.entries),
        ]
        for row in section.rows
    ]


def _cell(entry: Entry) -> str:
    figure = f"**{entry.text}**" if entry.tone is Tone.BEST else entry.text
    return figure + _inline(entry.plain[len(entry.text) :]) + _raised(entry.marks)


def _raised(marks: Sequence[str]) -> str:
    return f"<sup>{_inline(','.join(marks))}</sup>" if marks else ""


def _paragraph(text: str) -> str:
    """Return text as a paragraph: what begins a heading, a list or a quotation at its start does not here."""
    return re.sub(r"^(\d+)([.)])|^([#>+=-])", r"\1\\\2\3", _inline(text))


def _inline(text: str) -> str:
    """Return text so that Markdown shows each letter of it, also in a cell of a table."""
    return re.sub(r"[\\|*`<\[\]~&$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\\g<0>", text)
