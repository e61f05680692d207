"""RC: features from which one's own view can be reconstructed."""

from torch import Tensor

from pretrain.decoders import Decoder, pool_view
from pretrain.noise import RowsOfNoise
from pretrain.terms.term import EncodedView, Features, Term


class RC(Term):
    """weight x (MSE(d(h1), v1) + MSE(d(h2), v2)): raises I(v;h) by reconstruction.

    From Wang et al. 2022, *Rethinking Minimal Sufficient Representation in Contrastive Learning* (arXiv 2203.07004),
    with the weights of its public code (InfoCL): 1 on SimCLR and Barlow Twins (0.1 on ImageNet), 0.1 on BYOL. MSE is
    the mean over pixels and channels. The decoder paints 32 px, all of a CIFAR view; larger views are pooled to that.
    h is the backbone's output, without noise. The decoder is this project's: that code's has transposed convolutions
    and batch norm, and paints 224 px on ImageNet.
    """

    def __init__(
        self,
        feature_dim: int,
        weight: float,
        *,
        size: int = 32,
        decoder_channels: int = 64,
        warmup_epochs: float = 0.0,
    ) -> None:
        super().__init__({"rc1": weight, "rc2": weight}, warmup_epochs)
        self.decoder = Decoder(feature_dim, decoder_channels, size)

    def forward(self, view1: EncodedView, view2: EncodedView, noise: RowsOfNoise) -> Features:
        """Return the features and each image's squared error, mean over what was painted."""
        measured = {"rc1": self._error(view1), "rc2": self._error(view2)}
        return Features(view1.mu, view2.mu, measured)

    def _error(self, view: EncodedView) -> Tensor:
        target = pool_view(view.images, self.decoder.size)
        painted: Tensor = self.decoder(view.mu, target.shape[-1])
        return (painted - target).square().flatten(start_dim=1).mean(dim=1)
