"""COCO jsons that are none, and shares of one."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from superinfo.errors import UserError
from tests.transfer.detection.tiny import BOXES, tiny_coco, tiny_split
from transfer.detection.annotations import Annotations
from transfer.detection.data.check import check
from transfer.detection.data.coco import read_coco


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "not a json: Expecting"),
        ("[" * 100_000, "not a json: "),
        ("\x00\xff", "not a json: "),
        ("[]", "not a COCO json: no list of images, annotations, categories"),
        ('{"images": [], "annotations": {}}', "not a COCO json: no list of annotations, categories"),
    ],
)
def test_a_file_that_is_no_coco_json_is_named(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "instances_val.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=told) as caught:
        read_coco(path, tmp_path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_missing_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.json: no such file; correct data\.root or the split's json_file"):
        read_coco(tmp_path / "none.json", tmp_path)


def images_of(split: Annotations) -> set[int]:
    assert {each["image_id"] for each in split.coco["annotations"]} == {entry["id"] for entry in split.coco["images"]}
    return {entry["id"] for entry in split.coco["images"]}


@pytest.fixture
def thousand(tmp_path: Path) -> Path:
    coco = tiny_coco()
    image, each = coco["images"][0], coco["annotations"][0]
    coco["images"] = [image | {"id": 7 * i} for i in range(1000)]
    coco["annotations"] = [each | {"id": i, "image_id": 7 * i} for i in range(1000)]
    path = tmp_path / "instances_train.json"
    path.write_text(json.dumps(coco))
    return path


def test_a_smaller_share_is_part_of_a_larger_one_and_another_seed_draws_others(thousand: Path) -> None:
    shares = [0.01, 0.02, 0.05, 0.1, 1.0]
    drawn = [images_of(read_coco(thousand, thousand.parent, share)) for share in shares]
    assert [len(images) for images in drawn] == [10, 20, 50, 100, 1000]
    assert all(small < large for small, large in pairwise(drawn))
    other = images_of(read_coco(thousand, thousand.parent, 0.1, 1))
    assert len(other) == 100
    assert len(other & drawn[3]) < 30


def test_a_share_depends_on_ids_alone_and_is_never_empty(thousand: Path) -> None:
    coco = json.loads(thousand.read_text())
    coco["images"].reverse()
    other = thousand.with_name("reversed.json")
    other.write_text(json.dumps(coco))
    assert images_of(read_coco(thousand, thousand.parent, 0.05)) == images_of(read_coco(other, thousand.parent, 0.05))
    assert len(images_of(read_coco(thousand, thousand.parent, 1e-9))) == 1


def test_a_share_says_so(thousand: Path) -> None:
    titles = [read_coco(thousand, thousand, share, seed).title for share, seed in [(1.0, 0), (0.01, 0), (0.1, 3)]]
    assert titles == ["train", "train (1 %)", "train (10 %, draw 3)"]


def test_faults_are_told_of_a_share_too(tmp_path: Path) -> None:
    coco = tiny_coco()
    coco["images"] += ["none", {"id": [1]}]
    coco["annotations"] += [7, {"id": 9, "image_id": [2]}]
    tiny_split(tmp_path, coco)
    part = read_coco(tmp_path / "instances_tiny.json", tmp_path / "images", 0.5)
    with pytest.raises(UserError, match=r"2 images have no whole number as `id`.*1 annotations have no whole number"):
        check(part, BOXES)
