"""Optimisers with their parameter groups, and the learning-rate schedule."""

import math

import torch
from lightly.utils.lars import LARS
from torch import nn

from pretrain.recipe import OptimizerSpec


def build_optimizer(spec: OptimizerSpec, model: nn.Module) -> torch.optim.Optimizer:
    """Build the optimiser; weight decay and LARS' trust ratio leave out biases, norms and scalars."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": spec.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    if spec.kind == "adamw":
        return torch.optim.AdamW(groups, lr=spec.lr)
    if spec.kind == "sgd":
        return torch.optim.SGD(groups, lr=spec.lr, momentum=spec.momentum)
    return LARS(groups, lr=spec.lr, momentum=spec.momentum)  # type: ignore[no-any-return]


def learning_rate(spec: OptimizerSpec, step: int, steps_per_epoch: int, epochs: int) -> float:
    """Return the rate of a step: linear warm-up from lr / warm-up steps, then half a cosine to zero at the end."""
    total, warmup = epochs * steps_per_epoch, round(spec.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return spec.lr * (step + 1) / warmup
    return spec.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))
