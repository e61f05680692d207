"""Others' numbers as lines of a table: exact values, each with its source and what a reader has to know of it."""

from pathlib import Path

import pytest

from results.literature import Published, PublishedFilter, Quoted, read_published, select
from results.marks import Notes
from results.quoted import citations, quoted_lines
from results.table import Cell, Column, Line, State
from superinfo.errors import UserError

VOC = PublishedFilter(tasks=("object_detection",), datasets=("VOC07+12",), tags=("c4", "24k"))
COCO = PublishedFilter(tasks=("instance_segmentation",), datasets=("COCO 2017",))
LINEAR = PublishedFilter(tasks=("linear",), datasets=("ImageNet-1k",), metrics=("accuracy",))


def column(metric: str, unit: str = "percent", group: str = "") -> Column:
    return Column(f"{group} {metric}", group, metric, unit, higher_is_better=True, digits=1, difference=False)


def quote(wanted: PublishedFilter, *metrics: str, unit: str = "percent") -> tuple[dict[str, Line], dict[str, str]]:
    """Return lines by label, and texts of footnotes by mark."""
    notes = Notes()
    filters = [wanted.model_copy(update={"metrics": (metric,)}) for metric in metrics]
    lines = quoted_lines(filters, [column(metric, unit) for metric in metrics], notes)
    return {line.label: line for line in lines}, {note.mark: note.text for note in notes.all()}


def footnotes(line: Line, notes: dict[str, str], cell: int = 0) -> list[str]:
    return [notes[mark] for mark in (*line.marks, *line.cells[cell].marks)]


def test_values_sources_trials_and_deviations_are_those_of_the_rows() -> None:
    lines, notes = quote(VOC.model_copy(update={"sources": ("moco",)}), "box/AP", "box/AP50", "box/AP75")
    assert list(lines) == [
        "Supervised [moco]",
        "MoCo v1, 200 epochs [moco]",
        "MoCo v2, 200 epochs [moco]",
        "MoCo v2, 800 epochs [moco]",
    ]
    line = lines["MoCo v2, 200 epochs [moco]"]
    assert [(cell.state, cell.mean, cell.spread, cell.runs, cell.source) for cell in line.cells] == [
        (State.PUBLISHED, 57.0, 0.2, 5, "moco"),
        (State.PUBLISHED, 82.4, 0.2, 5, "moco"),
        (State.PUBLISHED, 63.6, 0.4, 5, "moco"),
    ]
    assert footnotes(line, notes) == [
        "The standard deviation is the one its source states for this metric, not for this row.",
        "Mean of 5 trials.",
    ]


def test_a_fraction_becomes_exact_percent_and_says_so() -> None:
    lines, notes = quote(PublishedFilter(tasks=("knn",), datasets=("ImageNet-100",)), "accuracy")
    line = lines["MoCo, 200 epochs, batch 256 [lightly]"]
    assert line.cells[0].mean == 56.0  # 0.560; times 100 in binary it is 56.00000000000001
    assert footnotes(line, notes) == [
        "Best over epochs, chosen by the very figure that is reported.",
        "Converted from fraction to percent.",
    ]


def test_percent_becomes_a_fraction_in_a_column_of_fractions() -> None:
    lines, notes = quote(LINEAR.model_copy(update={"sources": ("barlowtwins",)}), "accuracy", unit="fraction")
    (line,) = lines.values()
    assert line.cells[0].mean == 0.735
    assert footnotes(line, notes) == ["Converted from percent to fraction."]


def test_a_4conv1fc_head_beside_default_heads_is_marked() -> None:
    fpn = COCO.model_copy(update={"tags": ("fpn", "1x"), "sources": ("pixpro", "detectron2", "mmselfsup")})
    lines, notes = quote(fpn, "box/AP", "mask/AP")
    told = {line.cells[0].source: " ".join(footnotes(line, notes)) for line in lines.values()}
    assert "four convolutions" in told["pixpro"]
    assert "Synchronised batch norm in the heads" in told["pixpro"]
    assert "MMDetection" in told["mmselfsup"]
    assert "four convolutions" not in told["mmselfsup"] + told["detectron2"]
    assert "Batch norm frozen" in told["detectron2"]
    assert "MSRA" in told["detectron2"]


def test_restated_baselines_and_verbatim_oddities_are_marked() -> None:
    pixpro = COCO.model_copy(update={"tags": ("c4", "1x"), "sources": ("pixpro",)})
    lines, notes = quote(pixpro, "box/AP", "mask/AP")
    scratch = lines["Random init [pixpro]"]
    assert [cell.mean for cell in scratch.cells] == [26.4, 29.3]
    assert any("mask AP is above box AP" in text for text in footnotes(scratch, notes))
    restated = {label for label, line in lines.items() if any("Restated" in text for text in footnotes(line, notes))}
    assert set(lines) - restated == {
        "PixPro, 100 epochs [pixpro]",
        "PixPro, 400 epochs [pixpro]",
    }


def test_schedules_side_by_side_are_marked_and_a_single_one_is_not() -> None:
    mixed, notes = quote(COCO.model_copy(update={"tags": ("c4",), "sources": ("openselfsup", "pixpro")}), "box/AP")
    assert notes[mixed["MoCo v2, 200 epochs [openselfsup]"].marks[0]] == "Fine-tuned on the 2x schedule."
    assert notes[mixed["PixPro, 400 epochs [pixpro]"].marks[0]] == "Fine-tuned on the 1x schedule."
    alone, _ = quote(COCO.model_copy(update={"tags": ("c4", "2x"), "sources": ("openselfsup",)}), "box/AP")
    assert {line.marks for line in alone.values()} == {()}


def test_rows_without_a_figure_make_no_difference_to_others_footnotes() -> None:
    lines, notes = quote(COCO.model_copy(update={"tags": ("2x",), "sources": ("openselfsup", "superinfo")}), "box/AP")
    assert [text for text in notes.values() if "schedule" in text or "C4" in text] == []
    assert "SuperInfo [superinfo]" in lines


def test_two_figures_of_one_encoder_are_two_lines_that_footnotes_tell_apart() -> None:
    filters = [LINEAR.model_copy(update={"sources": ("moco",), "methods": ("MoCo v2",), "epochs": (200,)})]
    notes = Notes()
    lines = quoted_lines(filters, [column("accuracy")], notes)
    texts = {note.mark: note.text for note in notes.all()}
    assert [(line.label, line.cells[0].mean) for line in lines] == [
        ("MoCo v2, 200 epochs [moco]", 67.5),
        ("MoCo v2, 200 epochs [moco]", 67.7),
    ]
    assert [footnotes(line, texts) for line in lines] == [
        ["Mean of 5 trials."],
        ["Of the one released checkpoint, not a mean over runs."],
    ]


def test_lines_that_no_tag_tells_apart_say_their_setting() -> None:
    rows = [quoted for quoted in read_published() if quoted.row.source == "barlowtwins"]
    again = [Quoted(q.row.model_copy(update={"setting": "lr 0.3"}), q.path, q.line + 10) for q in rows]
    notes = Notes()
    lines = quoted_lines([LINEAR], [column("accuracy")], notes, [*rows, *again])
    assert [note.text for note in notes.all()] == ["Measured as: bs2048.", "Measured as: lr 0.3."]
    assert [line.marks for line in lines] == [("a",), ("b",)]


def test_online_offline_and_unsaid_linear_evaluation_are_told_apart() -> None:
    solo = PublishedFilter(tasks=("linear",), datasets=("ImageNet-100",), encoders=("resnet18 x1",), methods=("BYOL",))
    notes = Notes()
    lines = quoted_lines([solo.model_copy(update={"metrics": ("accuracy",)})], [column("accuracy")], notes)
    assert [line.cells[0].mean for line in lines] == [80.16, 80.32]
    assert [note.text.rsplit(" ", 1)[-1] for note in notes.all()] == ["(online).", "(offline)."]
    cifar = {"datasets": ("CIFAR-10",), "pretrain_datasets": ("CIFAR-10",)}
    unsaid, texts = quote(solo.model_copy(update=cifar), "accuracy")
    (line,) = unsaid.values()
    assert footnotes(line, texts)[0].startswith("Its source does not say")


def test_measurements_of_one_encoder_share_a_line_across_columns() -> None:
    source = {"sources": ("openselfsup",), "methods": ("MoCo v2",)}
    filters = [
        VOC.model_copy(update={**source, "metrics": ("box/AP",)}),
        None,
        COCO.model_copy(update={**source, "metrics": ("mask/AP",)}),
    ]
    columns = [column("box/AP", group="VOC"), column("top1", group="ours"), column("mask/AP", group="COCO")]
    (line,) = quoted_lines(filters, columns, Notes())
    assert [cell.mean for cell in line.cells] == [56.97, None, 35.6]
    assert line.cells[1] == Cell(State.MISSING)


def test_no_selected_row_is_lost_or_shown_twice() -> None:
    everything = PublishedFilter(tasks=("linear",), datasets=("ImageNet-1k",))
    metrics = ("accuracy", "top5_accuracy")
    filters = [everything.model_copy(update={"metrics": (metric,)}) for metric in metrics]
    lines = quoted_lines(filters, [column(metric) for metric in metrics], Notes())
    for index, wanted in enumerate(filters):
        means = [line.cells[index].mean for line in lines]
        shown = sorted(mean for mean in means if mean is not None)
        assert shown == sorted(float(quoted.row.value) for quoted in select(wanted) if quoted.row.value)


def test_a_row_of_the_superinfo_paper_is_missing_until_somebody_fills_it() -> None:
    wanted = VOC.model_copy(update={"metrics": ("box/AP",), "sources": ("superinfo",)})
    notes = Notes()
    (line,) = quoted_lines([wanted], [column("box/AP")], notes)
    assert (line.cells[0].state, line.cells[0].mean, line.cells[0].source) == (State.MISSING, None, "superinfo")
    assert [note.text for note in notes.all()] == [
        "No figure of superinfo is at hand; its rows in results/published/ are there to be filled."
    ]
    filled = [_filled(quoted, "60.5") for quoted in read_published()]
    (line,) = quoted_lines([wanted], [column("box/AP")], Notes(), filled)
    assert (line.cells[0].state, line.cells[0].mean) == (State.PUBLISHED, 60.5)


def test_backbone_and_pretraining_set_are_in_the_label_where_lines_have_several() -> None:
    dense = VOC.model_copy(update={"sources": ("densecl", "openselfsup"), "methods": ("DenseCL", "Random init")})
    assert list(quote(dense, "box/AP")[0]) == [
        "DenseCL, ResNet-50, COCO, 800 epochs [densecl]",
        "DenseCL, ResNet-50, COCO, 1600 epochs [densecl]",
        "DenseCL, ResNet-50, ImageNet-1k, 200 epochs [densecl]",
        "DenseCL, ResNet-101, ImageNet-1k, 200 epochs [densecl]",
        "Random init, ResNet-50 [openselfsup]",
    ]
    slim = dense.model_copy(update={"encoders": ("resnet50 x1",), "pretrain_datasets": ("ImageNet-1k", "none")})
    assert list(quote(slim, "box/AP")[0]) == ["DenseCL, 200 epochs [densecl]", "Random init [openselfsup]"]


def test_lines_stand_in_the_order_of_the_files_whatever_the_columns() -> None:
    lines, _ = quote(VOC.model_copy(update={"encoders": ("resnet50 x1",)}), "box/AP75", "box/AP50", "box/AP")
    sources = [cell.source for line in lines.values() for cell in line.cells if cell.source]
    assert list(dict.fromkeys(sources)) == ["densecl", "mmselfsup", "moco", "openselfsup", "pixpro", "superinfo"]


def test_what_a_row_notes_of_itself_is_a_footnote() -> None:
    wanted = VOC.model_copy(update={"tags": ("fpn",)})
    lines, notes = quote(wanted, "box/AP50")
    assert footnotes(lines["BYOL [ssl-transfer]"], notes) == [
        "Called frozen by its source, but FREEZE_AT 4 leaves res5 trainable.",
        "Detector trained on one GPU, with batches of 2 images.",
    ]


def test_sources_are_cited_once_in_order_of_appearance() -> None:
    lines, _ = quote(VOC.model_copy(update={"sources": ("moco", "densecl"), "epochs": (200,)}), "box/AP")
    assert citations(lines.values()) == (
        "[densecl] WXinlong/DenseCL (code of DenseCL by its authors), https://github.com/WXinlong/DenseCL",
        "[moco] facebookresearch/moco (code of MoCo by its authors), https://github.com/facebookresearch/moco/tree/132aea9",
    )


def test_two_metrics_or_another_unit_in_a_column_are_refused() -> None:
    with pytest.raises(UserError, match="box/AP and box/AP50 and box/AP75 in one column"):
        quoted_lines([VOC], [column("box/AP")], Notes())
    with pytest.raises(UserError, match="unit nats of published figures"):
        quoted_lines([LINEAR], [column("accuracy", "nats")], Notes())


def _filled(quoted: Quoted, value: str) -> Quoted:
    row: Published = quoted.row
    return Quoted(row.model_copy(update={"value": value}), Path("superinfo.csv"), 2) if not row.value else quoted
