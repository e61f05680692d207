"""Tables on a terminal and on a pipe."""

import re
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.cells import cell_len

from results.render import FILES, FORMATS
from results.render.terminal import WIDTH, render_terminal
from results.table import Table

MakeTable = Callable[..., Table]
FIGURES = re.compile(r"\d+\.\d ± \d+\.\d")


def test_the_whole_table_is_this(paper: Table) -> None:
    assert render_terminal([paper]).split("\n\n")[:3] == [
        "Detection on VOC",
        """\
                                         VOC 07+12             VOC 07+12          scenes
                                            box AP        Δ     box AP50             NLL         Δ
pretraining                      runs          % ↑                   % ↑          nats ↓
──────────────────────────────────────────────────────────────────────────────────────────────────
Measured here
random init [a]                   1-2   33.5 ± 0.7            60.2         2.250 ± 0.354
simclr_r50_in1k_200e              2-3   51.0 ± 1.0   +17.5*   81.0 ± 1.0   2.250 ± 0.000   +0.000≈
simclr+superinfo_r50_in1k_200e    1-2   52.0 ± 1.4   +18.5?   80.0 [b]     2.750 ± 0.354   +0.500*
byol_r50                                         —               running          failed
ip_r50                              1    undefined             1.0                     —""",
        """\
Published by others
MoCo v2 [1]                         5   57.4                  82.5                     —
SwAV [2]                                56.1                           —               —""",
    ]


def test_notes_and_citations_stand_below(paper: Table) -> None:
    text = render_terminal([paper])
    assert "[b] One run diverged & was left out." in text.splitlines()
    assert "[2] Caron et al., SwAV, arXiv 2006.09882" in text.splitlines()
    assert "MoCo v2 [1]" in text
    assert "Welch's test at 5 %, by Holm" in " ".join(text.split())


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_a_wide_table_is_continued_below_within_the_width_and_keeps_every_figure(make: MakeTable, width: int) -> None:
    table = make(("row one", "row two"), groups=5, each=4)
    text = render_terminal([table], width)
    assert max(map(cell_len, text.splitlines())) <= width
    assert len(FIGURES.findall(text)) == 40
    assert text.count("+10.0*") == 20
    assert text.count("row two") == text.count("pretraining")
    for figure in (f"{10 + k + 0.5:.1f} ± 0.4" for k in range(20)):
        assert figure in text


def test_a_long_label_is_folded_and_figures_stay_whole(make: MakeTable) -> None:
    label = "-".join(f"{k:03d}" for k in range(60))
    text = render_terminal([make((label, "b"))], 80)
    assert max(map(len, text.splitlines())) <= 80
    assert len(FIGURES.findall(text)) == 4
    table = text.split("Demo. Demo.")[0]
    assert "".join(line.split("  ")[0] for line in table.splitlines() if re.match(r"[\d-]", line)) == label


def test_a_terminal_too_narrow_for_one_column_gets_whole_figures_all_the_same(make: MakeTable) -> None:
    assert len(FIGURES.findall(render_terminal([make(("a", "b"))], 10))) == 4


def test_a_pipe_has_the_same_text_everywhere(paper: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = render_terminal([paper], WIDTH)
    assert "\x1b" not in plain
    for name, value in (("COLUMNS", "40"), ("TERM", "dumb"), ("FORCE_COLOR", "1"), ("TTY_COMPATIBLE", "1")):
        monkeypatch.setenv(name, value)
        assert FORMATS["terminal"]([paper]) == plain


def test_a_terminal_gives_width_and_colour_unless_it_wants_none(paper: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "64")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = render_terminal([paper])
    letters = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert max(map(cell_len, letters.splitlines())) <= 64
    assert "\x1b[32m" in coloured  # a better difference in green
    assert "\x1b[1m52.0" in coloured  # the best in bold
    assert "\x1b" not in FILES["txt"]([paper])
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[32m" not in render_terminal([paper])


def test_tables_follow_one_another(paper: Table, rivals: Table) -> None:
    text = render_terminal([paper, rivals])
    assert text.index("Detection on VOC") < text.index("\n\nRivals\n")
    assert render_terminal([]) == "\n"


def test_a_long_word_of_a_heading_is_not_broken(paper: Table) -> None:
    columns = (replace(paper.columns[0], header="results/new_records"), *paper.columns[1:])
    assert "results/new_records" in render_terminal([replace(paper, columns=columns)], 120)
