"""Tables as HTML, by great-tables: one for another page, or a page of their own."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby
from typing import Any

import pandas as pd
from great_tables import GT
from great_tables import html as markup

from results.render.parts import BASE, LABEL, PUBLISHED, RUNS, Entry, Head, Sheet, Tone, words
from results.render.style import FONT, css_variables
from results.table import Table

RULES: dict[str, Any] = dict.fromkeys(
    (
        "table_border_top_color",
        "table_border_bottom_color",
        "heading_border_bottom_color",
        "column_labels_border_top_color",
        "column_labels_border_bottom_color",
        "row_group_border_top_color",
        "row_group_border_bottom_color",
        "stub_border_color",
        "table_body_border_top_color",
        "table_body_border_bottom_color",
        "table_body_hlines_color",
    ),
    "var(--rule)",
)
"""Options of great-tables for the colours of lines."""

SHEET = """
.best { font-weight: 700; }
.spread, .absent, .unsure { color: var(--muted); }
.better { color: var(--better); }
.worse { color: var(--worse); }
.gt_row { white-space: nowrap; }
.gt_stub { white-space: normal; overflow-wrap: anywhere; min-width: 8em; max-width: 24em;
  position: sticky; left: 0; background: var(--ground) !important; }
.gt_title, .gt_subtitle { text-align: left !important; }
.prose { position: sticky; left: 0; max-width: min(60em, 100vw - 3em); overflow-wrap: anywhere; }
.gt_group_heading { font-style: italic; }
@media (max-width: 40em) { .gt_stub { max-width: 40vw; } }
"""
"""Colours are those of `style.css_variables`, which the page has to have."""

FRAME = """<div class="table" role="region" tabindex="0" style="overflow-x: auto" aria-label="{title}">
{table}
</div>
"""
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{colours}body {{ margin: 1rem; background: var(--ground); color: var(--text); font-family: {font}; }}
h1 {{ font-size: 1.4rem; }}
</style>
</head>
<body>
<main>
<h1>Results</h1>
{tables}
</main>
</body>
</html>
"""


def render_html(tables: Sequence[Table]) -> str:
    """Return a page of tables that needs nothing else; it follows the reader's choice of light or dark."""
    title = html_text("; ".join(words(table).title for table in tables))
    return PAGE.format(title=title, font=_font(), colours=css_variables(), tables="\n".join(map(html_table, tables)))


def html_table(table: Table) -> str:
    """Return a table and its style for a page that has `style.css_variables`.

    The cell of a figure holds `<span class="cell" data-row data-column data-value>`: indices into `Table.lines` (of a
    published one into `Table.published`, with `data-published`) and `Table.columns`, and the figure in full precision.
    """
    sheet = words(table)
    stubs = [BASE, RUNS] if sheet.bases else [RUNS]
    names = [str(k) for k in range(len(sheet.heads))]
    frame = pd.DataFrame(list(_rows(sheet)), columns=["section", LABEL, *stubs, *names], dtype=str)
    sections = any(section.heading for section in sheet.sections)
    with pd.option_context("mode.string_storage", "python"):  # in which great-tables sets cells twice as fast
        drawn = GT(
            frame if sections else frame.drop(columns="section"),
            id=identity(table),
            rowname_col=LABEL,
            groupname_col="section" if sections else None,
        )
    for group, columns in _groups(sheet.heads):
        drawn = drawn.tab_spanner(markup(html_text(group)), columns, id="-".join(columns), gather=False)
    for line in (*map(html_text, sheet.remarks), *(f"{_raised([m])} {html_text(text)}" for m, text in sheet.notes)):
        drawn = drawn.tab_source_note(markup(_prose(line)))
    text = (
        drawn.tab_header(
            markup(_prose(html_text(sheet.title))),
            markup(_prose(html_text(sheet.caption))) if sheet.caption else None,
        )
        .tab_stubhead(LABEL)
        .cols_label({str(k): markup(_heading(head)) for k, head in enumerate(sheet.heads)})
        .cols_align("left", BASE if sheet.bases else [])
        .cols_align("right", [RUNS, *names])
        .fmt_passthrough([LABEL, *stubs, *names], escape=False)
        .tab_options(
            container_overflow_x="visible",
            container_overflow_y="visible",
            table_background_color="inherit",
            table_font_names=list(FONT),
            **RULES,
        )
        .opt_css(SHEET)
        .as_raw_html()
    )
    return FRAME.format(title=html_text(sheet.title), table=text)


def identity(table: Table) -> str:
    """Return the `id` of a table's element in a page."""
    digest = hashlib.sha256(table.name.encode("utf-8", "backslashreplace")).hexdigest()[:6]
    return "-".join(filter(None, ("table", re.sub(r"[^A-Za-z0-9]+", "-", table.name).strip("-"), digest)))


def html_text(text: str) -> str:
    """Return HTML that shows each letter of a text; braces too, which great-tables reads as units of measurement."""
    return escape(text).replace("{", "&#123;").replace("}", "&#125;")


def _font() -> str:
    return ", ".join(f'"{name}"' if " " in name else name for name in FONT)


def _prose(line: str) -> str:
    """Return a line of text that stays in sight when a wide table is scrolled below it."""
    return f'<div class="prose">{line}</div>'


def _groups(heads: Sequence[Head]) -> Iterator[tuple[str, list[str]]]:
    """Yield each run of columns of one group, by the names of columns."""
    for group, indices in groupby(range(len(heads)), lambda k: heads[k].group):
        if group:
            yield group, [str(k) for k in indices]


def _heading(head: Head) -> str:
    unit = f'<br><span class="unit">{html_text(head.unit)}</span>' if head.unit else ""
    return f"{html_text(head.name)}{unit}"


def _rows(sheet: Sheet) -> Iterator[list[str]]:
    for section in sheet.sections:
        published = " data-published" if section.heading == PUBLISHED else ""
        for k, row in enumerate(section.rows):
            yield [
                section.heading,
                f"<bdi>{html_text(row.label)}</bdi>{_raised(row.marks)}",
                *([f"<bdi>{html_text(row.base)}</bdi>"] if sheet.bases else []),
                row.runs,
                *(
                    _cell(entry, head, f'data-row="{k}" data-column="{head.column}"{published}')
                    for head, entry in zip(sheet.heads, row.entries, strict=True)
                ),
            ]


def _cell(entry: Entry, head: Head, place: str) -> str:
    tag = "strong" if entry.tone is Tone.BEST else "span"
    figure = f'<{tag} class="{entry.tone.value}">{entry.text}{entry.sign}</{tag}>' if entry.text else ""
    spread = f'<span class="spread"> ± {entry.spread}</span>' if entry.spread else ""
    value = "" if entry.value is None else f' data-value="{entry.value!r}"'
    kind = "difference" if head.differences else "cell"
    return f'<span class="{kind}" {place}{value}>{figure}{spread}{_raised(entry.marks)}</span>'


def _raised(marks: Sequence[str]) -> str:
    return f"<sup>{html_text(','.join(marks))}</sup>" if marks else ""
