"""Checkpoints to convert."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from superinfo.artifacts import CHECKPOINT, CheckpointInfo, EncoderSpec, save_checkpoint
from superinfo.encoders import build_encoder

MakeCheckpoint = Callable[..., Path]


@pytest.fixture
def make_checkpoint(tmp_path: Path) -> MakeCheckpoint:
    """Write an encoder whose batch norms have statistics that matter; returns its checkpoint."""

    def make(
        arch: str = "resnet18", stem: str = "imagenet", width: float = 1.0, mean: float = 0.4, seed: int = 0
    ) -> Path:
        torch.manual_seed(seed)
        spec = EncoderSpec.parse({"arch": arch, "stem": stem, "width": width}, "test")
        encoder = build_encoder(spec)
        for module in encoder.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                nn.init.normal_(module.running_mean, std=0.1)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, std=0.1)
        info = CheckpointInfo(
            encoder=spec,
            name=f"simclr_{arch}",
            method="simclr",
            term="none",
            dataset="none",
            epochs=1,
            seed=seed,
            input_size=64,
            mean=(mean, 0.45, 0.5),
            std=(0.2, 0.25, 0.3),
            recipe_hash="0" * 64,
        )
        path = tmp_path / f"{arch}-{stem}-{width}-{seed}" / CHECKPOINT
        save_checkpoint(path, info, encoder.state_dict())
        return path

    return make
