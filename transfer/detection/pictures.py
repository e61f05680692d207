"""Predicted masks beside ground truth, as one picture."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from numpy.typing import NDArray
from pycocotools.coco import COCO

from superinfo.files import write_bytes
from transfer.detection.evaluate import PREDICTIONS

Image = NDArray[np.uint8]
TILE = 256
"""Shown height of a test image, in pixels."""
SCORE = 0.5
"""Predictions below this confidence are not drawn."""
WHITE = (255, 255, 255)
COLUMNS = 2
"""Pairs of ground truth and prediction in a row."""


def draw_predictions(cfg: CfgNode, path: Path, count: int) -> None:
    """Draw the first `count` test images, each with ground truth (left) and predictions above 0.5 (right).

    Reads the predictions that the evaluation left in the output folder; draws nothing if `count` is 0.
    """
    if not count:
        return
    metadata = MetadataCatalog.get(cfg.DATASETS.TEST[0])
    truth = COCO(metadata.json_file)
    results = json.loads((Path(cfg.OUTPUT_DIR) / PREDICTIONS).read_text())
    sure = [result for result in results if result["score"] >= SCORE]
    found = truth.loadRes(sure) if sure else None
    pairs = []
    for image_id in sorted(truth.getImgIds())[:count]:
        image = cv2.imread(str(Path(metadata.image_root) / truth.imgs[image_id]["file_name"]))
        expected = truth.loadAnns(truth.getAnnIds(image_id, iscrowd=False))
        predicted = found.loadAnns(found.getAnnIds(image_id)) if found else []
        tiles = (_draw(image, expected, truth, "ground truth"), _draw(image, predicted, truth, "predicted"))
        pairs.append(np.hstack(tiles))
    write_bytes(path, cv2.imencode(".png", _arrange(pairs))[1].tobytes())


def _arrange(pairs: list[Image]) -> cv2.typing.MatLike:
    """Lay out pictures of any sizes in rows of COLUMNS, on white."""
    height, width = (max(pair.shape[side] for pair in pairs) + 8 for side in (0, 1))
    sheet = np.full((-(-len(pairs) // COLUMNS) * height, COLUMNS * width, 3), 255, np.uint8)
    for i, pair in enumerate(pairs):
        y, x = i // COLUMNS * height + 4, i % COLUMNS * width + 4
        sheet[y : y + pair.shape[0], x : x + pair.shape[1]] = pair
    return sheet


def _draw(image: Any, annotations: list[dict[str, Any]], coco: COCO, caption: str) -> Image:
    scale = TILE / image.shape[0]
    shown = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    labels = []
    for annotation in annotations:
        colour = _colour(annotation["category_id"])
        mask = cv2.resize(coco.annToMask(annotation), shown.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        shown[mask > 0] = (0.45 * shown[mask > 0] + 0.55 * np.array(colour)).astype(np.uint8)
        outline, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        cv2.drawContours(shown, outline, -1, colour, 2)
        score = f" {annotation['score']:.2f}" if "score" in annotation else ""
        x, y = (int(value * scale) for value in annotation["bbox"][:2])
        labels.append((coco.cats[annotation["category_id"]]["name"] + score, (max(x, 2), max(y + 10, 12))))
    for text, place in labels:
        _write(shown, text, place)
    bar = np.full((20, shown.shape[1], 3), 255, np.uint8)
    cv2.putText(bar, caption, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([bar, shown])


def _write(image: Image, text: str, place: tuple[int, int]) -> None:
    for colour, thickness in (((0, 0, 0), 3), (WHITE, 1)):
        cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.38, colour, thickness, cv2.LINE_AA)


def _colour(category: int) -> tuple[int, int, int]:
    """Return a class's colour (BGR): golden-angle steps of hue keep neighbours apart."""
    hsv = np.array([[[category * 110 % 180, 200, 255]]], np.uint8)
    blue, green, red = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0, 0].tolist()
    return blue, green, red
