"""Tables by name: those of suites, and those that `results/tables` declares."""

from pathlib import Path

from benchmarks.suite import SUITES, declare, load_suite
from results.declaration import DECLARATIONS, Declaration, load_declaration
from results.records import Store, read_store
from superinfo.errors import UserError
from superinfo.recipes import read_yaml, recipe_names, suggest


def find_declaration(source: str) -> Declaration:
    """Return the table of a suite or of a declaration, by name or YAML file; a suite comes before its namesake.

    Raises UserError if there is none, and as `load_suite` and `load_declaration` do.
    """
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


def read_if_any(runs: Path) -> Store:
    """Return what lies in the folder of all runs; nothing where nothing was run yet."""
    try:
        return read_store(runs)
    except UserError:
        return Store(runs, (), (), ())
