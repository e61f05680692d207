"""What an information term is, and the absence of one."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from pretrain.noise import RowsOfNoise


@dataclass
class EncodedView:
    """A batch of views and what the encoder makes of them, in float32 under mixed precision too."""

    images: Tensor
    """Normalised, `(b, 3, S, S)`."""
    pooled: dict[str, Tensor]
    """Each stage's output averaged over space, `(b, C)`, by the names of `ResNet.stages`."""

    @property
    def mu(self) -> Tensor:
        """Return the backbone's output `(b, D)`."""
        return self.pooled["res5"]


@dataclass
class Features:
    """What the base reads of both views, and what the term's loss is made of."""

    h1: Tensor
    h2: Tensor
    """`(b, D)`: the backbone's outputs, or samples around them."""
    measured: dict[str, Tensor] = field(default_factory=dict)
    """Tensors whose rows are images."""


class Term(nn.Module):
    """No term: the base reads the backbone's outputs, and nothing is added.

    A term has two parts, as a base has: `forward` has all parameters and sees a part of the batch, `loss` sees the
    whole of it and weighs what was measured.
    """

    separable: ClassVar[bool] = True
    """Whether the loss of a batch is the mean of its images' own losses."""

    def __init__(self, weights: Mapping[str, float] | None = None, warmup_epochs: float = 0.0) -> None:
        """Take the weight of each part; all rise linearly from 0 over `warmup_epochs`."""
        super().__init__()
        self.weights, self.warmup_epochs = dict(weights or {}), warmup_epochs
        if any(weight < 0 for weight in self.weights.values()):
            raise ValueError(f"weights must not be negative, got {self.weights}")

    def forward(self, view1: EncodedView, view2: EncodedView, noise: RowsOfNoise) -> Features:
        """Measure two batches of views `(b, ...)`; `noise` is the step's own."""
        return Features(view1.mu, view2.mu)

    def parts(self, measured: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return each part of the loss of a batch, a scalar, before it is weighed."""
        return {name: values.mean() for name, values in measured.items()}

    def loss(self, measured: dict[str, Tensor], epoch: float = math.inf) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted sum of the parts after `epoch` epochs, and the parts."""
        scale = min(1.0, epoch / self.warmup_epochs) if self.warmup_epochs else 1.0
        parts = self.parts(measured)
        weighed = (scale * self.weights[name] * part for name, part in parts.items())
        return sum(weighed, start=torch.zeros(())), parts
