"""Tables as HTML, by great-tables: one for another page, or a page of their own."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby

import pandas as pd
from great_tables import GT
from great_tables import html as markup

from results.render.parts import BASE, LABEL, PUBLISHED, RUNS, Entry, Head, Sheet, words
from results.render.style import FONT, css_variables
from results.table import Table

RULES = (
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
)
"""Options of great-tables for the colours of lines."""

SHEET = """
.best { font-weight: 700; }
.spread, .absent, .unsure { color: var(--muted); }
.better { color: var(--better); }
.worse { color: var(--worse); }
.gt_row { white-space: nowrap; }
.gt_stub { white-space: normal; overflow-wrap: anywhere; min-width: 9em; max-width: 24em; }
.gt_title, .gt_subtitle, .gt_sourcenote { text-align: left !important; overflow-wrap: anywhere; }
.gt_group_heading { font-style: italic; }
"""
"""Colours are those of `style.css_variables`, which the page has to have."""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{colours}body {{ margin: 1rem; background: var(--ground); color: var(--text); }}
</style>
</head>
<body>
<main>
{tables}
</main>
</body>
</html>
"""


def render_html(tables: Sequence[Table]) -> str:
    """Return a page of tables that needs nothing else; it follows the reader's choice of light or dark."""
    title = html_text("; ".join(words(table).title for table in tables))
    return PAGE.format(title=title, colours=css_variables(), tables="\n".join(map(html_table, tables)))


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
    drawn = (
        GT(
            frame if sections else frame.drop(columns="section"),
            id=identity(table),
            rowname_col=LABEL,
            groupname_col="section" if sections else None,
        )
        .tab_header(markup(html_text(sheet.title)), markup(html_text(sheet.caption)) if sheet.caption else None)
        .tab_stubhead(LABEL)
        .cols_label({str(k): markup(_heading(head)) for k, head in enumerate(sheet.heads)})
        .cols_align("left", BASE if sheet.bases else [])
        .cols_align("right", [RUNS, *names])
        .fmt_passthrough(escape=False)
        .tab_options(table_background_color="inherit", table_font_names=list(FONT), **dict.fromkeys(RULES, "var(--rule)"))
        .opt_css(SHEET)
    )
    for group, columns in _groups(sheet.heads):
        drawn = drawn.tab_spanner(markup(html_text(group)), columns, id="-".join(columns), gather=False)
    for remark in sheet.remarks:
        drawn = drawn.tab_source_note(markup(html_text(remark)))
    for mark, text in sheet.notes:
        drawn = drawn.tab_source_note(markup(f"{_raised([mark])} {html_text(text)}"))
    return drawn.as_raw_html()


def identity(table: Table) -> str:
    """Return the `id` of a table's element in a page."""
    digest = hashlib.sha256(table.name.encode("utf-8", "backslashreplace")).hexdigest()[:6]
    return "-".join(filter(None, ("table", re.sub(r"[^A-Za-z0-9]+", "-", table.name).strip("-"), digest)))


def html_text(text: str) -> str:
    """Return HTML that shows each letter of a text; braces too, which great-tables reads as units of measurement."""
    return escape(text).replace("{", "&#123;").replace("}", "&#125;")


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
    figure = f'<span class="{entry.tone.value}">{entry.text}{entry.sign}</span>' if entry.text else ""
    spread = f'<span class="spread"> ± {entry.spread}</span>' if entry.spread else ""
    value = "" if entry.value is None else f' data-value="{entry.value!r}"'
    kind = "difference" if head.differences else "cell"
    return f'<span class="{kind}" {place}{value}>{figure}{spread}{_raised(entry.marks)}</span>'


def _raised(marks: Sequence[str]) -> str:
    return f"<sup>{html_text(','.join(marks))}</sup>" if marks else ""
