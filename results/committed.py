"""The tables in this checkout: which files there are to be, and what the committed records say they hold."""

import re
from functools import partial
from pathlib import Path

from results.declaration import DECLARATIONS, Declaration, load_declaration
from results.records import Store
from results.render import FORMATS
from results.table import Line, Table
from results.tables import build, build_all
from superinfo.artifacts import PICTURES
from superinfo.files import write_bytes
from superinfo.recipes import recipe_names

ROOT = Path(__file__).parents[1]
README = "README.md"
SUFFIXES = {"md": "md", "tex": "latex"}
"""Of the files beside each declaration, and the format of each."""
BLOCK = re.compile(r"(?P<head><!-- table: (?P<name>\S+) -->\n).*?(?P<tail><!-- end of table -->)", re.DOTALL)


def committed_tables(store: Store, folder: Path = DECLARATIONS) -> list[Table]:
    """Return the tables that a folder declares, from a store. Raises UserError as `load_declaration` does."""
    return [build(_load(folder, name), store) for name in recipe_names(folder)]


def tables_of(store: Store) -> list[Table]:
    """Return the declared tables that a store has figures for, then one for each measurement they do not show whole."""
    declared = [table for table in committed_tables(store) if _runs(table)]
    shown = set().union(*map(_runs, declared))
    return declared + [table for table in build_all(store) if not _runs(table) <= shown]


def render_committed(tables: list[Table], store: Store, root: Path = ROOT) -> dict[Path, bytes]:
    """Return every generated file of a checkout with what it is to hold.

    They are two for each table, the README and the pages of `docs/` that show tables, and beside the records the
    picture of the last row of each of the README's tables.
    """
    folder = root / DECLARATIONS.relative_to(ROOT)
    files = {
        folder / f"{table.name}.{suffix}": FORMATS[format]([table]).encode()
        for table in tables
        for suffix, format in SUFFIXES.items()
    }
    by_name = {table.name: table for table in tables}
    shown = shown_tables(root)
    for path, names in shown.items():
        blocks = {name: FORMATS["md"]([by_name[name]]) for name in names if name in by_name}
        files[path] = BLOCK.sub(partial(_block, blocks=blocks), path.read_text(encoding="utf-8")).encode()
    for table in filter(None, map(by_name.get, shown.get(root / README, ()))):
        if picture := next(filter(None, map(_picture, reversed(table.lines))), None):
            files[store.folder / f"{table.name}.png"] = picture.read_bytes()
    return files


def shown_tables(root: Path = ROOT) -> dict[Path, tuple[str, ...]]:
    """Return the documents that show tables, the README first, each with the names of its tables."""
    pages = (root / README, *sorted((root / "docs").glob("*.md")))
    found = {path: tuple(block["name"] for block in BLOCK.finditer(path.read_text(encoding="utf-8"))) for path in pages}
    return {path: names for path, names in found.items() if names}


def write_committed(store: Store, root: Path = ROOT) -> list[Path]:
    """Write every generated file of a checkout; return those that changed."""
    tables = committed_tables(store, root / DECLARATIONS.relative_to(ROOT))
    changed = []
    for path, content in render_committed(tables, store, root).items():
        if not path.exists() or path.read_bytes() != content:
            write_bytes(path, content)
            changed.append(path)
    return changed


def _runs(table: Table) -> set[Path]:
    return {run.folder for line in table.lines for cell in line.cells for run in cell.records}


def _load(folder: Path, name: str) -> Declaration:
    return load_declaration(folder / f"{name}.yaml")


def _block(found: re.Match[str], blocks: dict[str, str]) -> str:
    if found["name"] not in blocks:
        return found[0]
    return f"{found['head']}\n{blocks[found['name']].strip()}\n\n{found['tail']}"


def _picture(line: Line) -> Path | None:
    runs = [run for cell in line.cells for run in cell.records]
    return next((path for run in runs if (path := run.folder / PICTURES).exists()), None)
