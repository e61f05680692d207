"""Our training is Detectron2's: equal weights, seed and data give a bare DefaultTrainer the same losses."""

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, DatasetMapper, build_detection_train_loader
from detectron2.engine import DefaultTrainer, HookBase
from torch.utils.data import Sampler

from superinfo.artifacts import Pixels
from tests.transfer.detection.tiny_detector import tiny_detector
from transfer.detection.config import build_config, protocol_config, read_needs
from transfer.detection.data import register
from transfer.detection.hooks import seed_iteration
from transfer.detection.loader import stream
from transfer.detection.train import Trainer
from transfer.detection.weights import Start
from transfer.overlay import encoder_overlay

ITERATIONS = 5


class Noted(HookBase):  # type: ignore[misc]
    """Seeds each step as our trainer does, and notes its losses."""

    def __init__(self) -> None:
        self.losses: list[dict[str, float]] = []

    def before_step(self) -> None:
        seed_iteration(self.trainer.cfg.SEED, self.trainer.iter)

    def after_step(self) -> None:
        latest = self.trainer.storage.latest()
        self.losses.append({name: value for name, (value, _) in latest.items() if "loss" in name})


class InOrder(Sampler[int]):
    def __init__(self, images: list[int]) -> None:
        self.images = images

    def __iter__(self) -> Any:
        return iter(self.images)


class Bare(DefaultTrainer):  # type: ignore[misc]
    """Detectron2's trainer, loader and mapper, told only which image comes when."""

    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> Any:
        dataset = DatasetCatalog.get(cfg.DATASETS.TRAIN[0])
        places = islice(stream(torch.ones(len(dataset)).numpy(), cfg.SEED), ITERATIONS * cfg.SOLVER.IMS_PER_BATCH)
        order = InOrder([place.image for place in places])
        return build_detection_train_loader(cfg, dataset=dataset, sampler=order, mapper=DatasetMapper(cfg, True))


@pytest.mark.parametrize("detector", ["mask_rcnn_fpn_cpu", "mask_rcnn_c4_moco"])
def test_a_bare_default_trainer_has_the_same_losses(detector: str, tmp_path: Path) -> None:
    options = {
        "SOLVER.OPTIMIZER": "SGD",
        "SOLVER.BASE_LR": 0.01,
        "SOLVER.MAX_ITER": ITERATIONS,
        "SOLVER.REFERENCE_WORLD_SIZE": 0,
        "MODEL.RESNETS.NORM": "BN",
        "MODEL.RPN.PRE_NMS_TOPK_TRAIN": 100,
        "MODEL.RPN.POST_NMS_TOPK_TRAIN": 50,
        "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 16,
        "TEST.PRECISE_BN.ENABLED": False,
        "INPUT.MIN_SIZE_TRAIN": [64],
        "INPUT.RANDOM_FLIP": "none",
        "DATALOADER.NUM_WORKERS": 0,
        "DATALOADER.ASPECT_RATIO_GROUPING": False,
    }
    recipe = tiny_detector(options, config=detector)
    splits = register(recipe.data, tmp_path, read_needs(recipe))
    overlay = encoder_overlay(recipe.encoder, Pixels(mean=recipe.mean, std=recipe.std))
    cfg = build_config(protocol_config(recipe, overlay), recipe, None, splits, 7, torch.device("cpu"), tmp_path)

    ours = Trainer(cfg, "ours", "hash", save_minutes=60)
    weights = {key: tensor.clone() for key, tensor in ours.bare.state_dict().items()}
    ours.begin(Start(None, {}))
    noted = Noted()
    ours.register_hooks([noted])
    ours.train()

    bare = Bare(cfg)
    bare.model.load_state_dict(weights)
    found = Noted()
    bare._hooks = [hook for hook in bare._hooks if type(hook).__name__ in {"IterationTimer", "LRScheduler"}]
    bare.register_hooks([found])
    bare.train()

    assert len(found.losses) == ITERATIONS
    assert len(found.losses[0]) >= 5
    assert noted.losses == found.losses
    assert noted.losses[0] != noted.losses[-1]
