"""Objects drawn on images: predictions beside ground truth, and what a detector finds on new images."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from detectron2.data.detection_utils import read_image
from numpy.typing import NDArray
from pycocotools import mask as run_lengths

from superinfo.files import write_bytes
from transfer.detection.annotations import Annotations

Image = NDArray[np.uint8]
"""BGR, `(H, W, 3)`."""
TILE = 256
"""Shown height of a test image, in pixels; one that is more than four times as wide is shown lower."""
SCORE = 0.5
"""Predictions below this confidence are not drawn."""
SEEN = 0.05
"""Nor are keypoints below this one; those of ground truth have 0 where they are not labelled, else 1 or 2."""
LEAST = (32, 128)
"""Height and width to which pictures are filled up with white, for labels."""
WHITE, BLACK = (255, 255, 255), (0, 0, 0)
COLUMNS = 2
"""Pairs of ground truth and prediction in a row."""
KINDS = frozenset({"bbox", "segmentation", "keypoints"})
"""What an object may have that can be drawn, as COCO names it."""
FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_predictions(annotations: Annotations, predictions: list[dict[str, Any]], path: Path, count: int) -> None:
    """Draw the first `count` images of a split, each with ground truth (left) and predictions above 0.5 (right).

    `predictions` are COCO result dicts. Ground truth is shown as the predictions are: as masks, or else as boxes, and
    with keypoints only if they have some. Draws nothing if `count` is 0.
    """
    if not count:
        return
    found = KINDS & {kind for prediction in predictions for kind in prediction} or KINDS
    shown = found - {"bbox"} if "segmentation" in found else found
    categories = {category["id"]: category for category in annotations.coco["categories"]}
    truth = [a for a in annotations.coco["annotations"] if not a.get("iscrowd")]
    sure = [p for p in predictions if p["score"] >= SCORE]
    pairs = []
    for entry in sorted(annotations.coco["images"], key=lambda entry: entry["id"])[:count]:
        image = read_image(str(annotations.images / entry["file_name"]), format="BGR")
        scale = min(TILE / image.shape[0], 4 * TILE / image.shape[1])
        tiles = [
            _captioned(draw_objects(image, _of(entry, objects), categories, shown, scale), caption)
            for objects, caption in ((truth, "ground truth"), (sure, "predicted"))
        ]
        pairs.append(np.hstack(tiles))
    write_bytes(path, encode(_arrange(pairs)))


def draw_objects(
    image: Image,
    objects: Iterable[dict[str, Any]],
    categories: dict[int, dict[str, Any]],
    shown: Collection[str],
    scale: float,
) -> Image:
    """Return the image at a scale, with objects (COCO annotations or results) of such categories drawn on it.

    Of each object those of the kinds `shown` are drawn that it has, and its box if that is none; then its class, and
    its score if it has one.
    """
    height, width = (max(round(side * scale), 1) for side in image.shape[:2])
    canvas = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    pen = max(1.0, max(height, width) / 800)
    labels = []
    for one in objects:
        category = categories[one["category_id"]]
        colour = _colour(one["category_id"])
        masked = "segmentation" in shown and _draw_mask(canvas, one.get("segmentation"), image.shape, colour, pen)
        pointed = "keypoints" in shown and bool(one.get("keypoints"))
        if "bbox" in shown or not (masked or pointed):
            _draw_box(canvas, one["bbox"], scale, colour, round(pen if masked else 2 * pen))
        if pointed:
            _draw_keypoints(canvas, one["keypoints"], category.get("skeleton") or (), scale, colour, pen)
        score = f" {one['score']:.2f}" if "score" in one else ""
        corner = (int(one["bbox"][0] * scale), int(one["bbox"][1] * scale))
        labels.append((category["name"].encode("ascii", "replace").decode() + score, corner))  # the font has no others
    below, beside = (max(least - side, 0) for least, side in zip(LEAST, (height, width), strict=True))
    canvas = np.asarray(cv2.copyMakeBorder(canvas, 0, below, 0, beside, cv2.BORDER_CONSTANT, value=WHITE), np.uint8)
    _write_labels(canvas, labels, 0.38 * pen)
    return canvas


def encode(picture: Image) -> bytes:
    """Return a picture's bytes as a PNG file."""
    return cv2.imencode(".png", picture)[1].tobytes()


def _of(entry: dict[str, Any], objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in objects if one["image_id"] == entry["id"]]


def _captioned(tile: Image, caption: str) -> Image:
    bar = np.full((20, tile.shape[1], 3), 255, np.uint8)
    cv2.putText(bar, caption, (4, 14), FONT, 0.45, BLACK, 1, cv2.LINE_AA)
    return np.vstack([bar, tile])


def _arrange(pairs: list[Image]) -> Image:
    """Lay out pictures of any sizes in rows of COLUMNS, on white."""
    height, width = (max(pair.shape[side] for pair in pairs) + 8 for side in (0, 1))
    sheet = np.full((-(-len(pairs) // COLUMNS) * height, COLUMNS * width, 3), 255, np.uint8)
    for i, pair in enumerate(pairs):
        y, x = i // COLUMNS * height + 4, i % COLUMNS * width + 4
        sheet[y : y + pair.shape[0], x : x + pair.shape[1]] = pair
    return sheet


def _draw_mask(
    canvas: Image, segmentation: Any, shape: Sequence[int], colour: tuple[int, int, int], pen: float
) -> bool:
    """Tint and outline a mask, polygons or run lengths of an image of that shape; tell whether there is one."""
    mask = _decode(segmentation, *shape[:2])
    if mask is None:
        return False
    mask = np.asarray(cv2.resize(mask, canvas.shape[1::-1], interpolation=cv2.INTER_NEAREST), np.uint8)
    canvas[mask > 0] = (0.45 * canvas[mask > 0] + 0.55 * np.array(colour)).astype(np.uint8)
    outline, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(canvas, outline, -1, colour, round(2 * pen))
    return True


def _decode(segmentation: Any, height: int, width: int) -> Image | None:
    if isinstance(segmentation, dict):
        listed = isinstance(segmentation["counts"], list)
        encoded = run_lengths.frPyObjects(segmentation, height, width) if listed else segmentation
    else:
        # pycocotools takes four numbers for a box.
        polygons = [polygon for polygon in segmentation or () if len(polygon) >= 6]
        if not polygons:
            return None
        encoded = run_lengths.merge(run_lengths.frPyObjects(polygons, height, width))
    return np.asarray(run_lengths.decode(encoded), np.uint8)


def _draw_box(canvas: Image, bbox: Sequence[float], scale: float, colour: tuple[int, int, int], line: int) -> None:
    x, y, w, h = (value * scale for value in bbox)
    cv2.rectangle(canvas, (round(x), round(y)), (round(x + w) - 1, round(y + h) - 1), colour, line)


def _draw_keypoints(
    canvas: Image,
    flat: Sequence[float],
    skeleton: Iterable[Sequence[int]],
    scale: float,
    colour: tuple[int, int, int],
    pen: float,
) -> None:
    """Draw points that are seen, and the skeleton between those; `flat` is x, y, visibility or score of each."""
    points = {
        number: (round((x + 0.5) * scale), round((y + 0.5) * scale))  # COCO counts pixels, whose centres these are
        for number, (x, y, seen) in enumerate(zip(flat[::3], flat[1::3], flat[2::3], strict=True), start=1)
        if seen > SEEN
    }
    for one, other in skeleton:
        if one in points and other in points:
            cv2.line(canvas, points[one], points[other], colour, round(2 * pen), cv2.LINE_AA)
    for point in points.values():
        cv2.circle(canvas, point, round(3 * pen), colour, -1, cv2.LINE_AA)
        cv2.circle(canvas, point, round(2 * pen), WHITE, -1, cv2.LINE_AA)


def _write_labels(canvas: Image, labels: Iterable[tuple[str, tuple[int, int]]], size: float) -> None:
    """Write each text near its corner, inside the picture, below those that it would cover."""
    taken: list[tuple[int, int, int, int]] = []
    for text, (left, top) in labels:
        (width, height), _ = cv2.getTextSize(text, FONT, size, 1)
        x = max(min(left, canvas.shape[1] - width - 2), 2)
        lowest = canvas.shape[0] - height // 2
        y = start = min(max(top, 0) + height + 3, lowest)
        while y <= lowest and any(_overlap((x, y, width, height), other) for other in taken):
            y += height // 2
        y = y if y <= lowest else start
        taken.append((x, y, width, height))
        for colour, line in ((BLACK, 3), (WHITE, 1)):
            cv2.putText(canvas, text, (x, y), FONT, size, colour, round(line * size / 0.38), cv2.LINE_AA)


def _overlap(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    return all(one[side] < other[side] + other[side + 2] and other[side] < one[side] + one[side + 2] for side in (0, 1))


def _colour(category: int) -> tuple[int, int, int]:
    """Return a class's colour (BGR): golden-angle steps of hue keep neighbours apart."""
    hsv = np.array([[[category * 110 % 180, 200, 255]]], np.uint8)
    blue, green, red = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0, 0].tolist()
    return blue, green, red
