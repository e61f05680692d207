"""Tables by name: those of suites, and those that `results/tables` declares."""

from pathlib import Path

from benchmarks.outputs import suite_tables
from benchmarks.suite import SUITES, load_suite
from results.declaration import DECLARATIONS, load_declaration
from results.records import Store
from results.table import Table
from results.tables import build
from superinfo.errors import UserError
from superinfo.recipes import read_yaml, recipe_names, suggest


def tables_by_name(source: str, store: Store) -> list[Table]:
    """Return the tables of a suite, or the declared one, of that name or YAML file; from the runs of a store.

    A suite comes before its namesake. Where nothing was run yet, only what others published has figures. Raises
    UserError if there is no such table, and as `load_suite` and `load_declaration` do.
    """
    if Path(source).suffix in {".yaml", ".yml"}:
        is_suite = Path(source).is_file() and "groups" not in read_yaml(Path(source))
        return suite_tables(load_suite(source), store.folder) if is_suite else _declared(source, store)
    suites, tables = recipe_names(SUITES), recipe_names(DECLARATIONS)
    if source in suites:
        return suite_tables(load_suite(source), store.folder)
    if source in tables:
        return _declared(source, store)
    names = sorted({*suites, *tables})
    raise UserError(f"{source}: no table of that name{suggest(source, names)}; there are: {', '.join(names)}")


def _declared(source: str, store: Store) -> list[Table]:
    return [build(load_declaration(source), store)]
