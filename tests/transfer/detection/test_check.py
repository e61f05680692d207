"""A split is checked before training: every kind of fault is told at once, with file, count and first example."""

import os
from pathlib import Path
from typing import Any

import pytest

from superinfo.errors import UserError
from tests.transfer.detection.tiny import (
    BOXES,
    MASKS,
    POINTS,
    Coco,
    Spoil,
    assert_refused,
    change,
    drop,
    tiny_coco,
    tiny_split,
    write_image,
)
from transfer.detection.annotations import Annotations
from transfer.detection.data import Needs
from transfer.detection.data.check import check

SCORED = Needs(True, True, metric="coco")


@pytest.mark.parametrize("needs", [BOXES, MASKS, POINTS, SCORED])
def test_a_sound_split_passes_with_nothing_to_say_and_gives_its_classes_by_id(tmp_path: Path, needs: Needs) -> None:
    split = tiny_split(tmp_path, tiny_coco())
    assert check(split, needs) == []
    assert split.classes == ("dog", "cat")


def add(part: str, entry: Any) -> Spoil:
    return lambda coco: coco[part].append(entry)


SQUARE = [2.0, 2.0, 12.0, 2.0, 12.0, 12.0, 2.0, 12.0]
NAN, INFINITE = float("nan"), float("inf")
RUNS = {"size": [24, 32], "counts": [100, 10, 658]}


@pytest.mark.parametrize(
    ("spoil", "needs", "told"),
    [
        (
            change("images", 1, "file_name", "gone.png"),
            BOXES,
            r"1 images are absent from .*images, first gone\.png; add",
        ),
        (change("images", 1, "file_name", "no/where.png"), BOXES, r"1 images are absent .*, first no/where\.png"),
        (change("images", 1, "file_name", "../images"), BOXES, r"1 images are absent .*, first \.\./images"),
        (drop("images", 0, "file_name"), BOXES, r"1 images have no `file_name`, first image 1; add it"),
        (change("images", 0, "file_name", 7), BOXES, r"1 images have no `file_name`, first image 1; add it"),
        (add("images", tiny_coco()["images"][0]), BOXES, r"1 image ids are used twice, first 1"),
        (add("images", "3.png"), BOXES, r"1 images have no whole number as `id`, first number 2"),
        (change("images", 0, "id", "1"), BOXES, r"1 images have no whole number as `id`, first number 0"),
        (
            drop("images", 0, "width"),
            BOXES,
            r"1 images have no `width` of whole pixels, first None of image 1, 1\.png; add",
        ),
        (
            change("images", 0, "height", 24.0),
            BOXES,
            r"1 images have no `height` of whole pixels, first 24\.0 of image",
        ),
        (change("images", 0, "height", 0), BOXES, r"1 images have no `height` of whole pixels, first 0 of image 1"),
        (drop("annotations", 1, "id"), BOXES, r"1 annotations have no whole number as `id`, first number 1"),
        (add("annotations", []), BOXES, r"1 annotations have no whole number as `id`, first number 2"),
        (change("annotations", 1, "id", 1), BOXES, r"1 annotation ids are used twice, first annotation 1 in 2\.png"),
        (
            change("annotations", 0, "image_id", 5),
            BOXES,
            r"1 annotations are of no image in the file, first annotation 1",
        ),
        (
            change("annotations", 0, "image_id", []),
            BOXES,
            r"1 annotations are of no image in the file, first annotation",
        ),
        (change("annotations", 0, "category_id", 5), BOXES, r"1 annotations are of no category .*, first annotation 1"),
        (
            change("annotations", 0, "category_id", {}),
            BOXES,
            r"1 annotations are of no category .*, first annotation 1",
        ),
        (
            change("annotations", 0, "ignore", 1),
            BOXES,
            r"1 annotations have `ignore`, .*, first annotation 1 in 1\.png; take them",
        ),
        (change("annotations", 0, "iscrowd", 2), BOXES, r"1 annotations have an `iscrowd` that is neither 0 nor 1"),
        (change("annotations", 0, "iscrowd", []), BOXES, r"1 annotations have an `iscrowd` that is neither 0 nor 1"),
        (
            drop("annotations", 0, "iscrowd"),
            SCORED,
            r"1 annotations have no `iscrowd`, .*, first annotation 1 in 1\.png; add 0",
        ),
        (drop("annotations", 0, "area"), SCORED, r"1 annotations have no `area` in pixels, .*, first annotation 1"),
        (change("annotations", 0, "area", NAN), SCORED, r"1 annotations have no `area` in pixels"),
        (
            change("annotations", 1, "bbox", [25, 2, 10, 10]),
            BOXES,
            r"1 boxes lie outside their image, first annotation 2 in 2\.png \(32x24\) with bbox \[25, .*; clip them",
        ),
        (change("annotations", 1, "bbox", [2, -2, 10, 10]), BOXES, r"1 boxes lie outside their image"),
        (change("annotations", 1, "bbox", [-2, 2, 10, 10]), BOXES, r"1 boxes lie outside their image"),
        (change("annotations", 1, "bbox", [2, 16, 10, 10]), BOXES, r"1 boxes lie outside their image"),
        (
            change("annotations", 1, "bbox", [2, 2, 0, 10]),
            BOXES,
            r"1 boxes have no area, first annotation 2 in 2\.png with bbox",
        ),
        (
            change("annotations", 1, "bbox", [2, 2, 10, 0]),
            BOXES,
            r"1 boxes have no area, first annotation 2 in 2\.png with bbox",
        ),
        (change("annotations", 1, "bbox", [9, 9, -3, 3]), BOXES, r"1 boxes have a negative width or height, first"),
        (change("annotations", 1, "bbox", [2, 2, 10]), BOXES, r"1 annotations have no `bbox` of four numbers, first"),
        (change("annotations", 1, "bbox", [2, 2, 10, "1"]), BOXES, r"1 annotations have no `bbox` of four numbers"),
        (drop("annotations", 1, "bbox"), BOXES, r"1 annotations have no `bbox` of four numbers, first annotation 2"),
        (change("annotations", 1, "bbox", [2, NAN, 10, 10]), BOXES, r"1 boxes have numbers that are not finite, first"),
        (
            change("annotations", 1, "bbox", [2, 10**400, 1, 1]),
            BOXES,
            r"1 boxes have numbers that are not finite, first",
        ),
        (
            drop("annotations", 1, "segmentation"),
            MASKS,
            r"1 objects have no mask, first annotation 2 in 2\.png; add `segm",
        ),
        (
            change("annotations", 1, "segmentation", []),
            MASKS,
            r"1 objects have no mask, first annotation 2 in 2\.png; add `segm",
        ),
        (change("annotations", 1, "segmentation", [[1, 1, 9, 9]]), MASKS, r"1 masks have no area, first annotation 2"),
        (change("annotations", 1, "segmentation", [SQUARE[:7]]), MASKS, r"1 masks have no area, first annotation 2"),
        (
            change("annotations", 1, "segmentation", [[1, 5, 9, 5, 4, 5]]),
            MASKS,
            r"1 masks have no area, first annotation",
        ),
        (
            change("annotations", 1, "segmentation", [[5, 1, 5, 9, 5, 3]]),
            MASKS,
            r"1 masks have no area, first annotation",
        ),
        (
            change("annotations", 1, "segmentation", SQUARE),
            MASKS,
            r"1 masks cannot be read, first annotation 2 in 2\.png: polygons",
        ),
        (
            change("annotations", 1, "segmentation", "x"),
            MASKS,
            r"1 masks cannot be read, first annotation 2 in 2\.png: neither",
        ),
        (
            change("annotations", 1, "segmentation", [[INFINITE, *SQUARE[1:]]]),
            MASKS,
            r"annotation 2 in 2\.png: coord.* finite",
        ),
        (
            change("annotations", 1, "segmentation", [["2", *SQUARE[1:]]]),
            MASKS,
            r"annotation 2 in 2\.png: coord.* finite",
        ),
        (change("annotations", 1, "segmentation", RUNS | {"size": [32, 24]}), MASKS, r"of the size of the image"),
        (change("annotations", 1, "segmentation", RUNS | {"counts": [768]}), MASKS, r"1 masks have no area, first ann"),
        (change("annotations", 1, "segmentation", RUNS | {"counts": [1, 2]}), MASKS, r"must add up to the pixels"),
        (change("annotations", 1, "segmentation", RUNS | {"counts": [800, -32]}), MASKS, r"must add up to the pixels"),
        (change("annotations", 1, "segmentation", RUNS | {"counts": [1.5]}), MASKS, r"must be whole numbers or a comp"),
        (change("annotations", 1, "segmentation", RUNS | {"counts": [10**400]}), MASKS, r"must be whole numbers or a"),
        (change("annotations", 1, "segmentation", RUNS | {"counts": "0"}), MASKS, r"must add up to the pixels"),
        (change("annotations", 1, "segmentation", RUNS | {"counts": "\u00e9"}), MASKS, r"run lengths must be ASCII"),
        (change("annotations", 1, "segmentation", RUNS | {"counts": "P"}), MASKS, r"no compressed text"),
        (change("annotations", 1, "segmentation", RUNS | {"counts": "P" * 20 + "0"}), MASKS, r"no compressed text"),
        (change("annotations", 1, "segmentation", RUNS | {"counts": "!"}), MASKS, r"no compressed text"),
        (change("annotations", 1, "segmentation", RUNS | {"counts": "!0"}), MASKS, r"no compressed text"),
        (change("categories", 1, "id", 9), BOXES, r"1 category ids are used twice, first 9; give each"),
        (change("categories", 1, "name", "cat"), BOXES, r"1 category names are used twice, first cat; give each"),
        (drop("categories", 1, "name"), BOXES, r"1 categories lack a whole `id` or a `name`, first number 1"),
        (change("categories", 1, "id", "7"), BOXES, r"1 categories lack a whole `id` or a `name`, first number 1"),
        (
            change("images", 1, "file_name", "1.png"),
            BOXES,
            r"1 images are listed twice, first .*images/1\.png; list each",
        ),
        (change("images", 1, "file_name", "../images/1.png"), BOXES, r"1 images are listed twice"),
        (lambda coco: coco["images"].clear(), BOXES, r"no images; a split needs at least one"),
        (lambda coco: coco["annotations"].clear(), BOXES, r"no object that is not a crowd; annotate at least one"),
        (
            lambda coco: [each.update(iscrowd=1) for each in coco["annotations"]],
            BOXES,
            r"no object that is not a crowd; annotate at least one",
        ),
    ],
)
def test_a_fault_is_named(tmp_path: Path, spoil: Spoil, needs: Needs, told: str) -> None:
    assert_refused(tmp_path, spoil, needs, told)


@pytest.mark.parametrize(
    ("spoil", "needs"),
    [
        (drop("annotations", 1, "segmentation"), POINTS),
        (change("annotations", 1, "segmentation", "x"), BOXES),
        (drop("annotations", 1, "area"), MASKS),
        (drop("annotations", 1, "iscrowd"), MASKS),
    ],
)
def test_what_the_detector_does_not_need_is_not_asked_for(tmp_path: Path, spoil: Spoil, needs: Needs) -> None:
    coco = tiny_coco()
    spoil(coco)
    assert check(tiny_split(tmp_path, coco), needs) == []


def test_every_kind_of_fault_is_in_one_line_with_its_count(tmp_path: Path) -> None:
    coco = tiny_coco()
    for each in coco["annotations"]:
        each["bbox"] = [2, 2, 0, 10]
        each["ignore"] = 1
    coco["images"][0]["file_name"] = "gone.png"
    coco["annotations"][1]["category_id"] = 1
    with pytest.raises(UserError) as caught:
        check(tiny_split(tmp_path, coco), BOXES)
    line = str(caught.value)
    for told in (
        "1 images are absent",
        "2 boxes have no area",
        "2 annotations have `ignore`",
        "1 annotations are of no c",
    ):
        assert told in line
    assert "\n" not in line


def test_a_missing_folder_of_images_is_named_beside_the_images(tmp_path: Path) -> None:
    split = tiny_split(tmp_path, tiny_coco())
    elsewhere = Annotations(split.title, split.source, tmp_path / "elsewhere", split.coco, split.metric)
    with pytest.raises(
        UserError, match=r"1 folder of images is missing, first .*elsewhere; correct .*2 images are absent"
    ):
        check(elsewhere, BOXES)


def test_an_image_that_is_a_link_is_there_unless_it_leads_nowhere(tmp_path: Path) -> None:
    split = tiny_split(tmp_path, tiny_coco())
    (split.images / "1.png").rename(tmp_path / "away.png")
    os.symlink(tmp_path / "away.png", split.images / "1.png")
    assert check(split, BOXES) == []
    (tmp_path / "away.png").unlink()
    with pytest.raises(UserError, match=r"1 images are absent .*1\.png"):
        check(split, BOXES)


def many(count: int) -> Coco:
    coco = tiny_coco()
    first = coco["annotations"][0]
    coco["annotations"] += [first | {"id": 10 + i} for i in range(count - 2)]
    return coco


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        (
            "bbox",
            [2, 2, 1.03, 0.0],
            "boxes have no area, first annotation 1 in 1.png with bbox [2, 2, 1.03, 0.0]: Detectron2 leaves",
        ),
        (
            "bbox",
            [29, 2, 8, 9],
            "boxes lie outside their image, first annotation 1 in 1.png (32x24) with bbox [29, 2, 8, 9]: Det",
        ),
        (
            "segmentation",
            [[2, 2, 2, 2, 3, 2, 3, 2]],
            "masks have no area, first annotation 1 in 1.png: Detectron2 leaves them out",
        ),
    ],
)
def test_what_detectron2_mends_is_told_where_it_is_as_rare_as_in_published_sets(
    tmp_path: Path, field: str, value: Any, told: str
) -> None:
    """COCO's train2017 has two boxes without height, in images 200365 and 550395 (cocoapi issue 355)."""
    coco = many(1000)
    coco["annotations"][0][field] = value
    (note,) = check(tiny_split(tmp_path, coco), MASKS)
    assert note.startswith(f"tiny: 1 of 1,000 {told}")
    coco["annotations"][1][field] = value
    with pytest.raises(UserError, match=f"2 {told[:15]}"):
        check(tiny_split(tmp_path, coco), MASKS)


def test_what_detectron2_does_not_mend_is_refused_however_rare(tmp_path: Path) -> None:
    coco = many(1000)
    coco["annotations"][0]["category_id"] = 5
    with pytest.raises(UserError, match="1 annotations are of no category in the file, first annotation 1"):
        check(tiny_split(tmp_path, coco), MASKS)


def test_classes_without_an_object_and_images_without_one_are_told(tmp_path: Path) -> None:
    coco = tiny_coco()
    coco["annotations"][1]["iscrowd"] = 1
    coco["images"].append(coco["images"][0] | {"id": 3, "file_name": "3.png"})
    write_image(tmp_path / "images" / "3.png")
    assert check(tiny_split(tmp_path, coco), MASKS) == [
        "tiny: 1 of 2 classes have no object, first cat",
        "tiny: 1 of 3 images have crowds alone, first 2.png",
        "tiny: 1 of 3 images have no object, first 3.png",
    ]


def test_a_crowd_needs_a_mask_only_where_it_is_scored(tmp_path: Path) -> None:
    coco = tiny_coco()
    coco["annotations"][1]["iscrowd"] = 1
    del coco["annotations"][1]["segmentation"]
    split = tiny_split(tmp_path, coco)
    check(split, MASKS)
    with pytest.raises(UserError, match="1 objects have no mask, first annotation 2"):
        check(split, Needs(True, False, metric="coco"))


def test_a_box_may_leave_its_image_by_a_pixel(tmp_path: Path) -> None:
    coco = tiny_coco()
    coco["annotations"][0]["bbox"] = [-1, -1, 34, 26]
    assert check(tiny_split(tmp_path, coco), BOXES) == []
