"""Facts for people: a label and a text in each line."""

import io
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from superinfo.errors import printable


def listed(facts: Iterable[tuple[str, str]]) -> str:
    """Return pairs of label and text as two columns, whatever strangers' files put into them."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in facts:
        table.add_row(printable(label), printable(value))
    text = io.StringIO()
    Console(file=text, width=110, highlight=False, markup=False).print(table)
    return "\n".join(line.rstrip() for line in text.getvalue().rstrip().splitlines())
