"""From a recipe, an encoder's overlay and a data set to a Detectron2 config."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode, get_cfg
from pydantic import JsonValue

import transfer.detection.heads  # noqa: F401  # registers heads, and with them the backbones that overlays name
from superinfo.errors import UserError
from transfer.detection.data import Needs, Splits, annotations_use_rle, keypoint_names
from transfer.recipe import DetectRecipe

CONFIGS = Path(__file__).parent / "configs"
OPTIMIZERS = ("SGD", "ADAMW")


def build_config(
    recipe: DetectRecipe,
    overlay: dict[str, Any],
    weights: Path | None,
    splits: Splits,
    seed: int,
    device: torch.device,
    folder: Path,
) -> CfgNode:
    """Merge config file, overlay, the recipe's options and the run's own settings, in that order.

    Raises UserError for an unknown config, an unknown option or one of the wrong type, and for a number of classes
    that is not that of the data.
    """
    train, test = splits.train, splits.test
    cfg = read_config(recipe.config)
    lay_over(cfg, overlay)
    apply_options(cfg, recipe.options)
    if cfg.SOLVER.OPTIMIZER not in OPTIMIZERS:
        raise UserError(f"SOLVER.OPTIMIZER {cfg.SOLVER.OPTIMIZER}: choose {' or '.join(OPTIMIZERS)}")
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
    """Return what the recipe's detector reads of each object. Raises UserError as `build_config` does."""
    cfg = read_config(recipe.config)
    apply_options(cfg, recipe.options)
    return Needs(masks=cfg.MODEL.MASK_ON, keypoints=cfg.MODEL.KEYPOINT_ON)


def read_config(name: str) -> CfgNode:
    """Return Detectron2's defaults changed by one of this project's config files. Raises UserError if there is none."""
    path = CONFIGS / f"{name}.yaml"
    if not path.is_file():
        raise UserError(
            f"config {name}: unknown; choose from {', '.join(sorted(p.stem for p in CONFIGS.glob('*.yaml')))}"
        )
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


def apply_options(cfg: CfgNode, options: Mapping[str, JsonValue]) -> None:
    """Change a config by dotted names. Raises UserError for an unknown option or one of the wrong type."""
    for name, value in options.items():
        try:
            cfg.merge_from_list([name, tuple(value) if isinstance(value, list) else value])
        except (AssertionError, KeyError):
            raise UserError(f"options: {name} is no option of Detectron2; see its config reference") from None
        except ValueError as error:
            raise UserError(f"options: {name}: {' '.join(str(error).split())}") from None


def _check_classes(recipe: DetectRecipe, classes: tuple[str, ...]) -> None:
    name = "MODEL.ROI_HEADS.NUM_CLASSES"
    if recipe.options.get(name, len(classes)) != len(classes):
        found = f"the data has {len(classes)}, the first {classes[0]!r}"
        raise UserError(f"options: {name} is {recipe.options[name]}, but {found}; leave the option out")
