"""Tables by name: those of suites, and those that `results/tables` declares."""

from pathlib import Path

from benchmarks.suite import SUITES, declare, load_suite
from results.declaration import DECLARATIONS, Declaration, load_declaration
from results.records import Store
from results.table import Table
from results.tables import build
from superinfo.errors import UserError
from superinfo.recipes import read_yaml, recipe_names, suggest


def table_by_name(source: str, store: Store) -> Table:
    """Return the table of a suite, or the declared one, of that name or YAML file.

    A suite comes before its namesake. Raises UserError if there is no such table, and as `load_suite` and
    `load_declaration` do.
    """
    return build(_declaration(source), store)


def _declaration(source: str) -> Declaration:
    if Path(source).suffix in {".yaml", ".yml"}:
        declares = Path(source).is_file() and "groups" in read_yaml(Path(source))
        return load_declaration(source) if declares else declare(load_suite(source))
    suites, tables = recipe_names(SUITES), recipe_names(DECLARATIONS)
    if source in suites:
        return declare(load_suite(source))
    if source in tables:
        return load_declaration(source)
    names = sorted({*suites, *tables})
    raise UserError(f"{source}: no table of that name{suggest(source, names)}; there are: {', '.join(names)}")
