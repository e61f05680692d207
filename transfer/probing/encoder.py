"""The encoder that is probed, and what a record says of it."""

from dataclasses import dataclass
from pathlib import Path

import torch

from superinfo.artifacts import EncoderSpec, Who, tensors_sha256
from superinfo.encoders import ResNet, build_encoder, load_encoder

Channels = tuple[float, float, float]


@dataclass(frozen=True)
class Subject:
    """An encoder in evaluation mode, and where it is from."""

    encoder: ResNet
    who: Who
    tensors_sha256: str
    normalisation: tuple[Channels, Channels] | None
    """Mean and std of its pretraining; None for random initialisation."""


def open_encoder(checkpoint: Path | None, spec: EncoderSpec, seed: int) -> Subject:
    """Load a checkpoint's encoder; None initialises `spec` at random from the seed.

    Raises UserError if the file is no checkpoint, or its tensors are not those of its encoder.
    """
    if checkpoint is None:
        torch.manual_seed(seed)
        encoder = build_encoder(spec).eval()
        who = Who(
            name="random",
            method="random",
            term="none",
            dataset=None,
            epochs=0,
            seed=seed,
            encoder=spec,
            recipe_hash=None,
            tensors_sha256=None,
        )
        return Subject(encoder, who, tensors_sha256(encoder.state_dict()), None)
    encoder, info = load_encoder(checkpoint)
    found = tensors_sha256(encoder.state_dict())
    who = Who(
        name=info.name,
        method=info.method,
        term=info.term,
        dataset=info.dataset,
        epochs=info.epochs,
        seed=info.seed,
        encoder=info.encoder,
        recipe_hash=info.recipe_hash,
        tensors_sha256=found,
    )
    return Subject(encoder, who, found, (info.mean, info.std))
