"""COCO box and mask AP of a detector on its test split, and what a forward pass costs."""

import json
import math
from pathlib import Path
from tempfile import TemporaryDirectory

from detectron2.config import CfgNode
from detectron2.data import build_detection_test_loader
from detectron2.evaluation import COCOEvaluator, inference_on_dataset
from detectron2.utils.analysis import FlopCountAnalysis
from torch import nn

from superinfo.artifacts import Metric
from superinfo.files import write_bytes
from transfer.detection.mapper import Mapper

TASKS = {"bbox": "box", "segm": "mask"}
PREDICTIONS = "coco_instances_results.json"
OVERALL = ("AP", "AP50", "AP75")
"""0 for a detector that finds nothing, for which Detectron2 says NaN."""


def evaluate(cfg: CfgNode, model: nn.Module) -> dict[str, Metric]:
    """Return `box/AP`, `mask/AP50`, ..., `mask/AP-<class>`, in percent, as pycocotools computes them."""
    (name,) = cfg.DATASETS.TEST
    with TemporaryDirectory() as folder:
        evaluator = COCOEvaluator(name, tasks=tuple(TASKS), output_dir=folder, use_fast_impl=False)
        loader = build_detection_test_loader(cfg, name, mapper=Mapper(cfg, is_train=False))
        results = inference_on_dataset(model.eval(), loader, evaluator)
        predictions = (Path(folder) / PREDICTIONS).read_bytes()
    write_bytes(Path(cfg.OUTPUT_DIR) / PREDICTIONS, predictions)
    found_any = bool(json.loads(predictions))
    return {
        f"{TASKS[task]}/{metric}": Metric(
            value=_defined(value) if found_any or metric not in OVERALL else 0.0, unit="percent", higher_is_better=True
        )
        for task, metrics in results.items()
        for metric, value in metrics.items()
    }


def count_detector_flops(cfg: CfgNode, model: nn.Module) -> tuple[float, str]:
    """Return the multiply-adds of a forward pass on the first test image, by fvcore, and that image's shape."""
    loader = build_detection_test_loader(cfg, cfg.DATASETS.TEST[0], mapper=Mapper(cfg, is_train=False))
    (first,) = next(iter(loader))
    counted = FlopCountAnalysis(model.eval(), [first])
    counted.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    return float(counted.total()), "x".join(map(str, (1, *first["image"].shape)))


def _defined(value: float) -> float | None:
    # pycocotools answers -1, in percent -100, and Detectron2 NaN, where there is nothing to average over.
    return None if math.isnan(value) or value < 0 else float(value)
