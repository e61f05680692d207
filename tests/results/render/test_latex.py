"""LaTeX as pdflatex reads it."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from results.render import render_latex
from results.render.glyphs import latex_text
from results.render.latex import ALONE, PACKAGES
from results.table import Note, Table

MakeTable = Callable[..., Table]
Compile = Callable[[str], str]


def test_a_table_compiles_as_it_is_and_the_page_has_its_figures_and_words(paper: Table, compile_latex: Compile) -> None:
    words = compile_latex(render_latex([paper]))
    for text in (
        *("33.5 ± 0.7", "+17.5*", "+0.000≈", "81.0 ± 1.0", "+18.5?", "undefined", "Published by others", "57.4"),
        *("Table 1: Detection on VOC", "box AP50", "% ↑", "nats ↓", "Δ is the difference to random init"),
        *("One run diverged & was left out.", "Caron et al., SwAV, arXiv 2006.09882"),
    ):
        assert not words or text in words


def test_a_paper_reads_the_file_where_its_preamble_has_the_packages(
    paper: Table, compile_latex: Compile, tmp_path: Path
) -> None:
    (tmp_path / "voc.tex").write_text(render_latex([paper]))
    body = "\\begin{document}\nbefore \\input{voc} See \\ref{tab:voc}. after\n\\end{document}\n"
    words = compile_latex(f"\\documentclass{{article}}\n{PACKAGES}\n{body}")
    assert not words or all(part in words for part in ("before", "after", "+17.5*"))


def test_it_has_the_rules_of_booktabs_and_bold_where_the_table_says_best(paper: Table) -> None:
    text = render_latex([paper])
    assert [text.count(rule) for rule in ("\\toprule", "\\midrule", "\\bottomrule")] == [1, 2, 1]
    assert re.findall(r"\\textbf\{([^}]*)\}", text) == ["81.0", "52.0"]
    assert "\\multicolumn{3}{c}{VOC 07+12}" in text
    assert "simclr\\_r50\\_in1k\\_200e & 2-3 & 51.0 $\\pm$ 1.0 & +17.5{*} & " in text


def test_twenty_columns_are_panels_that_stay_readable(make: MakeTable, compile_latex: Compile) -> None:
    text = render_latex([make(("random init", "simclr+superinfo_r50_in1k_200e"), groups=5, each=4)])
    words = compile_latex(text)
    assert text.count("\\toprule") > 1
    for k in range(20):
        assert not words or f"{10 + k + 0.5:.1f} ± 0.4" in words


def test_hundreds_of_rows_run_over_pages(make: MakeTable, compile_latex: Compile) -> None:
    text = render_latex([make(tuple(f"row{k}" for k in range(300)))])
    words = compile_latex(text)
    assert not words or all(f"row{k}" in words for k in range(300))
    assert text.count("\\label") == 1
    assert "(part 2 of" in text


def test_many_tables_are_one_document(paper: Table, compile_latex: Compile) -> None:
    tables = [replace(paper, name=f"t{k}", title=f"Title {k}") for k in range(80)]
    words = compile_latex(render_latex(tables))
    assert not words or "Table 80: Title 79" in words


def test_long_labels_and_notes_are_folded(make: MakeTable, paper: Table, compile_latex: Compile) -> None:
    labels = ("x" * 300, "a_b/" * 60, "word " * 60, "short")
    notes = (Note("a", "y" * 500), Note("b", "some words " * 40))
    compile_latex(render_latex([replace(make(labels), notes=notes), replace(paper, title="t" * 200)]))


def test_a_label_is_folded_only_where_the_figures_leave_no_room_for_it(make: MakeTable) -> None:
    labels = ("random", "MoCo v2, ImageNet-1k, 200 epochs, batch 256 [mmselfsup]")
    assert r"\begin{tabular}{lrr" in render_latex([make(labels, each=1)])
    assert r"\arraybackslash}p{16.9em}rr" in render_latex([make(labels, groups=2, each=4)])


def test_every_letter_that_is_passed_on_has_a_glyph_and_others_show_their_code(compile_latex: Compile) -> None:
    letters = [
        chr(code) for code in (*range(0x20, 0x7F), *range(0xA1, 0x180), *range(0x370, 0x400), *range(0x2010, 0x2270))
    ]
    text = "\n\n".join(latex_text(letter) for letter in letters if letter.strip())
    compile_latex(f"{ALONE}\\raggedright {text}\n\\finish\n")
    assert latex_text("漢😀") == r"\texttt{U+6F22}\allowbreak{}\texttt{U+1F600}\allowbreak{}"


@pytest.mark.parametrize(
    "text",
    ["#$%&_{}~^\\", "<<>>", "--- ''' ,, ``", "[a]", "*a", "?` !`", '"quoted"', "a|b", r"\input{/etc/passwd}", "^^41"],
)
def test_specials_are_on_the_page_letter_by_letter(text: str, make: MakeTable, compile_latex: Compile) -> None:
    words = compile_latex(render_latex([make(("first", text))]))
    straight = words.translate({0x2019: "'", 0x2010: "-"})
    assert not words or text in straight
