"""LVIS's figures are those of its definition, written as loops: Gupta et al., section 3, and LVIS v1's evaluation."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from pycocotools import mask as run_lengths

from superinfo.errors import UserError
from transfer.detection.annotations import Annotations
from transfer.detection.scores.lvis import lvis_scores

Results = list[dict[str, Any]]
Kind = Literal["box", "mask"]
SIDE = 128
THRESHOLDS = [0.5 + 0.05 * i for i in range(10)]
AREAS = {"": (0, 1e10), "s": (0, 32**2), "m": (32**2, 96**2), "l": (96**2, 1e10)}


def mask_of(box: list[float]) -> dict[str, Any]:
    x, y, w, h = box
    (mask,) = run_lengths.frPyObjects([[x, y, x + w, y, x + w, y + h, x + w / 3, y + h, x, y + h]], SIDE, SIDE)
    return {"size": [SIDE, SIDE], "counts": mask["counts"].decode()}


def random_set(seed: int, crowded: bool = False) -> tuple[Annotations, Results]:
    rng = np.random.default_rng(seed)
    classes = list(range(1, 15, 2))
    images: Results = []
    objects: Results = []
    results: Results = []
    for image_id in range(5, 17):
        held = rng.choice(classes[:-1], 2, replace=False).tolist()
        absent = rng.choice([c for c in classes if c not in held], 2, replace=False).tolist()
        images.append(
            {
                "id": image_id,
                "file_name": f"{image_id}.png",
                "width": SIDE,
                "height": SIDE,
                "neg_category_ids": absent,
                "not_exhaustive_category_ids": [c for c in held if rng.random() < 0.4],
            }
        )
        for category in held:
            for _ in range(int(rng.integers(1, 4))):
                box = [float(v) for v in (*rng.integers(0, 20, 2), *rng.choice([8, 16, 32, 48, 96, 100], 2))]
                objects.append(
                    {
                        "id": len(objects) + 1,
                        "image_id": image_id,
                        "category_id": category,
                        "bbox": box,
                        "area": box[2] * box[3],
                        "segmentation": mask_of(box),
                    }
                )
                for _ in range(int(rng.integers(0, 4))):
                    near = np.maximum(np.array(box) + rng.choice([-6, -2, 0, 0, 0, 2], 4), [0, 0, 1, 1]).tolist()
                    results.append({"image_id": image_id, "category_id": category, "bbox": near})
        for _ in range(330 if crowded and image_id < 7 else 8):
            box = [float(v) for v in (*rng.integers(0, 60, 2), *rng.integers(4, 60, 2))]
            results.append({"image_id": image_id, "category_id": int(rng.choice(classes)), "bbox": box})
    scores = rng.choice([0.2, 0.4, 0.4, 0.6, 0.8, 0.95], len(results))
    results = [
        r | {"score": float(s), "segmentation": mask_of(r["bbox"])} for r, s in zip(results, scores, strict=True)
    ]
    order = rng.permutation(len(results))
    categories = [{"id": c, "name": f"class {c}", "frequency": "rcf"[c % 3]} for c in classes]
    coco = {"images": images, "annotations": objects, "categories": categories}
    return Annotations("val", Path("lvis_v1_val.json"), Path("val2017"), coco, "lvis"), [results[i] for i in order]


def by_definition(annotations: Annotations, results: Results, kind: Kind) -> dict[str, float | None]:
    coco = annotations.coco
    counted: Results = []
    for image in coco["images"]:
        mine = [r for r in results if r["image_id"] == image["id"]]
        positive = {a["category_id"] for a in coco["annotations"] if a["image_id"] == image["id"]}
        for r in sorted(mine, key=lambda r: -r["score"])[:300]:
            if r["category_id"] in positive or r["category_id"] in image["neg_category_ids"]:
                counted.append(r)
    curves = {
        (c["id"], area, t): curve_by_definition(coco, counted, c["id"], AREAS[area], t, kind)
        for c in coco["categories"]
        for area in AREAS
        for t in THRESHOLDS
    }

    def average(which: int, keep: Any) -> float | None:
        values = [pair[which] for key, pair in curves.items() if pair is not None and keep(*key)]
        return 100 * float(np.mean(values)) if values else None

    frequency = {c["id"]: c["frequency"] for c in coco["categories"]}
    figures = {
        "AP": average(0, lambda c, area, t: area == ""),
        "AP50": average(0, lambda c, area, t: area == "" and t == THRESHOLDS[0]),
        "AP75": average(0, lambda c, area, t: area == "" and t == THRESHOLDS[5]),
        **{f"AP{a}": average(0, lambda c, area, t, a=a: area == a) for a in "sml"},
        **{f"AP{f}": average(0, lambda c, area, t, f=f: area == "" and frequency[c] == f) for f in "rcf"},
        "AR300": average(1, lambda c, area, t: area == ""),
        **{f"AR{a}": average(1, lambda c, area, t, a=a: area == a) for a in "sml"},
    }
    for key in frequency:
        figures[f"AP-class {key}"] = average(0, lambda c, area, t, key=key: area == "" and c == key)
    return figures


def curve_by_definition(
    coco: dict[str, Any], counted: Results, category: int, area: tuple[float, float], threshold: float, kind: Kind
) -> tuple[float, float] | None:
    """Return (mean precision at 101 recalls, recall) of one class, range of areas and threshold."""
    outcomes: list[tuple[float, bool]] = []  # score, is right; without what does not count
    total = 0
    for image in coco["images"]:
        truth = [a for a in coco["annotations"] if (a["image_id"], a["category_id"]) == (image["id"], category)]
        inside = [area[0] <= a["area"] <= area[1] for a in truth]
        total += sum(inside)
        taken: set[int] = set()
        mine = [r for r in counted if (r["image_id"], r["category_id"]) == (image["id"], category)]
        for r in sorted(mine, key=lambda r: -r["score"]):
            best, match = threshold, None
            for wanted in (True, False):  # objects inside of the range come first
                if match is not None:
                    break
                for g, a in enumerate(truth):
                    if inside[g] == wanted and g not in taken and (value := overlap(r, a, kind)) >= best:
                        best, match = value, g
            if match is not None:
                taken.add(match)
                if inside[match]:
                    outcomes.append((r["score"], True))
            else:
                size = r["bbox"][2] * r["bbox"][3] if kind == "box" else run_lengths.area(r["segmentation"])
                if area[0] <= size <= area[1] and category not in image["not_exhaustive_category_ids"]:
                    outcomes.append((r["score"], False))
    if not total:
        return None
    right, points = 0, []
    for seen, (_, is_right) in enumerate(sorted(outcomes, key=lambda pair: -pair[0]), 1):
        right += is_right
        points.append((right / total, right / seen))
    tops = [max((p for recall, p in points if recall >= level), default=0) for level in np.linspace(0, 1, 101)]
    return float(np.mean(tops)), right / total


def overlap(r: dict[str, Any], a: dict[str, Any], kind: Kind) -> float:
    field = "bbox" if kind == "box" else "segmentation"
    return float(run_lengths.iou([r[field]], [a[field]], [0])[0, 0])


@pytest.mark.parametrize("kind", ["box", "mask"])
@pytest.mark.parametrize("seed", range(3))
def test_figures_are_those_of_the_definition(kind: Kind, seed: int) -> None:
    annotations, results = random_set(seed)
    theirs = by_definition(annotations, results, kind)
    assert theirs["AP"] is not None
    assert 0 < theirs["AP"] < 100
    ours = lvis_scores(annotations, results, kind)
    assert list(ours) == list(theirs)
    assert ours == pytest.approx(theirs, abs=1e-9)


def test_300_detections_of_an_image_count_of_all_classes_together() -> None:
    annotations, results = random_set(5, crowded=True)
    theirs = by_definition(annotations, results, "box")
    assert lvis_scores(annotations, results, "box") == pytest.approx(theirs, abs=1e-9)
    fewer = [r for r in results if r["image_id"] > 6]
    assert theirs != pytest.approx(by_definition(annotations, fewer, "box"), abs=1e-3)


def test_nothing_found_is_zero_and_a_class_without_objects_is_undefined() -> None:
    annotations, _ = random_set(0)
    ours = lvis_scores(annotations, [], "mask")
    assert ours["AP"] == 0.0
    assert ours["AP-class 13"] is None
    assert ours == pytest.approx(by_definition(annotations, [], "mask"), abs=1e-9)


def test_a_category_without_frequency_is_told() -> None:
    annotations, results = random_set(0)
    del annotations.coco["categories"][3]["frequency"]
    with pytest.raises(UserError, match=r"1 categories without a `frequency` of r, c or f, first class 7"):
        lvis_scores(annotations, results, "box")
