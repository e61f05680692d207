"""What scoring a detector on COCO val2017 takes, box and mask AP, beside pycocotools on the same results.

    python -m benchmarks.perf.coco_eval [--images N]

5,000 images hold 36,000 objects of 80 classes, and a detector has 100 results in each: several around every object,
of overlaps and scores as detectors give them, the rest anywhere. All is generated, the masks as polygons of truth
and run lengths of results. Each side starts from the same list of result dicts: loading and indexing them counts,
reading files does not. Every figure of both sides must be equal to 1e-9, or the exit status is 1.
"""

import argparse
import contextlib
import io
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as run_lengths
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from transfer.detection.annotations import Annotations
from transfer.detection.scores.coco import Kind, coco_scores

IMAGES, OBJECTS_AN_IMAGE, RESULTS_AN_IMAGE, CLASSES = 5000, 7.2, 100, 80
WIDTH, HEIGHT = 640, 480
CORNERS = 24
"""Of a mask's polygon."""
LEAST_RATIO, TOLERANCE = 5.0, 1e-9
FIGURES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
KINDS: tuple[tuple[Kind, str], ...] = (("box", "bbox"), ("mask", "segm"))
Floats = NDArray[np.float64]
Results = list[dict[str, Any]]


def main() -> None:
    """Measure both sides, print a table, and last a JSON line; exit with 1 if a figure differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=IMAGES)
    arguments = parser.parse_args()
    annotations, results = _generate(arguments.images)
    objects = len(annotations.coco["annotations"])
    print(f"{arguments.images:,} images, {objects:,} objects, {len(results):,} results, {CLASSES} classes")
    print(f"{'':<8}{'ours, s':>10}{'pycocotools, s':>16}{'ratio':>8}{'of CPU':>8}{'AP':>8}{'largest difference':>20}")
    found: dict[str, float] = {}
    for kind, iou_type in KINDS:
        start = _clocks()
        ours = coco_scores(annotations, results, kind)
        middle = _clocks()
        theirs = _by_pycocotools(annotations.coco, results, iou_type)
        (seconds, cpu), (their_seconds, their_cpu) = middle - start, _clocks() - middle
        apart = max(abs(_number(ours[name]) - theirs[name]) for name in theirs)
        ratio = their_seconds / seconds
        row = f"{kind:<8}{seconds:>10.2f}{their_seconds:>16.2f}{ratio:>8.1f}{their_cpu / cpu:>8.1f}"
        print(f"{row}{theirs['AP']:>8.2f}{apart:>20.1e}", flush=True)
        found |= {f"{kind}_ratio": round(ratio, 2), f"{kind}_cpu_ratio": round(their_cpu / cpu, 2)}
        found |= {f"{kind}_seconds": round(seconds, 2)}
        found |= {f"{kind}_pycocotools_seconds": round(their_seconds, 2), f"{kind}_difference": apart}
    print(f"at least {LEAST_RATIO:g} times faster, at most {TOLERANCE:g} apart")
    least = min(found[f"{kind}_ratio"] for kind, _ in KINDS)
    cores = len(os.sched_getaffinity(0))
    print(json.dumps({"name": "coco_eval", "ratio": least, "limit": LEAST_RATIO, "cores": cores, **found}))
    if not all(found[f"{kind}_difference"] <= TOLERANCE for kind, _ in KINDS):
        sys.exit(1)


def _clocks() -> Floats:
    """Return the seconds of the wall's clock, and of this process's processor time in all threads."""
    return np.array([time.perf_counter(), time.process_time()])


def _number(value: float | None) -> float:
    return -100.0 if value is None else value


def _by_pycocotools(coco: dict[str, Any], results: Results, iou_type: str) -> dict[str, float]:
    """Score as Detectron2 does with pycocotools: masks are given without boxes, so that areas are the masks'."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = coco | {"annotations": [dict(a) for a in coco["annotations"]]}
        truth.createIndex()
        without = {"bbox"} if iou_type == "segm" else set()
        detected = truth.loadRes([{k: v for k, v in result.items() if k not in without} for result in results])
        evaluation = COCOeval(truth, detected, iou_type)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    figures = {name: 100 * float(value) for name, value in zip(FIGURES, evaluation.stats, strict=True)}
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    for k, category in enumerate(evaluation.params.catIds):
        seen = precision[:, :, k][precision[:, :, k] > -1]
        figures[f"AP-{truth.cats[category]['name']}"] = 100 * float(seen.mean()) if seen.size else -100.0
    return figures


def _generate(images: int) -> tuple[Annotations, Results]:
    rng = np.random.default_rng(0)
    frequency = 1 / np.arange(1, CLASSES + 1)
    frequency /= frequency.sum()
    shapes = 0.6 + 0.4 * rng.random((64, CORNERS))  # radii of outlines; an object and its results share one
    objects: list[dict[str, Any]] = []
    results: Results = []
    for image in range(1, images + 1):
        count = int(rng.poisson(OBJECTS_AN_IMAGE))
        boxes, classes = _boxes(rng, count), rng.choice(CLASSES, count, p=frequency) + 1
        outlines = rng.integers(len(shapes), size=count)
        polygons = _polygons(boxes, shapes[outlines])
        areas = run_lengths.area(run_lengths.frPyObjects(polygons, HEIGHT, WIDTH)) if count else ()
        crowds = rng.random(count) < 0.01
        for box, category, polygon, area, crowd in zip(boxes, classes, polygons, areas, crowds, strict=True):
            entry = {"id": len(objects) + 1, "image_id": image, "category_id": int(category), "bbox": box.tolist()}
            objects.append(entry | {"segmentation": [polygon], "area": float(area), "iscrowd": int(crowd)})
        results += _results(rng, image, (boxes, classes, outlines), shapes, frequency)
    entries = [{"id": i, "file_name": f"{i}.jpg", "width": WIDTH, "height": HEIGHT} for i in range(1, images + 1)]
    categories = [{"id": i, "name": f"class {i}"} for i in range(1, CLASSES + 1)]
    coco = {"images": entries, "annotations": objects, "categories": categories}
    return Annotations("val2017", Path("val2017.json"), Path("val2017"), coco, "coco"), results


def _results(
    rng: np.random.Generator, image: int, truth: tuple[Floats, Any, Any], shapes: Floats, frequency: Floats
) -> Results:
    """Return an image's results, surest first: up to 4 near each object, then boxes anywhere, of low score."""
    boxes, classes, outlines = truth
    near = np.repeat(np.arange(len(boxes)), rng.integers(0, 5, len(boxes)))[:RESULTS_AN_IMAGE]
    noise = rng.choice([0.02, 0.08, 0.25], len(near))
    moved = boxes[near] + boxes[near][:, [2, 3, 2, 3]] * noise[:, None] * rng.normal(size=(len(near), 4))
    far = RESULTS_AN_IMAGE - len(near)
    everywhere = np.concatenate([moved, _boxes(rng, far)])
    everywhere[:, 2:] = np.maximum(everywhere[:, 2:], 1)
    category = np.concatenate([classes[near], rng.choice(CLASSES, far, p=frequency) + 1])
    wrong = rng.random(len(category)) < 0.15
    category[wrong] = rng.integers(1, CLASSES + 1, int(wrong.sum()))
    score = np.concatenate([rng.beta(4, 2, len(near)) * (1 - noise), 0.5 * rng.beta(1, 8, far)]).astype(np.float32)
    outline = np.concatenate([outlines[near], rng.integers(len(shapes), size=far)])
    masks = run_lengths.frPyObjects(_polygons(everywhere, shapes[outline]), HEIGHT, WIDTH)
    return [
        {
            "image_id": image,
            "category_id": int(category[i]),
            "bbox": everywhere[i].tolist(),
            "score": float(score[i]),
            "segmentation": {"size": masks[i]["size"], "counts": masks[i]["counts"].decode()},
        }
        for i in np.argsort(-score, kind="stable")
    ]


def _boxes(rng: np.random.Generator, count: int) -> Floats:
    """Return `(count, 4)` boxes x, y, w, h in the image: as in COCO, two in five below 32 px across."""
    size = np.exp(rng.normal(3.8, 1.0, (count, 1)) + rng.normal(0, 0.3, (count, 2)))
    size = np.clip(size, 4, (WIDTH - 1, HEIGHT - 1))
    corner = rng.random((count, 2)) * ((WIDTH, HEIGHT) - size)
    return np.concatenate([corner, size], 1)


def _polygons(boxes: Floats, radii: Floats) -> list[list[float]]:
    """Return outlines in the boxes, each x, y, x, y, ... of the given radii in units of the box."""
    angles = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], -1) * radii[..., None]
    points = boxes[:, None, :2] + (circle + 1) / 2 * boxes[:, None, 2:]
    polygons: list[list[float]] = np.clip(points, 0, (WIDTH, HEIGHT)).reshape(len(boxes), 2 * CORNERS).tolist()
    return polygons


if __name__ == "__main__":
    main()
