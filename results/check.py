"""Whether what is committed is what the records give, and whether it can be believed."""

from collections.abc import Iterator
from pathlib import Path

from results.citations import PUBLISHED
from results.committed import ROOT, SUFFIXES, committed_tables, render_committed, shown_tables
from results.declaration import DECLARATIONS
from results.faults import find_faults, find_table_faults
from results.literature import examine
from results.records import Store
from results.table import Table
from results.tables import build_all


def check_records(store: Store) -> list[str]:
    """Return what is wrong with records and with the tables that they give, one finding each."""
    return [*find_faults(store), *(fault for table in build_all(store) for fault in find_table_faults(table))]


def check_committed(store: Store, root: Path = ROOT) -> list[str]:
    """Return what is wrong with a checkout: its records, its tables, what it quotes, and every generated file."""
    findings = check_records(store)
    if wrong := examine(root / PUBLISHED.relative_to(ROOT))[1]:
        return findings + wrong  # no table can quote them
    tables = committed_tables(store, root / DECLARATIONS.relative_to(ROOT))
    findings += [fault for table in tables for fault in find_table_faults(table)]
    findings += _drift(tables, store, root)
    return list(dict.fromkeys(findings))


def _drift(tables: list[Table], store: Store, root: Path) -> Iterator[str]:
    """Yield each generated file that is not what the records give, and each that no declaration asks for."""
    remedy = "run scripts/render_results.py"
    files = render_committed(tables, store, root)
    for path, content in files.items():
        if not path.exists():
            yield f"{path}: is missing; {remedy}"
        elif path.read_bytes() != content:
            yield f"{path}: {_first_difference(path.read_bytes(), content)}; {remedy}"
    for suffix in SUFFIXES:
        for path in sorted((root / DECLARATIONS.relative_to(ROOT)).glob(f"*.{suffix}")):
            if path not in files:
                yield f"{path}: no declaration beside it; remove it or add one"
    names = {table.name for table in tables}
    for path, shown in shown_tables(root).items():
        for name in shown:
            if name not in names:
                yield f"{path}: no table is declared by the name {name!r}"


def _first_difference(there: bytes, wanted: bytes) -> str:
    pairs = zip(there.splitlines(), wanted.splitlines(), strict=False)
    number = next((number for number, (one, other) in enumerate(pairs, 1) if one != other), None)
    return "differs from what the records give" + (f" in line {number}" if number and b"\0" not in there else "")
