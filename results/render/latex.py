r"""Tables for papers, by pandas with booktabs.

A file of tables compiles as it is, and a paper whose preamble has PACKAGES can `\input` it.
"""

import re
from collections.abc import Iterator, Sequence

import pandas as pd

from results.render.glyphs import latex_text
from results.render.panels import cut_panels
from results.render.parts import BASE, LABEL, RUNS, Entry, Row, Sheet, Tone, spoken, words
from results.table import Table

PACKAGES = r"""\usepackage[T1]{fontenc}
\usepackage{adjustbox,array,booktabs,textcomp}"""

ALONE = rf"""\makeatletter
\ifx\@classoptionslist\relax % no class is loaded: this file is the document
\documentclass{{article}}
{PACKAGES}
\IfFileExists{{lmodern.sty}}{{\usepackage{{lmodern}}}}{{}}
\usepackage[margin=25mm]{{geometry}}
\begin{{document}}
\def\finish{{\end{{document}}}}
\else % a document reads this file
\let\finish\relax
\fi
\makeatother
"""

ROOM = 100
"""Characters across. A wider table is cut into panels; one wider than the text is shrunk to it."""
LABEL_ROOM = 36
"""Characters of a label; longer ones are folded."""
HEIGHT = 48
"""Lines on a page; a longer table goes on in the next float."""
HEADING = 6
"""Lines that the heading of a panel takes."""
GAP = 2
"""Characters between columns."""

FLOAT = r"""
\begin{{table}}[htbp]
\centering\small\setlength{{\belowcaptionskip}}{{6pt}}
{}
{}\end{{table}}
"""
NOTES = r"""\par\smallskip
\begin{{minipage}}{{\linewidth}}\footnotesize\raggedright
{}
\end{{minipage}}
"""


def render_latex(tables: Sequence[Table]) -> str:
    r"""Return tables as LaTeX that compiles by itself, and in a document by `\input`."""
    return f"{ALONE}\n{''.join(_render(words(table), table.name) for table in tables)}\\finish\n"


def _render(sheet: Sheet, name: str) -> str:
    floats = list(_floats(sheet))
    title, label = latex_text(sheet.title), re.sub(r"[^A-Za-z0-9]+", "-", name)
    notes = [latex_text(spoken(sheet)), *(rf"{_raised([mark])} {latex_text(text)}" for mark, text in sheet.notes)]
    below = NOTES.format("\\par\n".join(filter(None, notes)))
    first = rf"\caption[{{{title}}}]{{{title}}}\label{{tab:{label}}}"
    drawn = FLOAT.format(first, floats[0] + ("" if floats[1:] else below))
    for k, body in enumerate(floats[1:], 2):
        caption = rf"\addtocounter{{table}}{{-1}}\caption[]{{{title}{{}} (part {k} of {len(floats)})}}"
        drawn += "\\clearpage\n" + FLOAT.format(caption, body + ("" if floats[k:] else below))
    return drawn


def _floats(sheet: Sheet) -> Iterator[str]:
    """Yield the tabulars of each float: panel by panel, as many lines as a page has room for."""
    widths = [_width(sheet, k) for k in range(len(sheet.heads))]
    stubs = (1 + sheet.bases) * _label_width(sheet) + len(RUNS) + GAP
    rows = [(section.heading, row) for section in sheet.sections for row in section.rows]
    drawn, free = "", HEIGHT
    for panel in cut_panels(sheet.heads, widths, ROOM - stubs):
        for start in range(0, max(1, len(rows)), HEIGHT - HEADING):
            chunk = rows[start : start + HEIGHT - HEADING]
            if drawn and len(chunk) + HEADING > free:
                yield drawn
                drawn, free = "", HEIGHT
            drawn += ("\\par\\medskip\n" if drawn else "") + _tabular(sheet, chunk, panel)
            free -= len(chunk) + HEADING
    yield drawn


def _width(sheet: Sheet, k: int) -> int:
    """Return the width of a column in characters."""
    head = sheet.heads[k]
    cells = (entry.plain + ",".join(entry.marks) for entry in (row.entries[k] for row in sheet.rows))
    return max(map(len, (head.name, head.unit, *cells))) + GAP


def _label_width(sheet: Sheet) -> int:
    return min(LABEL_ROOM, max([len(LABEL), *(len(row.label) for row in sheet.rows)])) + GAP


def _tabular(sheet: Sheet, rows: Sequence[tuple[str, Row]], panel: Sequence[int]) -> str:
    stubs = [LABEL, *([BASE] if sheet.bases else []), RUNS]
    columns = [*(("", "", latex_text(name)) for name in stubs)]
    columns += [(latex_text(h.group), latex_text(h.name), latex_text(h.unit)) for h in (sheet.heads[k] for k in panel)]
    body: list[list[str]] = []
    above = None
    for heading, row in rows:
        if heading and heading != above:
            rule = r"\midrule" if body else ""
            body.append([rf"{rule}\rlap{{\itshape {latex_text(heading)}}}", *[""] * (len(columns) - 1)])
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
    text = [r">{\raggedright\arraybackslash}p{17em}" if _label_width(sheet) > LABEL_ROOM else "l"]
    styler = frame.style.hide(axis="index").hide(axis="columns", level=[*unused, 3])
    tabular = styler.to_latex(
        hrules=True,
        column_format="".join(text * (1 + sheet.bases)) + "r" * (len(panel) + 1),
        multicol_align="c",
    )
    return f"\\begin{{adjustbox}}{{max width=\\linewidth}}\n{tabular}\\end{{adjustbox}}\n"


def _cell(entry: Entry) -> str:
    figure = latex_text(entry.text)
    bold = rf"\textbf{{{figure}}}" if entry.tone is Tone.BEST else figure
    return bold + latex_text(entry.plain[len(entry.text) :]) + _raised(entry.marks)


def _raised(marks: Sequence[str]) -> str:
    return rf"\textsuperscript{{{latex_text(','.join(marks))}}}" if marks else ""
