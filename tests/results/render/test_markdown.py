"""Markdown as GitHub's parser reads it."""

from collections.abc import Callable
from itertools import pairwise

from markdown_it import MarkdownIt
from markdown_it.token import Token

from results.render import render_markdown
from results.table import Table

MakeTable = Callable[..., Table]


def parse(text: str) -> list[Token]:
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)


def read_cells(text: str) -> list[list[str]]:
    """Return the cells of all tables in a text; bold ones in stars, raised ones in brackets."""
    shown = {"strong_open": "*", "strong_close": "*"}
    raised = {"<sup>": "[", "</sup>": "]"}
    rows: list[list[str]] = []
    for token, inside in pairwise(parse(text)):
        if token.type == "tr_open":
            rows.append([])
        elif token.type in {"th_open", "td_open"}:
            parts = (shown.get(child.type, raised.get(child.content, child.content)) for child in inside.children or [])
            rows[-1].append("".join(parts))
    return rows


def test_a_reader_sees_these_cells(paper: Table) -> None:
    assert read_cells(render_markdown([paper])) == [
        [
            "pretraining",
            "runs",
            "VOC 07+12: box AP ↑ (%)",
            "Δ",
            "VOC 07+12: box AP50 ↑ (%)",
            "scenes: NLL ↓ (nats)",
            "Δ",
        ],
        ["*Measured here*", "", "", "", "", "", ""],
        ["random init[a]", "1-2", "33.5 ± 0.7", "", "60.2", "2.250 ± 0.354", ""],
        ["simclr_r50_in1k_200e", "2-3", "51.0 ± 1.0", "+17.5*", "*81.0* ± 1.0", "2.250 ± 0.000", "+0.000≈"],
        ["simclr+superinfo_r50_in1k_200e", "1-2", "*52.0* ± 1.4", "+18.5?", "80.0[b]", "2.750 ± 0.354", "+0.500*"],
        ["byol_r50", "", "—", "", "running", "failed", ""],
        ["ip_r50", "1", "undefined", "", "1.0", "—", ""],
        ["*Published by others*", "", "", "", "", "", ""],
        ["MoCo v2[1]", "5", "57.4", "", "82.5", "—", ""],
        ["SwAV[2]", "", "56.1", "", "—", "—", ""],
    ]


def test_title_caption_method_legend_notes_and_citations_are_paragraphs_around_the_table(paper: Table) -> None:
    inlines = [token.content for token in parse(render_markdown([paper])) if token.type == "inline"]
    assert inlines[0] == "**Detection on VOC**"
    assert inlines[-2].startswith("Faster R-CNN R50-C4 on VOC 07+12")
    assert "Welch's test at 5 %" in inlines[-2]
    assert "failed = at least one run ended in an error" in inlines[-2]
    assert inlines[-1].count("<sup>") == 4
    assert inlines[-1].endswith("<sup>2</sup> Caron et al., SwAV, arXiv 2006.09882")


def test_rows_of_different_bases_name_them(rivals: Table) -> None:
    cells = read_cells(render_markdown([rivals]))
    assert [row[:3] for row in cells] == [
        ["pretraining", "Δ to", "runs"],
        ["random init[a]", "", "1-2"],
        ["simclr_r50_in1k_200e", "random init", "2-3"],
        ["moco", "", "1"],
        ["moco+ip", "moco", "1"],
    ]


def test_a_caption_that_begins_as_a_list_or_a_heading_is_a_paragraph(make: MakeTable) -> None:
    for text in ("1. first", "2) second", "# heading", "- item", "+ item", "> quoted", "=== line", "--- rule"):
        kinds = [token.type for token in parse(render_markdown([make(texts=text)]))]
        assert {kind for kind in kinds if kind.endswith("_open")} == {
            f"{kind}_open" for kind in ("paragraph", "table", "thead", "tbody", "tr", "th", "td")
        }, text


def test_tables_are_parted_by_an_empty_line(paper: Table, rivals: Table) -> None:
    both = render_markdown([paper, rivals])
    assert both == f"{render_markdown([paper])}\n{render_markdown([rivals])}"
    assert len(read_cells(both)) == len(read_cells(render_markdown([paper]))) + 5
