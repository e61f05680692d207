"""VOC's figures are those of Detectron2's evaluator, which reads the XML files that the annotations are of."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.evaluation import PascalVOCDetectionEvaluator
from detectron2.evaluation.coco_evaluation import instances_to_coco_json
from detectron2.evaluation.pascal_voc_evaluation import parse_rec
from detectron2.structures import Boxes, Instances

from transfer.detection.annotations import Annotations
from transfer.detection.scores.voc import voc_scores

Results = list[dict[str, Any]]
CLASSES = ("cat", "dog", "bird")
SIDE = 64
Metric = Literal["voc2007", "voc2012"]


def random_set(root: Path, seed: int, metric: Metric, annotated: int = 3) -> tuple[Annotations, Results, Any]:
    """Write a VOC folder; return its annotations, a detector's results, and Detectron2's evaluator fed with them."""
    rng = np.random.default_rng(seed)
    (root / "Annotations").mkdir(parents=True)
    (root / "ImageSets" / "Main").mkdir(parents=True)
    names = [f"{i:06d}" for i in range(8)]
    (root / "ImageSets" / "Main" / "test.txt").write_text("\n".join(names))
    title = f"voc {root}"
    MetadataCatalog.get(title).set(
        dirname=str(root), split="test", year=int(metric.removeprefix("voc")), thing_classes=list(CLASSES)
    )
    parse_rec.cache_clear()
    evaluator = PascalVOCDetectionEvaluator(title)
    evaluator.reset()
    objects: Results = []
    results: Results = []
    for image_id, name in enumerate(names, 1):
        xml, boxes, classes = [], [], []
        for _ in range(int(rng.integers(0, 7)) * (image_id > 1)):
            x, y = (int(v) for v in rng.integers(1, 40, 2))
            w, h = (int(v) for v in rng.integers(1, 24, 2))
            category, difficult = int(rng.integers(annotated)), int(rng.random() < 0.25)
            corners = f"<xmin>{x}</xmin><ymin>{y}</ymin><xmax>{x + w}</xmax><ymax>{y + h}</ymax>"
            xml.append(
                f"<object><name>{CLASSES[category]}</name><pose>Left</pose><truncated>0</truncated>"
                f"<difficult>{difficult}</difficult><bndbox>{corners}</bndbox></object>"
            )
            objects.append(
                {
                    "id": len(objects) + 1,
                    "image_id": image_id,
                    "category_id": category + 1,
                    "bbox": [x - 1, y - 1, w + 1, h + 1],
                    "difficult": difficult,
                }
            )
            for _ in range(int(rng.integers(0, 4))):
                noise = rng.choice([0.0, 0.25, 0.5, 0.85, 2.0, 5.1], 4) * rng.choice([-1, 1], 4)
                boxes.append(np.array([x - 1, y - 1, x + w, y + h]) + noise)
                classes.append(category)
        for _ in range(4):
            corner = rng.random(2) * 30
            boxes.append(np.concatenate([corner, corner + 1 + rng.random(2) * 30]))
            classes.append(int(rng.integers(len(CLASSES))))
        (root / "Annotations" / f"{name}.xml").write_text(f"<annotation>{''.join(xml)}</annotation>")
        scores = rng.choice([0.1, 0.5, 0.5004, 0.7, 0.9999, 0.33333], len(boxes))
        found = Instances((SIDE, SIDE))
        found.pred_boxes = Boxes(torch.tensor(np.array(boxes), dtype=torch.float32))
        found.scores = torch.tensor(scores, dtype=torch.float32)
        found.pred_classes = torch.tensor(classes)
        evaluator.process([{"image_id": name}], [{"instances": found}])
        entries = instances_to_coco_json(found, image_id)
        results += [entry | {"category_id": entry["category_id"] + 1} for entry in entries]
    coco = {
        "images": [{"id": i, "file_name": f"{n}.jpg", "width": SIDE, "height": SIDE} for i, n in enumerate(names, 1)],
        "annotations": objects,
        "categories": [{"id": i, "name": name} for i, name in enumerate(CLASSES, 1)],
    }
    return Annotations("test", root, root, coco, metric), results, evaluator


@pytest.mark.parametrize("metric", ["voc2007", "voc2012"])
@pytest.mark.parametrize("seed", range(5))
def test_figures_are_those_of_detectron2(tmp_path: Path, seed: int, metric: Metric) -> None:
    annotations, results, evaluator = random_set(tmp_path, seed, metric)
    theirs = evaluator.evaluate()["bbox"]
    ours = voc_scores(annotations, results)
    assert 0 < theirs["AP"] < theirs["AP50"] < 100
    assert {name: ours[name] for name in theirs} == pytest.approx(theirs, abs=1e-9)
    by_class = [ours[f"AP50-{name}"] for name in CLASSES]
    assert np.mean([value for value in by_class if value is not None]) == pytest.approx(theirs["AP50"], abs=1e-9)


@pytest.mark.parametrize("metric", ["voc2007", "voc2012"])
def test_a_class_without_objects_is_undefined_and_left_out_of_the_means(tmp_path: Path, metric: Metric) -> None:
    """Detectron2 counts it as 0 in VOC 2007; in VOC 2012 all its figures become NaN."""
    annotations, results, evaluator = random_set(tmp_path, 7, metric, annotated=2)
    with np.errstate(invalid="ignore"):
        theirs = evaluator.evaluate()["bbox"]
    ours = voc_scores(annotations, results)
    assert ours["AP50-bird"] is None
    assert ours["AP"] is not None
    if metric == "voc2007":
        assert ours["AP"] * 2 / 3 == pytest.approx(theirs["AP"], abs=1e-9)
    else:
        assert np.isnan(theirs["AP"])


def test_a_detector_that_finds_nothing_has_an_ap_of_zero(tmp_path: Path) -> None:
    annotations, _, _ = random_set(tmp_path, 0, "voc2012")
    ours = voc_scores(annotations, [])
    assert set(ours.values()) == {0.0}


def test_a_set_of_difficult_objects_alone_has_no_ap(tmp_path: Path) -> None:
    annotations, results, _ = random_set(tmp_path, 0, "voc2007")
    for entry in annotations.coco["annotations"]:
        entry["difficult"] = 1
    assert set(voc_scores(annotations, results).values()) == {None}


def test_the_digits_are_those_that_detectron2_writes() -> None:
    from transfer.detection.scores.voc import _printed

    rng = np.random.default_rng(0)
    corners = (rng.integers(0, 20000, (4000, 2)) / 20).astype(np.float32)
    far = corners + (rng.integers(1, 2000, (4000, 2)) / 20).astype(np.float32)
    found = Instances((SIDE, SIDE))
    found.pred_boxes = Boxes(torch.tensor(np.concatenate([corners, far], 1)))
    found.scores = torch.tensor(rng.integers(0, 2001, 4000) / 2000, dtype=torch.float32)
    found.pred_classes = torch.zeros(4000, dtype=torch.int64)
    MetadataCatalog.get("voc digits").set(dirname="", split="", year=2007, thing_classes=["cat"])
    evaluator = PascalVOCDetectionEvaluator("voc digits")
    evaluator.reset()
    evaluator.process([{"image_id": "x"}], [{"instances": found}])
    entries = instances_to_coco_json(found, 1)
    written = np.array([[float(v) for v in line.split()[1:]] for line in evaluator._predictions[0]])
    box, score = (np.array([entry[key] for entry in entries], np.float64) for key in ("bbox", "score"))
    boxes, scores = _printed(SimpleNamespace(box=box, score=score))  # type: ignore[arg-type]  # all that it reads
    assert np.array_equal(scores, written[:, 0])
    assert np.array_equal(boxes, written[:, 1:])
