"""COCO's figures are pycocotools' to 1e-9, called as Detectron2 calls it, on sets made to bring out differences."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as run_lengths
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from superinfo.errors import SuperInfoError, UserError
from transfer.detection.annotations import Annotations
from transfer.detection.scores.coco import Kind, coco_scores, run_length_of

Results = list[dict[str, Any]]
SIDE = 160
IOU_TYPES: dict[Kind, str] = {"box": "bbox", "mask": "segm", "keypoints": "keypoints"}
FIGURES: dict[Kind, str] = {
    "box": "AP AP50 AP75 APs APm APl AR1 AR10 AR100 ARs ARm ARl",
    "mask": "AP AP50 AP75 APs APm APl AR1 AR10 AR100 ARs ARm ARl",
    "keypoints": "AP AP50 AP75 APm APl AR AR50 AR75 ARm ARl",
}
KINDS = tuple(IOU_TYPES)
SIGMAS = [0.05, 0.1, 0.025]


def by_pycocotools(
    annotations: Annotations, results: Results, kind: Kind, sigmas: list[float] | None = None
) -> dict[str, float]:
    truth = COCO()
    truth.dataset = annotations.coco | {"annotations": [dict(a) for a in annotations.coco["annotations"]]}
    truth.createIndex()
    without = "bbox" if kind == "mask" else ""
    entries = [{key: value for key, value in result.items() if key != without} for result in results]
    if entries:
        found = truth.loadRes(entries)
    else:  # which loadRes does not take
        found = COCO()
        found.dataset = truth.dataset | {"annotations": []}
        found.createIndex()
    evaluation = COCOeval(truth, found, IOU_TYPES[kind])
    if sigmas:
        evaluation.params.kpt_oks_sigmas = np.array(sigmas)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    figures = dict(zip(FIGURES[kind].split(), evaluation.stats.tolist(), strict=True))
    for k, key in enumerate(evaluation.params.catIds):
        precision = evaluation.eval["precision"][:, :, k, 0, -1]
        seen = precision[precision > -1]
        figures[f"AP-{truth.cats[key]['name']}"] = float(seen.mean()) if seen.size else -1.0
    return figures


def polygon(box: list[float]) -> list[list[float]]:
    x, y, w, h = box
    return [[x, y, x + w, y, x + w, y + h / 2, x + w / 2, y + h, x, y + h]]


def encoded(box: list[float], compressed: bool) -> dict[str, Any]:
    parts = run_lengths.frPyObjects(polygon(box), SIDE, SIDE)
    if compressed:
        return {"size": [SIDE, SIDE], "counts": parts[0]["counts"].decode()}
    flat = run_lengths.decode(parts)[:, :, 0].flatten(order="F")
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat])))
    counts = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    return {"size": [SIDE, SIDE], "counts": counts}


def adversarial(seed: int, classes: int = 3, images: int = 7, keypoints: int = 17) -> tuple[Annotations, Results]:
    """Crowds, ties, empty images, whole and half pixels, areas on COCO's borders, more results than are counted."""
    rng = np.random.default_rng(seed)
    image_ids = rng.permutation(np.arange(3, 3 + 5 * images, 5)).tolist()
    category_ids = rng.permutation(np.arange(2, 2 + 3 * (classes + 1), 3)).tolist()  # the last has no objects
    sides = [4, 16, 31, 32, 33, 64, 95, 96, 97, 120]
    objects: list[dict[str, Any]] = []
    results: Results = []

    def pose(box: list[float], noise: float) -> list[float]:
        x, y, w, h = box
        places = np.linspace(0.1, 0.9, keypoints)
        points = np.stack([x + places * w, y + places * h], 1) + rng.normal(size=(keypoints, 2)) * noise
        return np.concatenate([points, rng.integers(0, 3, (keypoints, 1))], 1).round(1).flatten().tolist()

    for image_id in image_ids[1:]:
        for _ in range(int(rng.integers(0, 12))):
            w, h = (float(rng.choice(sides)) for _ in range(2))
            x, y = (float(rng.integers(0, SIDE - int(side) + 1)) for side in (w, h))
            box, category = [x, y, w, h], int(rng.choice(category_ids[:-1]))
            crowd = int(rng.random() < 0.2)
            form = 0 if crowd else int(rng.integers(3))
            mask: Any = polygon(box) if form == 2 else encoded(box, form == 1)
            points = pose(box, 0.0)
            if rng.random() < 0.25:
                points = [0.0] * len(points)
            objects.append(
                {
                    "id": 10 + len(objects),
                    "image_id": image_id,
                    "category_id": category,
                    "bbox": box,
                    "area": float(rng.choice([w * h, 32**2, 96**2, np.nextafter(32**2, 0), np.nextafter(96**2, 1e9)])),
                    "iscrowd": crowd,
                    "segmentation": mask,
                    "keypoints": points,
                    "num_keypoints": sum(v > 0 for v in points[2::3]),
                }
            )
            for _ in range(int(rng.integers(0, 4))):
                shift = rng.choice([0, 0, 1, 4, 8], 4) * rng.choice([-1, 1], 4)
                near = [max(x + shift[0], 0), max(y + shift[1], 0), max(w + shift[2], 1), max(h + shift[3], 1)]
                wrong = rng.random() < 0.1
                results.append(result(rng, image_id, int(rng.choice(category_ids)) if wrong else category, near))
                results[-1]["keypoints"] = pose(near, float(rng.choice([0.0, 1.0, 4.0])))
    for _ in range(140):  # of one image and class, more than 100
        box = [float(v) for v in (*rng.integers(0, 60, 2), *rng.choice(sides, 2))]
        results.append(result(rng, image_ids[1], category_ids[0], box) | {"keypoints": pose(box, 2.0)})
    for _ in range(20):  # of an image without objects
        box = [float(v) for v in (*rng.integers(0, 60, 2), *rng.choice(sides, 2))]
        results.append(result(rng, image_ids[0], int(rng.choice(category_ids)), box) | {"keypoints": pose(box, 2.0)})
    coco = {
        "images": [{"id": key, "file_name": f"{key}.png", "width": SIDE, "height": SIDE} for key in image_ids],
        "annotations": objects,
        "categories": [{"id": key, "name": f"class {key}"} for key in category_ids],
    }
    order = rng.permutation(len(results))
    return annotated(coco), [results[i] for i in order]


def result(rng: np.random.Generator, image_id: int, category_id: int, box: list[float]) -> dict[str, Any]:
    box = [float(value) for value in box]
    score = float(rng.choice([0.0, 0.25, 0.5, 0.5, 0.9, 1.0]))
    mask = encoded(box, compressed=True)
    return {"image_id": image_id, "category_id": category_id, "bbox": box, "score": score, "segmentation": mask}


def annotated(coco: dict[str, Any]) -> Annotations:
    return Annotations("val", Path("val.json"), Path("val"), coco, "coco")


def assert_equal(ours: dict[str, float | None], theirs: dict[str, float]) -> None:
    assert list(ours) == list(theirs)
    for name, value in theirs.items():
        found = ours[name]
        if value == -1:
            assert found is None, name
        else:
            assert found is not None, name
            assert math.isclose(found, 100 * value, abs_tol=1e-9), name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(6))
def test_figures_are_those_of_pycocotools(kind: Kind, seed: int) -> None:
    annotations, results = adversarial(seed, classes=1 if seed == 5 else 3)
    theirs = by_pycocotools(annotations, results, kind)
    assert 0 < theirs["AP"] < 1  # the data tells something
    assert_equal(coco_scores(annotations, results, kind), theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_a_detector_that_finds_nothing_has_an_ap_of_zero_and_absent_classes_have_none(kind: Kind) -> None:
    annotations, _ = adversarial(0)
    ours = coco_scores(annotations, [], kind)
    assert_equal(ours, by_pycocotools(annotations, [], kind))
    assert ours["AP"] == 0.0
    assert None in ours.values()


@pytest.mark.parametrize("kind", KINDS)
def test_a_set_without_objects_has_no_ap(kind: Kind) -> None:
    annotations, results = adversarial(0)
    annotations.coco["annotations"] = []
    ours = coco_scores(annotations, results, kind)
    assert_equal(ours, by_pycocotools(annotations, results, kind))
    assert set(ours.values()) == {None}


def test_keypoints_may_have_sigmas_of_their_own() -> None:
    annotations, results = adversarial(1, keypoints=len(SIGMAS))
    theirs = by_pycocotools(annotations, results, "keypoints", SIGMAS)
    assert_equal(coco_scores(annotations, results, "keypoints", SIGMAS), theirs)
    with pytest.raises(UserError, match=r"3 keypoints where there are 17 OKS sigmas; set TEST\.KEYPOINT_OKS_SIGMAS"):
        coco_scores(annotations, results, "keypoints")


def test_more_masks_than_pycocotools_measures_at_once() -> None:
    annotations, results = adversarial(2)
    many = [*results, *results, *results]
    assert len(many) > 255
    assert_equal(coco_scores(annotations, many, "mask"), by_pycocotools(annotations, many, "mask"))


def test_ids_of_objects_mean_nothing() -> None:
    """Where pycocotools takes the object of id 0 for none: numbered from 0, a perfect detector would miss one."""
    annotations, results = adversarial(3)
    theirs = by_pycocotools(annotations, results, "box")
    for number, entry in enumerate(annotations.coco["annotations"]):
        entry["id"] = number
    assert_equal(coco_scores(annotations, results, "box"), theirs)


def test_nothing_that_is_given_is_changed() -> None:
    annotations, results = adversarial(4)
    before = repr((annotations, results))
    for kind in KINDS:
        coco_scores(annotations, results, kind)
    assert repr((annotations, results)) == before


SHORT = [[1.0, 1.0, 9.0, 9.0], [4.0, 4.0], [2.0] * 7]
"""Polygons of fewer than three points, and one that lacks a y."""


def test_short_polygons_are_left_out_of_masks_wherever_they_stand() -> None:
    annotations, results = adversarial(0)
    sound = next(a for a in annotations.coco["annotations"] if isinstance(a["segmentation"], list))
    expected = coco_scores(annotations, results, "mask")
    whole = sound["segmentation"]
    for mask in ([*SHORT, *whole], [*whole, *SHORT]):
        sound["segmentation"] = mask
        assert coco_scores(annotations, results, "mask") == expected


def test_a_mask_of_short_polygons_alone_covers_nothing() -> None:
    for mask in (SHORT, SHORT[:1], SHORT[1:]):
        assert run_lengths.area(run_length_of(mask, SIDE, SIDE)) == 0
        assert run_lengths.decode(run_length_of(mask, SIDE, SIDE)).shape == (SIDE, SIDE)


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("score", math.nan, "1 of .* predictions have a score, box or keypoint that is not finite, first of image"),
        ("bbox", [0.0, 0.0, math.inf, 1.0], "1 of .* predictions have a score, box or keypoint that is not finite"),
        ("keypoints", [math.nan] * 51, "1 of .* predictions have a score, box or keypoint that is not finite"),
        ("image_id", 4, r"1 of .* predictions have a image_id that it does not have, first 4; score"),
        ("category_id", 1, r"1 of .* predictions have a category_id that it does not have, first 1; score"),
    ],
)
def test_a_result_that_cannot_be_scored_is_told(field: str, value: Any, told: str) -> None:
    annotations, results = adversarial(0)
    results[5] |= {field: value}
    with pytest.raises(SuperInfoError, match=told) as caught:
        coco_scores(annotations, results, "box")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("field", "kind"), [("area", "box"), ("segmentation", "mask"), ("keypoints", "keypoints")])
def test_an_object_that_lacks_what_is_compared_is_told(field: str, kind: Kind) -> None:
    annotations, results = adversarial(0)
    del annotations.coco["annotations"][2][field]
    with pytest.raises(UserError, match=r"1 objects do not have .*, first annotation 12; add"):
        coco_scores(annotations, results, kind)


@pytest.mark.parametrize(("field", "kind"), [("segmentation", "mask"), ("keypoints", "keypoints")])
def test_a_result_that_lacks_what_is_compared_is_told(field: str, kind: Kind) -> None:
    annotations, results = adversarial(0)
    del results[5][field]
    with pytest.raises(UserError, match=rf"1 of .* predictions do not have `{field}`"):
        coco_scores(annotations, results, kind)
