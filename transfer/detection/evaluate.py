"""COCO box and mask AP of a detector on its test split."""

import math

from detectron2.config import CfgNode
from detectron2.data import build_detection_test_loader
from detectron2.evaluation import COCOEvaluator, inference_on_dataset
from torch import nn

from superinfo.artifacts import Metric

TASKS = {"bbox": "box", "segm": "mask"}


def evaluate(cfg: CfgNode, model: nn.Module) -> dict[str, Metric]:
    """Return `box/AP`, `mask/AP50`, ..., `mask/AP-<class>`, in percent, as pycocotools computes them."""
    (name,) = cfg.DATASETS.TEST
    evaluator = COCOEvaluator(name, output_dir=cfg.OUTPUT_DIR, use_fast_impl=False)
    results = inference_on_dataset(model.eval(), build_detection_test_loader(cfg, name), evaluator)
    return {
        f"{TASKS[task]}/{metric}": Metric(value=_defined(value), unit="percent", higher_is_better=True)
        for task, metrics in results.items()
        for metric, value in metrics.items()
    }


def _defined(value: float) -> float | None:
    # pycocotools answers -1, in percent -100, and Detectron2 NaN, where there is nothing to average over.
    return None if math.isnan(value) or value < 0 else float(value)
