"""A recipe and models so small that a test trains them."""

from typing import Any

import torch
from torch import Tensor, nn

from pretrain.model import Pretraining, build_model
from pretrain.noise import Noise
from pretrain.recipe import PretrainRecipe

RECIPE: dict[str, Any] = {
    "name": "simclr+superinfo_tiny",
    "data": {"kind": "scenes", "count": 96, "size": 32},
    "view_size": 32,
    "encoder": {"arch": "resnet18", "stem": "stl", "width": 0.125},
    "method": {"kind": "simclr", "hidden_dim": 16, "output_dim": 8},
    "term": {"kind": "superinfo", "compression": [1e-3, 1e-3], "prediction": [1e-4, 1e-4]},
    "optimizer": {"kind": "adamw", "lr": 1e-3, "warmup_epochs": 1},
    "epochs": 4,
    "batch_size": 32,
    "log_every": 1,
    "monitor": {"tensorboard": False},
}
METHODS: dict[str, dict[str, Any]] = {
    "simclr": {"hidden_dim": 16, "output_dim": 8},
    "moco": {"hidden_dim": 16, "output_dim": 8, "queue_length": 20, "norm_groups": 2},
    "byol": {"hidden_dim": 16, "output_dim": 8, "prediction_dim": 16},
    "barlow_twins": {"hidden_dim": 16, "output_dim": 8},
}
TERMS: dict[str, dict[str, Any]] = {
    "none": {},
    "superinfo": {"compression": [0.1, 0.2], "prediction": [0.01, 0.02], "variance": "learned", "log_variance": -2.0},
    "rc": {"weight": 0.5, "size": 8},
    "lbe": {"weights": [0.25, 0.5, 1.0]},
    "ip": {"weight": 0.5},
    "mib": {"weight": 0.1, "variance": "learned", "log_variance": -2.0},
}
IMAGES = 8
"""Of the batch that `build`'s models are for."""


def recipe(**changes: object) -> PretrainRecipe:
    return PretrainRecipe.parse(RECIPE | changes, "test")


def build(method: str, term: str) -> Pretraining:
    """Build a combination in float64, for views of 16 px."""
    chosen = recipe(
        method={"kind": method, **METHODS[method]},
        term={"kind": term, **TERMS[term]},
        view_size=16,
        batch_size=IMAGES,
    )
    model = build_model(chosen, seed=0).double()
    for parameter in model.term.parameters():  # posteriors start with a weight of zero
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return model


def settle(model: Pretraining) -> Pretraining:
    """Let batch norm's statistics fit, so that in evaluation mode features neither explode nor are all alike."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0
    with torch.no_grad():
        model(*two_views(IMAGES), Noise(0, 0, IMAGES).rows(0, IMAGES))
    return model


def two_views(images: int) -> tuple[Tensor, Tensor]:
    """Return two batches that are alike, `(images, 3, 16, 16)`."""
    generator = torch.Generator().manual_seed(5)
    v1, v2 = torch.randn(2, images, 3, 16, 16, dtype=torch.float64, generator=generator)
    return v1, 0.7 * v1 + 0.3 * v2
