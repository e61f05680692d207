"""The generated dataset `scenes`: deterministic, fair to every class, and true to its annotations."""

import colorsys
import csv
import json
import multiprocessing
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from superinfo.datasets.scenes import (
    SHAPES,
    TEXTURES,
    Scene,
    World,
    draw_object,
    draw_scene,
    write_objects,
    write_scenes,
)
from superinfo.datasets.scenes import write as write_module
from superinfo.datasets.scenes.composition import MINIMUM_VISIBLE
from superinfo.datasets.scenes.polygons import trace_polygons
from superinfo.datasets.scenes.shapes import draw_outline, fill_outline
from superinfo.datasets.scenes.world import stream
from superinfo.errors import UserError

SIZE = 128
COUNTS = {"train": 40, "val": 20}


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@cache
def scenes() -> tuple[Scene, ...]:
    return tuple(draw_scene(World(), "train", index, SIZE) for index in range(COUNTS["train"]))


@pytest.fixture(scope="module")
def scenes_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scenes") / "root"
    write_scenes(root, World(), COUNTS, SIZE)
    return root


@pytest.fixture(scope="module")
def coco(scenes_root: Path) -> Any:
    return COCO(str(scenes_root / "annotations" / "instances_train.json"))


def whole_mask(name: str, index: int, size: int = 64) -> tuple[NDArray[np.uint8], float]:
    """Return an object of `draw_object`, with a margin of an image all around, and its scale."""
    world = World((name,))
    _, factors = draw_object(world, "train", index, 16)
    canvas = np.zeros((size * 12, size * 12), np.uint8)
    centre = (factors.x * size + size, factors.y * size + size)
    outline = draw_outline(name, stream(world, "object outline", "train", index))
    fill_outline(canvas, outline, centre, factors.scale * size, factors.rotation)
    return canvas, factors.scale


def test_bytes_on_disk_do_not_depend_on_the_number_of_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_module, "_CHUNK", 5)
    done: list[int] = []
    for processes in (1, 2):
        write_objects(tmp_path / f"objects{processes}", World(), "train", 23, 32, processes, done.append)
        write_scenes(tmp_path / f"scenes{processes}", World(), {"train": 12}, 64, processes=processes)
    assert files_in(tmp_path / "objects1") == files_in(tmp_path / "objects2")
    assert files_in(tmp_path / "scenes1") == files_in(tmp_path / "scenes2")
    assert done == [5, 5, 5, 5, 3] * 2


def test_an_image_depends_on_seed_split_and_index_alone() -> None:
    image, factors = draw_object(World(seed=1), "train", 7, 32)
    np.random.default_rng().uniform()
    again, factors_again = draw_object(World(seed=1), "train", 7, 32)
    assert np.array_equal(image, again)
    assert factors == factors_again
    for seed, split, index in ((2, "train", 7), (1, "val", 7), (1, "train", 8)):
        other, other_factors = draw_object(World(seed=seed), split, index, 32)
        assert not np.array_equal(image, other)
        assert factors.hue != other_factors.hue


def test_a_larger_set_begins_with_the_smaller_one(tmp_path: Path) -> None:
    for count in (6, 9):
        write_objects(tmp_path / str(count), World(), "val", count, 32)
    few, many = (np.load(tmp_path / name / "val" / "images.npy") for name in ("6", "9"))
    assert few.shape == (6, 32, 32, 3)
    assert few.dtype == np.uint8
    assert np.array_equal(few, many[:6])


@pytest.mark.parametrize("name", SHAPES[1:])
def test_nuisances_are_the_same_whatever_the_class(name: str) -> None:
    for index in range(5):
        image, factors = draw_object(World((SHAPES[0],)), "train", index, 64)
        other, other_factors = draw_object(World((name,)), "train", index, 64)
        assert asdict(factors) | {"class_name": name} == asdict(other_factors)
        same = (image == other).all(axis=2)
        assert 0.5 < same.mean() < 1, "the background is the same, the outline is not"


@pytest.mark.parametrize("name", SHAPES)
def test_area_follows_scale_and_not_the_class(name: str) -> None:
    masks = [whole_mask(name, index) for index in range(20)]
    ratios = [np.count_nonzero(mask) / (4 * 64 * scale) ** 2 for mask, scale in masks]
    assert np.mean(ratios) == pytest.approx(1, abs=0.01)
    assert np.std(ratios) < 0.01


@pytest.mark.parametrize("name", SHAPES)
def test_an_object_is_at_least_85_percent_inside_its_image(name: str) -> None:
    for index in range(60):
        mask, _ = whole_mask(name, index, size=32)
        assert np.count_nonzero(mask[128:256, 128:256]) >= 0.85 * np.count_nonzero(mask)


@pytest.mark.parametrize("name", SHAPES)
def test_members_of_a_class_differ_in_outline(name: str) -> None:
    masks = []
    for index in range(8):
        canvas = np.zeros((256, 256), np.uint8)
        outline = draw_outline(name, stream(World(), "object outline", "train", index))
        fill_outline(canvas, outline, (32, 32), 28, 0)
        masks.append(canvas.astype(bool))
    for one, other in pairwise(masks):
        assert (one & other).sum() / (one | other).sum() < 0.99


def test_a_ring_has_a_hole() -> None:
    for index in range(10):
        canvas = np.zeros((256, 256), np.uint8)
        fill_outline(canvas, draw_outline("ring", stream(World(), "t", "t", index)), (32, 32), 28, 0)
        assert canvas[128, 128] == 0
        assert canvas[128].any()


def test_the_colours_in_the_picture_are_those_of_the_factors() -> None:
    size = 64
    y, x = np.mgrid[:size, :size] + 0.5
    contrasts = []
    for index in range(60):
        image, factors = draw_object(World(("disk",)), "train", index, size)
        distance = np.hypot(x - factors.x * size, y - factors.y * size) / (factors.scale * size)
        colours = []
        for region, hue, saturation in (
            (distance < 0.35, factors.hue, factors.saturation),
            (distance > 0.8, factors.background_hue, factors.background_saturation),
        ):
            mean = image[region].mean(axis=0) / 255
            seen_hue, seen_saturation, _ = colorsys.rgb_to_hsv(*mean)
            assert abs((seen_hue * 360 - hue + 180) % 360 - 180) < 6
            assert seen_saturation == pytest.approx(saturation, abs=0.12)
            colours.append(mean)
        lab = cv2.cvtColor(np.array([colours], np.float32), cv2.COLOR_RGB2Lab)[0]
        contrasts.append((np.linalg.norm(lab[0] - lab[1]), factors.contrast))
    seen, stated = np.array(contrasts).T
    assert stated.min() >= 25
    assert seen.min() > 12
    assert np.corrcoef(seen, stated)[0, 1] > 0.9


def test_every_class_and_texture_occurs_and_hues_cover_the_circle() -> None:
    drawn = [draw_object(World(), "train", index, 16)[1] for index in range(400)]
    assert {factors.class_name for factors in drawn} == set(SHAPES)
    assert {factors.texture for factors in drawn} == set(TEXTURES)
    assert {factors.background_texture for factors in drawn} == set(TEXTURES)
    for hues in ([factors.hue for factors in drawn], [factors.background_hue for factors in drawn]):
        assert np.histogram(hues, bins=6, range=(0, 360))[0].min() > 400 / 6 * 0.6


def test_factors_csv_describes_every_object(tmp_path: Path) -> None:
    write_objects(tmp_path, World(), "test", 5, 32)
    with (tmp_path / "test" / "factors.csv").open() as file:
        rows = list(csv.DictReader(file))
    for index, row in enumerate(rows):
        _, factors = draw_object(World(), "test", index, 32)
        assert row["index"] == str(index)
        assert row["class"] == factors.class_name == SHAPES[int(row["label"])]
        assert float(row["hue"]) == pytest.approx(factors.hue, abs=1e-4)
        assert row["background_texture"] == factors.background_texture
    assert len(rows) == 5


def test_scenes_hold_occlusion_truncation_and_crowds() -> None:
    instances = [instance for scene in scenes() for instance in scene.instances]
    singles = [instance for instance in instances if not instance.iscrowd]
    assert np.mean([instance.occluded > 0.05 for instance in singles]) > 0.15
    assert np.mean([instance.truncated > 0.05 for instance in singles]) > 0.1
    assert 1 <= len(instances) - len(singles) <= 12
    for instance in instances:
        assert (1 - instance.occluded) * (1 - instance.truncated) >= MINIMUM_VISIBLE - 1e-9


def test_a_pixel_belongs_to_one_object_and_what_is_left_is_background() -> None:
    for scene in scenes():
        owners = np.sum([instance.mask for instance in scene.instances if not instance.iscrowd], axis=0)
        assert owners.max() == 1
        outside = ~np.logical_or.reduce(
            [cv2.dilate(i.mask.astype(np.uint8), np.ones((3, 3))) > 0 for i in scene.instances]
        )
        factors = scene.instances[0].factors
        hue = colorsys.rgb_to_hsv(*(scene.image[outside].mean(axis=0) / 255))[0] * 360
        assert abs((hue - factors.background_hue + 180) % 360 - 180) < 6


def test_visible_objects_have_the_hue_of_their_factors() -> None:
    for scene in scenes():
        for instance in scene.instances:
            core = cv2.erode(instance.mask.astype(np.uint8), np.ones((3, 3))) > 0
            if not instance.iscrowd and core.sum() > 50:
                hue = colorsys.rgb_to_hsv(*(scene.image[core].mean(axis=0) / 255))[0] * 360
                assert abs((hue - instance.factors.hue + 180) % 360 - 180) < 8


def test_the_number_of_objects_is_within_the_range_asked_for() -> None:
    counts = {
        sum(not instance.iscrowd for instance in draw_scene(World(), "train", index, 64, 3, 5).instances)
        for index in range(30)
    }
    assert counts == {3, 4, 5}


def test_twenty_objects_find_a_place_in_the_smallest_image() -> None:
    for index in range(5):
        scene = draw_scene(World(), "train", index, 16, 20, 20)
        assert all(instance.area > 0 for instance in scene.instances)


def test_coco_polygons_cover_what_is_visible(coco: Any) -> None:
    compared = 0
    for image_id, scene in enumerate(scenes()):
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=image_id))
        for annotation, instance in zip(annotations, scene.instances, strict=True):
            decoded = coco.annToMask(annotation).astype(bool)
            assert coco.cats[annotation["category_id"]]["name"] == instance.class_name
            assert annotation["area"] == pytest.approx(instance.mask.sum(), rel=0.1)
            if instance.iscrowd:
                assert annotation["iscrowd"] == 1
                assert np.array_equal(decoded, instance.mask)
            elif instance.area > 100:
                overlap = (decoded & instance.mask).sum() / (decoded | instance.mask).sum()
                assert overlap > 0.9, (image_id, instance.class_name)
                compared += 1
    assert compared > 100


def test_a_polygon_leaves_out_every_hole_and_keeps_what_lies_in_it() -> None:
    fine = np.zeros((256, 256), np.uint8)
    cv2.circle(fine, (128, 128), 120, (1,), -1)
    for x, y in ((48, 60), (140, 48), (100, 148)):
        fine[y : y + 60, x : x + 60] = 0
    cv2.circle(fine, (130, 178), 16, (1,), -1)
    polygons, _ = trace_polygons(fine)
    assert len(polygons) == 2, "the disk with its holes, and the island in one of them"
    decoded = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, 64, 64))).astype(bool)
    truth = cv2.resize(fine * 240, (64, 64), interpolation=cv2.INTER_AREA) > 120
    assert (decoded & truth).sum() / (decoded | truth).sum() >= 0.98


def test_coco_boxes_are_tight_and_ids_count_from_one(scenes_root: Path, coco: Any) -> None:
    assert sorted(coco.anns) == list(range(1, len(coco.anns) + 1))
    assert [category["id"] for category in coco.dataset["categories"]] == list(range(1, len(SHAPES) + 1))
    for annotation in coco.anns.values():
        x, y, width, height = annotation["bbox"]
        assert x >= 0
        assert y >= 0
        assert max(x + width, y + height) <= SIZE
        if not annotation["iscrowd"]:
            points = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in annotation["segmentation"]])
            corners = np.concatenate([points.min(axis=0), points.max(axis=0)])
            assert corners == pytest.approx([x, y, x + width, y + height], abs=0.3)
    for image in coco.imgs.values():
        picture = cv2.imread(str(scenes_root / "JPEGImages" / image["file_name"]))
        assert picture is not None
        assert picture.shape == (image["height"], image["width"], 3)


def test_jpegs_are_the_scenes_in_the_right_channel_order(scenes_root: Path) -> None:
    for index, scene in enumerate(scenes()[:5]):
        picture = cv2.imread(str(scenes_root / "JPEGImages" / f"train_{index:06d}.jpg"))
        assert picture is not None
        assert np.abs(picture[..., ::-1].astype(int) - scene.image).mean() < 8


def test_voc_says_what_coco_says(scenes_root: Path, coco: Any) -> None:
    names = (scenes_root / "ImageSets" / "Main" / "train.txt").read_text().split()
    assert names == [image["file_name"].removesuffix(".jpg") for image in coco.dataset["images"]]
    for image_id, name in enumerate(names):
        tree = ElementTree.parse(scenes_root / "Annotations" / f"{name}.xml")
        assert tree.findtext("filename") == f"{name}.jpg"
        assert tree.findtext("size/width") == str(SIZE)
        objects = tree.findall("object")
        for element, annotation in zip(objects, coco.loadAnns(coco.getAnnIds(imgIds=image_id)), strict=True):
            box = [int(element.findtext(f"bndbox/{side}", "")) for side in ("xmin", "ymin", "xmax", "ymax")]
            x, y, width, height = annotation["bbox"]
            # From 1 and both ends included, against from 0 and the end left out.
            assert [box[0] - 1, box[1] - 1, box[2], box[3]] == pytest.approx([x, y, x + width, y + height], abs=0.999)
            assert min(box) >= 1
            assert max(box) <= SIZE
            assert element.findtext("difficult") == str(annotation["iscrowd"])
            assert element.findtext("name") == coco.cats[annotation["category_id"]]["name"]


def test_factors_of_scenes_have_a_row_for_each_annotation(scenes_root: Path, coco: Any) -> None:
    with (scenes_root / "factors_train.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["annotation_id"]) for row in rows] == sorted(coco.anns)
    for row in rows:
        annotation = coco.anns[int(row["annotation_id"])]
        assert int(row["image_id"]) == annotation["image_id"]
        assert row["class"] == coco.cats[annotation["category_id"]]["name"]
        assert int(row["label"]) == annotation["category_id"] - 1
        if row["iscrowd"] == "0":
            seen = (1 - float(row["occluded"])) * (1 - float(row["truncated"]))
            assert annotation["area"] == pytest.approx(seen * (float(row["scale"]) * SIZE) ** 2, rel=0.06)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"count": 0}, "count 0"),
        ({"size": 15}, "size 15"),
        ({"processes": 0}, "processes 0"),
        ({"split": "../train"}, "split '../train'"),
    ],
)
def test_a_wrong_request_for_objects_is_refused_in_one_line(
    tmp_path: Path, request_: Mapping[str, Any], message: str
) -> None:
    arguments = {"split": "train", "count": 2, "size": 16, **request_}
    with pytest.raises(UserError, match=message) as caught:
        write_objects(tmp_path / "new", World(), **arguments)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"counts": {}}, "no split"),
        ({"counts": {"train": 2, "val": 0}}, "count 0 of split 'val'"),
        ({"size": 8}, "size 8"),
        ({"min_objects": 0}, "0 to 6 objects"),
        ({"min_objects": 4, "max_objects": 3}, "4 to 3 objects"),
        ({"max_objects": 21}, "2 to 21 objects"),
    ],
)
def test_a_wrong_request_for_scenes_is_refused_in_one_line(
    tmp_path: Path, request_: Mapping[str, Any], message: str
) -> None:
    arguments = {"counts": {"train": 2}, "size": 16, **request_}
    with pytest.raises(UserError, match=message) as caught:
        write_scenes(tmp_path / "new", World(), **arguments)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("world", "message"),
    [
        ({"classes": ("disk", "blob")}, "unknown class 'blob'.*disk, triangle"),
        ({"classes": ("disk", "disk")}, "only once"),
        ({"classes": ()}, "at least one"),
        ({"seed": -1}, "seed -1"),
    ],
)
def test_a_world_that_cannot_be_is_refused(world: Mapping[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        World(**world)


def test_an_existing_dataset_is_never_overwritten(tmp_path: Path) -> None:
    write_objects(tmp_path, World(), "train", 2, 16)
    before = files_in(tmp_path)
    with pytest.raises(UserError, match="exists already: remove it"):
        write_objects(tmp_path, World(seed=1), "train", 2, 16)
    assert files_in(tmp_path) == before


@pytest.mark.parametrize("processes", [1, 2])
def test_an_interrupted_generation_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    monkeypatch.setattr(write_module, "_CHUNK", 3)

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    before = set(multiprocessing.active_children())
    with pytest.raises(KeyboardInterrupt):
        write_scenes(tmp_path / "root", World(), {"train": 30}, 64, processes=processes, progress=interrupt)
    assert list(tmp_path.iterdir()) == []
    assert set(multiprocessing.active_children()) <= before


def test_workers_start_without_torch_or_pydantic() -> None:
    code = "import json, sys; import superinfo.datasets.scenes; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "pydantic", "pandas"} & set(json.loads(run.stdout))
