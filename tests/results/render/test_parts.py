"""What a table says, whatever the format."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from results.render.parts import MEASURED, PUBLISHED, Tone, visible, words
from results.table import Cell, Column, Line, State, Table

MakeTable = Callable[..., Table]


def test_each_column_has_a_heading_with_unit_and_direction_and_differences_stand_beside_it(paper: Table) -> None:
    heads = [(head.group, head.name, head.unit, head.differences) for head in words(paper).heads]
    assert heads == [
        ("VOC 07+12", "box AP", "% ↑", False),
        ("VOC 07+12", "Δ", "", True),
        ("VOC 07+12", "box AP50", "% ↑", False),
        ("scenes", "NLL", "nats ↓", False),
        ("scenes", "Δ", "", True),
    ]


def test_a_row_says_mean_spread_difference_and_what_the_difference_amounts_to(paper: Table) -> None:
    rows = {row.label: [entry.plain for entry in row.entries] for row in words(paper).rows}
    assert rows["random init"] == ["33.5 ± 0.7", "", "60.2", "2.250 ± 0.354", ""]
    assert rows["simclr_r50_in1k_200e"] == ["51.0 ± 1.0", "+17.5*", "81.0 ± 1.0", "2.250 ± 0.000", "+0.000≈"]
    assert rows["simclr+superinfo_r50_in1k_200e"] == ["52.0 ± 1.4", "+18.5?", "80.0", "2.750 ± 0.354", "+0.500*"]
    assert rows["byol_r50"] == ["—", "", "running", "failed", ""]
    assert rows["ip_r50"] == ["undefined", "", "1.0", "—", ""]


def test_a_better_and_a_worse_difference_look_apart_and_higher_is_not_always_better(paper: Table) -> None:
    rows = {row.label: [entry.tone for entry in row.entries] for row in words(paper).rows}
    assert rows["simclr_r50_in1k_200e"] == [Tone.PLAIN, Tone.BETTER, Tone.BEST, Tone.PLAIN, Tone.UNSURE]
    assert rows["simclr+superinfo_r50_in1k_200e"] == [Tone.BEST, Tone.UNSURE, Tone.PLAIN, Tone.PLAIN, Tone.WORSE]
    assert rows["byol_r50"][0] is Tone.ABSENT


def test_only_what_the_table_calls_best_is_shown_as_best(paper: Table) -> None:
    lines = tuple(replace(line, cells=tuple(replace(cell, best=False) for cell in line.cells)) for line in paper.lines)
    tones = [entry.tone for row in words(replace(paper, lines=lines)).rows for entry in row.entries]
    assert Tone.BEST not in tones


def test_runs_of_a_row_are_told_and_of_published_rows_the_trials_that_their_source_tells(paper: Table) -> None:
    assert [row.runs for row in words(paper).rows] == ["1-2", "2-3", "1-2", "", "1", "5", ""]


def test_published_rows_stand_apart_each_with_the_number_of_its_citation(paper: Table) -> None:
    sheet = words(paper)
    assert [section.heading for section in sheet.sections] == [MEASURED, PUBLISHED]
    assert [(row.label, row.marks) for row in sheet.sections[1].rows] == [("MoCo v2", ("1",)), ("SwAV", ("2",))]
    assert sheet.notes == (
        ("a", "Half the schedule."),
        ("b", "One run diverged & was left out."),
        ("1", "He et al., Momentum Contrast, arXiv 1911.05722, Table 2"),
        ("2", "Caron et al., SwAV, arXiv 2006.09882"),
    )
    assert [section.heading for section in words(replace(paper, published=(), sources=())).sections] == [""]


def test_a_published_row_of_two_sources_cites_each_at_its_own_figure(paper: Table) -> None:
    cells = (
        Cell(State.PUBLISHED, mean=1.0, source="moco"),
        Cell(State.PUBLISHED, mean=2.0, source="swav"),
        Cell(State.MISSING),
    )
    (row,) = words(replace(paper, published=(Line("both", cells),))).sections[1].rows
    assert row.marks == ()
    assert [entry.marks for entry in row.entries] == [("1",), (), ("2",), (), ()]


def test_marks_of_rows_and_cells_are_where_the_table_has_them(paper: Table) -> None:
    rows = words(paper).rows
    assert [row.marks for row in rows[:3]] == [("a",), (), ()]
    assert [entry.marks for entry in rows[2].entries] == [(), (), ("b",), (), ()]


def test_signs_and_words_are_explained_where_they_occur_and_nowhere_else(paper: Table, make: MakeTable) -> None:
    method, signs, absent = words(paper).remarks
    assert method == paper.method
    assert (
        signs == "Δ is the difference to random init: * = it holds; ≈ = not told from noise; ? = too few runs to tell."
    )
    assert [word.split(" = ")[0] for word in absent.split("; ")] == ["—", "running", "failed", "undefined"]
    assert words(make(("a", "b"))).remarks == ("Demo.", "Δ is the difference to a: * = it holds.")
    assert words(make(("a",), shown=False)).remarks == ("Demo.",)


def test_a_column_that_hides_differences_shows_none(paper: Table) -> None:
    columns = tuple(replace(column, difference=False) for column in paper.columns)
    sheet = words(replace(paper, columns=columns))
    assert not any(head.differences for head in sheet.heads)
    assert not any("Δ" in remark for remark in sheet.remarks)


def test_rows_whose_labels_are_their_bases_with_a_term_do_not_name_them(rivals: Table) -> None:
    cells = rivals.lines[-1].cells
    pairs = (("moco_r18", None), ("moco+ip_r18", "moco_r18"), ("byol_r18", None), ("byol+rc_r18", "byol_r18"))
    sheet = words(replace(rivals, lines=tuple(Line(label, cells, base) for label, base in pairs)))
    assert not sheet.bases
    assert "Δ is the difference to the same row without its term: ≈ = not told from noise." in sheet.remarks


def test_rows_of_different_bases_each_name_their_own(rivals: Table, paper: Table) -> None:
    sheet = words(rivals)
    assert sheet.bases
    assert [row.base for row in sheet.rows] == ["", "random init", "", "moco"]
    assert "Δ is the difference to its row's base" in sheet.remarks[0]
    assert not words(paper).bases


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(-0.04, 1, "0.0"), (-1.25, 2, "\N{MINUS SIGN}1.25"), (1234567.891, 1, "1234567.9"), (0.5, 0, "0"), (1.5, 0, "2")],
)
def test_figures_have_the_digits_of_their_column_and_zero_has_no_sign(value: float, digits: int, text: str) -> None:
    line = Line("a", (Cell(State.MEASURED, mean=value, runs=1),))
    table = Table("t", "t", "", "", (Column("m", "", "m", "", True, digits, False),), (line,), (), ())
    assert words(table).rows[0].entries[0].text == text
    assert words(table).rows[0].entries[0].value == value


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 漢 שלום 👩‍🔬", "plain é 漢 שלום 👩‍🔬"),
        ("a\nb\t c", "a b c"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("abc\u202egpj.exe", "abc\\u202egpj.exe"),
        ("nul\x00", "nul\\x00"),
        ("file\udcff", "file\\udcff"),
        ("", ""),
    ],
)
def test_text_of_others_is_shown_as_it_is_but_for_what_would_hide_or_move_it(text: str, shown: str) -> None:
    assert visible(text) == shown
