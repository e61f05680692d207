"""Rows of others' numbers: what is refused, with file and line, and what a filter lets through."""

import csv
import io
from pathlib import Path

import pytest

from results.citations import read_sources
from results.literature import COLUMNS, PublishedFilter, examine, read_published, select
from results.vocabulary import MEANINGS, NEVER_TOLD, TOLD_WHERE_ROWS_DIFFER
from superinfo.errors import UserError

GOOD = {
    "method": "MoCo v2",
    "pretrain_dataset": "ImageNet-1k",
    "backbone": "ResNet-50",
    "encoder": "resnet50 x1",
    "epochs": "200",
    "task": "object_detection",
    "dataset": "VOC07+12",
    "tags": "c4 24k",
    "metric": "box/AP50",
    "value": "82.4",
    "unit": "percent",
    "source": "moco",
    "source_path": "README.md",
    "setting": "24k",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a source and no rows."""
    (tmp_path / "sources.yaml").write_text("moco: {title: facebookresearch/moco, url: 'https://x.org', what: code}\n")
    return tmp_path


def text(*rows: dict[str, str], columns: tuple[str, ...] = COLUMNS) -> str:
    written = io.StringIO()
    writer = csv.DictWriter(written, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return written.getvalue()


def faults(folder: Path, *rows: dict[str, str]) -> list[str]:
    (folder / "moco.csv").write_text(text(*rows))
    return examine(folder)[1]


def test_all_committed_rows_pass() -> None:
    rows, found = examine()
    assert found == []
    assert len(rows) == 878 + 34


def test_a_row_without_fault_is_read_as_it_stands(folder: Path) -> None:
    assert faults(folder, GOOD) == []
    (quoted,) = read_published(folder)
    assert (quoted.row.value, quoted.row.epochs, quoted.row.tags) == ("82.4", 200, ("c4", "24k"))
    assert quoted.where == f"{folder / 'moco.csv'}:2"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"value": "0.824"}, "`value` 0.824 percent looks like a fraction"),
        ({"value": "1.0"}, "`value` 1.0 percent looks like a fraction"),
        ({"unit": "fraction"}, "`value` 82.4 is more than 1, all there is of a fraction"),
        ({"value": "824"}, "`value` 824 is more than 100"),
        ({"unit": ""}, "`unit`"),
        ({"unit": "points"}, "`unit`"),
        ({"value": "82,4"}, "`value`"),
        ({"value": "nan"}, "`value`"),
        ({"value": "-1"}, "`value`"),
        ({"source": ""}, "`source`"),
        ({"source": "mocco"}, "`source` mocco is not in sources.yaml (did you mean `moco`?)"),
        ({"source_path": ""}, "a value of moco without `source_path`"),
        ({"epochs": "two hundred"}, "`epochs`"),
        ({"epochs": "0"}, "`epochs`"),
        ({"epochs": "1e3"}, "`epochs`"),
        ({"epochs": "9" * 5000}, "`epochs`"),
        ({"batch_size": "4k"}, "`batch_size`"),
        ({"trials": "1"}, "`trials`"),
        ({"std": "0.2"}, "`std` without `trials`"),
        ({"tags": "c4 fpn 24k"}, "`tags` c4 and fpn exclude each other"),
        ({"tags": "c4 1x 2x"}, "`tags` 1x and 2x exclude each other"),
        ({"tags": "c4 4conv1fc"}, "`tags` 4conv1fc without fpn"),
        ({"tags": "c5"}, "`tags"),
        ({"metric": "AP50"}, "`metric`"),
        ({"metric": "accuracy"}, "`metric` accuracy of object_detection, which is measured by box"),
        ({"task": "detection"}, "`task`"),
        ({"encoder": "ResNet-50"}, "`encoder`"),
        ({"method": ""}, "`method`"),
        ({"method": "MoCo\x1b[2J"}, "`method`"),
    ],
    ids=lambda value: " ".join(f"{k}={v[:20]!r}" for k, v in value.items()) if isinstance(value, dict) else "",
)
def test_a_wrong_row_is_one_fault_with_file_and_line(folder: Path, change: dict[str, str], fault: str) -> None:
    (found,) = faults(folder, GOOD | {"method": "SimCLR"}, GOOD | change)
    assert found.startswith(f"{folder / 'moco.csv'}:3: {fault}")


def test_a_repeated_row_with_another_value_is_refused(folder: Path) -> None:
    (found,) = faults(folder, GOOD, GOOD | {"value": "83.0"})
    assert found.startswith(f"{folder / 'moco.csv'}:3: repeats {folder / 'moco.csv'}:2")


def test_trials_that_say_so_stand_side_by_side(folder: Path) -> None:
    trials = [GOOD | {"value": f"82.{trial}", "setting": f"24k, trial {trial}"} for trial in (1, 2)]
    assert faults(folder, *trials) == []


def test_a_repeated_row_is_found_across_files(folder: Path) -> None:
    (folder / "again.csv").write_text(text(GOOD))
    (found,) = faults(folder, GOOD)
    assert "again.csv:2" in found


def test_an_empty_value_is_allowed_and_needs_no_place(folder: Path) -> None:
    assert faults(folder, GOOD | {"value": "", "source_path": ""}) == []


def test_every_fault_is_listed_and_reading_tells_the_first_and_how_many_more(folder: Path) -> None:
    assert len(faults(folder, GOOD | {"value": "0.8"}, GOOD | {"epochs": "many"}, GOOD)) == 2 + 1
    with pytest.raises(UserError, match=r"moco\.csv:3: `epochs` .* \(and 2 more\)"):
        read_published(folder)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "moco.csv:1: columns are not method,variant,"),
        (b"method,value\nMoCo,3\n", "moco.csv:1: columns are not method,variant,"),
        (text(GOOD, columns=COLUMNS[:1] + COLUMNS[:0:-1]).encode(), "moco.csv:1: columns are not"),
        (text(GOOD).encode() + b"MoCo,v2\n", "moco.csv:3: 2 cells, not 21"),
        (b"\xff\xfe", "moco.csv: cannot be read as CSV"),
        (text().encode() + b'"open', "moco.csv: cannot be read as CSV"),
    ],
    ids=["empty", "columns missing", "columns moved", "cells missing", "no text", "open quote"],
)
def test_a_broken_file_is_a_fault_and_not_a_crash(folder: Path, content: bytes, fault: str) -> None:
    (folder / "moco.csv").write_bytes(content)
    (found,) = examine(folder)[1]
    assert fault in found


def test_a_folder_without_sources_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"sources\.yaml: no such file"):
        read_published(tmp_path)


def test_a_source_is_cited_with_the_revision_that_was_read() -> None:
    assert read_sources()["moco"].citation == (
        "facebookresearch/moco (code of MoCo by its authors), https://github.com/facebookresearch/moco/tree/132aea9"
    )


def test_a_filter_asks_for_each_field_at_once() -> None:
    wanted = PublishedFilter(
        tasks=("object_detection",),
        datasets=("VOC07+12",),
        metrics=("box/AP",),
        methods=("MoCo v1", "MoCo v2"),
        tags=("c4", "24k"),
        without=("restated",),
        epochs=(200,),
        pretrain_datasets=("ImageNet-1k",),
    )
    assert [(q.row.source, q.row.method, q.row.value) for q in select(wanted)] == [
        ("densecl", "MoCo v2", "57.0"),
        ("moco", "MoCo v1", "55.9"),
        ("moco", "MoCo v2", "57.0"),
        ("openselfsup", "MoCo v1", "55.95"),
        ("openselfsup", "MoCo v2", "56.97"),
    ]


def test_a_filter_tells_shares_of_labels_from_all_labels() -> None:
    finetuned = PublishedFilter(tasks=("finetune",), datasets=("ImageNet-1k",))
    few, every = (select(finetuned.model_copy(update={"label_percents": percents})) for percents in ((1, 10), (100,)))
    assert {quoted.row.source for quoted in few} == {"openselfsup"}
    assert {quoted.row.source for quoted in every} == {"lightly", "solo-learn"}
    assert len(few) + len(every) == len(select(finetuned))


def test_an_empty_filter_selects_all_but_what_is_not_a_result() -> None:
    assert len(select(PublishedFilter())) == 878 + 34 - 1
    assert all(quoted.row.method != "1" for quoted in select(PublishedFilter()))


def test_a_filter_for_a_name_that_no_row_has_is_refused() -> None:
    with pytest.raises(UserError, match=r"no dataset is `COCO2017` \(did you mean `COCO 2017`\?\)"):
        select(PublishedFilter(datasets=("COCO2017",)))


def test_every_tag_has_a_meaning_and_one_rule_for_when_it_is_told() -> None:
    assert not NEVER_TOLD & TOLD_WHERE_ROWS_DIFFER
    assert all(meaning.endswith(".") for meaning in MEANINGS.values())
    assert {tag for quoted in read_published() for tag in quoted.row.tags} == set(MEANINGS)
