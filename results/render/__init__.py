"""A table as text for a terminal, as Markdown and as CSV."""

import csv
import io
import re
from collections.abc import Callable

from results.tables import Cell, Table

WIDTH = 120


def render_terminal(table: Table) -> str:
    """Return the table for a terminal, at most WIDTH columns wide and the same on every one."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable

    drawn = RichTable(
        title=table.title,
        caption=table.caption,
        box=box.SIMPLE_HEAD,
        padding=0,
        title_justify="left",
        caption_justify="left",
    )
    headers, rows = _cells(table)
    drawn.add_column(headers[0], overflow="fold")
    for header in headers[1:]:
        drawn.add_column("\n".join(header.rsplit(" ", 1)), justify="right", no_wrap=True)
    for row in rows:
        drawn.add_row(*row)
    text = io.StringIO()
    Console(file=text, width=WIDTH, color_system=None, markup=False, emoji=False).print(drawn)
    return text.getvalue()


def render_markdown(table: Table) -> str:
    """Return the table in GitHub's Markdown, with title and caption."""
    headers, rows = _cells(table)
    rows = [[re.sub(r"([\\|*`<\[])", r"\\\1", label), *figures] for label, *figures in rows]
    rule = ["---"] + ["---:"] * (len(headers) - 1)
    lines = ["| " + " | ".join(cells) + " |" for cells in (headers, rule, *rows)]
    return f"**{table.title}**\n\n" + "\n".join(lines) + f"\n\n{table.caption[0].upper()}{table.caption[1:]}.\n"


def render_csv(table: Table) -> str:
    """Return the table in full precision: per metric its mean, standard deviation over runs, and difference."""
    metrics = list(table.lines[0].cells) if table.lines else []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "runs"] + [f"{metric}{part}" for metric in metrics for part in ("", " std", " difference")])
    for line in table.lines:
        figures = [
            "" if value is None else repr(value)
            for cell in line.cells.values()
            for value in (cell.mean, cell.spread, cell.difference)
        ]
        writer.writerow([line.label, line.runs, *figures])
    return text.getvalue()


FORMATS: dict[str, Callable[[Table], str]] = {
    "terminal": render_terminal,
    "md": render_markdown,
    "csv": render_csv,
}


def _cells(table: Table) -> tuple[list[str], list[list[str]]]:
    """Return headers and cells as people read them; differences only of the overall AP."""
    metrics = list(table.lines[0].cells) if table.lines else []
    overall = [metric for metric in metrics if metric.endswith("/AP")] if table.baseline else []
    headers = ["pretraining", "runs", *(metric.replace("/", " ") for metric in metrics)]
    headers += [f"Δ {metric.replace('/', ' ')}" for metric in overall]
    rows = []
    for line in table.lines:
        row = [line.label, str(line.runs), *(_figure(line.cells[metric]) for metric in metrics)]
        rows.append(row + [_signed(line.cells[metric].difference) for metric in overall])
    return headers, rows


def _figure(cell: Cell) -> str:
    if cell.mean is None:
        return "-"
    return f"{cell.mean:.1f}" if cell.spread is None else f"{cell.mean:.1f} ± {cell.spread:.1f}"


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.1f}"
