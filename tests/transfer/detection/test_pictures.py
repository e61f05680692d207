"""Pictures of objects: masks however given, boxes where there are none, keypoints, and labels that can be read."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as run_lengths

from transfer.detection.annotations import Annotations
from transfer.detection.pictures import KINDS, TILE, Image, draw_objects, draw_predictions

GREY = 100
SIDE = 64
CATEGORIES: list[dict[str, Any]] = [
    {"id": 3, "name": "person", "keypoints": ["head", "hand", "foot"], "skeleton": [[1, 2], [2, 3]]},
    {"id": 8, "name": "cup"},
]
BY_ID = {category["id"]: category for category in CATEGORIES}
SQUARE = [[20.0, 20.0, 44.0, 20.0, 44.0, 44.0, 20.0, 44.0]]
BOX = [20.0, 20.0, 24.0, 24.0]


def grey() -> Image:
    return np.full((SIDE, SIDE, 3), GREY, np.uint8)


def draw(one: dict[str, Any], shown: frozenset[str] = KINDS, scale: float = 4.0) -> Image:
    return draw_objects(grey(), [{"category_id": 3, "bbox": BOX} | one], BY_ID, shown, scale)


def is_drawn(picture: Image, x: int, y: int, scale: int = 4) -> bool:
    """Tell whether an image's pixel is other than it was, anywhere in it."""
    return bool((picture[y * scale : (y + 1) * scale, x * scale : (x + 1) * scale] != GREY).any())


def annotations(folder: Path, objects: list[dict[str, Any]], shape: tuple[int, int] = (SIDE, SIDE)) -> Annotations:
    cv2.imwrite(str(folder / "1.png"), np.full((*shape, 3), GREY, np.uint8))
    images = [{"id": 1, "file_name": "1.png", "height": shape[0], "width": shape[1]}]
    coco = {"images": images, "annotations": objects, "categories": CATEGORIES}
    return Annotations("test", folder / "test.json", folder, coco, "coco")


def truth(**fields: Any) -> dict[str, Any]:
    return {"id": 1, "image_id": 1, "category_id": 3, "bbox": BOX, "iscrowd": 0} | fields


def result(**fields: Any) -> dict[str, Any]:
    return {"image_id": 1, "category_id": 3, "bbox": BOX, "score": 0.9} | fields


def sheet(folder: Path, objects: list[dict[str, Any]], predictions: list[dict[str, Any]]) -> tuple[Image, Image]:
    """The two tiles of a sheet of one image, without their captions."""
    draw_predictions(annotations(folder, objects), predictions, folder / "sheet.png", 1)
    picture = np.asarray(cv2.imread(str(folder / "sheet.png")), np.uint8)
    tiles = picture[24 : 24 + TILE, 4 : 4 + 2 * TILE]
    return tiles[:, :TILE], tiles[:, TILE:]


def test_polygons_and_both_kinds_of_run_lengths_are_the_same_mask() -> None:
    by_polygon = draw({"segmentation": SQUARE})
    mask = np.zeros((SIDE, SIDE), np.uint8, order="F")
    mask[20:44, 20:44] = 1
    encoded = run_lengths.encode(mask)
    column = mask.flatten(order="F")
    starts = np.flatnonzero(np.diff(column)) + 1
    counts = np.diff([0, *starts, SIDE * SIDE]).tolist()
    for counted in (encoded["counts"], encoded["counts"].decode(), counts):
        picture = draw({"segmentation": {"size": [SIDE, SIDE], "counts": counted}})
        assert np.array_equal(picture, by_polygon)
    assert is_drawn(by_polygon, 32, 32)
    assert not is_drawn(by_polygon, 50, 32)


def test_a_polygon_of_two_points_is_no_mask() -> None:
    degenerate = draw({"segmentation": [[20.0, 20.0, 44.0, 44.0]]})
    assert np.array_equal(degenerate, draw({}))
    assert not is_drawn(degenerate, 32, 40)


def test_an_object_without_a_mask_is_a_box_whatever_is_shown() -> None:
    for shown in (KINDS, frozenset({"segmentation"})):
        picture = draw({}, shown)
        assert all(is_drawn(picture, x, y) for x, y in ((20, 35), (43, 35), (32, 43)))
        assert not is_drawn(picture, 32, 38)


def test_keypoints_that_are_seen_are_drawn_and_the_bones_between_them() -> None:
    flat = [24, 40, 2, 40, 40, 1, 40, 10, 0]
    picture = draw({"keypoints": flat}, frozenset({"keypoints"}))
    assert is_drawn(picture, 24, 40)
    assert is_drawn(picture, 32, 40)
    assert is_drawn(picture, 40, 40)
    assert not is_drawn(picture, 40, 30)
    assert not is_drawn(picture, 40, 10)
    unsure = draw({"keypoints": [24, 40, 0.01, 40, 40, 0.9, 40, 10, 0.9]}, frozenset({"keypoints"}))
    assert not is_drawn(unsure, 24, 40)
    assert is_drawn(unsure, 40, 20)
    cup = draw({"keypoints": flat, "category_id": 8}, frozenset({"keypoints"}))
    assert is_drawn(cup, 40, 40)
    assert not is_drawn(cup, 32, 40)  # it has no skeleton


def test_ground_truth_is_shown_as_the_predictions_are(tmp_path: Path) -> None:
    whole = truth(segmentation=SQUARE, keypoints=[32, 52, 2, 0, 0, 0, 0, 0, 0])
    polygons, points = {"segmentation": SQUARE}, {"keypoints": [32, 52, 0.9, 0, 0, 0, 0, 0, 0]}
    inside, joint = (32, 36), (32, 52)
    seen = {
        name: [(is_drawn(tile, *inside), is_drawn(tile, *joint)) for tile in sheet(tmp_path, [whole], [result(**kind)])]
        for name, kind in (("masks", polygons), ("boxes", {}), ("points", points), ("both", polygons | points))
    }
    assert seen == {
        "masks": [(True, False)] * 2,
        "boxes": [(False, False)] * 2,
        "points": [(False, True)] * 2,
        "both": [(True, True)] * 2,
    }


def test_boxes_frame_masks_only_where_they_are_asked_for(tmp_path: Path) -> None:
    small = [[30.0, 30.0, 36.0, 30.0, 36.0, 36.0, 30.0, 36.0]]
    left, right = sheet(tmp_path, [truth(segmentation=small)], [result(segmentation=small)])
    assert not is_drawn(left, 43, 35)
    assert not is_drawn(right, 43, 35)
    assert is_drawn(draw({"segmentation": small}), 43, 35)


def test_unsure_predictions_crowds_and_other_images_objects_are_not_drawn(tmp_path: Path) -> None:
    crowd = truth(segmentation=SQUARE, iscrowd=1)
    others = [result(segmentation=SQUARE, score=0.4), result(segmentation=SQUARE, image_id=2)]
    left, right = sheet(tmp_path, [crowd, truth(segmentation=SQUARE, image_id=2)], others)
    assert (left == GREY).all()
    assert (right == GREY).all()


def test_no_picture_is_drawn_of_no_images(tmp_path: Path) -> None:
    draw_predictions(annotations(tmp_path, []), [], tmp_path / "sheet.png", 0)
    assert not (tmp_path / "sheet.png").exists()


@pytest.mark.parametrize("shape", [(600, 20), (20, 900), (1, 1)])
def test_labels_of_narrow_images_have_room(tmp_path: Path, shape: tuple[int, int]) -> None:
    draw_predictions(annotations(tmp_path, [truth(bbox=[0, 0, 9, 9])], shape), [], tmp_path / "sheet.png", 1)
    picture = cv2.imread(str(tmp_path / "sheet.png"))
    assert picture is not None
    height, width = picture.shape[:2]
    assert 2 * 128 <= width <= 2 * (8 * TILE + 8)
    assert 32 <= height <= TILE + 28


def test_labels_stay_inside_and_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[str, tuple[int, int]]] = []
    write = cv2.putText

    def watched(picture: Image, text: str, place: tuple[int, int], *style: Any) -> None:
        written.append((text, place))
        write(picture, text, place, *style)

    monkeypatch.setattr(cv2, "putText", watched)
    corners = [(60.0, 60.0), (60.0, 60.0), (-5.0, -5.0), (0.0, 1.0), (2.0, 0.0)]
    objects = [{"category_id": 3, "bbox": [x, y, 4, 4], "score": 0.5} for x, y in corners]
    draw_objects(grey(), objects, BY_ID, KINDS, 4.0)
    (width, height), _ = cv2.getTextSize("person 0.50", cv2.FONT_HERSHEY_SIMPLEX, 0.38, 1)
    places = [place for _, place in written[::2]]
    assert {text for text, _ in written} == {"person 0.50"}
    assert all(0 <= x <= 256 - width and height <= y <= 256 for x, y in places)
    for i, (x, y) in enumerate(places[2:]):
        assert all(abs(x - a) >= width or abs(y - b) >= height for a, b in places[2:][:i])


def test_a_name_that_the_font_cannot_write_is_marked_letter_by_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    texts: set[str] = set()
    monkeypatch.setattr(cv2, "putText", lambda _, text, *style: texts.add(text))
    draw_objects(grey(), [{"category_id": 1, "bbox": BOX}], {1: {"id": 1, "name": "Zürich"}}, KINDS, 1.0)
    assert texts == {"Z?rich"}
