"""A protocol written for eight GPUs on the machine at hand, and what that changes."""

import os
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer
from detectron2.utils import comm

from superinfo.errors import UserError
from superinfo.processes import Agreement

GIB_PER_IMAGE = 4.0
"""Of training memory for an image of 800 x 1333: Detectron2's model zoo names 5.2 GB (Mask R-CNN R50-C4) and 3.4 GB
(FPN) for two, with batch norms frozen; trained ones keep more. An estimate: `images_per_device` overrides it."""
REFERENCE_PIXELS = 800 * 1333
NORMS = ("RESNETS.NORM", "FPN.NORM", "ROI_BOX_HEAD.NORM", "ROI_MASK_HEAD.NORM")
SCALED = ("IMS_PER_BATCH", "BASE_LR", "MAX_ITER", "STEPS", "WARMUP_ITERS")


Schedule = dict[str, Any]
"""Batch, learning rate and iterations, by their names in SOLVER."""


def fit_to_machine(
    cfg: CfgNode, device: torch.device, processes: int, images_per_device: int | None, begun: Schedule | None = None
) -> tuple[CfgNode, list[str]]:
    """Return the config that runs here and what it changes of the protocol, one sentence each.

    Where `SOLVER.REFERENCE_WORLD_SIZE` says for how many processes the protocol is meant, batch, learning rate and
    schedule are scaled together by Detectron2's own rule (Goyal et al. 2017, arXiv 1706.02677), all processes alike. A
    run that was `begun` goes on by its schedule, which it has told of. Synchronised batch norm becomes plain batch norm
    where it would run as that without a word, or not at all. Raises UserError if the batch cannot be shared out among
    the processes, and for mixed precision without a GPU.
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
    fitted.DATALOADER.NUM_WORKERS = min(fitted.DATALOADER.NUM_WORKERS, max(1, _cores() // comm.get_local_size()))
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
    share = batch // (reference or processes)
    fitting = images_per_device or (min(share, _images_that_fit(cfg, device)) if reference else share)
    images = min(share, fitting) * processes
    if images in {0, batch} or not (reference or images_per_device):
        cfg.SOLVER.REFERENCE_WORLD_SIZE = 0
        return []
    before = schedule(cfg)
    cfg.SOLVER.REFERENCE_WORLD_SIZE = batch  # counted in images, so that any number of them may be had
    scaled = DefaultTrainer.auto_scale_workers(cfg, images)
    for name in SCALED:
        cfg.SOLVER[name] = scaled.SOLVER[name]
    cfg.SOLVER.REFERENCE_WORLD_SIZE = 0
    why = f"{processes} process{'es' * (processes > 1)} of {images // processes} images"
    return [
        f"SOLVER.{name}: {_text(cfg.SOLVER[name])} instead of {_text(before[name])} ({why})"
        for name in SCALED
        if cfg.SOLVER[name] != before[name]
    ]


def _images_that_fit(cfg: CfgNode, device: torch.device) -> int:
    """Estimate the images that every process, whatever its memory, can train on at once, at least one."""
    short, long = max(cfg.INPUT.MIN_SIZE_TRAIN), cfg.INPUT.MAX_SIZE_TRAIN
    pixels = short * min(long, short * 1333 / 800)
    if device.type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory
    else:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // comm.get_local_size()
    return Agreement().least(max(1, int(memory / 2**30 / (GIB_PER_IMAGE * pixels / REFERENCE_PIXELS))))


def _text(value: Any) -> str:
    return str(list(value)) if isinstance(value, tuple) else f"{value:g}" if isinstance(value, float) else f"{value:,}"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
