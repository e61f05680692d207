"""Parameter groups and rates."""

import pytest
import torch
from torch import nn

from pretrain.optimizer import build_optimizer, set_rate
from pretrain.recipe import OptimizerSpec
from superinfo.errors import UserError


def spec(**fields: object) -> OptimizerSpec:
    return OptimizerSpec.parse({"kind": "sgd", "lr": 0.4, "momentum": 0.0, **fields}, "test")


def model() -> nn.Sequential:
    layer = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    layer[2].requires_grad_(False)
    return layer


def moved(fields: dict[str, object], rate: float) -> list[float]:
    """How far each trained parameter moves in a step along a gradient of ones."""
    layer = model()
    optimizer = build_optimizer(spec(**fields), layer)
    set_rate(optimizer, rate)
    trained = [p for p in layer.parameters() if p.requires_grad]
    before = [p.detach().clone() for p in trained]
    for p in trained:
        p.grad = torch.ones_like(p)
    optimizer.step()
    return [(b - p).mean().item() for b, p in zip(before, trained, strict=True)]


def test_biases_and_norms_have_a_rate_of_their_own_on_the_same_schedule() -> None:
    assert moved({}, 0.2) == pytest.approx([0.2] * 4, rel=1e-5)
    assert moved({"bias_lr": 0.04}, 0.2) == pytest.approx([0.2, 0.02, 0.02, 0.02], rel=1e-5)


@pytest.mark.parametrize("kind", ["adamw", "sgd", "lars"])
def test_biases_norms_and_frozen_parameters_do_not_decay(kind: str) -> None:
    layer = model()
    optimizer = build_optimizer(spec(kind=kind, weight_decay=0.1), layer)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    weight, *others = layer[:2].parameters()
    assert decay[id(weight)] == 0.1
    assert [decay[id(parameter)] for parameter in others] == [0.0] * 3
    assert id(layer[2].weight) not in decay


def test_lars_without_weight_decay_is_refused() -> None:
    with pytest.raises(UserError, match="LARS scales the parameters that decay"):
        spec(kind="lars")
