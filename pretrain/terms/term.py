"""What an information term is, and the absence of one."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass
class Features:
    """What the base reads of both views, and what the term adds to its loss."""

    h1: Tensor
    h2: Tensor
    """`(B, D)`: the backbone's outputs, or samples around them."""
    loss: Tensor
    """Scalar, in nats where the term says so."""
    parts: dict[str, Tensor]
    """For the log: detached scalars."""


class Term(nn.Module):
    """No term: the base reads the backbone's outputs, and nothing is added."""

    def forward(self, mu1: Tensor, mu2: Tensor, v1: Tensor, v2: Tensor, noise: torch.Generator) -> Features:
        """Take the backbone's outputs `(B, D)` of the views `(B, 3, S, S)`; `noise` is the step's own generator."""
        return Features(mu1, mu2, mu1.new_zeros(()), {})
