"""The SuperInfo term: compress what h keeps of its own view, keep what predicts the other."""

import torch
from torch import Tensor, nn

from pretrain.decoders import Decoder, pool_view
from pretrain.noise import RowsOfNoise
from pretrain.terms.posterior import Posterior, sample
from pretrain.terms.term import EncodedView, Features, Term
from superinfo.information import gaussian_nll, kl_to_standard_normal


class SuperInfo(Term):
    """c1 KL(h1|v1) + c2 KL(h2|v2) + p1 NLL(v2|h1) + p2 NLL(v1|h2), in nats per image.

    Minimising J's penalty a I(v1;h1|v2) = a (I(v1;h1) - I(v2;h1)) by bounds: the KL of the posterior N(mu, sigma^2)
    from N(0, I) bounds I(v1;h1) from above, and minus the NLL of the other view, pooled, under a Gaussian decoder
    bounds I(v2;h1) from below up to the entropy of the pooled view, which is constant. mu is the backbone's output.
    With c = p = a the sum bounds the penalty; p > c rewards what the views share, c > p removes some of it too.

    J is the objective of *Leveraging Superfluous Information in Contrastive Representation Learning*
    (arXiv 2408.10292) as its abstract and public summary give it. That the penalty acts on the pooled backbone
    output h, the coefficients and the decoder are this project's choice, not the paper's.

    If any coefficient is non-zero, base and decoder read one sample of h, otherwise mu: with all at zero, loss and
    gradients of encoder and projector are the base's to the bit (gradient clipping apart, which adds up all norms).
    """

    def __init__(
        self,
        feature_dim: int,
        compression: tuple[float, float],
        prediction: tuple[float, float],
        *,
        learned_variance: bool = False,
        log_variance: float = -4.0,
        decoder_channels: int = 64,
        warmup_epochs: float = 0.0,
    ) -> None:
        """Coefficients are (c1, c2) and (p1, p2). Raises ValueError if one is negative."""
        (c1, c2), (p1, p2) = compression, prediction
        super().__init__({"kl1": c1, "kl2": c2, "nll1": p1, "nll2": p2}, warmup_epochs)
        self.posterior = Posterior(feature_dim, log_variance, learned_variance)
        self.decoder = Decoder(feature_dim, decoder_channels)
        self.pixel_log_variance = nn.Parameter(torch.zeros(()))
        """Of the decoder's Gaussian, the same for every pixel."""

    def forward(self, view1: EncodedView, view2: EncodedView, noise: RowsOfNoise) -> Features:
        """Return the samples that base and decoder read, and each image's KL and NLL."""
        h1, kl1 = self._compress(view1.mu, noise, "h1")
        h2, kl2 = self._compress(view2.mu, noise, "h2")
        nll1, nll2 = self._nll(h1, view2.images), self._nll(h2, view1.images)
        return Features(h1, h2, {"kl1": kl1, "kl2": kl2, "nll1": nll1, "nll2": nll2})

    def _compress(self, mu: Tensor, noise: RowsOfNoise, name: str) -> tuple[Tensor, Tensor]:
        log_variance = self.posterior.log_variance(mu)
        h = sample(mu, log_variance, noise.normal(name, mu)) if any(self.weights.values()) else mu
        return h, kl_to_standard_normal(mu, log_variance)

    def _nll(self, h: Tensor, other_view: Tensor) -> Tensor:
        target = pool_view(other_view, self.decoder.size)
        return gaussian_nll(target, self.decoder(h, target.shape[-1]), self.pixel_log_variance)
