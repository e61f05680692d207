"""What is read from a checkpoint: an encoder, and all that is known of it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast, get_args

from pydantic import field_validator

from superinfo.artifacts import CheckpointInfo, EncoderSpec, Pixels, Positive, Source
from superinfo.errors import UserError
from superinfo.recipes import parse_overrides
from superinfo.spec import Spec
from transfer.convert.maps import Map
from transfer.convert.sources import Branch, Layout


class Given(Spec):
    """What the user says of a file where it does not say so itself."""

    prefix: str | None = None
    """Below which a torchvision ResNet lies, in a layout that is not known; empty where it lies at the top."""
    stem: Literal["imagenet", "small", "stl"] | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[Positive, Positive, Positive] | None = None
    channel_order: Literal["RGB", "BGR"] | None = None
    stride_in_1x1: bool | None = None

    @field_validator("prefix", mode="before")
    @classmethod
    def _empty_if_said_so(cls, prefix: str | None) -> str | None:
        return "" if prefix is None else prefix  # `--set prefix=`: YAML has no other word for nothing

    def pixels(self, known: Pixels) -> Pixels:
        """Return the layout's pixels, but for what is given; mean and std that are not turn with the channels."""
        order = self.channel_order or known.channel_order
        turned = order != known.channel_order
        return Pixels(
            mean=self.mean or (known.mean[::-1] if turned else known.mean),
            std=self.std or (known.std[::-1] if turned else known.std),
            channel_order=order,
        )


NOTHING_GIVEN = Given()


class Ambiguous(UserError):
    """A file that can be read in two ways, between which the user is to choose."""


def parse_facts(overrides: Sequence[str]) -> Given:
    """Read `stem=small` and the like. Raises UserError for an unknown field or a wrong value."""
    return Given.parse(parse_overrides(overrides), "--set")


def parse_branch(name: str | None) -> Branch | None:
    """Raises UserError for a name that is no branch."""
    if name is not None and name not in get_args(Branch):
        raise UserError(f"--branch {name}: choose {' or '.join(get_args(Branch))}")
    return cast(Branch | None, name)


@dataclass(frozen=True)
class Reading:
    """One way to read a file: all of an encoder, in torchvision's keys."""

    layouts: tuple[Layout, ...]
    branch: Branch
    map: str
    """Path of the dictionary that the tensors are in."""
    tensors: Map
    keys: dict[str, str]
    """By torchvision key, the file's."""
    left: dict[str, str]
    """By the file's key, why it is no part of the encoder."""
    faults: dict[str, str]
    """By the file's key, what is wrong."""
    encoder: EncoderSpec | None
    """None where the stem does not follow from the file."""
    found: str
    """The architecture in words."""
    pixels: Pixels
    refused: str = ""
    info: CheckpointInfo | None = None
    said: Source | None = None
    """What a file converted here says of where its encoder is from."""
    zeros: Map = field(default_factory=dict)
    """By the file's key, tensors that are left out as they are zero: that is to be seen when they are read."""
    made: tuple[str, ...] = ()
    """Torchvision keys of statistics that the file leaves out, where batch norms are affine maps."""

    @property
    def names(self) -> list[str]:
        """Return the layouts' names."""
        return [layout.name for layout in self.layouts]

    def describe(self) -> str:
        """Return what sets it apart from other readings."""
        stem = self.encoder.stem if self.encoder else "unknown"
        stride = ", stride in 1x1" if self.encoder and self.encoder.stride_in_1x1 else ""
        mean = "/".join(f"{value:.3g}" for value in self.pixels.mean)
        std = "/".join(f"{value:.3g}" for value in self.pixels.std)
        where = next(iter(self.keys.values()), "nothing") + (f" in `{self.map}`" if self.map else "")
        return f"{where}, {stem} stem{stride}, {self.pixels.channel_order}, mean {mean}, std {std}"


def source_of(path: Path, reading: Reading, tensors_sha256: str) -> Source:
    """Describe a reading that has no faults."""
    assert reading.encoder is not None
    if reading.said is not None:
        return reading.said.model_copy(update={"pixels": reading.pixels, "tensors_sha256": tensors_sha256})
    dtypes = {str(t.dtype).removeprefix("torch.") for t in reading.tensors.values() if t.dtype.is_floating_point}
    return Source(
        name=reading.info.name if reading.info else row_name(path),
        layouts=reading.names,
        branch=reading.branch,
        encoder=reading.encoder,
        pixels=reading.pixels,
        affine_norms=bool(reading.made),
        dtype=", ".join(sorted(dtypes)),
        tensors_sha256=tensors_sha256,
        checkpoint=reading.info,
    )


def row_name(path: Path) -> str:
    """Return what a file from elsewhere is called in tables."""
    return re.sub(r"[^A-Za-z0-9+._-]", "_", path.stem).lstrip(".")[:150] or "checkpoint"
