"""Figures go by the metric of the set, and have names that say of what they are."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from detectron2.config import get_cfg
from detectron2.structures import Boxes, Instances
from torch.multiprocessing.spawn import start_processes

from superinfo.errors import UserError
from transfer.detection.annotations import Annotations, Metric
from transfer.detection.evaluate import Gathering, _kinds
from transfer.detection.scores.coco import Kind
from transfer.detection.scores.metrics import score

Results = list[dict[str, Any]]
SQUARE = [[8.0, 8.0, 40.0, 8.0, 40.0, 40.0, 8.0, 40.0]]


def one_object(metric: Metric) -> tuple[Annotations, Results]:
    box = [8.0, 8.0, 32.0, 32.0]
    image = {"id": 1, "file_name": "1.png", "width": 64, "height": 64}
    image |= {"neg_category_ids": [], "not_exhaustive_category_ids": []}
    thing = {"id": 1, "image_id": 1, "category_id": 3, "bbox": box, "area": 1024.0, "segmentation": SQUARE}
    categories = [{"id": 3, "name": "Barrel/bucket", "frequency": "r"}, {"id": 4, "name": "cat", "frequency": "f"}]
    coco = {"images": [image], "annotations": [thing], "categories": categories}
    results = [{"image_id": 1, "category_id": 3, "bbox": box, "score": 0.5}]
    return Annotations("val", Path("val.json"), Path("val"), coco, metric), results


@pytest.mark.parametrize(
    ("metric", "kinds", "names"),
    [
        ("coco", ("box",), ["box/AP", "box/ARl", "box/AP-Barrel/bucket", "box/AP-cat"]),
        ("lvis", ("box",), ["box/AP", "box/APr", "box/AR300", "box/AP-cat"]),
        ("voc2007", ("box", "mask"), ["box/AP", "box/AP75", "box/AP50-cat"]),
        ("voc2012", ("box", "mask"), ["box/AP", "box/AP75", "box/AP50-cat"]),
    ],
)
def test_a_perfect_detector_has_100_percent_by_each_metric(
    metric: Metric, kinds: tuple[Kind, ...], names: list[str]
) -> None:
    annotations, results = one_object(metric)
    figures = score(annotations, results, kinds)
    assert set(names) <= set(figures)
    assert {name.partition("/")[0] for name in figures} == {"box"}
    assert {figure.value for figure in figures.values()} == {100.0, None}
    assert {(figure.unit, figure.higher_is_better) for figure in figures.values()} == {("percent", True)}


def test_a_detector_that_gives_nothing_of_what_the_set_measures_is_told() -> None:
    annotations, results = one_object("cityscapes")
    with pytest.raises(UserError, match=r"val\.json: cityscapes measures mask, and the detector gives box; choose"):
        score(annotations, results, ["box"])


@pytest.mark.parametrize(
    ("metric", "kind", "changes", "told"),
    [
        ("coco", "box", {"iscrowd": 1}, "box/AP by coco; annotate one that is no crowd"),
        ("coco", "keypoints", {"keypoints": [9, 9, 0] * 17}, "keypoints/AP by coco; .* has a visible one"),
        ("coco", "keypoints", {"num_keypoints": 0}, "keypoints/AP by coco"),
        ("voc2007", "box", {"difficult": 1}, "box/AP by voc2007; annotate one that is not difficult"),
        ("voc2012", "box", {"difficult": 1}, "box/AP by voc2012"),
    ],
)
def test_figures_of_a_set_of_which_no_object_counts_are_refused(
    metric: Metric, kind: Kind, changes: dict[str, Any], told: str
) -> None:
    annotations, _ = one_object(metric)
    annotations.coco["annotations"][0]["keypoints"] = [9, 9, 2] * 17
    assert score(annotations, [], [kind])[f"{kind}/AP"].value == 0.0
    annotations.coco["annotations"][0] |= changes
    with pytest.raises(UserError, match=rf"val\.json: no object counts for {told}"):
        score(annotations, [], [kind])


def test_a_class_of_unknown_metric_is_not_scored_as_another() -> None:
    annotations, results = one_object("coco")
    with pytest.raises(KeyError):
        score(replace(annotations, metric="none"), results, ["box"])  # type: ignore[arg-type]


def test_what_a_detector_gives_is_what_its_config_says() -> None:
    cfg = get_cfg()
    assert _kinds(cfg) == ("box",)
    cfg.MODEL.MASK_ON = True
    assert _kinds(cfg) == ("box", "mask")
    cfg.MODEL.KEYPOINT_ON = True
    assert _kinds(cfg) == ("box", "mask", "keypoints")


def found(boxes: list[list[float]], classes: list[int]) -> dict[str, Instances]:
    instances = Instances((64, 64))
    instances.pred_boxes = Boxes(torch.tensor(boxes))
    instances.scores = torch.linspace(0.9, 0.5, len(boxes))
    instances.pred_classes = torch.tensor(classes)
    instances.pred_keypoints = torch.tensor([[[10.5, 20.5, 0.7]]] * len(boxes))
    return {"instances": instances}


def test_what_is_found_bears_the_ids_of_the_set_and_its_pixels() -> None:
    shown: list[int] = []
    gathering = Gathering((7, 9), lambda units, note: shown.append(units))
    gathering.process([{"image_id": 30}], [found([[1.0, 2.0, 4.0, 8.0], [0.0, 0.0, 5.0, 5.0]], [1, 0])])
    results = gathering.evaluate()
    assert results is not None
    assert [(r["image_id"], r["category_id"], r["bbox"]) for r in results] == [
        (30, 9, [1.0, 2.0, 3.0, 6.0]),
        (30, 7, [0.0, 0.0, 5.0, 5.0]),
    ]
    assert results[0]["keypoints"] == pytest.approx([10.0, 20.0, 0.7])
    assert shown == [1]
    gathering.reset()
    assert gathering.evaluate() == []


def gather_in(rank: int, folder: str) -> None:
    torch.distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=2)
    gathering = Gathering((7, 9), lambda units, note: None)
    for image_id in ((1, 2), (3,))[rank]:
        gathering.process([{"image_id": image_id}], [found([[0.0, 0.0, 5.0, 5.0]], [rank])])
    results = gathering.evaluate()
    if rank:
        assert results is None
    else:
        assert results is not None
        assert [(r["image_id"], r["category_id"]) for r in results] == [(1, 7), (2, 7), (3, 9)]


def test_results_of_all_processes_come_together_in_the_first(tmp_path: Path) -> None:
    start_processes(gather_in, (str(tmp_path),), nprocs=2, start_method="fork")  # type: ignore[no-untyped-call]
