"""SimCLR: two views of an image attract, all other views of the batch repel."""

from lightly.loss import NTXentLoss
from lightly.models.modules.heads import SimCLRProjectionHead
from torch import Tensor

from pretrain.methods.method import Embedded, Method
from pretrain.noise import RowsOfNoise


class SimCLR(Method):
    """NT-Xent on a two-layer projection (Chen et al. 2020, arXiv 2002.05709, eq. 1), by lightly.

    The loss is in nats, the mean over the 2B views of the joint batch of all processes.
    """

    separable = False

    def __init__(
        self,
        feature_dim: int,
        hidden_dim: int = 2048,
        output_dim: int = 128,
        temperature: float = 0.5,
        projector_norm: bool = True,
    ) -> None:
        super().__init__()
        self.projector = SimCLRProjectionHead(feature_dim, hidden_dim, output_dim, batch_norm=projector_norm)
        self.contrast = NTXentLoss(temperature)

    def embed(self, h1: Tensor, h2: Tensor, v1: Tensor, v2: Tensor, noise: RowsOfNoise) -> Embedded:
        """Return the projections z1, z2 `(b, output_dim)`."""
        return {"z1": self.projector(h1), "z2": self.projector(h2)}

    def loss(self, embedded: Embedded) -> Tensor:
        """Return NT-Xent of a batch."""
        return self.contrast(embedded["z1"], embedded["z2"])  # type: ignore[no-any-return]
