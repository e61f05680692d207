"""The ResNets that there are: blocks, depths, groups, and from these the shape of every tensor."""

from dataclasses import dataclass
from functools import cache

from superinfo.artifacts import Arch, EncoderSpec

Shapes = dict[str, tuple[int, ...]]
"""By the tensor's name."""


@dataclass(frozen=True)
class Architecture:
    """The blocks of a ResNet."""

    bottleneck: bool
    """Whether a block is three convolutions, with four times as many channels behind it as within, or two."""
    depths: tuple[int, int, int, int]
    """Blocks in each stage."""
    groups: int = 1
    """Of the 3x3 convolutions."""
    width_per_group: int = 64
    """Inner channels of a bottleneck of the first stage are groups x width_per_group."""

    @property
    def expansion(self) -> int:
        """Return the channels behind a block of the first stage, in units of the stem's."""
        return 4 if self.bottleneck else 1

    def inner_channels(self, planes: int) -> int:
        """Return the channels of the 3x3 convolutions where the stage's basic width is `planes`."""
        return int(planes * self.width_per_group / 64) * self.groups


ARCHITECTURES: dict[Arch, Architecture] = {
    "resnet18": Architecture(False, (2, 2, 2, 2)),
    "resnet34": Architecture(False, (3, 4, 6, 3)),
    "resnet50": Architecture(True, (3, 4, 6, 3)),
    "resnet101": Architecture(True, (3, 4, 23, 3)),
    "resnet152": Architecture(True, (3, 8, 36, 3)),
    "wide_resnet50_2": Architecture(True, (3, 4, 6, 3), width_per_group=128),
    "wide_resnet101_2": Architecture(True, (3, 4, 23, 3), width_per_group=128),
    "resnext50_32x4d": Architecture(True, (3, 4, 6, 3), groups=32, width_per_group=4),
    "resnext101_32x8d": Architecture(True, (3, 4, 23, 3), groups=32, width_per_group=8),
    "resnext101_64x4d": Architecture(True, (3, 4, 23, 3), groups=64, width_per_group=4),
}
"""Under the names that torchvision and timm have for them."""


@cache
def encoder_shapes(spec: EncoderSpec) -> Shapes:
    """Return the shape of each tensor of an encoder, in the order of its `state_dict`, without building it."""
    architecture, channels = ARCHITECTURES[spec.arch], spec.stem_channels
    kernel = 7 if spec.stem == "imagenet" else 3
    shapes = _conv("conv1", channels, 3, kernel) | _norm("bn1", channels)
    inputs = channels
    for stage, depth in enumerate(architecture.depths):
        planes = channels << stage
        outputs = planes * architecture.expansion
        for number in range(depth):
            block = f"layer{stage + 1}.{number}"
            for place, (taken, given, side) in enumerate(_convolutions(architecture, inputs, planes), start=1):
                shapes |= _conv(f"{block}.conv{place}", given, taken, side) | _norm(f"{block}.bn{place}", given)
            if number == 0 and (stage > 0 or inputs != outputs):
                shapes |= _conv(f"{block}.downsample.0", outputs, inputs, 1) | _norm(f"{block}.downsample.1", outputs)
            inputs = outputs
    return shapes


def _convolutions(architecture: Architecture, inputs: int, planes: int) -> list[tuple[int, int, int]]:
    """Return what each convolution of a block takes and gives, in channels, and its side."""
    if not architecture.bottleneck:
        return [(inputs, planes, 3), (planes, planes, 3)]
    inner = architecture.inner_channels(planes)
    return [(inputs, inner, 1), (inner // architecture.groups, inner, 3), (inner, 4 * planes, 1)]


def _conv(name: str, outputs: int, inputs: int, side: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs, side, side)}


def _norm(name: str, channels: int) -> Shapes:
    vectors = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{leaf}": (channels,) for leaf in vectors} | {f"{name}.num_batches_tracked": ()}
