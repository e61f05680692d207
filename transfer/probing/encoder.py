"""The encoder that is probed, and what a record says of it."""

from dataclasses import dataclass
from pathlib import Path

import torch

from superinfo.artifacts import EncoderSpec, Who, tensors_sha256
from superinfo.encoders import ResNet, build_encoder
from superinfo.errors import UserError
from transfer.convert.export import load_reading
from transfer.convert.reading import Ambiguous, source_of
from transfer.convert.recognition import read_encoder
from transfer.who import random_who, who_from

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
    """Load the encoder of anyone's checkpoint; None initialises `spec` at random from the seed.

    Raises UserError if the file cannot be read, or in two ways; EvidenceRefused if tensors are not those of a ResNet.
    """
    if checkpoint is None:
        torch.manual_seed(seed)
        encoder = build_encoder(spec).eval()
        who = random_who(spec, seed)
        return Subject(encoder, who, tensors_sha256(encoder.state_dict()), None)
    try:
        reading = read_encoder(checkpoint)
        encoder = load_reading(checkpoint, reading)
    except Ambiguous as error:
        raise UserError(f"{error}, by `superinfo convert --to safetensors`; then probe what it writes") from None
    if reading.pixels.channel_order != "RGB":
        raise UserError(f"{checkpoint}: an encoder for BGR; convert it by --to safetensors --flip-stem, and probe that")
    found = tensors_sha256(encoder.state_dict())
    who = who_from(source_of(checkpoint, reading, found))
    return Subject(encoder, who, found, (reading.pixels.mean, reading.pixels.std))
