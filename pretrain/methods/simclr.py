"""SimCLR: two views of an image attract, all other views of the batch repel."""

from lightly.loss import NTXentLoss
from lightly.models.modules.heads import SimCLRProjectionHead
from torch import Tensor, nn


class SimCLR(nn.Module):
    """NT-Xent on a two-layer projection (Chen et al. 2020, arXiv 2002.05709, eq. 1), by lightly.

    Features h1, h2 `(B, D)` of the two views -> scalar loss, in nats, mean over the 2B views. In more than one
    process, negatives come from all of them, with gradient.
    """

    def __init__(
        self, feature_dim: int, hidden_dim: int = 2048, output_dim: int = 128, temperature: float = 0.5
    ) -> None:
        super().__init__()
        self.projector = SimCLRProjectionHead(feature_dim, hidden_dim, output_dim)
        self.contrast = NTXentLoss(temperature, gather_distributed=True)

    def forward(self, h1: Tensor, h2: Tensor) -> Tensor:
        """Return the loss of a batch."""
        return self.contrast(self.projector(h1), self.projector(h2))  # type: ignore[no-any-return]
