"""The optimizer of a detector: its groups are Detectron2's, and clipping goes by gradients as they are."""

from typing import Any

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.solver import build_optimizer
from torch import nn

from transfer.detection.config import read_config
from transfer.detection.options import apply_options
from transfer.detection.train import Trainer


def config(options: dict[str, Any]) -> CfgNode:
    cfg = read_config("mask_rcnn_fpn_cpu")
    apply_options(cfg, options)
    return cfg


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"SOLVER.WEIGHT_DECAY_NORM": 0.003},
        {"SOLVER.WEIGHT_DECAY_BIAS": 0.0},
        {"SOLVER.BIAS_LR_FACTOR": 2.0},
    ],
)
def test_adamw_has_the_groups_that_detectron2_gives_to_sgd(options: dict[str, Any]) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    cfg = config(options)
    ours, peer = Trainer.build_optimizer(cfg, model), build_optimizer(cfg, model)
    assert isinstance(ours, torch.optim.AdamW)
    assert [group_of(group) for group in ours.param_groups] == [group_of(group) for group in peer.param_groups]


def group_of(group: dict[str, Any]) -> tuple[float, float, list[int]]:
    return group["lr"], group["weight_decay"], [id(parameter) for parameter in group["params"]]


@pytest.mark.parametrize("kind", ["value", "norm"])
@pytest.mark.parametrize(("optimizer", "mean", "first"), [("ADAMW", "exp_avg", 0.1), ("SGD", "momentum_buffer", 1.0)])
def test_clipping_sees_gradients_without_the_scale_of_mixed_precision(
    optimizer: str, mean: str, first: float, kind: str
) -> None:
    """A gradient of 10 is clipped to 1, of which the first moving mean has its share."""
    clipping = {"ENABLED": True, "CLIP_TYPE": kind, "CLIP_VALUE": 1.0}
    options = {"SOLVER.AMP.ENABLED": True, "SOLVER.OPTIMIZER": optimizer, "SOLVER.WEIGHT_DECAY": 0}
    cfg = config(options | {f"SOLVER.CLIP_GRADIENTS.{name}": value for name, value in clipping.items()})
    model = nn.Linear(1, 1, bias=False)
    built = Trainer.build_optimizer(cfg, model)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    scaler.scale(10 * model(torch.ones(1, 1)).sum()).backward()
    scaler.step(built)
    (state,) = built.state.values()
    assert state[mean].item() == pytest.approx(first, rel=1e-3)


@pytest.mark.parametrize("options", [{}, {"SOLVER.AMP.ENABLED": True}, {"SOLVER.CLIP_GRADIENTS.ENABLED": True}])
def test_adamw_is_fused_where_nothing_speaks_against_it(options: dict[str, Any]) -> None:
    assert Trainer.build_optimizer(config(options), nn.Linear(1, 1)).defaults["fused"]
