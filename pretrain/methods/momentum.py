"""A target network: a copy that follows the trained one slowly."""

import copy

import torch
from torch import Tensor, nn

from superinfo.encoders import ResNet


class Target(nn.Module):
    """Encoder and projector whose parameters are a moving average of the trained ones'; no gradient reaches them.

    Batch norm normalises by the target's own batches, so that its statistics, copied at the start, are its own too.
    """

    def __init__(self, encoder: ResNet, projector: nn.Module) -> None:
        super().__init__()
        self.encoder, self.projector = copy.deepcopy(encoder), copy.deepcopy(projector)
        self.requires_grad_(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Project images `(b, 3, S, S)` to `(b, d)`."""
        projected: Tensor = self.projector(self.encoder(images))
        return projected

    @torch.no_grad()
    def both(self, v1: Tensor, v2: Tensor) -> tuple[Tensor, Tensor]:
        """Project two views as the trained networks do: the encoder sees them as one batch, the projector apart."""
        h1, h2 = self.encoder(torch.cat([v1, v2])).chunk(2)
        return self.projector(h1), self.projector(h2)

    @torch.no_grad()
    def follow(self, encoder: ResNet, projector: nn.Module, momentum: float) -> None:
        """Move each parameter to momentum x itself + (1 - momentum) x the trained one."""
        trained: list[Tensor] = [*encoder.parameters(), *projector.parameters()]
        mine: list[Tensor] = [*self.encoder.parameters(), *self.projector.parameters()]
        torch._foreach_lerp_(mine, trained, 1 - momentum)
