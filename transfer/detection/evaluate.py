"""What a detector finds on its test split and how good that is, and what a forward pass costs."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.evaluation import DatasetEvaluator, inference_on_dataset
from detectron2.evaluation.coco_evaluation import instances_to_coco_json
from detectron2.utils import comm
from detectron2.utils.analysis import FlopCountAnalysis
from torch import distributed as dist
from torch import nn

from superinfo.artifacts import Metric
from superinfo.device import enough_memory
from superinfo.progress import Advance, progress
from superinfo.workers import loaded
from transfer.detection.annotations import Annotations
from transfer.detection.loader import build_test_loader
from transfer.detection.options import refused
from transfer.detection.scores.coco import Kind
from transfer.detection.scores.metrics import score

Results = list[dict[str, Any]]


def rehearse(cfg: CfgNode, annotations: Annotations) -> None:
    """Score a detector that finds nothing, so that what `score` refuses is told before there is one."""
    score(annotations, [], _kinds(cfg), cfg.TEST.KEYPOINT_OKS_SIGMAS)


def detect_in_first_image(cfg: CfgNode, model: nn.Module) -> None:
    """Look for objects in one test image, so that what Detectron2 cannot test is told before training, as a UserError.

    The model is left in training mode.
    """
    title = Path(cfg.OUTPUT_DIR).name
    with refused(f"{title}: cannot be tested"), _memory_to_test(title), torch.no_grad():
        (output,) = model.eval()([_first_input(cfg)])
        instances_to_coco_json(output["instances"].to("cpu"), 0)
    model.train()


def evaluate(cfg: CfgNode, model: nn.Module, annotations: Annotations) -> tuple[dict[str, Metric], Results]:
    """Run a detector over its test split; return `box/AP`, `mask/AP50`, `mask/AP-<class>`, ... and what it found.

    All processes take part, each with a part of the images; the first scores what is found, in percent, the others
    return nothing. Image ids are those of `annotations`. Raises as `score` does.
    """
    _share_statistics(model)
    loader, title = build_test_loader(cfg), Path(cfg.OUTPUT_DIR).name
    with loaded(loader) as images, _memory_to_test(title), _shown(f"{title}: evaluation", len(loader)) as advance:
        found = inference_on_dataset(model.eval(), images, Gathering(annotations.category_ids, advance))
    if not comm.is_main_process():
        return {}, []
    return score(annotations, found, _kinds(cfg), cfg.TEST.KEYPOINT_OKS_SIGMAS), found


class Gathering(DatasetEvaluator):  # type: ignore[misc]  # Detectron2 has no types
    """Gathers what all processes find as COCO result dicts, with the set's own category ids."""

    def __init__(self, category_ids: tuple[int, ...], advance: Advance) -> None:
        self.category_ids, self.advance = category_ids, advance
        self.results: Results = []

    def reset(self) -> None:
        """Forget what was found."""
        self.results = []

    def process(self, inputs: Results, outputs: list[dict[str, Any]]) -> None:
        """Take up what was found in some images."""
        for image, output in zip(inputs, outputs, strict=True):
            for result in instances_to_coco_json(output["instances"].to("cpu"), image["image_id"]):
                self.results.append(result | {"category_id": self.category_ids[result["category_id"]]})
        self.advance(len(inputs), "")

    def evaluate(self) -> Results | None:
        """Return the results of all processes in the order of the images; None but in the first."""
        gathered = comm.gather(self.results, dst=0)
        return [result for results in gathered for result in results] if comm.is_main_process() else None


def count_detector_flops(cfg: CfgNode, model: nn.Module) -> tuple[float, str]:
    """Return the multiply-adds of a forward pass on the first test image, by fvcore, and that image's shape."""
    first = _first_input(cfg)
    counted = FlopCountAnalysis(model.eval(), [first])
    counted.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    with _memory_to_test(Path(cfg.OUTPUT_DIR).name):
        return float(counted.total()), "x".join(map(str, (1, *first["image"].shape)))


def _first_input(cfg: CfgNode) -> dict[str, Any]:
    (first,) = next(iter(build_test_loader(cfg, workers=0)))
    return first  # type: ignore[no-any-return]  # Detectron2 has no types


def _share_statistics(model: nn.Module) -> None:
    """Give all processes the first one's batch norm statistics, which are those that are stored."""
    if comm.get_world_size() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


def _kinds(cfg: CfgNode) -> tuple[Kind, ...]:
    kinds: list[Kind] = ["box"]
    if cfg.MODEL.MASK_ON:
        kinds.append("mask")
    if cfg.MODEL.KEYPOINT_ON:
        kinds.append("keypoints")
    return tuple(kinds)


def _memory_to_test(title: str) -> AbstractContextManager[None]:
    return enough_memory(f"{title}: a test image", "the same command goes on with --device cpu, or on a GPU with more")


@contextmanager
def _shown(title: str, images: int) -> Iterator[Advance]:
    """Show the progress of the first process, which has as many images as any other."""
    if comm.is_main_process():
        with progress(title, images, "images") as advance:
            yield advance
    else:
        yield lambda units, note: None
