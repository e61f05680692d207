"""A table with little in it is still a table."""

from dataclasses import replace

import pytest

from results.render import FILES, FORMATS
from results.table import Cell, State, Table

EMPTY = Table("empty", "Nothing yet", "", "", (), (), (), ())


@pytest.mark.parametrize("name", FORMATS)
def test_no_table_no_line_and_no_column_are_no_reason_to_fail(name: str, paper: Table) -> None:
    assert "nan" not in FORMATS[name]([])
    for table in (EMPTY, replace(EMPTY, columns=paper.columns), replace(paper, lines=(), published=(), sources=())):
        text = FORMATS[name]([table])
        assert name == "csv" or table.title in text
        assert "nan" not in text


@pytest.mark.parametrize("name", FORMATS)
def test_a_suite_of_which_nothing_is_run_shows_each_row(name: str, paper: Table) -> None:
    cells = (Cell(State.MISSING, expected=3),) * len(paper.columns)
    lines = tuple(replace(line, cells=cells, marks=()) for line in paper.lines)
    text = FORMATS[name]([replace(paper, lines=lines, published=(), sources=())])
    assert all(label in text.replace("\\_", "_") for label in ("random init", "byol_r50", "ip_r50"))
    assert name == "csv" or "nothing measured or published" in text


def test_only_published_rows_still_stand_under_their_heading(paper: Table) -> None:
    for name, render in FILES.items():
        text = render([replace(paper, lines=(), notes=())])
        assert "Measured here" not in text
        assert name == "csv" or "Published by others" in text


def test_latex_of_empty_tables_compiles(paper: Table, compile_latex: object) -> None:
    assert callable(compile_latex)
    compile_latex(FILES["tex"]([EMPTY, replace(EMPTY, columns=paper.columns), replace(paper, lines=())]))


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_tables_ends_with_one_newline(name: str, paper: Table, rivals: Table) -> None:
    text = FILES[name]([paper, rivals])
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
