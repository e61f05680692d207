"""Features with their classes: what classifiers are trained and tested on."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from superinfo.datasets.images import Labels

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Labelled:
    """Features `(n, D)` and the class of each, `(n,)`."""

    features: Floats
    labels: Labels

    def tensors(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return copies of both on a device."""
        return torch.tensor(self.features, device=device), torch.tensor(self.labels, device=device)

    def rows(self, rows: NDArray[np.int64]) -> "Labelled":
        """Return some of the rows."""
        return Labelled(self.features[rows], self.labels[rows])

    def joined(self, other: "Labelled") -> "Labelled":
        """Return the rows of both."""
        return Labelled(np.concatenate([self.features, other.features]), np.concatenate([self.labels, other.labels]))
