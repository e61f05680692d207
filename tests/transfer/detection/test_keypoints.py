"""Keypoints are checked before training: of objects, and the names and skeletons of categories."""

from pathlib import Path
from typing import Any

import pytest

from superinfo.errors import UserError
from tests.transfer.detection.tiny import (
    MASKS,
    POINTS,
    Coco,
    Spoil,
    assert_refused,
    change,
    drop,
    tiny_coco,
    tiny_split,
)
from transfer.detection.data import Needs
from transfer.detection.data.check import check
from transfer.detection.data.loading import as_detectron2

SCORED = Needs(False, True, metric="coco")
NAN = float("nan")


def join(*skeleton: Any) -> Spoil:
    return change("categories", 0, "skeleton", list(skeleton))


def name_keypoints(*names: Any) -> Spoil:
    def spoil(coco: Coco) -> None:
        for category, points in zip(coco["categories"], names, strict=True):
            category["keypoints"] = points

    return spoil


@pytest.mark.parametrize(
    ("spoil", "needs", "told"),
    [
        (
            drop("annotations", 1, "keypoints"),
            POINTS,
            r"1 objects have no keypoints, first annotation 2 in 2\.png; add `keypoints`",
        ),
        (
            change("annotations", 1, "keypoints", [1, 1, 2]),
            POINTS,
            r"another number .*annotation 2 in 2\.png with 3 numbers; .* 17",
        ),
        (
            change("annotations", 1, "keypoints", 3),
            POINTS,
            r"another number .*annotation 2 in 2\.png with no list numbers",
        ),
        (
            change("annotations", 1, "keypoints", [NAN] * 51),
            POINTS,
            r"1 keypoints have values that are not finite numbers",
        ),
        (name_keypoints(["a"], ["b"]), POINTS, r"1 list of keypoint names is wrong, first categories have different"),
        (name_keypoints(["a", "a"], ["a", "a"]), POINTS, r"first a keypoint's name is given twice"),
        (name_keypoints("ab", "ab"), POINTS, r"first `keypoints` of a category is no list of names"),
        (drop("annotations", 0, "keypoints"), SCORED, r"1 objects have no keypoints, first annotation 1 in 1\.png"),
        (
            join([1, 18]),
            POINTS,
            r"1 skeletons .* join no pairs of keypoints, first cat; give pairs of numbers from 1 to 17",
        ),
        (join([0, 1]), POINTS, r"1 skeletons of categories join no pairs of keypoints, first cat"),
        (join([1.0, 2.0]), POINTS, r"1 skeletons of categories join no pairs of keypoints, first cat"),
        (join([1, 2, 3]), POINTS, r"1 skeletons of categories join no pairs of keypoints, first cat"),
        (join("ab"), POINTS, r"1 skeletons of categories join no pairs of keypoints, first cat"),
        (change("categories", 0, "skeleton", 3), POINTS, r"1 skeletons of categories join no pairs of keypoints"),
        (
            lambda coco: [each.update(keypoints=[3, 4, 0] * 17) for each in coco["annotations"]],
            POINTS,
            r"no object that is not a crowd has a visible keypoint; annotate one",
        ),
        (
            lambda coco: [
                each.update(keypoints=[3, 4, 2 * n] * 17, iscrowd=n) for n, each in enumerate(coco["annotations"])
            ],
            POINTS,
            r"no object that is not a crowd has a visible keypoint; annotate one",
        ),
    ],
)
def test_a_fault_is_named(tmp_path: Path, spoil: Spoil, needs: Needs, told: str) -> None:
    assert_refused(tmp_path, spoil, needs, told)


@pytest.mark.parametrize(
    ("spoil", "needs"),
    [
        (drop("annotations", 1, "keypoints"), MASKS),
        (name_keypoints(["a"], ["b"]), MASKS),
        (join([0, 1]), MASKS),
        (change("categories", 0, "skeleton", None), POINTS),
        (join(), POINTS),
        (join([17, 1], [2, 3]), SCORED),
    ],
)
def test_what_the_detector_does_not_need_is_not_asked_for(tmp_path: Path, spoil: Spoil, needs: Needs) -> None:
    coco = tiny_coco()
    spoil(coco)
    assert check(tiny_split(tmp_path, coco), needs) == []


def test_a_crowd_needs_keypoints_only_where_it_is_scored(tmp_path: Path) -> None:
    coco = tiny_coco()
    coco["annotations"][1]["iscrowd"] = 1
    for absent in ({}, {"keypoints": None}):
        coco["annotations"][1].pop("keypoints", None)
        coco["annotations"][1] |= absent
        split = tiny_split(tmp_path, coco)
        check(split, POINTS)
        assert "keypoints" not in as_detectron2(split, POINTS)[1]["annotations"][0]
        with pytest.raises(UserError, match=r"1 objects have no keypoints, first annotation 2 in 2\.png"):
            check(split, SCORED)
