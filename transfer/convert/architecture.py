"""Which ResNet some tensors are, and what is wrong with them if they are none."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from superinfo.architectures import ARCHITECTURES, Architecture, encoder_shapes
from superinfo.artifacts import Arch, EncoderSpec
from transfer.convert.dialects import COUNTER

Shapes = Mapping[str, tuple[int, ...]]
"""By torchvision key."""


@dataclass(frozen=True)
class Found:
    """The ResNet that the tensors come closest to."""

    arch: Arch
    width: float
    kernel: int
    """Side of the stem's convolution, in pixels."""
    faults: dict[str, str]
    """By torchvision key: what is wrong with it. Empty if the tensors are that ResNet's, each once."""


def find_architecture(shapes: Shapes) -> Found:
    """Find the ResNet with the fewest faults: tensors that are missing, too many, or of another shape.

    Counters of batch norm may be missing: they are read by no inference, and Detectron2 has none.
    """
    kernel = _kernel(shapes)
    bottleneck = any(".conv3." in key for key in shapes)
    found = []
    for arch, architecture in ARCHITECTURES.items():
        if architecture.bottleneck is not bottleneck:
            continue
        width = _width(architecture, shapes)
        expected = encoder_shapes(EncoderSpec(arch=arch, stem="imagenet" if kernel == 7 else "small", width=width))
        found.append(Found(arch, width, kernel, compare_shapes(shapes, expected)))
    # Of equally many faults, those of the shallower: a tensor of a block more is one too many.
    return min(found, key=lambda candidate: len(candidate.faults))


def compare_shapes(shapes: Shapes, expected: Shapes) -> dict[str, str]:
    """Return what is wrong, by key: tensors that are missing, too many or of another shape."""
    faults = {
        key: f"has shape {shapes[key]} instead of {shape}" if key in shapes else "is missing"
        for key, shape in expected.items()
        if shapes.get(key, () if key.endswith(COUNTER) else None) != shape
    }
    return faults | {key: "is one too many" for key in shapes if key not in expected}


def _kernel(shapes: Shapes) -> int:
    """Return the side of the stem's kernel, 7 where the convolution is missing or odd."""
    shape = shapes.get("conv1.weight", ())
    return 3 if shape[2:] == (3, 3) else 7


def _width(architecture: Architecture, shapes: Shapes) -> float:
    """Return the factor on all channels that most tensors speak for, in eighths."""
    votes: Counter[float] = Counter()
    for key, shape in shapes.items():
        if key.startswith("layer") and shape and key.endswith("bn2.weight"):
            votes[shape[0] / architecture.inner_channels(64 << int(key[5]) - 1)] += 1
    width = votes.most_common(1)[0][0] if votes else 1.0
    return width if 0 < width <= 8 and (8 * width).is_integer() else 1.0
