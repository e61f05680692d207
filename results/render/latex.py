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
HEIGHT = 40
"""Lines on a page; a longer table goes on in the next float."""
GAP = 2
"""Characters between columns."""


def render_latex(tables: Sequence[Table]) -> str:
    r"""Return tables as LaTeX that compiles by itself, and in a document by `\input`."""
    environments = "\n".join(_render(words(table), table.name) for table in tables)
    return f"{ALONE}\n{environments}\n\\finish\n"


def _render(sheet: Sheet, name: str) -> str:
    widths = [_width(sheet, k) for k in range(len(sheet.heads))]
    panels = cut_panels(sheet.heads, widths, ROOM - len(RUNS) - (1 + sheet.bases) * _label_width(sheet) - GAP)
    floats = list(_pages(sheet, HEIGHT // len(panels)))
    below = [latex_text(spoken(sheet)), *(rf"{_raised([mark])} {latex_text(text)}" for mark, text in sheet.notes)]
    label = re.sub(r"[^A-Za-z0-9]+", "-", name)
    drawn = []
    for k, rows in enumerate(floats, 1):
        head, part = latex_text(sheet.title), f", part {k} of {len(floats)}" if len(floats) > 1 else ""
        drawn.append(
            "\\begin{table}[htbp]\n\\centering\\small\n"
            + ("\\addtocounter{table}{-1}" if k > 1 else "")
            + f"\\caption[{{{head}}}]{{{head}{part}}}"
            + (f"\\label{{tab:{label}}}\n" if k == 1 else "\n")
            + "\\par\\medskip\n".join(_tabular(sheet, rows, panel) for panel in panels)
            + "\\par\\smallskip\n\\begin{minipage}{\\linewidth}\\footnotesize\\raggedright\n"
            + "\\par\n".join(filter(None, below))
            + "\n\\end{minipage}\n\\end{table}\n"
        )
    return "\n".join(drawn)


def _width(sheet: Sheet, k: int) -> int:
    """Return the width of a column in characters."""
    head = sheet.heads[k]
    cells = (entry.plain + ",".join(entry.marks) for entry in (row.entries[k] for row in sheet.rows))
    return max(map(len, (head.name, head.unit, *cells))) + GAP


def _label_width(sheet: Sheet) -> int:
    return min(LABEL_ROOM, max([len(LABEL), *(len(row.label) for row in sheet.rows)])) + GAP


def _pages(sheet: Sheet, height: int) -> Iterator[list[tuple[str, Row]]]:
    """Yield the rows of each float, with the heading of their section before the first of each in it."""
    rows = [(section.heading, row) for section in sheet.sections for row in section.rows]
    for start in range(0, max(1, len(rows)), height):
        page = rows[start : start + height]
        yield [
            ("" if k and page[k - 1][0] == heading else heading, row) for k, (heading, row) in enumerate(page)
        ]


def _tabular(sheet: Sheet, rows: Sequence[tuple[str, Row]], panel: Sequence[int]) -> str:
    stubs = [LABEL, *([BASE] if sheet.bases else []), RUNS]
    columns = [*(("", "", latex_text(name)) for name in stubs)]
    columns += [(latex_text(h.group), latex_text(h.name), latex_text(h.unit)) for h in (sheet.heads[k] for k in panel)]
    body = []
    for heading, row in rows:
        if heading:
            body.append([rf"\midrule\rlap{{\itshape {latex_text(heading)}}}", *[""] * (len(columns) - 1)])
        body.append(
            [
                latex_text(row.label) + _raised(row.marks),
                *([latex_text(row.base)] if sheet.bases else []),
                row.runs,
                *(_cell(row.entries[k]) for k in panel),
            ]
        )
    if rows and rows[0][0]:
        body[0][0] = body[0][0].removeprefix(r"\midrule")
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
