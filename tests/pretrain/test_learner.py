"""What a learner makes of its model before it learns."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from pretrain.launch import build_fabric
from pretrain.learner import Learner
from pretrain.schedule import Moment
from tests.pretrain import tiny


@pytest.mark.parametrize(("method", "encoders"), [("simclr", 1), ("barlow_twins", 1), ("moco", 2), ("byol", 2)])
def test_all_encoders_that_see_images_are_compiled_and_no_tensor_is_renamed(
    method: str, encoders: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: dict[object, int] = {}

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        compiled[function] = 0

        def call(*arguments: Any) -> Any:
            compiled[function] += 1
            return function(*arguments)

        return call

    monkeypatch.setattr(torch, "compile", counted)
    chosen = {"method": {"kind": method, **tiny.METHODS[method]}, "batch_size": 8}
    recipes = [tiny.recipe(**chosen, compile=compiles) for compiles in (False, True)]
    learners = [Learner(each, 0, build_fabric(each, "cpu", 1)) for each in recipes]
    pixels = torch.randint(256, (8, 2, 32, 32, 3), dtype=torch.uint8)
    for learner in learners:
        learner.learn(pixels, Moment(0, steps_per_epoch=12, epochs=4))
    assert len(compiled) == encoders
    assert all(compiled.values())
    one, other = (learner.state()["model"] for learner in learners)
    assert list(one) == list(other)
    assert all(torch.equal(one[name], other[name]) for name in one)
