"""Figures of a table, each computed by hand; and what does not belong in one table."""

import math
from collections.abc import Callable

import pytest

from results.tables import METRICS, Cell, Row, compare, compare_all
from superinfo.artifacts import Record
from superinfo.errors import UserError

MakeRecord = Callable[..., Record]


def row(label: str, *records: Record) -> Row:
    return Row(label, records)


def test_mean_spread_and_difference_are_those_worked_out_by_hand(record: MakeRecord) -> None:
    rows = [
        row("random", record("random", 10.0), record("random", 13.0, seed=1)),
        row("SimCLR", *(record("simclr", value, seed=seed) for seed, value in enumerate((20.0, 22.0, 27.0)))),
    ]
    table = compare("Demo", rows, "random")
    # Means 23/2 and 69/3; squares about them 2 * 1.5^2 over 1, and 3^2 + 1 + 4^2 over 2.
    assert [line.runs for line in table.lines] == [2, 3]
    for metric in METRICS:
        first, second = (line.cells[metric] for line in table.lines)
        assert (first.mean, first.difference) == (11.5, None)
        assert (second.mean, second.difference) == (23.0, 11.5)
        assert [first.spread, second.spread] == pytest.approx([math.sqrt(4.5), math.sqrt(13)])


def test_rows_stay_in_the_order_given_and_the_baseline_may_be_any_of_them(record: MakeRecord) -> None:
    rows = [row(label, record(label, value)) for label, value in (("z", 3.0), ("a", 1.0), ("m", 2.0))]
    table = compare("Demo", rows, "m")
    assert [line.label for line in table.lines] == ["z", "a", "m"]
    assert [line.cells["mask/AP"].difference for line in table.lines] == [1.0, -1.0, None]


def test_each_metric_has_its_own_figures(record: MakeRecord) -> None:
    (line,) = compare("Demo", [row("a", record("a", 1.0, 2.0, 3.0, 4.0, 5.0, 6.0))], None).lines
    assert {metric: cell.mean for metric, cell in line.cells.items()} == dict(
        zip(METRICS, (1.0, 2.0, 3.0, 4.0, 5.0, 6.0), strict=True)
    )


def test_one_run_has_no_spread(record: MakeRecord) -> None:
    (line,) = compare("Demo", [row("a", record("a", 5.0))], None).lines
    assert line.cells["box/AP"] == Cell(mean=5.0, spread=None, difference=None)


def test_a_row_that_is_not_run_yet_is_an_empty_line(record: MakeRecord) -> None:
    table = compare("Demo", [row("a", record("a", 5.0)), row("later")], "a")
    assert table.lines[1].runs == 0
    assert set(table.lines[1].cells.values()) == {Cell(mean=None, spread=None, difference=None)}
    to_be_compared = compare("Demo", [row("a", record("a", 5.0)), row("later")], "later")
    assert to_be_compared.lines[0].cells["box/AP"] == Cell(mean=5.0, spread=None, difference=None)


def test_a_row_has_a_mean_only_where_every_run_has_a_figure(record: MakeRecord) -> None:
    """Leaving out the run that failed would flatter the row."""
    runs = [record("a", 5.0), record("a", 7.0, seed=2, metrics=("mask/AP",)), record("a", 0.0, seed=3)]
    (line,) = compare("Demo", [row("a", *runs)], None).lines
    assert line.runs == 3
    assert line.cells["box/AP"] == Cell(mean=None, spread=None, difference=None)
    assert line.cells["mask/AP"].mean == pytest.approx(4.0)
    (undefined,) = compare("Demo", [row("a", record("a", 5.0), record("a", None, seed=1))], None).lines
    assert undefined.cells["mask/AP"].mean is None


def test_a_suite_of_which_nothing_is_run_says_so() -> None:
    table = compare("Demo", [row("a"), row("b")], "a")
    assert table.caption == "nothing measured yet"


def test_an_unknown_baseline_is_refused_with_the_rows_there_are(record: MakeRecord) -> None:
    with pytest.raises(UserError, match=r"baseline 'c': no row of that label; rows: a, b"):
        compare("Demo", [row("a", record("a", 1.0)), row("b")], "c")


def test_two_rows_of_one_label_are_refused(record: MakeRecord) -> None:
    with pytest.raises(UserError, match="'a'"):
        compare("Demo", [row("a", record("a", 1.0)), row("b"), row("a", record("c", 2.0))], "b")


@pytest.mark.parametrize(
    "other",
    [{"protocol": "mask_c4"}, {"version": 2}, {"dataset": "coco"}, {"split": "val"}],
    ids=lambda o: next(iter(o)),
)
def test_what_is_measured_differently_is_refused_in_one_table(record: MakeRecord, other: dict[str, object]) -> None:
    with pytest.raises(UserError, match="measure different things") as caught:
        compare("Demo", [row("a", record("a", 1.0)), row("b", record("b", 1.0, **other))], "a")
    assert str(next(iter(other.values()))) in str(caught.value)
    with pytest.raises(UserError, match="measure different things"):
        compare("Demo", [row("a", record("a", 1.0), record("a", 1.0, **other))], "a")


def test_the_caption_says_what_was_measured_and_against_what(record: MakeRecord) -> None:
    caption = compare("Demo", [row("a", record("a", 1.0)), row("b")], "a").caption
    for words in ("instance segmentation", "scenes (8 classes)", "test split", "1,000 images", "mask_fpn v1", "to a"):
        assert words in caption


def test_all_records_are_split_by_what_was_measured_and_grouped_by_pretraining(record: MakeRecord) -> None:
    records = [
        record("b", 3.0),
        record("a", 1.0),
        record("a", 2.0, seed=1),
        record("a", 9.0, version=2),
        record("b", 8.0, split="val"),
        record("b", 7.0, dataset="coco"),
    ]
    tables = compare_all(records)
    found = {
        table.title: [(line.label, line.runs, line.cells["mask/AP"].mean) for line in table.lines] for table in tables
    }
    assert sorted(found.values()) == sorted(
        [[("a", 2, 1.5), ("b", 1, 3.0)], [("a", 1, 9.0)], [("b", 1, 8.0)], [("b", 1, 7.0)]]
    )
    assert all(table.baseline is None for table in tables)
    assert list(found) == sorted(found)
    assert len(found) == 4


def test_encoders_of_one_name_but_another_size_are_not_averaged(record: MakeRecord) -> None:
    (table,) = compare_all([record("random", 10.0), record("random", 30.0, arch="resnet50"), record("a", 20.0)])
    assert [line.cells["mask/AP"].mean for line in table.lines] == [20.0, 10.0, 30.0]
    labels = [line.label for line in table.lines]
    assert labels[0] == "a"
    assert "resnet18" in labels[1]
    assert "resnet50" in labels[2]
