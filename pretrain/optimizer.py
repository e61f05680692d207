"""Optimisers with their parameter groups."""

import torch
from lightly.utils.lars import LARS
from torch import nn

from pretrain.recipe import OptimizerSpec


def build_optimizer(spec: OptimizerSpec, model: nn.Module) -> torch.optim.Optimizer:
    """Build the optimiser; weight decay and LARS' trust ratio leave out biases, norms and scalars."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": spec.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if spec.kind == "adamw":
        return torch.optim.AdamW(groups, lr=spec.lr)
    if spec.kind == "sgd":
        return torch.optim.SGD(groups, lr=spec.lr, momentum=spec.momentum)
    return LARS(groups, lr=spec.lr, momentum=spec.momentum)  # type: ignore[no-any-return]
