"""A finished detector on new images: pictures, and a COCO json of what it found."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from detectron2.data.transforms import ResizeShortestEdge
from detectron2.evaluation.coco_evaluation import instances_to_coco_json
from numpy.typing import NDArray
from pycocotools import mask as run_lengths

from superinfo.device import pick_device
from superinfo.errors import UserError
from superinfo.files import new_folder, write_bytes, write_text
from superinfo.progress import progress
from transfer.detection.images import check_images, find_images, read_pixels
from transfer.detection.pictures import KINDS, SCORE, draw_objects, encode
from transfer.detection.trained import Detector, load_detector

PREDICTIONS = "predictions.json"
PICTURES = "pictures"
SMALLEST, LARGEST = 512, 1600
"""Longest side of a picture, in pixels, to which smaller images are enlarged and larger ones reduced."""

Json = dict[str, Any]


def predict(run: Path, images: Sequence[Path], out: Path, score: float = SCORE, device: str = "auto") -> Path:
    """Write what the detector of a finished run finds on images into the new or empty folder `out`.

    Returns the path of `predictions.json` there: a COCO json of all detections, whatever their score, whose images
    have `file_name` as they were named and `picture`, the one in `pictures/` that shows what scores at least `score`.
    `images` are files, and folders that are searched for image files. Sizes and coordinates are those of the upright
    image, as its EXIF orientation says. Raises UserError, with nothing written, if anything is amiss with run, images,
    folder or score.
    """
    if not 0 <= score <= 1:
        raise UserError(f"--score {score:g}: choose a number from 0 to 1")
    _check_vacant(out)
    files = find_images(images)
    detector = load_detector(run, pick_device(device))
    test = detector.cfg.INPUT
    resize = ResizeShortestEdge([test.MIN_SIZE_TEST, test.MIN_SIZE_TEST], test.MAX_SIZE_TEST)
    check_images(files, resize)
    names = unique_names(files)
    categories = {category["id"]: category for category in detector.vocabulary.categories}
    coco: dict[str, Any] = {
        "info": {"description": f"predictions of {detector.run}"},
        "images": [],
        "categories": list(categories.values()),
        "annotations": [],
    }
    with new_folder(out.resolve()) as folder, progress("predict", len(files), "images") as advance:
        (folder / PICTURES).mkdir()
        for number, (file, name) in enumerate(zip(files, names, strict=True), start=1):
            pixels = read_pixels(file, test.FORMAT)
            results = detect_objects(detector, resize, pixels, number)
            picture = Path(PICTURES) / f"{name}.png"
            bgr = pixels if test.FORMAT == "BGR" else pixels[:, :, ::-1]
            sure = [result for result in results if result["score"] >= score]
            longest = max(pixels.shape)
            scale = min(max(1.0, SMALLEST / longest), LARGEST / longest)
            write_bytes(folder / picture, encode(draw_objects(bgr, sure, categories, KINDS, scale)))
            height, width = pixels.shape[:2]
            entry = {"id": number, "file_name": str(file), "width": width, "height": height, "picture": str(picture)}
            coco["images"].append(entry)
            coco["annotations"] += map(_annotation, results)
            advance(1, f"{len(sure)} objects in {file.name}")
        for number, annotation in enumerate(coco["annotations"], start=1):
            annotation["id"] = number
        write_text(folder / PREDICTIONS, json.dumps(coco, allow_nan=False) + "\n")
    return out / PREDICTIONS


@torch.no_grad()
def detect_objects(detector: Detector, resize: ResizeShortestEdge, pixels: NDArray[Any], image_id: int) -> list[Json]:
    """Return COCO result dicts of one image `(H, W, 3)` in the detector's channel order, best first.

    Steps and numbers are those of Detectron2's DefaultPredictor.
    """
    height, width = pixels.shape[:2]
    resized = resize.get_transform(pixels).apply_image(pixels)
    image = torch.as_tensor(resized.astype("float32").transpose(2, 0, 1))
    (output,) = detector.model([{"image": image, "height": height, "width": width}])
    results: list[Json] = instances_to_coco_json(output["instances"].to("cpu"), image_id)
    ids = detector.vocabulary.category_ids
    return [result | {"category_id": ids[result["category_id"]]} for result in results]


def unique_names(files: Iterable[Path]) -> list[str]:
    """Return each file's name without its ending, numbered from the second of a name on, whatever its case."""
    names: dict[str, str] = {}
    numbers: Counter[str] = Counter()
    for file in files:
        name = file.stem
        while (key := name.casefold()) in names:
            numbers[file.stem] += 1
            name = f"{file.stem}-{numbers[file.stem] + 1}"
        names[key] = name
    return list(names.values())


def _check_vacant(out: Path) -> None:
    if out.is_mount():
        raise UserError(f"--out {out}: a mount point, which cannot be written as a whole; name a new folder in it")
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"--out {out}: not a new or empty folder; name another")


def _annotation(result: Json) -> Json:
    """Return a COCO annotation of a result: with an area, and keypoints that are visible beside their scores."""
    annotation = result | {"iscrowd": 0, "area": result["bbox"][2] * result["bbox"][3]}
    if "segmentation" in result:
        annotation["area"] = float(run_lengths.area(result["segmentation"]))
    if "keypoints" in result:
        flat = result["keypoints"]
        annotation["keypoints"] = [value for x, y in zip(flat[::3], flat[1::3], strict=True) for value in (x, y, 2)]
        annotation["keypoint_scores"] = flat[2::3]
        annotation["num_keypoints"] = len(flat) // 3
    return annotation
