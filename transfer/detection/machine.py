"""A protocol written for eight GPUs on the machine at hand, and what that changes."""

import os
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer
from detectron2.utils import comm

from superinfo.errors import UserError
from superinfo.processes import Agreement
from superinfo.workers import workers_for

GIB_OF_PIXELS = 2.8
GIB_OF_ROIS_FPN, GIB_OF_ROIS_C4 = 1.2, 3.2
"""Of training memory for an image of 800 x 1333 and its 512 regions, with batch norms trained in fp32. The tensors kept
for the backward pass, as torch's saved_tensors_hooks count them on a CPU, are 2.3 to 2.4 GiB in a Mask R-CNN R50-FPN,
3.1 to 3.2 in an R101-FPN and 3.9 to 4.3 in an R50-C4, 2.7 of these its regions'; the rest is for gradients, workspace
and gaps. An estimate, tried on no GPU: `images_per_device` overrides it."""
REFERENCE_PIXELS, REFERENCE_ROIS = 800 * 1333, 512
NORMS = ("RESNETS.NORM", "FPN.NORM", "ROI_BOX_HEAD.NORM", "ROI_MASK_HEAD.NORM")
SCALED = ("IMS_PER_BATCH", "BASE_LR", "MAX_ITER", "STEPS", "WARMUP_ITERS")


Schedule = dict[str, Any]
"""Batch, learning rate and iterations, by their names in SOLVER."""


def fit_to_machine(
    cfg: CfgNode, device: torch.device, processes: int, images_per_device: int | None, begun: Schedule | None = None
) -> tuple[CfgNode, list[str]]:
    """Return the config that runs here and what it changes of the protocol, one sentence each.

    The processes share out the protocol's batch. Where it has a `SOLVER.REFERENCE_WORLD_SIZE` and their memory holds
    less by estimate, or `images_per_device` allows less, batch, learning rate and schedule are scaled together by
    Detectron2's own rule (Goyal et al. 2017, arXiv 1706.02677), all processes alike. A run that was `begun` goes on by
    its schedule, which it has told of. Synchronised batch norm becomes plain batch norm where it would run as that
    without a word, or not at all. Raises UserError if the batch cannot be shared out among the processes, and for mixed
    precision without a GPU.
    """
    fitted: CfgNode = cfg.clone()
    fitted.defrost()
    changes = _unsynchronise(fitted, device, processes)
    if begun is None:
        changes += _scale(fitted, device, processes, images_per_device)
    else:
        for name, value in begun.items():
            fitted.SOLVER[name] = value
        fitted.SOLVER.REFERENCE_WORLD_SIZE = 0
    # Images are augmented alike by any number of workers.
    fitted.DATALOADER.NUM_WORKERS = workers_for(fitted.DATALOADER.NUM_WORKERS, Agreement())
    if (batch := fitted.SOLVER.IMS_PER_BATCH) % processes:
        divisors = [number for number in range(1, batch + 1) if batch % number == 0]
        fewer = ", ".join(map(str, divisors))
        raise UserError(f"SOLVER.IMS_PER_BATCH {batch} is not divisible by {processes} processes; use {fewer} of them")
    if fitted.SOLVER.AMP.ENABLED and device.type == "cpu":
        raise UserError("options: SOLVER.AMP.ENABLED is true, which needs a GPU; leave it out on a CPU")
    fitted.freeze()
    return fitted, changes


def schedule(cfg: CfgNode) -> Schedule:
    """Return what a run keeps when it is resumed."""
    return {name: cfg.SOLVER[name] for name in SCALED}


def differences(begun: Schedule, cfg: CfgNode) -> str:
    """Return, for a message, how a config's schedule differs from the one that a run was begun with, if it does."""
    now = schedule(cfg)
    return ", ".join(f"{name} {begun[name]}, now {now[name]}" for name in now if now[name] != begun[name])


def batch_as_told(cfg: CfgNode, processes: int, images_per_device: int | None) -> str:
    """Return, for a message, the images of an iteration, and that `images_per_device` asks for more than it takes."""
    batch = cfg.SOLVER.IMS_PER_BATCH
    told = f"{batch} images an iteration, {batch // processes} in each of {_number_of(processes)}"
    if images_per_device is None or images_per_device <= batch // processes:
        return told
    return f"{told}: the protocol has no more, though images_per_device is {images_per_device}"


def _unsynchronise(cfg: CfgNode, device: torch.device, processes: int) -> list[str]:
    why = "on a CPU" if device.type == "cpu" else "in one process" if processes == 1 else None
    changes = []
    for name in NORMS:
        part, key = name.split(".")
        if why and cfg.MODEL[part][key] == "SyncBN":
            cfg.MODEL[part][key] = "BN"
            changes.append(f"MODEL.{name}: BN instead of SyncBN {why}")
    return changes


def _scale(cfg: CfgNode, device: torch.device, processes: int, images_per_device: int | None) -> list[str]:
    reference, batch = cfg.SOLVER.REFERENCE_WORLD_SIZE, cfg.SOLVER.IMS_PER_BATCH
    cfg.SOLVER.REFERENCE_WORLD_SIZE = 0
    if not (reference or images_per_device):
        return []
    most = images_per_device or _images_that_fit(cfg, device, batch // reference or batch)
    images = min(batch // processes, most) * processes
    if images in {0, batch}:
        return []
    before = schedule(cfg)
    cfg.SOLVER.REFERENCE_WORLD_SIZE = batch  # counted in images, so that any number of them may be had
    scaled = DefaultTrainer.auto_scale_workers(cfg, images)
    for name in SCALED:
        cfg.SOLVER[name] = scaled.SOLVER[name]
    cfg.SOLVER.REFERENCE_WORLD_SIZE = 0
    why = f"{_number_of(processes)} of {images // processes} images"
    return [
        f"SOLVER.{name}: {_text(cfg.SOLVER[name])} instead of {_text(before[name])} ({why})"
        for name in SCALED
        if cfg.SOLVER[name] != before[name]
    ]


def _images_that_fit(cfg: CfgNode, device: torch.device, usual: int) -> int:
    """Estimate the images that every process, whatever its memory, can train on at once, at least one.

    They are at most the `usual` ones where the estimate knows less: of a CPU's memory, which others use too, and of
    encoders larger than those it was counted with.
    """
    short, long = max(cfg.INPUT.MIN_SIZE_TRAIN), cfg.INPUT.MAX_SIZE_TRAIN
    pixels = short * min(long, short * 1333 / 800)
    rois, of_rois = cfg.MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE, GIB_OF_ROIS_C4
    if cfg.MODEL.FPN.IN_FEATURES:
        of_rois = GIB_OF_ROIS_FPN
    each = GIB_OF_PIXELS * pixels / REFERENCE_PIXELS + of_rois * rois / REFERENCE_ROIS
    if device.type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory
    else:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // comm.get_local_size()
    fitting = max(1, int(memory / 2**30 / each))
    return Agreement().least(fitting if device.type == "cuda" and _is_as_counted(cfg) else min(fitting, usual))


def _is_as_counted(cfg: CfgNode) -> bool:
    resnet = cfg.MODEL.RESNETS
    is_narrow = resnet.NUM_GROUPS * resnet.WIDTH_PER_GROUP <= 64 and resnet.RES2_OUT_CHANNELS <= 256
    return is_narrow and resnet.DEPTH <= 101 and cfg.MODEL.RPN.IN_FEATURES[0] in {"p2", "res4"}


def _number_of(processes: int) -> str:
    return f"{processes} process{'es' * (processes > 1)}"


def _text(value: Any) -> str:
    return str(list(value)) if isinstance(value, tuple) else f"{value:g}" if isinstance(value, float) else f"{value:,}"
