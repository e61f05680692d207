"""Proof that Detectron2 loads every backbone tensor and computes the source encoder's features."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from torch import Tensor, nn

from superinfo.artifacts import CheckpointInfo
from superinfo.encoders import STAGES, ResNet
from transfer.detection.config import read_config

INPUT_SIZE = 64


@dataclass(frozen=True)
class Proof:
    """What was found."""

    tensors: int
    """Of the target's backbone, counters apart."""
    matched: int
    """Of those, how many Detectron2 filled with the source's values."""
    difference: dict[str, float]
    """Per stage, max |converted - source| / max |source|."""

    def describe(self) -> str:
        """Return the evidence in one line."""
        share = 100 * self.matched / self.tensors
        worst = max(self.difference, key=self.difference.__getitem__)
        return (
            f"{self.matched} of {self.tensors} backbone tensors matched ({share:.4g} %), "
            f"features differ by at most {self.difference[worst]:.1e} (in {worst})"
        )


def prove(weights: Path, overlay: dict[str, Any], encoder: ResNet, info: CheckpointInfo) -> Proof:
    """Build a Mask R-CNN with the overlay, let Detectron2 load the weights, and compare with the source encoder."""
    cfg = read_config("mask_rcnn_fpn")
    cfg.merge_from_other_cfg(CfgNode(overlay))
    cfg.MODEL.DEVICE = "cpu"
    model = build_model(cfg).eval()
    with _without_warnings():
        tensors, matched = load_backbone(model, weights)
    # Bytes of a fixed image pass each side's own normalisation, so that mean, std and channel order are proven too.
    pixels = torch.randint(256, (2, 3, INPUT_SIZE, INPUT_SIZE), generator=torch.Generator().manual_seed(0)).float()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (info.mean, info.std))
    order = slice(None) if cfg.INPUT.FORMAT == "RGB" else [2, 1, 0]
    with torch.no_grad():
        ours = encoder.eval().stages((pixels / 255 - mean) / std)
        theirs = model.backbone.bottom_up((pixels[:, order] - model.pixel_mean) / model.pixel_std)
    return Proof(tensors, matched, {stage: _difference(theirs[stage], ours[stage]) for stage in STAGES})


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Keep Detectron2 from listing pyramid and heads as missing: no backbone has them."""
    logger = logging.getLogger("fvcore.common.checkpoint")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def load_backbone(model: nn.Module, weights: Path) -> tuple[int, int]:
    """Let Detectron2 load `weights` into a model; return how many backbone tensors there are, and how many it filled.

    Every tensor of the bottom-up backbone is set to NaN before, so that one left alone cannot look loaded.
    """
    state = backbone_tensors(model)
    with torch.no_grad():
        for tensor in state.values():
            tensor.fill_(torch.nan)
    DetectionCheckpointer(model).load(str(weights))
    return len(state), sum(bool(tensor.isfinite().all()) for tensor in backbone_tensors(model).values())


def backbone_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return the floating-point tensors of a detector's bottom-up backbone, by name."""
    backbone = model.get_submodule("backbone")
    bottom_up: nn.Module = getattr(backbone, "bottom_up", backbone)
    return {key: tensor for key, tensor in bottom_up.state_dict().items() if tensor.is_floating_point()}


def _difference(converted: Tensor, source: Tensor) -> float:
    if not converted.isfinite().all() or converted.shape != source.shape:
        return float("inf")
    largest = source.abs().max().clamp(min=torch.finfo(source.dtype).tiny)
    return float((converted - source).abs().max() / largest)
