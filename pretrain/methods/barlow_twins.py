"""Barlow Twins: the cross-correlation of the two views' embeddings should be the identity."""

from lightly.models.modules.heads import BarlowTwinsProjectionHead
from torch import Tensor

from pretrain.methods.method import Embedded, Method
from pretrain.noise import RowsOfNoise

EPSILON = 1e-5
"""Added to variances, as the batch norm of the authors' code does."""


class BarlowTwins(Method):
    """Sum of (1 - C_ii)^2 plus off_diagonal times the sum of C_ij^2 (Zbontar et al. 2021, arXiv 2103.03230, eq. 1, 2).

    C is the correlation over the joint batch of all processes; both means and variances are taken over it too, where
    the authors' code and lightly's standardise the rows of each process by themselves.
    """

    separable = False

    def __init__(
        self, feature_dim: int, hidden_dim: int = 8192, output_dim: int = 8192, off_diagonal: float = 0.0051
    ) -> None:
        super().__init__()
        self.off_diagonal = off_diagonal
        self.projector = BarlowTwinsProjectionHead(feature_dim, hidden_dim, output_dim)

    def embed(self, h1: Tensor, h2: Tensor, v1: Tensor, v2: Tensor, noise: RowsOfNoise) -> Embedded:
        """Return the projections z1, z2 `(b, output_dim)`."""
        return {"z1": self.projector(h1), "z2": self.projector(h2)}

    def loss(self, embedded: Embedded) -> Tensor:
        """Return the loss of a batch."""
        correlation = _standardised(embedded["z1"]).T @ _standardised(embedded["z2"]) / len(embedded["z1"])
        diagonal = correlation.diagonal()
        on, off = (1 - diagonal).square().sum(), correlation.square().sum() - diagonal.square().sum()
        return on + self.off_diagonal * off


def _standardised(z: Tensor) -> Tensor:
    return (z - z.mean(dim=0)) / (z.var(dim=0, unbiased=False) + EPSILON).sqrt()
