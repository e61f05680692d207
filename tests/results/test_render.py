"""A table in each format says the same, whole."""

import io
import re
from collections.abc import Callable
from itertools import pairwise

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from results.render import FORMATS, render_csv, render_markdown, render_terminal
from results.tables import METRICS, Row, Table, compare
from superinfo.artifacts import Record

MakeRecord = Callable[..., Record]
LABELS = ("random initialisation", "SimCLR", "simclr+superinfo_r50_in1k_200e", "odd [a|b] \\ :x: *c*", "not run yet")


@pytest.fixture
def table(record: MakeRecord) -> Table:
    """Return a table of two runs a row, one row without any, against its first row."""
    rows = [
        Row(label, tuple(record(f"row{k}", *(10 * k + j / 3 + seed for j in range(6)), seed=seed) for seed in (0, 1)))
        for k, label in enumerate(LABELS[:-1], 1)
    ]
    return compare("Demo [bold]", [*rows, Row(LABELS[-1], ())], LABELS[0])


# By hand: the means are 10 k + j / 3 + 1/2, and the spread of x and x + 1 is the root of one half.
FIGURES = [[f"{10 * k + j / 3 + 0.5:.1f} ± 0.7" for j in range(6)] for k in range(1, 5)]
DIFFERENCES = ["", "+10.0", "+20.0", "+30.0"]


def markdown_cells(text: str) -> list[list[str]]:
    """Return the cells of the one table in a text, as a GFM parser reads them."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    rows: list[list[str]] = []
    for token, following in pairwise(tokens):
        if token.type == "tr_open":
            rows.append([])
        elif token.type in {"th_open", "td_open"}:
            rows[-1].append("".join(child.content for child in following.children or []))
    return rows


def test_markdown_is_a_github_table_with_every_figure(table: Table) -> None:
    text = render_markdown(table)
    headers, *rows = markdown_cells(text)
    overall = ["Δ box AP", "Δ mask AP"]
    assert headers == ["pretraining", "runs", *(metric.replace("/", " ") for metric in METRICS), *overall]
    assert [row[1] for row in rows] == ["2"] * 4 + ["0"]
    assert [row[2:8] for row in rows] == [*FIGURES, ["-"] * 6]
    assert [row[8:] for row in rows] == [[difference] * 2 for difference in [*DIFFERENCES, ""]]
    assert [row[0] for row in rows[:3]] == list(LABELS[:3])
    assert "nothing" not in text
    assert "differences are to random initialisation" in text


def test_a_label_with_marks_of_markdown_keeps_its_row_and_its_letters(table: Table) -> None:
    lines = [line for line in render_markdown(table).splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {11}
    assert markdown_cells(render_markdown(table))[4][0] == LABELS[3]


def test_csv_has_the_same_figures_to_the_last_digit(table: Table) -> None:
    frame = pd.read_csv(io.StringIO(render_csv(table)), dtype=str)
    assert list(frame["row"]) == list(LABELS)
    assert list(frame["runs"]) == ["2", "2", "2", "2", "0"]
    assert list(frame.columns[2:]) == [f"{metric}{part}" for metric in METRICS for part in ("", " std", " difference")]
    for line, (_, read) in zip(table.lines, frame.iterrows(), strict=True):
        for metric, cell in line.cells.items():
            for part, value in (("", cell.mean), (" std", cell.spread), (" difference", cell.difference)):
                found = read[f"{metric}{part}"]
                assert pd.isna(found) if value is None else float(found) == value


def test_text_for_a_terminal_fits_120_columns_and_shows_every_label_header_and_figure_in_full(table: Table) -> None:
    text = render_terminal(table)
    assert max(map(len, text.splitlines())) <= 120
    assert "…" not in text
    for label in LABELS:
        assert label in text
    lines = {label: next(line for line in text.splitlines() if label in line) for label in LABELS}
    for label, figures, difference in zip(LABELS, FIGURES, DIFFERENCES, strict=False):
        assert re.findall(r"\d+\.\d ± \d+\.\d", lines[label]) == figures
        assert re.findall(r"[+-]\d+\.\d", lines[label].replace("± ", "")) == ([difference] * 2 if difference else [])
    assert lines[LABELS[-1]].split()[-7:] == ["0", *["-"] * 6]
    assert text.count("AP50") == text.count("AP75") == 2
    assert "Demo [bold]" in text
    assert "differences are to random initialisation" in " ".join(text.split())


def test_a_label_too_long_for_a_terminal_is_folded_and_the_figures_stay_whole(record: MakeRecord) -> None:
    label = "a-label-" * 10
    rows = [Row(label, (record("a", 12.5), record("a", 100.0, seed=1))), Row("b", (record("b", 1.0),))]
    text = render_terminal(compare("Demo", rows, "b"))
    assert max(map(len, text.splitlines())) <= 120
    assert "…" not in text
    assert text.count("56.2 ± 61.9") == 6
    assert "".join(line.split()[0] for line in text.splitlines() if "a-" in line) == label


@pytest.mark.parametrize("name", FORMATS)
def test_a_table_without_a_baseline_has_no_differences(record: MakeRecord, name: str) -> None:
    text = FORMATS[name](compare("Demo", [Row("a", (record("a", 12.34),)), Row("b", (record("b", 2.0),))], None))
    assert "Δ" not in text
    assert "differences" not in text
    assert "-10" not in text
    assert "12.3" in text


@pytest.mark.parametrize("name", FORMATS)
def test_a_loss_against_the_baseline_has_its_sign(record: MakeRecord, name: str) -> None:
    rows = [Row("a", (record("a", 12.5),)), Row("b", (record("b", 2.0),))]
    assert "-10.5" in FORMATS[name](compare("Demo", rows, "a"))


@pytest.mark.parametrize("name", FORMATS)
def test_a_suite_of_which_nothing_is_run_is_still_a_table(name: str) -> None:
    text = FORMATS[name](compare("Demo", [Row("a", ()), Row("b", ())], "a"))
    assert re.search(r"\ba\b", text)
    assert re.search(r"\bb\b", text)
    assert name == "csv" or "othing measured yet" in text
