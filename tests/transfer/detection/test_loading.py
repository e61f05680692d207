"""What Detectron2 trains on is what its own readers would have given it."""

import copy
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from detectron2.data import MetadataCatalog
from detectron2.data.datasets.builtin_meta import COCO_PERSON_KEYPOINT_FLIP_MAP, COCO_PERSON_KEYPOINT_NAMES
from detectron2.data.datasets.coco import load_coco_json
from detectron2.data.detection_utils import create_keypoint_hflip_indices
from pycocotools import mask as masks

from superinfo.datasets.scenes import World, write_scenes
from tests.transfer.detection.tiny import BOXES, MASKS, POINTS, SHARED, needs_shared, tiny_coco, tiny_split
from transfer.detection.annotations import Annotations
from transfer.detection.data import Needs, annotations_use_rle
from transfer.detection.data.coco import read_coco
from transfer.detection.data.loading import as_detectron2, flip_map, metadata

ALL = Needs(True, True)
numbers = itertools.count()


def by_detectron2(split: Annotations) -> tuple[list[dict[str, Any]], Any]:
    name = f"peer {next(numbers)}"
    loaded = load_coco_json(str(split.source), str(split.images), name)
    return loaded, MetadataCatalog.get(name)


def assert_same(split: Annotations) -> None:
    before = copy.deepcopy(split.coco)
    expected, peer = by_detectron2(split)
    assert as_detectron2(split, ALL) == expected
    assert split.coco == before
    ours = metadata(split, ALL)
    assert ours["thing_classes"] == peer.thing_classes
    assert ours["thing_dataset_id_to_contiguous_id"] == peer.thing_dataset_id_to_contiguous_id


def test_polygons_keypoints_and_run_lengths_are_as_detectron2_loads_them(tmp_path: Path) -> None:
    coco = tiny_coco()
    first = coco["annotations"][0]
    runs = {"size": [24, 32], "counts": [100, 10, 658]}
    packed = masks.frPyObjects(runs, 24, 32)
    others: list[Any] = [
        runs,
        {"size": [24, 32], "counts": packed["counts"].decode()},
        [[1.0, 1.0, 2.0, 2.0]],
        [[1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 5.0, 2.0, 3.0, 8.0], [1.0] * 7],
        [],
    ]
    coco["annotations"] += [first | {"id": 10 + i, "segmentation": mask} for i, mask in enumerate(others)]
    coco["annotations"][0].update(iscrowd=1, segmentation=runs)
    del coco["annotations"][1]["keypoints"]
    coco["images"].reverse()
    assert_same(tiny_split(tmp_path, coco))


def test_generated_scenes_are_as_detectron2_loads_them(tmp_path: Path) -> None:
    write_scenes(tmp_path / "scenes", World(), {"val": 20}, 64)
    assert_same(
        read_coco(tmp_path / "scenes" / "annotations" / "instances_val.json", tmp_path / "scenes" / "JPEGImages")
    )


@needs_shared
@pytest.mark.parametrize("split", ["train2017", "val2017"])
@pytest.mark.parametrize("folder", ["coco", "coco_person320"])
def test_real_images_are_as_detectron2_loads_them(folder: str, split: str) -> None:
    assert_same(read_coco(SHARED / folder / "annotations" / f"instances_{split}.json", SHARED / folder / split))


def test_what_is_not_needed_is_not_loaded(tmp_path: Path) -> None:
    coco = tiny_coco()
    coco["annotations"][0]["segmentation"] = [[1, 1, 2, 2]]
    split = tiny_split(tmp_path, coco)
    loaded = {
        needs: [a for image in as_detectron2(split, needs) for a in image["annotations"]]
        for needs in (BOXES, MASKS, POINTS)
    }
    assert [{"segmentation", "keypoints"} & each.keys() for each in loaded[BOXES]] == [set(), set()]
    assert [{"segmentation", "keypoints"} & each.keys() for each in loaded[MASKS]] == [{"segmentation"}]
    assert [{"segmentation", "keypoints"} & each.keys() for each in loaded[POINTS]] == [{"keypoints"}] * 2


def test_run_lengths_are_only_spoken_of_where_they_are_trained_on(tmp_path: Path) -> None:
    coco = tiny_coco()
    assert not annotations_use_rle(tiny_split(tmp_path, coco))
    coco["annotations"][1]["segmentation"] = {"size": [24, 32], "counts": [100, 10, 658]}
    assert annotations_use_rle(tiny_split(tmp_path, coco))
    coco["annotations"][1]["iscrowd"] = 1
    assert not annotations_use_rle(tiny_split(tmp_path, coco))


def test_keypoints_are_a_persons_unless_the_json_names_them(tmp_path: Path) -> None:
    coco = tiny_coco()
    found = metadata(tiny_split(tmp_path, coco), POINTS)
    assert found["keypoint_names"] == tuple(COCO_PERSON_KEYPOINT_NAMES)
    assert set(found["keypoint_flip_map"]) >= set(COCO_PERSON_KEYPOINT_FLIP_MAP)
    coco["categories"][1]["keypoints"] = ["nose", "LeftPaw", "RightPaw", "tail_left", "tail_right", "left_horn"]
    named = metadata(tiny_split(tmp_path, coco), POINTS)
    MetadataCatalog.get(name := f"points {next(numbers)}").set(**named)
    assert create_keypoint_hflip_indices(name) == [0, 2, 1, 4, 3, 5]
    assert flip_map(("a", "b")) == ()
    assert "keypoint_names" not in metadata(tiny_split(tmp_path, coco), MASKS)


def test_metadata_says_where_the_json_is_and_how_it_is_scored(tmp_path: Path) -> None:
    split = tiny_split(tmp_path, tiny_coco())
    found = metadata(split, MASKS)
    assert json.loads(Path(found["json_file"]).read_text()) == split.coco
    assert (found["image_root"], found["evaluator_type"]) == (str(split.images), "coco")
    without = Annotations("tiny", tmp_path / "list.txt", split.images, split.coco, "voc2007")
    assert "json_file" not in metadata(without, BOXES)
    assert metadata(without, BOXES)["evaluator_type"] == "pascal_voc"
