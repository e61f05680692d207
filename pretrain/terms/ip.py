"""IP: features that are alike in both views."""

from pretrain.noise import RowsOfNoise
from pretrain.terms.term import EncodedView, Features, Term


class IP(Term):
    """weight x MSE(h1, h2), mean over dimensions.

    A baseline in the public code (InfoCL) of Wang et al. 2022 (arXiv 2203.07004), with weight 5e-4: it takes away what
    the views do not share. h is the backbone's output, without noise.
    """

    def __init__(self, weight: float, *, warmup_epochs: float = 0.0) -> None:
        super().__init__({"ip": weight}, warmup_epochs)

    def forward(self, view1: EncodedView, view2: EncodedView, noise: RowsOfNoise) -> Features:
        """Return the features and each image's squared difference."""
        return Features(view1.mu, view2.mu, {"ip": (view1.mu - view2.mu).square().mean(dim=1)})
