r"""Tables for papers, by pandas with booktabs.

A file of tables compiles as it is, and a paper whose preamble has PACKAGES can `\input` it.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from textwrap import wrap

import pandas as pd

from results.render.glyphs import latex_length, latex_text
from results.render.panels import cut_panels
from results.render.parts import BASE, LABEL, RUNS, Entry, Head, Row, Sheet, Tone, spoken, words
from results.table import Table

PACKAGES = r"""\usepackage[T1]{fontenc}
\usepackage{adjustbox,array,booktabs,textcomp}"""

ALONE = rf"""\makeatletter
\ifx\@classoptionslist\relax % no class is loaded: this file is the document
\documentclass{{article}}
{PACKAGES}
\IfFileExists{{lmodern.sty}}{{\usepackage{{lmodern}}}}{{}}
\usepackage{{float}}\floatplacement{{table}}{{H}}
\usepackage[margin=25mm]{{geometry}}
\begin{{document}}
\def\finish{{\end{{document}}}}
\else % a document reads this file
\let\finish\relax
\fi
\makeatother
"""

ROOM = 104
"""Characters across. A wider table is cut into panels; one wider than the text is shrunk to it."""
HEAD_ROOM = 20
"""Characters of a heading; longer ones are folded."""
LABEL_ROOM = 36
"""Characters of a label that always have room; one longer than what the figures leave is folded."""
RAGGED = 10
"""Characters that a line of a folded label may lack."""
EM = 0.47
"""Of a character's width, on average."""
HEIGHT = 48
"""Lines on a page; a longer table goes on in the next float."""
HEADING = 4
"""Lines that a panel takes beside its rows and headings."""
GAP = 2
"""Characters between columns."""

FLOAT = r"""
\begin{{table}}
\centering\small\setlength{{\belowcaptionskip}}{{6pt}}
{}
{}\end{{table}}
"""
PANEL = r"""\begin{{adjustbox}}{{max width=\linewidth}}
{}\end{{adjustbox}}\par\smallskip
"""
NOTE = r"""{{\footnotesize\raggedright {}\par}}
"""


def render_latex(tables: Sequence[Table]) -> str:
    r"""Return tables as LaTeX that compiles by itself, and in a document by `\input`."""
    return f"{ALONE}\n{''.join(_render(words(table), table.name) for table in tables)}\\finish\n"


def _render(sheet: Sheet, name: str) -> str:
    title, label = latex_text(sheet.title), re.sub(r"[^A-Za-z0-9]+", "-", name)
    first, *others = _floats((*_panels(sheet), *_notes(sheet)), HEIGHT - latex_length(sheet.title) // ROOM)
    drawn = FLOAT.format(rf"\caption[{{{title}}}]{{{title}}}\label{{tab:{label}}}", first)
    for k, body in enumerate(others, 2):
        caption = rf"\addtocounter{{table}}{{-1}}\caption[]{{{title} (part {k} of {len(others) + 1})}}"
        drawn += FLOAT.format(caption, body)
    return drawn


def _floats(pieces: Iterable[tuple[int, str]], height: int) -> Iterator[str]:
    """Yield the content of each float: of pieces and their heights in lines, as many as a page has room for."""
    page: list[str] = []
    free = height
    for lines, text in pieces:
        if page and lines > free:
            yield "".join(page)
            page, free = [], height
        page.append(text)
        free -= lines
    yield "".join(page)


def _panels(sheet: Sheet) -> Iterator[tuple[int, str]]:
    """Yield the table, cut into panels where it is too wide, and each of them where it is too long."""
    widths = [_width(sheet, k) for k in range(len(sheet.heads))]
    texts = _texts(sheet)
    most = max(LABEL_ROOM, (ROOM - len(RUNS) - GAP - sum(widths)) // len(texts) - GAP)
    longest = [max(map(latex_length, column)) for column in texts]
    stubs = sum(min(most, length) + GAP for length in longest) + len(RUNS) + GAP
    folded = rf">{{\raggedright\arraybackslash}}p{{{EM * most:.1f}em}}"
    formats = "".join(folded if length > most else "l" for length in longest)
    rows = [(section.heading, row) for section in sheet.sections for row in section.rows]
    line = most - RAGGED if max(longest) > most else most + 1
    heights = [max(map(latex_length, (row.label, row.base))) // line + 1 for _, row in rows]
    for panel in cut_panels(sheet.heads, widths, ROOM - stubs):
        chunk: list[tuple[str, Row]] = []
        heading = _heading_lines([sheet.heads[k] for k in panel])
        lines = heading
        for row, height in zip(rows, heights, strict=True):
            if chunk and lines + height > HEIGHT:
                yield lines, _tabular(sheet, chunk, panel, formats)
                chunk, lines = [], heading
            chunk.append(row)
            lines += height
        yield lines, _tabular(sheet, chunk, panel, formats)


def _heading_lines(heads: Sequence[Head]) -> int:
    groups = max((len(_lines(head.group, 2 * HEAD_ROOM)) for head in heads), default=0)
    return HEADING + groups + max((len(_lines(head.name, HEAD_ROOM)) for head in heads), default=0)


def _notes(sheet: Sheet) -> Iterator[tuple[int, str]]:
    """Yield caption and remarks as one paragraph, then each note."""
    if text := spoken(sheet):
        yield latex_length(text) // ROOM + 1, NOTE.format(latex_text(text))
    for mark, text in sheet.notes:
        yield latex_length(text) // ROOM + 1, NOTE.format(f"{_raised([mark])} {latex_text(text)}")


def _width(sheet: Sheet, k: int) -> int:
    """Return the width of a column in characters."""
    head = sheet.heads[k]
    cells = (entry.plain + ",".join(entry.marks) for entry in (row.entries[k] for row in sheet.rows))
    return max(map(latex_length, (*_lines(head.name, HEAD_ROOM), head.unit, *cells))) + GAP


def _stacked(text: str, room: int) -> str:
    """Return a heading, in lines where it is long."""
    lines = list(map(latex_text, _lines(text, room)))
    return r"\shortstack{" + r"\\".join(lines) + "}" if lines[1:] else "".join(lines)


def _lines(text: str, room: int) -> list[str]:
    return wrap(text, max(1, room * len(text) // max(1, latex_length(text))))


def _texts(sheet: Sheet) -> list[list[str]]:
    """Return the columns of text: labels, and bases where rows name theirs."""
    labels = [LABEL, *(row.label for row in sheet.rows)]
    return [labels, [BASE, *(row.base for row in sheet.rows)]] if sheet.bases else [labels]


def _tabular(sheet: Sheet, rows: Sequence[tuple[str, Row]], panel: Sequence[int], formats: str) -> str:
    """Return rows and the columns of a panel; `formats` are those of the columns of text."""
    stubs = [LABEL, *([BASE] if sheet.bases else []), RUNS]
    columns = [*(("", "", latex_text(name)) for name in stubs)]
    columns += [
        (_stacked(head.group, 2 * HEAD_ROOM), _stacked(head.name, HEAD_ROOM), latex_text(head.unit))
        for head in (sheet.heads[k] for k in panel)
    ]
    body: list[list[str]] = []
    above = None
    for heading, row in rows:
        if heading and heading != above:
            rule = r"\midrule" if body else ""
            body.append([rf"{rule}\leavevmode\rlap{{\itshape {latex_text(heading)}}}", *[""] * (len(columns) - 1)])
        above = heading
        body.append(
            [
                latex_text(row.label) + _raised(row.marks),
                *([latex_text(row.base)] if sheet.bases else []),
                row.runs,
                *(_cell(row.entries[k]) for k in panel),
            ]
        )
    levels = [(*column, str(k)) for k, column in enumerate(columns)]  # the last tells columns of one name apart
    frame = pd.DataFrame(body, columns=pd.MultiIndex.from_tuples(levels), dtype=str)
    unused = [level for level in range(3) if not any(column[level] for column in columns)]
    styler = frame.style.hide(axis="index").hide(axis="columns", level=[*unused, 3])
    tabular = styler.to_latex(
        hrules=True,
        column_format=formats + "r" * (len(panel) + 1),
        multicol_align="c",
    )
    return PANEL.format(tabular)


def _cell(entry: Entry) -> str:
    figure = latex_text(entry.text)
    bold = rf"\textbf{{{figure}}}" if entry.tone is Tone.BEST else figure
    return bold + latex_text(entry.plain[len(entry.text) :]) + _raised(entry.marks)


def _raised(marks: Sequence[str]) -> str:
    return rf"\textsuperscript{{{latex_text(','.join(marks))}}}" if marks else ""
