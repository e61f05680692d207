"""The words of a table, decided once: what each heading, cell and remark says. The formats only lay them out."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from results.table import Cell, Column, Line, State, Table, Verdict

PUBLISHED = "Published by others"
MEASURED = "Measured here"
LABEL = "pretraining"
RUNS = "runs"
BASE = "Δ to"
DELTA = "Δ"

ABSENT = {State.MISSING: "—", State.RUNNING: "running", State.FAILED: "failed", State.UNDEFINED: "undefined"}
"""What a cell without a figure shows."""
LEGEND = {
    State.MISSING: "nothing measured or published, or not by every run of the row",
    State.RUNNING: "a run is at work, or was interrupted and can be resumed",
    State.FAILED: "at least one run ended in an error",
    State.UNDEFINED: "measured, but there is no figure to show, as its note says",
}
SIGNS = {Verdict.BETTER: "*", Verdict.WORSE: "*", Verdict.NOISE: "≈", Verdict.TOO_FEW: "?"}
"""What follows a difference."""
UNITS = {"percent": "%"}
JOINERS = "\u200c\u200d"
"""Characters without width that shape their neighbours, as in scripts and emoji."""


class Tone(Enum):
    """How a cell is to look."""

    PLAIN = "plain"
    BEST = "best"
    ABSENT = "absent"
    BETTER = "better"
    WORSE = "worse"
    UNSURE = "unsure"


TONES = {
    Verdict.BETTER: Tone.BETTER,
    Verdict.WORSE: Tone.WORSE,
    Verdict.NOISE: Tone.UNSURE,
    Verdict.TOO_FEW: Tone.UNSURE,
}


@dataclass(frozen=True, slots=True)
class Head:
    """Heading of a column of figures or of differences."""

    group: str
    """Of a head of differences too: they stand beside their figures."""
    name: str
    unit: str
    """Such as `% ↑`; empty above differences, which have the unit of the figures before them."""
    column: int
    """Index in `Table.columns`."""
    differences: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """A cell under a head."""

    text: str
    """A figure (of a single run with its interval over test images), a signed difference, or a word of ABSENT; empty
    where there is no difference."""
    spread: str = ""
    sign: str = ""
    marks: tuple[str, ...] = ()
    """Of notes and sources, to be raised."""
    tone: Tone = Tone.PLAIN
    value: float | None = None
    """In full precision, to sort by."""

    @property
    def plain(self) -> str:
        """Return all but the marks: `45.3 ± 0.7`, `+1.2*`."""
        return f"{self.text} ± {self.spread}" if self.spread else f"{self.text}{self.sign}"


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a table."""

    label: str
    marks: tuple[str, ...]
    runs: str
    base: str
    entries: tuple[Entry, ...]
    """One under each head."""


@dataclass(frozen=True, slots=True)
class Section:
    """Rows under one heading."""

    heading: str
    """Empty where the table has no published rows to be told apart."""
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table in words. Text of others is made `visible`, and still to be escaped."""

    title: str
    caption: str
    heads: tuple[Head, ...]
    bases: bool
    """Whether rows have different bases that their labels do not tell, and each names its own."""
    sections: tuple[Section, ...]
    remarks: tuple[str, ...]
    """Sentences: the method, and what signs and words mean that occur."""
    notes: tuple[tuple[str, str], ...]
    """Mark and text, of notes and then of sources."""

    @property
    def rows(self) -> tuple[Row, ...]:
        """Return the rows of all sections."""
        return tuple(row for section in self.sections for row in section.rows)


def words(table: Table) -> Sheet:
    """Put a table into words."""
    heads = _heads(table)
    numbers = _number_sources(table)
    measured = tuple(_row(line, table.columns, heads, {}) for line in table.lines)
    published = tuple(_row(line, table.columns, heads, numbers) for line in table.published)
    sections = (Section(MEASURED, measured), Section(PUBLISHED, published)) if published else (Section("", measured),)
    cited = zip(map(str, range(1, len(table.sources) + 1)), table.sources, strict=True)
    return Sheet(
        title=visible(table.title),
        caption=visible(table.caption),
        heads=heads,
        bases=len(_bases(table)) > 1 and not _are_told(table),
        sections=tuple(section for section in sections if section.rows),
        remarks=tuple(_remarks(table, heads)),
        notes=tuple((mark, visible(text)) for mark, text in (*((n.mark, n.text) for n in table.notes), *cited)),
    )


def visible(text: str) -> str:
    """Return a text, which may come from a stranger's file, as one line in which nothing is hidden.

    White space becomes a space; what moves the cursor, turns the direction of writing or is no character at all is
    shown by its code, such as `\\x1b`. All else stays as it is.
    """
    return "".join(_visible(letter) for letter in " ".join(text.split()))


def spoken(sheet: Sheet) -> str:
    """Return what stands below a table as running text: caption, then remarks."""
    return " ".join(filter(None, (_sentence(sheet.caption), *sheet.remarks)))


def _visible(letter: str) -> str:
    hidden = unicodedata.category(letter) in {"Cc", "Cf", "Cs", "Zl", "Zp"} and letter not in JOINERS
    return letter.encode("unicode_escape").decode() if hidden else letter


def _heads(table: Table) -> tuple[Head, ...]:
    """Return a head for each column, and one behind it for its differences where there are any."""
    heads: list[Head] = []
    for k, column in enumerate(table.columns):
        group, unit = visible(column.group), visible(UNITS.get(column.unit, column.unit))
        heads.append(Head(group, visible(column.header), f"{unit} {column.arrow}".strip(), k))
        if column.difference and any(line.cells[k].difference for line in table.lines):
            heads.append(Head(group, DELTA, "", k, differences=True))
    return tuple(heads)


def _number_sources(table: Table) -> dict[str, str]:
    """Return the number of each source by its key: they are cited in the order in which they appear."""
    keys = dict.fromkeys(cell.source for line in table.published for cell in line.cells if cell.source)
    assert len(keys) == len(table.sources), (list(keys), table.sources)
    return {key: str(k) for k, key in enumerate(keys, 1)}


def _row(line: Line, columns: Sequence[Column], heads: Sequence[Head], numbers: dict[str, str]) -> Row:
    cited = dict.fromkeys(numbers[cell.source] for cell in line.cells if cell.source in numbers)
    each = numbers if len(cited) > 1 else {}
    return Row(
        label=visible(line.label),
        marks=(*line.marks, *(() if each else cited)),
        runs=line.runs,
        base=visible(line.base or ""),
        entries=tuple(
            _difference(line.cells[head.column], columns[head.column])
            if head.differences
            else _figure(line.cells[head.column], columns[head.column], each)
            for head in heads
        ),
    )


def _figure(cell: Cell, column: Column, numbers: dict[str, str]) -> Entry:
    cited = (numbers[cell.source],) if cell.source in numbers else ()
    marks = (*cell.marks, *cited)
    if cell.state in ABSENT:
        return Entry(ABSENT[cell.state], marks=marks, tone=Tone.ABSENT)
    assert cell.mean is not None, cell
    ends = [_number(end, f"z.{column.digits}f") for end in cell.interval or ()]
    return Entry(
        text=_number(cell.mean, f"z.{column.digits}f") + (f" [{ends[0]}, {ends[1]}]" if ends else ""),
        spread="" if cell.spread is None else _number(cell.spread, f".{column.digits}f"),
        marks=marks,
        tone=Tone.BEST if cell.best else Tone.PLAIN,
        value=cell.mean,
    )


def _difference(cell: Cell, column: Column) -> Entry:
    found = cell.difference
    if found is None:
        return Entry("")
    text = _number(found.value, f"+z.{column.digits}f")
    return Entry(text, sign=SIGNS[found.verdict], tone=TONES[found.verdict], value=found.value)


def _bases(table: Table) -> list[str]:
    return list(dict.fromkeys(line.base for line in table.lines if line.base is not None))


def _are_told(table: Table) -> bool:
    """Return whether each row's label is that of its base with a term, as `simclr+ip_r18` is of `simclr_r18`."""
    return all(re.sub(r"\+[^_]*", "", line.label) == line.base for line in table.lines if line.base is not None)


def _number(value: float, form: str) -> str:
    return format(value, form).replace("-", "\N{MINUS SIGN}")


def _remarks(table: Table, heads: Sequence[Head]) -> list[str]:
    cells = [cell for line in (*table.lines, *table.published) for cell in line.cells]
    shown = [head.column for head in heads if head.differences]
    found = [line.cells[k].difference for line in table.lines for k in shown]
    verdicts = {difference.verdict for difference in found if difference is not None}
    states = {cell.state for cell in cells}
    remarks = [_sentence(visible(table.method))]
    if verdicts:
        signs = {SIGNS[verdict]: _meaning(verdict) for verdict in Verdict if verdict in verdicts}
        remarks.append(_sentence(f"{DELTA} is the difference to {_compared_with(table)}: {_pairs(signs)}"))
    absent = {ABSENT[state]: LEGEND[state] for state in ABSENT if state in states}
    if absent:
        remarks.append(_sentence(_pairs(absent)))
    return [remark for remark in remarks if remark]


def _compared_with(table: Table) -> str:
    bases = _bases(table)
    if len(bases) == 1:
        return visible(bases[0])
    return "the same row without its term" if _are_told(table) else "its row's base"


def _meaning(verdict: Verdict) -> str:
    return "it holds" if verdict in {Verdict.BETTER, Verdict.WORSE} else verdict.value


def _pairs(meanings: dict[str, str]) -> str:
    return "; ".join(f"{sign} = {meaning}" for sign, meaning in meanings.items())


def _sentence(text: str) -> str:
    return text if not text or text.endswith((".", "!", "?")) else f"{text}."
