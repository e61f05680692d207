"""Decoders from features to small images."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

POOLED_SIZE = 16


def pool_view(view: Tensor) -> Tensor:
    """Return g(v): normalised views `(B, 3, S, S)` averaged down to `(B, 3, s, s)`, s = min(S, 16)."""
    return F.adaptive_avg_pool2d(view, min(view.shape[-1], POOLED_SIZE))


class Decoder(nn.Module):
    """Features `(B, D)` to the mean of q(g(v)|h), `(B, 3, s, s)`, with one learned scalar log-variance.

    It works at 4, 8 and 16 px whatever the view's size, so that its cost does not grow with it.
    """

    def __init__(self, feature_dim: int, channels: int) -> None:
        super().__init__()
        self.seed = nn.Linear(feature_dim, channels * 4 * 4)
        self.widen = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.paint = nn.Conv2d(channels, 3, 3, padding=1)
        self.log_variance = nn.Parameter(torch.zeros(()))

    def forward(self, features: Tensor, size: int) -> Tensor:
        """Decode to `size` pixels a side."""
        x = F.relu(self.seed(features).unflatten(1, (-1, 4, 4)))
        for convolution in self.widen:
            x = F.relu(convolution(F.interpolate(x, scale_factor=2.0, mode="nearest")))
        return F.interpolate(self.paint(x), size=size, mode="bilinear") if size != POOLED_SIZE else self.paint(x)
