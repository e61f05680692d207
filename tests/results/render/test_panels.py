"""Where a wide table is cut."""

from results.render.panels import cut_panels
from results.render.parts import Head


def heads(*groups: str) -> list[Head]:
    """Return two heads for each group named: a figure and its difference."""
    return [Head(group, name, "", k, differences=name == "Δ") for k, group in enumerate(groups) for name in ("AP", "Δ")]


def test_a_table_that_fits_is_not_cut() -> None:
    assert cut_panels(heads("a", "b"), [5, 5, 5, 5], 20) == [[0, 1, 2, 3]]


def test_groups_stay_together_where_they_fit() -> None:
    assert cut_panels(heads("a", "b", "b"), [5] * 6, 25) == [[0, 1], [2, 3, 4, 5]]


def test_a_group_too_wide_is_cut_between_columns_never_between_a_figure_and_its_difference() -> None:
    assert cut_panels(heads("a", "a", "a"), [5] * 6, 15) == [[0, 1], [2, 3], [4, 5]]
    assert cut_panels(heads("a", "a", "a"), [5] * 6, 20) == [[0, 1, 2, 3], [4, 5]]


def test_columns_without_a_group_are_cut_one_by_one() -> None:
    assert cut_panels(heads("", "", ""), [5] * 6, 20) == [[0, 1, 2, 3], [4, 5]]


def test_a_column_wider_than_the_room_has_a_panel_of_its_own() -> None:
    assert cut_panels(heads("a", "b"), [50, 5, 5, 5], 20) == [[0, 1], [2, 3]]


def test_a_table_without_columns_is_one_empty_panel() -> None:
    assert cut_panels([], [], 20) == [[]]
