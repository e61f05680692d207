"""HTML as a parser reads it."""

from dataclasses import replace
from html.parser import HTMLParser

from results.render.html import html_table, identity, render_html
from results.render.style import LIGHT
from results.table import Table

EMPTY = {"meta", "br"}


class Page(HTMLParser):
    """The cells of all tables, the attributes of what is in them, and every name of an element and an attribute."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.spans: list[dict[str, str | None]] = []
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.ids: list[str] = []
        self.headers: set[str] = set()
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.names.add(tag)
        self.attributes |= given.keys()
        self.ids += [value for value in [given.get("id")] if value]
        self.headers |= set((given.get("headers") or "").split())
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")
        if "data-row" in given:
            self.spans.append(given)
        if tag in {"sup", "strong"} and self.rows:
            self.rows[-1][-1] += {"sup": "[", "strong": "*"}[tag]
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag in {"sup", "strong"} and self.rows:
            self.rows[-1][-1] += {"sup": "]", "strong": "*"}[tag]

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def test_a_reader_sees_these_cells(paper: Table) -> None:
    rows = [[cell.strip() for cell in row] for row in Page(html_table(paper)).rows]
    assert rows == [
        ["Detection on VOC"],
        [paper.caption],
        ["pretraining", "runs", "VOC 07+12", "scenes"],
        ["box AP% ↑", "Δ", "box AP50% ↑", "NLLnats ↓", "Δ"],
        ["Measured here"],
        ["random init[a]", "1-2", "33.5 ± 0.7", "", "60.2", "2.250 ± 0.354", ""],
        ["simclr_r50_in1k_200e", "2-3", "51.0 ± 1.0", "+17.5*", "*81.0* ± 1.0", "2.250 ± 0.000", "+0.000≈"],
        ["simclr+superinfo_r50_in1k_200e", "1-2", "*52.0* ± 1.4", "+18.5?", "80.0[b]", "2.750 ± 0.354", "+0.500*"],
        ["byol_r50", "", "—", "", "running", "failed", ""],
        ["ip_r50", "1", "undefined", "", "1.0", "—", ""],
        ["Published by others"],
        ["MoCo v2[1]", "5", "57.4", "", "82.5", "—", ""],
        ["SwAV[2]", "", "56.1", "", "—", "—", ""],
        [paper.method],
        ["Δ is the difference to random init: * = it holds; ≈ = not told from noise; ? = too few runs to tell."],
        [
            "— = nothing measured or published, or not by every run of the row; running = a run is at work, or was "
            "interrupted and can be resumed; failed = at least one run ended in an error; "
            "undefined = measured, but there is no figure to show, as its note says."
        ],
        ["[a] Half the schedule."],
        ["[b] One run diverged & was left out."],
        ["[1] He et al., Momentum Contrast, arXiv 1911.05722, Table 2"],
        ["[2] Caron et al., SwAV, arXiv 2006.09882"],
    ]


def test_each_figure_says_where_it_stands_and_its_value_in_full(paper: Table) -> None:
    cells = (replace(paper.lines[0].cells[0], mean=100 / 3), *paper.lines[0].cells[1:])
    paper = replace(paper, lines=(replace(paper.lines[0], cells=cells), *paper.lines[1:]))
    spans = Page(html_table(paper)).spans
    assert len(spans) == 7 * 5
    for span in spans:
        row, column = int(span["data-row"] or ""), int(span["data-column"] or "")
        cell = (paper.published if "data-published" in span else paper.lines)[row].cells[column]
        difference = cell.difference.value if cell.difference else None
        value = cell.mean if span["class"] == "cell" else difference
        assert (float(span["data-value"] or "") if "data-value" in span else None) == value


def test_a_page_runs_nothing_asks_for_nothing_and_names_each_element_once(paper: Table, rivals: Table) -> None:
    text = render_html([paper, rivals])
    page = Page(text)
    assert not page.names & {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
    assert not {name for name in page.attributes if name.startswith("on")} | (page.attributes & {"src", "href"})
    assert "url(" not in text
    assert "@import" not in text
    assert len(set(page.ids)) == len(page.ids)
    assert page.headers <= set(page.ids)
    assert {identity(paper), identity(rivals)} <= set(page.ids)
    assert text.startswith("<!DOCTYPE html>\n")
    assert f"--ground: {LIGHT.ground}" in text


def test_tables_of_like_names_have_ids_of_their_own(paper: Table) -> None:
    names = ("a b", "a_b", "a-b", "שלום", "漢", "", "file\udcff")
    made = [identity(Table(name, "", "", "", (), (), (), ())) for name in names]
    assert len(set(made)) == len(names)
    assert all(name.replace("-", "").isalnum() and name.isascii() for name in made)
