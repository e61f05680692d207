"""Proof that Detectron2 loads every backbone tensor and computes the source encoder's features.

Detectors are built without memory, and only the backbone is given some: of a Mask R-CNN nothing else is looked at.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from torch import Tensor, nn

from superinfo.architectures import ARCHITECTURES
from superinfo.artifacts import EncoderSpec
from transfer.convert.evidence import Evidence, fixed_images
from transfer.convert.unfilled import unfilled
from transfer.detection.config import read_config
from transfer.overlay import detectron2_builds

NETWORKS = {"FPN": "mask_rcnn_fpn", "C4": "mask_rcnn_c4"}


def prove_detectron2(
    weights: Path, overlay: dict[str, Any], encoder: EncoderSpec, tensors: Mapping[str, Tensor], evidence: Evidence
) -> None:
    """Let Detectron2 build Mask R-CNNs with the overlay and load the weights; add what it finds to the evidence.

    `tensors` are those that were converted, by Detectron2's names. C4 is proven where Detectron2 builds it: its heads
    know bottlenecks alone, and its backbones no other stem.
    """
    for network in NETWORKS if builds_c4(encoder) else ("FPN",):
        _prove_network(network, weights, overlay, tensors, evidence)


def _prove_network(
    network: str, weights: Path, overlay: dict[str, Any], tensors: Mapping[str, Tensor], evidence: Evidence
) -> None:
    loaded, features = load(network, weights, overlay)
    evidence.add(f"Detectron2 {network}", loaded, tensors)
    evidence.compare(features)


def builds_c4(encoder: EncoderSpec) -> bool:
    """Say whether Detectron2's own C4 detector takes the encoder."""
    return detectron2_builds(encoder) and ARCHITECTURES[encoder.arch].bottleneck


def load(network: str, weights: Path, overlay: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the backbone's tensors by name, as Detectron2 loaded them, and the features of its stages."""
    cfg = read_config(NETWORKS[network])
    cfg.merge_from_other_cfg(CfgNode(overlay))
    cfg.MODEL.DEVICE = "meta"
    with unfilled():
        model = build_model(cfg).eval()
    backbone = bottom_up(model)
    last: nn.Module | None = model.roi_heads.res5 if network == "C4" else None
    for module in (backbone, last):
        if module is not None:
            module.to_empty(device="cpu")
    with _without_warnings():
        load_backbone(model, weights)
    tensors = backbone_tensors(model)
    if last is not None:
        tensors |= {f"res5.{key}": tensor for key, tensor in _values(last).items()}
    # Bytes of fixed images pass the detector's own normalisation, so that mean, std and channel order are proven too.
    images = fixed_images() if cfg.INPUT.FORMAT == "RGB" else fixed_images().flip(1)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD))
    with torch.no_grad():
        features = backbone((images - mean) / std)
        if last is not None:
            features["res5"] = last(features["res4"])
    return tensors, features


def load_backbone(model: nn.Module, weights: Path) -> tuple[int, int]:
    """Let Detectron2 load `weights` into a model; return how many backbone tensors there are, and how many it filled.

    Every tensor of the backbone, and of a C4 head's last stage, is NaN before: one left alone cannot look loaded.
    """
    with torch.no_grad():
        for tensor in encoder_tensors(model).values():
            tensor.fill_(torch.nan)
    DetectionCheckpointer(model).load(str(weights))
    loaded = [bool(tensor.isfinite().all()) for tensor in encoder_tensors(model).values()]
    return len(loaded), sum(loaded)


def encoder_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return the floating-point tensors of an encoder in a detector: of its ResNet, and of a C4 head's stage."""
    last = _last_stage(model)
    return backbone_tensors(model) | ({} if last is None else {f"res5.{k}": v for k, v in _values(last).items()})


def bottom_up(model: nn.Module) -> nn.Module:
    """Return a detector's ResNet."""
    backbone = model.get_submodule("backbone")
    found: nn.Module = getattr(backbone, "bottom_up", backbone)
    return found


def backbone_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return the floating-point tensors of a detector's ResNet, by name."""
    return _values(bottom_up(model))


def _last_stage(model: nn.Module) -> nn.Module | None:
    """Return the fifth stage where it is a part of the heads, as in C4, without the norm that a head may add."""
    found = getattr(getattr(model, "roi_heads", None), "res5", None)
    return found[:-1] if isinstance(found, nn.Sequential) and hasattr(found, "norm") else found


def _values(module: nn.Module) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in module.state_dict().items() if tensor.is_floating_point()}


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
