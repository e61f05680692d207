"""Two result sets: what moved, by how much, and whether it is more than noise."""

from collections.abc import Sequence
from typing import Any

import pytest
from scipy import stats

from results.against import compare_sets
from results.table import Cell, State, Table, Verdict
from results.tables import build, build_all
from tests.results.made import SIMCLR, TERM, declaration, run, runs, store

OLD = [50.0, 51.0, 52.0, 50.5]
NEW = [53.0, 54.1, 55.0, 53.4]


def compared(ours: Sequence[object], others: Sequence[object]) -> list[Table]:
    sets = [build_all(store(*side)) for side in (ours, others)]  # type: ignore[arg-type]
    return compare_sets(sets[0], sets[1], ("new", "old"))


def cells(table: Table, label: str) -> tuple[Cell, ...]:
    return next(line.cells for line in table.lines if line.label == label)


def test_what_moved_is_shown_beside_both_figures_and_tested_over_shared_seeds() -> None:
    (table,) = compared([runs(SIMCLR, NEW)], [runs(SIMCLR, OLD)])
    old, new = cells(table, SIMCLR)
    assert [column.header for column in table.columns] == ["old", "new"]
    assert [column.difference for column in table.columns] == [False, True]
    assert (old.mean, new.mean, old.difference) == (50.875, 53.875, None)
    assert new.difference is not None
    assert new.difference.value == pytest.approx(3.0)
    assert new.difference.p == pytest.approx(stats.ttest_rel(NEW, OLD).pvalue, abs=1e-12)
    assert new.difference.verdict is Verdict.BETTER
    assert not new.best


def test_sets_of_other_seeds_are_compared_by_welchs_test() -> None:
    (table,) = compared([run(SIMCLR, value, seed + 1) for seed, value in enumerate(NEW)], [runs(SIMCLR, OLD)])
    difference = cells(table, SIMCLR)[1].difference
    assert difference is not None
    assert difference.p == pytest.approx(stats.ttest_ind(NEW, OLD, equal_var=False).pvalue, abs=1e-12)


def test_a_set_does_not_differ_from_itself() -> None:
    (table,) = compared([runs(SIMCLR, OLD), runs(TERM, NEW)], [runs(SIMCLR, OLD), runs(TERM, NEW)])
    for label in (SIMCLR, TERM):
        difference = cells(table, label)[1].difference
        assert difference is not None
        assert (difference.value, difference.verdict) == (0.0, Verdict.NOISE)


def test_rows_and_tables_of_one_set_alone_are_kept() -> None:
    other = runs(TERM, OLD, recipe="other", what={"dataset": "x"})
    tables = compared([runs(SIMCLR, NEW), runs(TERM, NEW)], [runs(SIMCLR, OLD), other])
    assert len(tables) == 2
    old, new = cells(tables[0], TERM)
    assert (old.state, new.state, new.difference) == (State.MISSING, State.MEASURED, None)
    old, new = cells(tables[1], TERM)
    assert (old.state, new.state) == (State.MEASURED, State.MISSING)


def test_footnotes_of_both_sets_stay_with_their_figures() -> None:
    ours, others = (
        [*runs(SIMCLR, NEW), *runs(TERM, NEW, deviations=[text])] for text in ("new deviation", "old deviation")
    )
    (table,) = compared([ours], [others])
    texts = {note.mark: note.text for note in table.notes}
    said = [[texts[mark] for mark in cell.marks] for cell in cells(table, TERM)]
    assert said == [["Old deviation."], ["New deviation."]]


def test_a_row_of_another_pretraining_recipe_says_so() -> None:
    (same,) = compared([runs(SIMCLR, NEW)], [runs(SIMCLR, OLD)])
    assert same.notes == ()
    (table,) = compared([runs(SIMCLR, NEW, recipe_hash="a" * 64)], [runs(SIMCLR, OLD, recipe_hash="b" * 64)])
    old, new = cells(table, SIMCLR)
    assert (old.marks, new.marks) == ((), ("a",))
    assert [note.text for note in table.notes] == [
        f"Of other pretrainings: {SIMCLR} aaaaaaaa instead of {SIMCLR} bbbbbbbb."
    ]
    assert new.difference is not None


def test_other_files_from_elsewhere_of_one_name_say_so() -> None:
    ours, theirs = (run("mine", 1.0, recipe_hash=None, tensors=letter * 64) for letter in "ab")
    (table,) = compared([ours], [theirs])
    assert [note.text for note in table.notes] == ["Of other pretrainings: mine aaaaaaaa instead of mine bbbbbbbb."]


def test_a_caption_says_what_was_done_and_no_more() -> None:
    tested, few, alone = (
        compared([runs(SIMCLR, NEW[:count])], others)[0].method
        for count, others in ((4, [runs(SIMCLR, OLD)]), (2, [runs(SIMCLR, OLD)]), (4, [runs(TERM, OLD)]))
    )
    assert ["standard deviation" in text for text in (tested, few, alone)] == [True, True, True]
    assert ["paired t test" in text for text in (tested, few, alone)] == [True, False, False]
    assert ["too few" in text for text in (tested, few, alone)] == [False, True, False]


def test_a_caption_is_of_both_sets_where_they_differ() -> None:
    empty, full = (build(declaration(), store(measured)) for measured in ([], runs(SIMCLR, OLD)))
    (table,) = compare_sets([empty], [full], ("new", "old"))
    assert table.caption == f"new: {empty.caption} old: {full.caption}"
    (table,) = compare_sets([full], [full], ("new", "old"))
    assert table.caption == full.caption


def test_a_row_is_found_again_where_a_new_one_of_its_name_changed_its_label() -> None:
    old = runs(SIMCLR, OLD, recipe_hash="a" * 64)
    (table,) = compared([old, runs(SIMCLR, NEW, recipe_hash="b" * 64)], [old])
    shown = {line.label: [cell.mean for cell in line.cells] for line in table.lines}
    assert shown == {f"{SIMCLR} (aaaaaaaa)": [50.875, 50.875], f"{SIMCLR} (bbbbbbbb)": [None, 53.875]}
    (table,) = compared([old], [old, runs(SIMCLR, NEW, recipe_hash="b" * 64)])
    shown = {line.label: [cell.mean for cell in line.cells] for line in table.lines}
    assert shown == {SIMCLR: [50.875, 50.875], f"{SIMCLR} (bbbbbbbb)": [53.875, None]}


@pytest.mark.parametrize(
    ("other", "said"), [({"unit": "fraction"}, "percent ↑ instead of fraction ↑"), ({"higher": False}, "instead of")]
)
def test_figures_of_another_unit_or_direction_are_not_compared(other: dict[str, Any], said: str) -> None:
    (table,) = compared([runs(SIMCLR, NEW)], [runs(SIMCLR, OLD, **other)])
    old, new = cells(table, SIMCLR)
    assert [(one.unit, one.higher_is_better) for one in table.columns] == [
        (other.get("unit", "percent"), other.get("higher", True)),
        ("percent", True),
    ]
    assert (old.mean, new.mean, new.difference) == (50.875, 53.875, None)
    (note,) = table.notes
    assert note.text.startswith("Not compared: in ")
    assert said in note.text
