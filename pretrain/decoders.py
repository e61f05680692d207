"""Decoders from features to small images."""

from torch import Tensor, nn
from torch.nn import functional as F

POOLED_SIZE = 16


def pool_view(view: Tensor, size: int = POOLED_SIZE) -> Tensor:
    """Return g(v): normalised views `(B, 3, S, S)` averaged down to `(B, 3, s, s)`, s = min(S, size)."""
    return F.adaptive_avg_pool2d(view, min(view.shape[-1], size))


class Decoder(nn.Module):
    """Features `(B, D)` to an image `(B, 3, s, s)`.

    It works at 4 px, then doubles up to `size`, a power of 2, whatever the view's size, so that its cost does not grow
    with it.
    """

    def __init__(self, feature_dim: int, channels: int, size: int = POOLED_SIZE) -> None:
        super().__init__()
        self.size = size
        self.seed = nn.Linear(feature_dim, channels * 4 * 4)
        doublings = (size // 4).bit_length() - 1
        self.widen = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(doublings))
        self.paint = nn.Conv2d(channels, 3, 3, padding=1)

    def forward(self, features: Tensor, size: int) -> Tensor:
        """Decode to `size` pixels a side, at most the decoder's own, in the precision of the features."""
        x = F.relu(self.seed(features).unflatten(1, (-1, 4, 4)))
        for convolution in self.widen:
            x = F.relu(convolution(F.interpolate(x, scale_factor=2.0, mode="nearest")))
        painted: Tensor = self.paint(x).to(features.dtype)  # autocast computes it in less
        return painted if size == self.size else F.adaptive_avg_pool2d(painted, size)
