"""From a recipe, an encoder's overlay and a data set to a Detectron2 config."""

from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.data.detection_utils import build_augmentation
from detectron2.engine import DefaultTrainer

import transfer.detection.heads  # noqa: F401  # registers heads, and with them the backbones that overlays name
from superinfo.errors import UserError
from superinfo.recipes import suggest
from transfer.detection.data import Needs, Splits, annotations_use_rle, keypoint_names
from transfer.detection.options import apply_options, flatten, refused
from transfer.recipe import DetectRecipe

CONFIGS = Path(__file__).parent / "configs"
CHOICES = {
    "SOLVER.OPTIMIZER": ("SGD", "ADAMW"),
    "DATALOADER.SAMPLER_TRAIN": ("TrainingSampler", "RepeatFactorTrainingSampler"),
}
LEAST = {
    "DATALOADER.NUM_WORKERS": 0,
    "INPUT.MAX_SIZE_TEST": 1,
    "INPUT.MAX_SIZE_TRAIN": 1,
    "INPUT.MIN_SIZE_TRAIN": 1,
    "SOLVER.IMS_PER_BATCH": 1,
    "SOLVER.MAX_ITER": 1,
    "SOLVER.REFERENCE_WORLD_SIZE": 0,
    "SOLVER.WARMUP_ITERS": 0,
    "TEST.PRECISE_BN.NUM_ITER": 1,
}
"""Of numbers that Detectron2 takes as they are, and never ends with, or ends after training."""


def protocol_config(recipe: DetectRecipe, overlay: dict[str, Any]) -> CfgNode:
    """Merge config file, overlay and the recipe's options, in that order: all that data and machine do not decide.

    Raises UserError for an unknown config, an unknown option, one of the wrong type or out of its range, and for parts
    of which Detectron2 can build no detector, optimizer and augmentation.
    """
    cfg = read_config(recipe.config)
    with refused("the encoder's overlay is not one of Detectron2's config", "convert the checkpoint anew"):
        lay_over(cfg, overlay)
    apply_options(cfg, recipe.options)
    flat = flatten(cfg)
    for name, known in CHOICES.items():
        if flat[name] not in known:
            raise UserError(f"options: {name} is {flat[name]}: choose {' or '.join(known)}")
    for name, least in LEAST.items():
        given = flat[name] if isinstance(flat[name], tuple) else (flat[name],)
        if not given or min(given) < least:
            raise UserError(f"options: {name} is {flat[name]}: at least {least} is needed")
    _try_building(cfg, recipe)
    return cfg


def build_config(
    protocol: CfgNode,
    recipe: DetectRecipe,
    weights: Path | None,
    splits: Splits,
    seed: int,
    device: torch.device,
    folder: Path,
) -> CfgNode:
    """Return a protocol's config with what data and run decide, frozen.

    Raises UserError for a number of classes that is not that of the data.
    """
    train, test = splits.train, splits.test
    cfg: CfgNode = protocol.clone()
    cfg.defrost()
    cfg.MODEL.WEIGHTS = str(weights) if weights else ""
    cfg.MODEL.DEVICE = device.type
    _check_classes(recipe, train.classes)
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = len(train.classes)
    if cfg.MODEL.KEYPOINT_ON:
        cfg.MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS = len(keypoint_names(train.annotations))
    if cfg.MODEL.MASK_ON and annotations_use_rle(train.annotations):
        cfg.INPUT.MASK_FORMAT = "bitmask"
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = (train.name,), (test.name,)
    cfg.SEED = seed
    cfg.OUTPUT_DIR = str(folder)
    cfg.freeze()
    return cfg


def read_needs(recipe: DetectRecipe) -> Needs:
    """Return what the recipe's detector reads of each object. Raises UserError for an unknown config or option."""
    cfg = read_config(recipe.config)
    apply_options(cfg, recipe.options)
    return Needs(masks=cfg.MODEL.MASK_ON, keypoints=cfg.MODEL.KEYPOINT_ON)


def read_config(name: str) -> CfgNode:
    """Return Detectron2's defaults changed by one of this project's config files. Raises UserError if there is none."""
    path = CONFIGS / f"{name}.yaml"
    if not path.is_file():
        names = sorted(p.stem for p in CONFIGS.glob("*.yaml"))
        raise UserError(f"config {name}: unknown{suggest(name, names)}; choose from {', '.join(names)}")
    cfg = get_cfg()
    # Detectron2 0.6 has SGD alone; the key is the one that projects built on it use.
    cfg.SOLVER.OPTIMIZER = "SGD"
    cfg.merge_from_file(str(path))
    return cfg


def lay_over(cfg: CfgNode, overlay: dict[str, Any]) -> None:
    """Merge an encoder's overlay, and keep what the detector decides: one scale or a pyramid, synchronised norms."""
    norm, levels = cfg.MODEL.RESNETS.NORM, cfg.MODEL.RPN.IN_FEATURES
    cfg.merge_from_other_cfg(CfgNode(overlay))
    if not cfg.MODEL.FPN.IN_FEATURES:
        cfg.MODEL.BACKBONE.NAME = cfg.MODEL.BACKBONE.NAME.replace("_fpn_", "_")
        cfg.MODEL.RPN.IN_FEATURES = cfg.MODEL.ROI_HEADS.IN_FEATURES = levels
    if norm == "SyncBN" and cfg.MODEL.RESNETS.NORM == "BN":
        cfg.MODEL.RESNETS.NORM = norm


def _try_building(cfg: CfgNode, recipe: DetectRecipe) -> None:
    """Build, of shapes without numbers, what training will build, so that what cannot be is told before that."""
    trial = cfg.clone()
    trial.MODEL.DEVICE = "meta"
    with refused(f"config {recipe.config}, its options and the encoder do not make a detector"), torch.device("meta"):
        try:
            model = DefaultTrainer.build_model(trial)
        except RuntimeError as error:
            raise ValueError(error) from error
        DefaultTrainer.build_lr_scheduler(trial, DefaultTrainer.build_optimizer(trial, model))
        for is_train in (True, False):
            build_augmentation(trial, is_train)


def _check_classes(recipe: DetectRecipe, classes: tuple[str, ...]) -> None:
    name = "MODEL.ROI_HEADS.NUM_CLASSES"
    if recipe.options.get(name, len(classes)) != len(classes):
        found = f"the data has {len(classes)}, the first {classes[0]!r}"
        raise UserError(f"options: {name} is {recipe.options[name]}, but {found}; leave the option out")
