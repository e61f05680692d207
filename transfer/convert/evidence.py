"""What proves that converted weights compute the source encoder's features."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from superinfo.artifacts import Loaded, Pixels
from superinfo.encoders import STAGES, ResNet

INPUT_SIZE = 64
"""Side of the fixed images, in pixels."""
SAMPLES = 64
TOLERANCE = 1e-4


@dataclass
class Evidence:
    """What was found, by all that loaded the weights."""

    distance: Callable[[Mapping[str, Tensor]], dict[str, float]]
    """Says per stage how far features are from the source encoder's."""
    loaded: dict[str, Loaded] = field(default_factory=dict)
    difference: dict[str, float] = field(default_factory=dict)
    """Per stage, the largest max |converted - source| / max |source|."""
    strays: list[str] = field(default_factory=list)
    """Tensors that a target's model does not have from the source."""

    def add(self, loader: str, tensors: Mapping[str, Tensor], source: Mapping[str, Tensor]) -> None:
        """Compare a loaded model's tensors with what was converted, bit by bit."""
        strays = [key for key, tensor in tensors.items() if key not in source or not _same(tensor, source[key])]
        self.strays += [f"{key} ({loader})" for key in strays]
        self.loaded[loader] = Loaded(tensors=len(tensors), matched=len(tensors) - len(strays))

    def compare(self, features: Mapping[str, Tensor]) -> None:
        """Compare a loaded model's features with the source's."""
        for stage, found in self.distance(features).items():
            self.difference[stage] = max(self.difference.get(stage, 0.0), found)

    @property
    def holds(self) -> bool:
        """Whether every tensor arrived and every stage computes the same."""
        everywhere = self.difference.keys() == set(STAGES)
        return not self.strays and everywhere and all(value <= TOLERANCE for value in self.difference.values())

    def describe(self) -> str:
        """Return the evidence in one line."""
        parts = [
            f"{name}: {found.matched} of {found.tensors} backbone tensors matched "
            f"({100 * found.matched / max(found.tensors, 1):.4g} %)"
            for name, found in self.loaded.items()
        ]
        if self.strays:
            more = f" and {len(self.strays) - 1} more" if len(self.strays) > 1 else ""
            parts.append(f"not the source's: tensor {self.strays[0]}{more}")
        worst = max(self.difference, key=self.difference.__getitem__, default=None)
        if worst is not None:
            parts.append(f"features differ by at most {self.difference[worst]:.1e} (in {worst})")
        return ", ".join(parts)


def fixed_images() -> Tensor:
    """Return two fixed RGB images of noise, bytes as floats `(2, 3, 64, 64)` in [0, 255]."""
    return torch.randint(256, (2, 3, INPUT_SIZE, INPUT_SIZE), generator=torch.Generator().manual_seed(0)).float()


def normalised(images: Tensor, pixels: Pixels) -> Tensor:
    """Return RGB bytes `(B, 3, H, W)` as an encoder takes them."""
    ordered = images if pixels.channel_order == "RGB" else images.flip(1)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (pixels.mean, pixels.std))
    return (ordered / 255 - mean) / std


@torch.no_grad()
def source_features(encoder: ResNet, pixels: Pixels) -> dict[str, Tensor]:
    """Return the features of each stage on the fixed images, in evaluation mode."""
    return encoder.eval().stages(normalised(fixed_images(), pixels))


def features_difference(features: Mapping[str, Tensor], source: Mapping[str, Tensor]) -> dict[str, float]:
    """Return per stage max |features - source| / max |source|; infinite for values that are not finite."""
    return {stage: _difference(found, source[stage]) for stage, found in features.items()}


def samples(features: Mapping[str, Tensor]) -> dict[str, list[float]]:
    """Return each stage's values at places spread over its features, and their largest magnitude last."""
    return {
        stage: [*found.flatten()[_places(found.numel())].tolist(), float(found.abs().max())]
        for stage, found in features.items()
    }


def samples_difference(features: Mapping[str, Tensor], recorded: Mapping[str, list[float]]) -> dict[str, float]:
    """Return per stage how far features are from `samples` of the source's, relative to the largest magnitude."""
    return {
        stage: _difference(torch.tensor(values), torch.tensor(recorded[stage]))
        for stage, values in samples(features).items()
    }


def _places(count: int) -> Tensor:
    return torch.linspace(0, count - 1, min(SAMPLES, count)).long()


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype and torch.equal(one, other)


def _difference(converted: Tensor, source: Tensor) -> float:
    if not converted.isfinite().all() or converted.shape != source.shape:
        return float("inf")
    largest = source.abs().max().clamp(min=torch.finfo(source.dtype).tiny)
    return float((converted - source).abs().max() / largest)
