"""BYOL: predict a momentum target's projection of the other view."""

import torch
from lightly.models.modules.heads import BYOLPredictionHead, BYOLProjectionHead
from torch import Tensor
from torch.nn import functional as F

from pretrain.methods.method import Embedded, Method
from pretrain.methods.momentum import Target
from pretrain.noise import RowsOfNoise
from pretrain.schedule import Moment, rising_momentum
from superinfo.encoders import ResNet


class BYOL(Method):
    """Squared distance of unit vectors, both directions added (Grill et al. 2020, arXiv 2006.07733, eq. 2): in [0, 8].

    The target's momentum rises from `momentum` to 1 by half a cosine, step by step. Images meet in batch norm alone.
    """

    separable = True

    def __init__(
        self,
        encoder: ResNet,
        hidden_dim: int = 4096,
        output_dim: int = 256,
        prediction_dim: int = 4096,
        momentum: float = 0.996,
    ) -> None:
        super().__init__()
        self.momentum = momentum
        self.projector = BYOLProjectionHead(encoder.feature_dim, hidden_dim, output_dim)
        self.predictor = BYOLPredictionHead(output_dim, prediction_dim, output_dim)
        self.target = Target(encoder, self.projector)

    def embed(self, h1: Tensor, h2: Tensor, v1: Tensor, v2: Tensor, noise: RowsOfNoise) -> Embedded:
        """Return predictions p1, p2 and targets t1, t2 `(b, output_dim)`; no gradient reaches the targets."""
        p1, p2 = (self.predictor(self.projector(h)) for h in (h1, h2))
        t1, t2 = self.target.both(v1, v2)
        return {"p1": p1, "p2": p2, "t1": t1, "t2": t2}

    def loss(self, embedded: Embedded) -> Tensor:
        """Return the mean over images of both directions' distances."""
        one = F.cosine_similarity(embedded["p1"], embedded["t2"], dim=1)
        two = F.cosine_similarity(embedded["p2"], embedded["t1"], dim=1)
        return (4 - 2 * one - 2 * two).mean()

    @torch.no_grad()
    def after_step(self, encoder: ResNet, embedded: Embedded, moment: Moment) -> None:
        """Let the target follow."""
        self.target.follow(encoder, self.projector, rising_momentum(self.momentum, moment))
