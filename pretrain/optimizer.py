"""Optimisers with their parameter groups."""

import torch
from lightly.utils.lars import LARS
from torch import nn

from pretrain.recipe import OptimizerSpec


def build_optimizer(spec: OptimizerSpec, model: nn.Module) -> torch.optim.Optimizer:
    """Build the optimiser; weight decay and LARS' trust ratio leave out biases, norms and scalars.

    `set_rate` moves the rates of both groups along the schedule.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    bias_share = (spec.bias_lr or spec.lr) / spec.lr
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": spec.weight_decay, "share_of_rate": 1.0},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0, "share_of_rate": bias_share},
    ]
    if spec.kind == "adamw":
        return torch.optim.AdamW(groups, lr=spec.lr)
    if spec.kind == "sgd":
        return torch.optim.SGD(groups, lr=spec.lr, momentum=spec.momentum)
    return LARS(groups, lr=spec.lr, momentum=spec.momentum)  # type: ignore[no-any-return]


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the weights, and in proportion that of biases and norms."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["share_of_rate"]
