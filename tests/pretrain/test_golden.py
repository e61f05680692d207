"""Losses of 20 training steps against those committed: a change of the mathematics does not go unseen.

In float64, from weights and views that NumPy draws: what float32 rounds otherwise on another processor, or on one
thread more, has grown to a tenth of the loss by then.
`python tests/pretrain/test_golden.py` writes the curves anew; say in CHANGELOG why.
"""

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pretrain.batches import to_views
from pretrain.gradients import Gradients
from pretrain.methods import BYOL, MoCo
from pretrain.model import Pretraining, build_model
from pretrain.noise import Noise
from pretrain.optimizer import build_optimizer, set_rate
from pretrain.recipe import PretrainRecipe
from pretrain.schedule import Moment, learning_rate

CURVES = Path(__file__).parent / "golden" / "curves.json"
COMMON: dict[str, Any] = {
    "data": {"kind": "scenes"},
    "view_size": 16,
    "encoder": {"arch": "resnet18", "stem": "stl", "width": 0.125},
    "optimizer": {"kind": "sgd", "lr": 0.02, "momentum": 0.9, "weight_decay": 1e-4, "warmup_epochs": 1},
    "epochs": 4,
    "batch_size": 8,
}
COMBINATIONS: dict[str, dict[str, Any]] = {
    "simclr+superinfo": {
        "method": {"kind": "simclr", "hidden_dim": 16, "output_dim": 8},
        "term": {
            "kind": "superinfo",
            "compression": [1e-3, 2e-3],
            "prediction": [1e-4, 2e-4],
            "variance": "learned",
            "warmup_epochs": 2,
        },
    },
    "moco+mib": {
        "method": {"kind": "moco", "hidden_dim": 16, "output_dim": 8, "queue_length": 50, "norm_groups": 2},
        "term": {"kind": "mib", "weight": 1e-4},
    },
    "byol+rc": {
        "method": {"kind": "byol", "hidden_dim": 16, "output_dim": 8, "prediction_dim": 16},
        "term": {"kind": "rc", "weight": 0.1},
        "optimizer": COMMON["optimizer"] | {"lr": 0.0005},
        "chunk_size": 4,
    },
    "barlow_twins+lbe": {
        "method": {"kind": "barlow_twins", "hidden_dim": 16, "output_dim": 16},
        "term": {"kind": "lbe", "weights": [0.25, 0.5, 1.0]},
        "chunk_size": 4,
    },
}


def curve(name: str) -> list[float]:
    recipe = PretrainRecipe.parse(COMMON | COMBINATIONS[name] | {"name": name}, "test")
    model = drawn(build_model(recipe, seed=0).double())
    optimizer = build_optimizer(recipe.optimizer, model)
    gradients = Gradients(model, model, recipe.chunk_size or recipe.batch_size)
    mean, std = (torch.tensor(values, dtype=torch.float64) for values in (recipe.data.mean, recipe.data.std))
    losses = []
    for step in range(20):
        moment = Moment(step, steps_per_epoch=5, epochs=recipe.epochs)
        pixels = two_views(step, recipe.batch_size, recipe.view_size)
        set_rate(optimizer, learning_rate(recipe.optimizer, moment))
        optimizer.zero_grad()
        views = partial(views_of, pixels, mean, std)
        noise = Noise(0, step, recipe.batch_size)
        found, embedded = gradients(views, recipe.batch_size, noise, moment)
        optimizer.step()
        model.after_step(embedded, moment)
        losses.append(found.total.item())
    return losses


def drawn(model: Pretraining) -> Pretraining:
    """Draw weights anew, as He et al. do, without biases; the target follows."""
    draw = np.random.default_rng(0)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                values = draw.standard_normal(tuple(weight.shape)) * math.sqrt(2 / weight[0].numel())
                weight.copy_(torch.from_numpy(values))
        for module in model.modules():
            if isinstance(module, nn.Linear | nn.Conv2d) and module.bias is not None:
                module.bias.zero_()
        if isinstance(model.method, MoCo):
            keys = draw.standard_normal(tuple(model.method.queue.shape))
            model.method.queue.copy_(torch.from_numpy(keys / np.linalg.norm(keys, axis=1, keepdims=True)))
    if isinstance(model.method, MoCo | BYOL):
        model.method.target.follow(model.encoder, model.method.projector, momentum=0.0)
    return model


def views_of(pixels: Tensor, mean: Tensor, std: Tensor, chunk: slice) -> tuple[Tensor, Tensor]:
    return tuple(view.double() for view in to_views(pixels[chunk], mean, std))  # type: ignore[return-value]


def two_views(step: int, images: int, size: int) -> Tensor:
    """Coarse patterns, each seen under two gains and with grain, `(B, 2, S, S, 3)`, uint8."""
    draw = np.random.default_rng([step])
    coarse = draw.integers(40, 216, (images, 1, 4, 4, 3)).repeat(size // 4, axis=2).repeat(size // 4, axis=3)
    grain = draw.integers(-30, 31, (images, 2, size, size, 3))
    gain = draw.integers(12, 20, (images, 2, 1, 1, 3))
    return torch.from_numpy(np.clip(coarse * gain // 16 + grain, 0, 255).astype(np.uint8))


@pytest.mark.parametrize("name", COMBINATIONS)
def test_the_losses_of_20_steps_are_those_committed(name: str) -> None:
    committed = json.loads(CURVES.read_text())[name]
    assert len(committed) == 20
    assert curve(name) == pytest.approx(committed, rel=1e-4)


if __name__ == "__main__":
    CURVES.write_text(json.dumps({name: curve(name) for name in COMBINATIONS}, indent=2) + "\n")
