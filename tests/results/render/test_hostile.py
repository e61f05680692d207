"""Names that strangers gave, in every format: shown letter by letter, and nothing runs."""

import io
import random
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from results.render import FORMATS, render_csv, render_html, render_latex, render_markdown, render_terminal
from results.render.parts import visible
from results.table import Note, Table

MakeTable = Callable[..., Table]
NAMES = (
    *("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "<!-- x", "]]>", "&amp; &lt;"),
    *("</td></table>", "<b>x", "a|b", "|", "a\\|b", "\\", "a\\", "\\\\", "`code`", "``"),
    *("*a* **b** _c_ __d__ ~e~ ~~f~~", "[a](http://b)", "![a](b)", "[bold]x[/bold]", ":smile:", "# h", "1. x"),
    *("- x", "> x", "+ x", "===", "http://a.b/c?d=e&f=g", "$x^2$", "_", "a_", "{{x}}", "{{m s^-1}}", "{x}"),
    *("}", "{", "%", "#1", "\\input{/etc/passwd}", "\\end{tabular}", "\\\\[1cm]", "^^5c", "~", "a,b", '"'),
    *("'", '""', "a;b", "=1+1", "@x", "line\nbreak", "tab\there", "cr\rx", " padded ", "a  b", "\x1b[31mred"),
    *("nul\x00", "é ñ ß Ø ł", "λ=0.1 μ", "漢字", "שלום", "مرحبا 12", "abc\u202edcba", "👩‍🔬", "e\u0301", "\ufeff"),
    *("\u200b", "file\udcff", "", " ", "x" * 400, "long name " * 40, "🙂" * 100, "NaN", "None", "nan", "NA"),
)
PIECES = (
    *"|\\`*_~[]<>&{}$%#^\"'/:;,.!?+-= \n\tab1é漢א🙂",
    *("<script>", "</td>", "{{", "}}", "--", "\\\\", "\u202e", "\x1b["),
)


def made_up(count: int) -> list[str]:
    """Return names put together by chance, always the same."""
    draw = random.Random(0)
    return ["".join(draw.choices(PIECES, k=draw.randint(1, 12))) for _ in range(count)]


class Labels(HTMLParser):
    """The labels of a page, and the names of all its elements and attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.shown: list[str] = []
        self.names: set[str] = set()
        self.data: list[str] = []
        self.inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names |= {tag, *(name for name, _ in attrs)}
        if tag == "bdi":
            self.inside = True
            self.shown.append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag != "bdi"

    def handle_data(self, data: str) -> None:
        self.data.append(data)
        if self.inside:
            self.shown[-1] += data


@pytest.fixture
def hostile(make: MakeTable) -> Table:
    """Return a table of hostile labels, each of them also the text of a note."""
    labels = tuple(dict.fromkeys((*NAMES, *made_up(100))))
    table = make(labels)
    return replace(table, notes=(*table.notes, *(Note(f"n{k}", name) for k, name in enumerate(labels))))


@pytest.mark.parametrize("name", FORMATS)
def test_every_text_of_a_table_may_be_hostile(name: str, make: MakeTable) -> None:
    for text in (*NAMES, *made_up(20)):
        table = make((text, f"{text} "), texts=text)
        written = FORMATS[name]([table])
        assert written
        assert len(re.findall(r"10\.5", written)) >= 1


def test_markdown_shows_each_label_in_the_first_cell_of_its_row(hostile: Table) -> None:
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(render_markdown([hostile]))
    cells = [tokens[k + 1].children or [] for k, token in enumerate(tokens) if token.type == "td_open"]
    width = 2 + 2 * 2
    assert len(cells) == width * len(hostile.lines)
    for line, children in zip(hostile.lines, cells[::width], strict=True):
        marks = 3 if line.marks else 0  # <sup>, mark, </sup>
        label = children[: len(children) - marks]
        assert {child.type for child in label} <= {"text", "text_special"}, line.label
        assert "".join(child.content for child in label) == visible(line.label)


def test_csv_has_each_label_as_it_is(hostile: Table) -> None:
    frame = pd.read_csv(io.StringIO(render_csv([hostile]), newline=""), dtype=str, keep_default_na=False)
    labels = [line.label.replace("\udcff", "\\udcff") for line in hostile.lines]
    assert list(dict.fromkeys(frame["row"])) == labels


def test_html_shows_each_label_as_text(hostile: Table) -> None:
    page = Labels(render_html([hostile]))
    assert page.shown == [visible(line.label) for line in hostile.lines]
    assert not page.names & {"script", "img", "b", "a", "src", "href", "onerror"}


@pytest.mark.parametrize("text", ["{{x}}", "{{m s^-1}}", "<b>", "&amp;", "*a* `b`"])
def test_html_shows_titles_headings_and_notes_as_text(text: str, make: MakeTable) -> None:
    page = Labels(render_html([make(("a",), texts=text)]))
    # Title, caption, two groups' and columns' headings, method, note; the title also names page and region.
    assert "".join(page.data).count(text) == 1 + 2 + 1 + 2 + 1 + 1
    assert "b" not in page.names


def test_a_terminal_gets_each_label_and_nothing_that_steers_it(hostile: Table) -> None:
    text = render_terminal([hostile], 2000)
    assert {letter for letter in text if not letter.isprintable()} <= {"\n", "\u200d"}
    for line in hostile.lines:
        assert visible(line.label) in text


def test_latex_compiles_with_hostile_labels_titles_headings_and_notes(
    make: MakeTable, hostile: Table, compile_latex: Callable[[str], str]
) -> None:
    headings = [make((text, "b"), texts=text) for text in NAMES if len(text) < 100]  # no heading fills a page
    words = compile_latex(render_latex([hostile, *headings]))
    assert "root:" not in words
