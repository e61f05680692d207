"""The tables in this checkout: which files there are to be, and what the committed records say they hold."""

import re
from pathlib import Path

from results.declaration import DECLARATIONS, Declaration, load_declaration
from results.records import Store
from results.render import FORMATS
from results.table import Line, Table
from results.tables import build
from superinfo.files import write_bytes
from superinfo.recipes import recipe_names

ROOT = Path(__file__).parents[1]
README = "README.md"
SUFFIXES = {"md": "md", "tex": "latex"}
"""Of the files beside each declaration, and the format of each."""
PICTURES = "pictures.png"
"""Beside the record of a detector."""
BLOCK = re.compile(r"(?P<head><!-- table: (?P<name>\S+) -->\n).*?(?P<tail><!-- end of table -->)", re.DOTALL)


def committed_tables(store: Store, folder: Path = DECLARATIONS) -> list[Table]:
    """Return the tables that a folder declares, from a store. Raises UserError as `load_declaration` does."""
    return [build(_load(folder, name), store) for name in recipe_names(folder)]


def render_committed(tables: list[Table], store: Store, root: Path = ROOT) -> dict[Path, bytes]:
    """Return every generated file of a checkout with what it is to hold.

    They are two for each table, the README with its tables, and beside the records the picture of the last row of each
    of the README's tables.
    """
    folder = root / DECLARATIONS.relative_to(ROOT)
    files = {
        folder / f"{table.name}.{suffix}": FORMATS[format]([table]).encode()
        for table in tables
        for suffix, format in SUFFIXES.items()
    }
    readme = (root / README).read_text()
    by_name = {table.name: table for table in tables}
    shown = [by_name[found["name"]] for found in BLOCK.finditer(readme) if found["name"] in by_name]
    blocks = {table.name: FORMATS["md"]([table]) for table in shown}
    files[root / README] = BLOCK.sub(lambda found: _block(found, blocks), readme).encode()
    for table in shown:
        if picture := next(filter(None, map(_picture, reversed(table.lines))), None):
            files[store.folder / f"{table.name}.png"] = picture.read_bytes()
    return files


def write_committed(store: Store, root: Path = ROOT) -> list[Path]:
    """Write every generated file of a checkout; return those that changed."""
    tables = committed_tables(store, root / DECLARATIONS.relative_to(ROOT))
    changed = []
    for path, content in render_committed(tables, store, root).items():
        if not path.exists() or path.read_bytes() != content:
            write_bytes(path, content)
            changed.append(path)
    return changed


def _load(folder: Path, name: str) -> Declaration:
    return load_declaration(folder / f"{name}.yaml")


def _block(found: re.Match[str], blocks: dict[str, str]) -> str:
    if found["name"] not in blocks:
        return found[0]
    return f"{found['head']}\n{blocks[found['name']].strip()}\n\n{found['tail']}"


def _picture(line: Line) -> Path | None:
    runs = [run for cell in line.cells for run in cell.records]
    return next((path for run in runs if (path := run.folder / PICTURES).exists()), None)
