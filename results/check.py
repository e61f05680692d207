"""Whether what is committed is what the records give, and whether it can be believed."""

from pathlib import Path

from results.declaration import DECLARATIONS, declared, load_declaration
from results.faults import find_faults, find_table_faults
from results.publication import FORMATS_COMMITTED, PICTURE, README, picture_of, readme_block, rendered
from results.records import Store
from results.tables import build, build_all


def check_records(store: Store) -> list[str]:
    """Return what is wrong with records and with the tables that they give, a finding each; best an empty list."""
    return [*find_faults(store), *(fault for table in build_all(store) for fault in find_table_faults(table))]
