"""A table's figures are those worked out by hand, and what does not belong together is told apart."""

import math
from collections.abc import Sequence

import pytest
from scipy import stats

from results.captions import NOTHING
from results.records import Run
from results.table import Cell, Line, State, Table, Verdict
from results.tables import build, build_all
from superinfo.errors import UserError
from tests.results.made import SIMCLR, TERM, declaration, pending, run, runs, store

ROWS = [
    {"label": "random", "match": {"name": "random"}, "base": "SimCLR"},
    {"label": "SimCLR", "match": {"name": SIMCLR}},
    {"label": "SuperInfo", "match": {"name": TERM}, "base": "SimCLR"},
]
METHOD = [50.0, 51.0, 52.0, 50.5]
BETTER = [53.0, 54.1, 55.0, 53.4]


def line(table: Table, label: str) -> Line:
    (found,) = [line for line in table.lines if line.label == label]
    return found


def cell(table: Table, label: str, column: int = 0) -> Cell:
    return line(table, label).cells[column]


def notes(table: Table, marks: Sequence[str]) -> list[str]:
    return [note.text for note in table.notes if note.mark in marks]


def test_mean_spread_and_difference_are_those_worked_out_by_hand() -> None:
    table = build(declaration(rows=ROWS), store(runs("random", [10.0, 13.0]), runs(SIMCLR, [20.0, 22.0, 27.0])))
    assert [one.label for one in table.lines] == ["random", "SimCLR", "SuperInfo"]
    random, simclr = cell(table, "random"), cell(table, "SimCLR")
    assert (random.mean, simclr.mean) == (11.5, 23.0)
    assert [random.spread, simclr.spread] == pytest.approx([math.sqrt(4.5), math.sqrt(13)])
    assert simclr.values == (20.0, 22.0, 27.0)
    assert [run.seed for run in simclr.records] == [0, 1, 2]
    assert random.difference is not None
    assert random.difference.value == -11.5
    assert (random.difference.verdict, random.difference.p, random.difference.runs) == (Verdict.TOO_FEW, None, 2)
    assert simclr.difference is None
    assert cell(table, "SuperInfo") == Cell(State.MISSING)


def test_rows_of_the_same_seeds_are_compared_by_pairs_and_the_best_is_bold() -> None:
    table = build(declaration(rows=ROWS), store(runs(SIMCLR, METHOD), runs(TERM, BETTER)))
    difference = cell(table, "SuperInfo").difference
    expected = stats.ttest_rel(BETTER, METHOD)
    assert difference is not None
    assert difference.p == pytest.approx(expected.pvalue, abs=1e-12)
    assert difference.interval == pytest.approx(tuple(expected.confidence_interval(0.95)), abs=1e-12)
    assert (difference.verdict, difference.runs) == (Verdict.BETTER, 4)
    assert [cell(table, label).best for label in ("SimCLR", "SuperInfo")] == [False, True]
    assert "paired t test" in table.method
    assert "for the 1 test of a column" in table.method
    assert "Bold" in table.method


def test_the_number_of_tests_that_holms_method_adjusts_is_said() -> None:
    simclr, term = ([{"mask/AP": value, "box/AP": value} for value in values] for values in (METHOD, BETTER))
    random = [{"mask/AP": value, "box/AP": None} for value in METHOD]
    groups = [{"runs": {}, "metrics": ["mask/AP", "box/AP"]}]
    table = build(
        declaration(rows=ROWS, groups=groups), store(runs("random", random), runs(SIMCLR, simclr), runs(TERM, term))
    )
    assert "for the 1 to 2 tests of a column" in table.method


def test_a_difference_that_is_the_same_for_every_seed_is_not_told_and_not_bold() -> None:
    measured = store(runs(SIMCLR, [50.0, 52.5, 48.0]), runs(TERM, [50.5, 53.0, 48.5]))
    table = build(declaration(rows=ROWS), measured)
    difference = cell(table, "SuperInfo").difference
    assert difference is not None
    assert (difference.value, difference.verdict) == (0.5, Verdict.TOO_FEW)
    assert (difference.p, difference.interval) == (None, None)
    assert not cell(table, "SuperInfo").best
    assert "the same in every pretraining" in table.method
    assert "Fewer than" not in table.method


def test_rows_of_other_seeds_are_compared_by_welchs_test() -> None:
    shifted = [run(TERM, value, seed + 1) for seed, value in enumerate(BETTER)]
    for kind, row in (("paired", shifted), ("welch", runs(TERM, BETTER))):
        table = build(declaration(rows=ROWS, test=kind), store(runs(SIMCLR, METHOD), row))
        difference = cell(table, "SuperInfo").difference
        assert difference is not None
        assert difference.p == pytest.approx(stats.ttest_ind(BETTER, METHOD, equal_var=False).pvalue, abs=1e-12)


def test_tests_of_one_column_are_adjusted_together() -> None:
    table = build(declaration(rows=ROWS), store(runs("random", BETTER), runs(SIMCLR, METHOD), runs(TERM, BETTER)))
    alone = stats.ttest_rel(BETTER, METHOD).pvalue
    differences = [cell(table, label).difference for label in ("random", "SuperInfo")]
    assert [one and one.p for one in differences] == pytest.approx([2 * alone] * 2)


def test_nothing_is_bold_within_noise_nor_with_few_runs() -> None:
    noisy = build(declaration(rows=ROWS), store(runs(SIMCLR, METHOD), runs(TERM, [51.0, 50.0, 53.0, 51.0])))
    assert [one.cells[0].best for one in noisy.lines] == [False] * 3
    assert cell(noisy, "SuperInfo").difference is not None
    assert cell(noisy, "SuperInfo").difference.verdict is Verdict.NOISE  # type: ignore[union-attr]
    few = build(declaration(rows=ROWS), store(runs(SIMCLR, METHOD[:2]), runs(TERM, BETTER[:2])))
    assert [one.cells[0].best for one in few.lines] == [False] * 3
    assert "too few" in few.method


def test_the_best_must_beat_every_row_not_the_base_alone() -> None:
    near = runs("random", [value - 0.01 * seed for seed, value in enumerate(BETTER)])
    table = build(declaration(rows=ROWS), store(near, runs(SIMCLR, METHOD), runs(TERM, BETTER)))
    assert cell(table, "SuperInfo").difference.verdict is Verdict.BETTER  # type: ignore[union-attr]
    assert not any(one.cells[0].best for one in table.lines)


def test_where_less_is_better_the_smallest_is_best_and_less_is_a_gain() -> None:
    groups = [{"runs": {}, "metrics": [{"metric": "superfluous", "difference": True}]}]
    measured = {
        name: runs(name, [{"superfluous": value} for value in values], unit="nats", higher=False)
        for name, values in ((SIMCLR, BETTER), (TERM, METHOD))
    }
    table = build(declaration(rows=ROWS, groups=groups), store(*measured.values()))
    assert cell(table, "SuperInfo").best
    assert cell(table, "SuperInfo").difference.verdict is Verdict.BETTER  # type: ignore[union-attr]
    assert (table.columns[0].arrow, table.columns[0].unit, table.columns[0].digits) == ("↓", "nats", 2)


def test_without_a_test_nothing_is_compared() -> None:
    table = build(declaration(rows=ROWS, test="none"), store(runs(SIMCLR, METHOD), runs(TERM, BETTER)))
    assert all(one.cells[0].difference is None and not one.cells[0].best for one in table.lines)


def test_several_fine_tunings_of_one_pretraining_are_one_replicate() -> None:
    """Five runs each of three pretrainings are three replicates: as fifteen, any difference would be significant."""
    rows = {
        name: [
            run(name, first + shift + 0.01 * seed, seed, pretraining=pretraining)
            for pretraining, first in enumerate((50.0, 60.0, 70.0))
            for seed in range(5)
        ]
        for name, shift in ((SIMCLR, 0.0), (TERM, 1.0))
    }
    table = build(declaration(rows=ROWS, test="welch"), store(*rows.values()))
    found = cell(table, "SimCLR")
    assert found.values == pytest.approx((50.02, 60.02, 70.02))
    assert found.spread == pytest.approx(10.0)
    assert found.runs == 15
    assert found.mean == pytest.approx(60.02)
    difference = cell(table, "SuperInfo").difference
    expected = stats.ttest_ind([51.02, 61.02, 71.02], [50.02, 60.02, 70.02], equal_var=False)
    assert difference is not None
    assert difference.p == pytest.approx(expected.pvalue, abs=1e-9)
    assert (difference.runs, difference.verdict) == (3, Verdict.NOISE)
    assert notes(table, line(table, "SimCLR").marks) == ["3 pretrainings, fine-tuned 5 times each."]


def test_one_pretraining_fine_tuned_often_says_that_its_spread_is_of_fine_tuning_alone() -> None:
    one = [run(SIMCLR, value, seed, pretraining=0) for seed, value in enumerate(METHOD)]
    other = [run(TERM, value, seed, pretraining=0) for seed, value in enumerate(BETTER)]
    table = build(declaration(rows=ROWS), store(one, other))
    found = cell(table, "SuperInfo")
    assert found.spread == pytest.approx(stats.tstd(BETTER))
    assert found.difference is not None
    assert found.difference.verdict is Verdict.TOO_FEW
    (text,) = notes(table, line(table, "SuperInfo").marks)
    assert "spread is that of fine-tuning alone" in text


def test_a_single_run_has_no_spread_but_its_interval_over_test_images() -> None:
    groups = [{"runs": {}, "metrics": ["accuracy"]}]
    measured = run(SIMCLR, {"accuracy": 71.0, "accuracy_low": 69.5, "accuracy_high": 72.5})
    table = build(declaration(rows=ROWS, groups=groups), store(measured))
    assert (cell(table, "SimCLR").spread, cell(table, "SimCLR").interval) == (None, (69.5, 72.5))
    assert "bootstrap" in table.method
    several = build(declaration(rows=ROWS, groups=groups), store(measured, run(SIMCLR, {"accuracy": 72.0}, 1)))
    assert cell(several, "SimCLR").interval is None


def test_missing_running_interrupted_and_failed_cells_are_told_apart() -> None:
    table = build(
        declaration(rows=[*ROWS, {"label": "later", "match": {"name": "later"}}]),
        store(
            runs("random", [1.0, 2.0]),
            pending("random", "running", 2),
            runs(SIMCLR, [1.0, 2.0]),
            pending(SIMCLR, "failed", 2, "the disk is full"),
            pending(TERM, "interrupted"),
        ),
    )
    found = {one.label: one.cells[0] for one in table.lines}
    assert {label: one.state for label, one in found.items()} == {
        "random": State.RUNNING,
        "SimCLR": State.FAILED,
        "SuperInfo": State.RUNNING,
        "later": State.MISSING,
    }
    assert {label: (one.mean, one.runs, one.expected) for label, one in found.items()} == {
        "random": (None, 2, 3),
        "SimCLR": (None, 2, 3),
        "SuperInfo": (None, 0, 1),
        "later": (None, 0, 0),
    }
    assert notes(table, line(table, "SimCLR").marks) == ["Seed 2 failed: the disk is full."]


def test_a_run_that_failed_before_it_was_finished_counts_no_more() -> None:
    table = build(declaration(rows=ROWS), store(run(SIMCLR, 5.0), pending(SIMCLR, "failed", 0, "once")))
    assert (cell(table, "SimCLR").mean, table.notes) == (5.0, ())


def test_there_is_a_mean_only_where_every_expected_run_has_a_figure() -> None:
    short = build(declaration(rows=ROWS, seeds=[0, 1, 2]), store(runs(SIMCLR, [1.0, 2.0])))
    assert (cell(short, "SimCLR").state, cell(short, "SimCLR").mean) == (State.MISSING, None)
    assert (cell(short, "SimCLR").runs, cell(short, "SimCLR").expected) == (2, 3)
    whole = build(declaration(rows=ROWS, seeds=[0, 1, 2]), store(runs(SIMCLR, [1.0, 2.0, 6.0, 90.0])))
    assert (cell(whole, "SimCLR").mean, cell(whole, "SimCLR").runs) == (3.0, 3)


def test_a_second_record_of_a_seed_does_not_stand_in_for_one_that_is_missing() -> None:
    twice = [*runs(SIMCLR, [1.0, 2.0]), run(SIMCLR, 9.0, 1)]
    table = build(declaration(rows=ROWS, seeds=[0, 1, 2]), store(twice))
    assert (cell(table, "SimCLR").state, cell(table, "SimCLR").mean) == (State.MISSING, None)
    assert (cell(table, "SimCLR").runs, cell(table, "SimCLR").expected) == (3, 4)


@pytest.mark.parametrize("odd", [None, math.nan, math.inf])
def test_a_figure_that_is_no_number_is_undefined_and_says_in_how_many_runs(odd: float | None) -> None:
    table = build(declaration(rows=ROWS), store(runs(SIMCLR, [5.0, odd, 6.0]), runs(TERM, [odd])))
    for label, text in (("SimCLR", "no number in 1 of 3 runs"), ("SuperInfo", "no number")):
        assert (cell(table, label).state, cell(table, label).mean) == (State.UNDEFINED, None)
        assert notes(table, cell(table, label).marks) == [text]
    assert cell(table, "SuperInfo").difference is None


def test_what_a_detector_does_not_measure_is_missing_not_undefined() -> None:
    groups = [{"runs": {}, "metrics": ["mask/AP", "box/AP"]}]
    table = build(declaration(rows=ROWS, groups=groups), store(run(SIMCLR, {"box/AP": 1.0})))
    assert [one.state for one in line(table, "SimCLR").cells] == [State.MISSING, State.MEASURED]


def test_a_fraction_among_percents_is_not_shown_and_marked() -> None:
    table = build(
        declaration(rows=ROWS), store(runs(SIMCLR, METHOD), runs(TERM, [0.5], unit="fraction"), runs("random", [1.0]))
    )
    assert (cell(table, "SuperInfo").state, cell(table, "SuperInfo").mean) == (State.UNDEFINED, None)
    (text,) = notes(table, cell(table, "SuperInfo").marks)
    assert "fraction" in text
    assert "percent" in text


def test_a_figure_of_the_other_direction_is_not_shown_and_marked() -> None:
    table = build(declaration(rows=ROWS), store(runs(SIMCLR, METHOD), runs(TERM, [1.0] * 3, higher=False)))
    assert (table.columns[0].arrow, cell(table, "SimCLR").mean) == ("↑", 50.875)
    assert (cell(table, "SuperInfo").state, cell(table, "SuperInfo").mean) == (State.UNDEFINED, None)
    (text,) = notes(table, cell(table, "SuperInfo").marks)
    assert text == ("recorded as better where it is lower, where the column's is better where it is higher: not shown")


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"what": {"samples": 190}}, "samples 190 instead of 200"),
        ({"what": {"protocol_version": 2}}, "version 2 instead of 1"),
        ({"what": {"split": "val"}}, "split val instead of test"),
        ({"what": {"dataset": "coco"}}, "dataset coco instead of scenes"),
        ({"protocol": "mask_c4"}, "protocol mask_c4 instead of maskrcnn-test"),
        ({"protocol_hash": "0" * 64}, "another recipe, maskrcnn"),
    ],
    ids=["samples", "version", "split", "dataset", "protocol", "hash"],
)
def test_two_protocols_in_one_column_are_marked_with_what_differs_and_not_compared(
    other: dict[str, object], said: str
) -> None:
    table = build(
        declaration(rows=ROWS), store(runs("random", METHOD), runs(SIMCLR, METHOD), runs(TERM, BETTER, **other))
    )
    assert cell(table, "SuperInfo").mean == pytest.approx(53.875)
    assert cell(table, "SuperInfo").difference is None
    assert not cell(table, "SuperInfo").best
    (text,) = notes(table, line(table, "SuperInfo").marks)
    assert text == f"Measured otherwise than most rows, so not compared: {said}."
    assert line(table, "SimCLR").marks == ()


def test_runs_of_one_row_measured_in_two_ways_have_no_mean() -> None:
    table = build(declaration(rows=ROWS), store(run(SIMCLR, 1.0), run(SIMCLR, 2.0, 1, what={"samples": 190})))
    assert (cell(table, "SimCLR").state, cell(table, "SimCLR").mean) == (State.UNDEFINED, None)
    (text,) = notes(table, line(table, "SimCLR").marks)
    assert "more than one way" in text
    assert "samples 190 instead of 200" in text


def test_runs_of_one_row_of_two_pretraining_recipes_have_no_mean() -> None:
    table = build(declaration(rows=ROWS), store(run(SIMCLR, 1.0), run(SIMCLR, 2.0, 1, recipe_hash="1" * 64)))
    assert (cell(table, "SimCLR").state, cell(table, "SimCLR").mean) == (State.UNDEFINED, None)
    (text,) = notes(table, line(table, "SimCLR").marks)
    assert "more than one pretraining recipe" in text


def test_a_row_of_two_recipes_says_no_more_than_that_of_their_seeds() -> None:
    both = [*runs(SIMCLR, METHOD), *runs(SIMCLR, BETTER, recipe_hash="1" * 64)]
    table = build(declaration(rows=ROWS), store(both))
    (text,) = notes(table, line(table, "SimCLR").marks)
    assert text.startswith("Its runs are of more than one pretraining recipe, so no mean: ")
    again = build(declaration(rows=ROWS), store(both, run(SIMCLR, 1.0, 3)))
    assert f"{SIMCLR} has two records of seed 3." in notes(again, line(again, "SimCLR").marks)


def test_a_row_that_was_measured_in_two_ways_has_no_seed_twice() -> None:
    table = build(declaration(rows=ROWS), store(runs(SIMCLR, METHOD), runs(SIMCLR, BETTER, what={"samples": 190})))
    (text,) = notes(table, line(table, "SimCLR").marks)
    assert text.startswith("Its runs were measured in more than one way, so no mean: ")


def test_a_row_of_random_and_of_pretrained_encoders_has_no_mean() -> None:
    rows = [{"label": "all", "match": {}}]
    table = build(declaration(rows=rows), store(run(SIMCLR, 1.0), run("random", 2.0)))
    assert cell(table, "all").state is State.UNDEFINED


def test_files_from_elsewhere_in_one_row_are_a_pretraining_each() -> None:
    files = [run(f"mine{n}", 10.0 + n, recipe_hash=None, tensors=str(n) * 64, who={"method": "moco"}) for n in range(3)]
    table = build(declaration(rows=[{"label": "mine", "match": {"name": "mine*"}}]), store(files))
    assert (cell(table, "mine").values, cell(table, "mine").spread) == ((10.0, 11.0, 12.0), 1.0)


def test_a_duplicate_seed_is_marked_and_makes_no_replicate() -> None:
    twice = [*runs(SIMCLR, [1.0, 2.0]), run(SIMCLR, 3.0, 1)]
    table = build(declaration(rows=ROWS), store(twice))
    assert cell(table, "SimCLR").values == (1.0, 2.5)
    assert f"{SIMCLR} has two records of seed 1." in notes(table, line(table, "SimCLR").marks)


def test_deviations_are_footnotes_and_those_of_all_runs_stand_in_the_caption() -> None:
    table = build(
        declaration(rows=ROWS),
        store(
            runs(SIMCLR, [1.0], deviations=["noised by 0.1"]),
            runs(TERM, [2.0], deviations=["noised by 0.1", "one GPU"]),
        ),
    )
    assert notes(table, line(table, "SuperInfo").marks) == ["One GPU."]
    assert line(table, "SimCLR").marks == ()
    assert "In all runs: noised by 0.1." in table.caption


def test_a_deviation_of_some_groups_alone_is_said_of_those() -> None:
    groups = [{"header": name, "runs": {"dataset": name}, "metrics": ["accuracy"]} for name in ("A", "B", "C", "none")]
    measured = [
        one
        for name, own in (("A", ["by halves", "one GPU"]), ("B", ["by halves"]), ("C", []))
        for one in runs(SIMCLR, [{"accuracy": 1.0}] * 2, what={"dataset": name}, deviations=[*own, "noised by 0.1"])
    ]
    caption = build(declaration(rows=ROWS, groups=groups), store(measured)).caption
    assert caption.endswith(" In all runs: noised by 0.1. In all runs of A, B: by halves. In all runs of A: one GPU.")


def test_the_caption_says_what_was_measured() -> None:
    caption = build(declaration(rows=ROWS), store(runs(SIMCLR, [1.0]))).caption
    for words in ("Instance segmentation", "scenes", "test split of 200 images", "maskrcnn-test v1"):
        assert words in caption


def test_a_table_of_which_nothing_is_measured_says_so() -> None:
    table = build(declaration(rows=ROWS), store())
    assert (table.caption, table.method) == (NOTHING, "")
    assert {one.cells[0].state for one in table.lines} == {State.MISSING}


def test_an_unknown_metric_is_refused_with_the_near_ones() -> None:
    groups = [{"runs": {}, "metrics": ["mask/APP"]}]
    with pytest.raises(UserError, match=r"no record has a metric `mask/APP` \(did you mean `mask/AP`\?\)"):
        build(declaration(groups=groups), store(run(SIMCLR, 1.0)))


def test_groups_of_columns_take_their_own_runs_and_marks() -> None:
    groups = [
        {"header": name, "runs": {"dataset": name}, "metrics": [{"metric": "accuracy", "difference": True}]}
        for name in ("CIFAR-10", "STL-10")
    ]
    measured: list[Run] = []
    for name, value, others in (("CIFAR-10", 80.0, {}), ("STL-10", 70.0, {"deviations": ["one GPU"]})):
        measured += runs(SIMCLR, [{"accuracy": value}], what={"dataset": name}, **others)
    table = build(declaration(rows=ROWS, groups=groups), store(measured))
    assert [(one.group, one.key) for one in table.columns] == [
        ("CIFAR-10", "CIFAR-10: accuracy"),
        ("STL-10", "STL-10: accuracy"),
    ]
    assert [one.mean for one in line(table, "SimCLR").cells] == [80.0, 70.0]
    first, second = line(table, "SimCLR").cells
    assert (first.marks, notes(table, second.marks)) == ((), ["One GPU."])
    assert table.caption.startswith("CIFAR-10: Instance segmentation on CIFAR-10")


def test_all_records_are_split_by_what_was_measured_with_a_row_for_each_pretraining() -> None:
    tables = build_all(
        store(
            runs("b_r18", [3.0]),
            runs("a_r18", [1.0, 2.0]),
            runs("a_r18", [9.0], what={"protocol_version": 2}),
            runs("b_r18", [8.0], what={"split": "val"}),
            runs("b_r18", [7.0], what={"dataset": "coco"}),
            runs("b_r18", [6.0], protocol_hash="0" * 64),
        )
    )
    found = [[(one.label, one.cells[0].runs, one.cells[0].mean) for one in table.lines] for table in tables]
    assert sorted(found) == [
        [("a_r18", 1, 9.0)],
        [("a_r18", 2, 1.5), ("b_r18", 1, 3.0)],
        [("b_r18", 1, 6.0)],
        [("b_r18", 1, 7.0)],
        [("b_r18", 1, 8.0)],
    ]
    assert len({table.name for table in tables}) == 5


def test_all_records_are_summed_up_by_known_metrics_or_shown_by_all_if_none_is_known() -> None:
    known = build_all(store(run(SIMCLR, {"box/AP-disk": 1.0, "box/AP": 2.0, "mask/AP": 3.0})))
    assert [column.key for column in known[0].columns] == ["box/AP", "mask/AP"]
    unknown = build_all(store(run(SIMCLR, {"z": 1.0, "a": 2.0})))
    assert [column.key for column in unknown[0].columns] == ["a", "z"]
    assert build_all(store(run(SIMCLR, {})))[0].lines[0].cells == ()


def test_any_text_may_name_what_a_record_measured() -> None:
    odd = "<b>, %_$ | é\u202e\n" * 40
    (table,) = build_all(store(run(SIMCLR, 1.0, recipe=odd, what={"protocol": odd, "task": odd, "dataset": odd})))
    assert [one.cells[0].mean for one in table.lines] == [1.0]


def test_a_table_of_one_measurement_has_the_same_name_in_any_set_of_records() -> None:
    alone, together = build_all(store(run(SIMCLR, 1.0))), build_all(store(run(SIMCLR, 1.0), run(TERM, 2.0, recipe="a")))
    assert [table.name for table in alone] == [table.name for table in together]


def test_thousands_of_seeds_make_a_table() -> None:
    table = build(
        declaration(rows=ROWS),
        store(
            runs(SIMCLR, [50 + seed % 7 for seed in range(3000)]), runs(TERM, [51 + seed % 5 for seed in range(3000)])
        ),
    )
    assert (cell(table, "SimCLR").runs, len(cell(table, "SimCLR").values)) == (3000, 3000)
    assert cell(table, "SuperInfo").difference is not None
