"""Tables made by hand: one as in a paper, one too wide for any page, one of hostile names, one of every state."""

from collections.abc import Callable

import pytest

from results.table import Cell, Column, Difference, Line, Note, State, Table, Verdict

MakeTable = Callable[..., Table]


def measured(*values: float, best: bool = False, marks: tuple[str, ...] = (), delta: Difference | None = None) -> Cell:
    """Return a cell of runs; its mean and spread are those of the values."""
    mean = sum(values) / len(values)
    squares = sum((value - mean) ** 2 for value in values)
    return Cell(
        state=State.MEASURED,
        mean=mean,
        spread=(squares / (len(values) - 1)) ** 0.5 if len(values) > 1 else None,
        runs=len(values),
        expected=len(values),
        values=values,
        difference=delta,
        best=best,
        marks=marks,
    )


def delta(value: float, verdict: Verdict) -> Difference:
    told = verdict is not Verdict.TOO_FEW
    return Difference(value, 0.0123456789 if told else None, (value - 1, value + 1) if told else None, verdict, 3)


def absent(state: State) -> Cell:
    return Cell(state=state, expected=3)


def column(key: str, group: str = "", header: str = "AP", unit: str = "percent", **other: bool | int) -> Column:
    digits = int(other.get("digits", 1))
    higher, difference = bool(other.get("higher", True)), bool(other.get("difference", True))
    return Column(key, group, header, unit, higher, digits, difference)


@pytest.fixture
def paper() -> Table:
    """Return a table with all that a table has: groups, differences of each verdict, notes, published rows."""
    columns = (
        column("box/AP", "VOC 07+12", "box AP"),
        column("box/AP50", "VOC 07+12", "box AP50", difference=False),
        column("nll", "scenes", "NLL", "nats", higher=False, digits=3),
    )
    lines = (
        Line("random init", (measured(33.0, 34.0), measured(60.25), measured(2.0, 2.5)), marks=("a",)),
        Line(
            "simclr_r50_in1k_200e",
            (
                measured(50.0, 51.0, 52.0, delta=delta(17.5, Verdict.BETTER)),
                measured(80.0, 81.0, 82.0, best=True),
                measured(2.25, 2.25, delta=delta(0.0, Verdict.NOISE)),
            ),
            base="random init",
        ),
        Line(
            "simclr+superinfo_r50_in1k_200e",
            (
                measured(51.0, 53.0, best=True, delta=delta(18.5, Verdict.TOO_FEW)),
                measured(79.96, marks=("b",)),
                measured(2.5, 3.0, delta=delta(0.5, Verdict.WORSE)),
            ),
            base="random init",
        ),
        Line("byol_r50", (absent(State.MISSING), absent(State.RUNNING), absent(State.FAILED)), base="random init"),
        Line("ip_r50", (absent(State.UNDEFINED), measured(1.0), absent(State.MISSING)), base="random init"),
    )
    other = Cell(State.PUBLISHED, mean=57.4, source="moco")
    published = (
        Line("MoCo v2", (other, Cell(State.PUBLISHED, mean=82.5, runs=5, source="moco"), absent(State.MISSING))),
        Line("SwAV", (Cell(State.PUBLISHED, mean=56.1, source="swav"), absent(State.MISSING), absent(State.MISSING))),
    )
    return Table(
        name="voc",
        title="Detection on VOC",
        caption="Faster R-CNN R50-C4 on VOC 07+12, test2007 of 4,952 images, protocol voc_c4 version 1",
        method="Mean ± standard deviation over runs; Welch's test at 5 %, by Holm; bold is best where that holds.",
        columns=columns,
        lines=lines,
        published=published,
        notes=(Note("a", "Half the schedule."), Note("b", "One run diverged & was left out.")),
        sources=("He et al., Momentum Contrast, arXiv 1911.05722, Table 2", "Caron et al., SwAV, arXiv 2006.09882"),
    )


@pytest.fixture
def make() -> MakeTable:
    """Return a function that makes a table of given size and names, with differences to its first row."""

    def made(
        labels: tuple[str, ...] = ("a", "b"), groups: int = 1, each: int = 2, texts: str = "Demo", shown: bool = True
    ) -> Table:
        columns = tuple(
            column(f"{g}/{k}", f"{texts} {g}", f"{texts} m{k}", difference=shown)
            for g in range(groups)
            for k in range(each)
        )
        lines = [
            Line(
                label,
                tuple(
                    measured(
                        10 * r + c + 0.25, 10 * r + c + 0.75, delta=delta(10.0 * r, Verdict.BETTER) if r and shown else None
                    )
                    for c in range(len(columns))
                ),
                base=labels[0] if r else None,
                marks=("a",) if r else (),
            )
            for r, label in enumerate(labels)
        ]
        return Table(texts, texts, texts, texts, columns, tuple(lines), (), (Note("a", texts),))

    return made


@pytest.fixture
def rivals(paper: Table) -> Table:
    """Return a table whose rows have different bases."""
    cell = measured(1.0, delta=delta(1.0, Verdict.NOISE))
    lines = (
        *paper.lines[:2],
        Line("moco", (measured(5.0), measured(5.0), measured(5.0))),
        Line("moco+ip", (cell, cell, cell), base="moco"),
    )
    return Table("rivals", "Rivals", "", "", paper.columns, lines, (), paper.notes[:1])
