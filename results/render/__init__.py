"""A table in each format."""

from collections.abc import Callable, Sequence

from results.render.html import render_html
from results.render.latex import render_latex
from results.render.markdown import render_markdown
from results.render.terminal import render_terminal
from results.render.tidy import render_csv
from results.table import Table

FORMATS: dict[str, Callable[[Sequence[Table]], str]] = {
    "terminal": render_terminal,
    "md": render_markdown,
    "csv": render_csv,
    "latex": render_latex,
    "html": render_html,
}
"""By the name that users give."""
