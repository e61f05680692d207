"""Which tables a store has."""

from collections.abc import Callable
from pathlib import Path

from results.committed import tables_of
from results.declaration import DECLARATIONS
from results.publish import RECORDS
from results.records import read_store
from superinfo.artifacts import RECORD, Record
from superinfo.recipes import recipe_names
from tests.demo import copy_demo

MakeRecord = Callable[..., Record]


def names(folder: Path) -> list[str]:
    return [table.name for table in tables_of(read_store(folder))]


def test_what_a_declared_table_shows_whole_has_no_other_table(tmp_path: Path) -> None:
    assert names(copy_demo(tmp_path / "records")) == ["demo"]


def test_declared_tables_show_all_that_is_committed() -> None:
    assert set(names(RECORDS)) <= set(recipe_names(DECLARATIONS))


def test_what_no_declared_table_shows_has_one_of_its_own(record: MakeRecord, tmp_path: Path) -> None:
    copy_demo(tmp_path / "records")
    record("mine", 1.0, protocol="my_own").write(tmp_path / "records" / "mine" / RECORD)
    first, second = names(tmp_path / "records")
    assert first == "demo"
    assert second.startswith("my_own")


def test_a_row_that_a_declared_table_leaves_out_is_shown_beside_the_others(tmp_path: Path) -> None:
    copy_demo(tmp_path / "records")
    another = Record.read(next(tmp_path.glob(f"records/*simclr_r18*/{RECORD}")))
    who = another.who.model_copy(update={"name": "simclr+rc_r18w25_scenes_6e", "term": "rc"})
    another.model_copy(update={"who": who}).write(tmp_path / "records" / "another" / RECORD)
    _, whole = tables_of(read_store(tmp_path / "records"))
    assert len(whole.lines) == 4
