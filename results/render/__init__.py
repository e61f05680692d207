"""A table in each format."""

from collections.abc import Callable, Sequence
from functools import partial

from results.render.html import render_html
from results.render.latex import render_latex
from results.render.markdown import render_markdown
from results.render.terminal import WIDTH, render_terminal
from results.render.tidy import render_csv
from results.table import Table

__all__ = [
    "FILES",
    "FORMATS",
    "render_csv",
    "render_html",
    "render_latex",
    "render_markdown",
    "render_terminal",
]

Render = Callable[[Sequence[Table]], str]

FORMATS: dict[str, Render] = {
    "terminal": render_terminal,
    "md": render_markdown,
    "csv": render_csv,
    "latex": render_latex,
    "html": render_html,
}
"""To be printed, by the name that users give."""

FILES: dict[str, Render] = {
    "txt": partial(render_terminal, width=WIDTH),
    "md": render_markdown,
    "csv": render_csv,
    "tex": render_latex,
    "html": render_html,
}
"""To be written, by the suffix of the file: the same on every machine."""
