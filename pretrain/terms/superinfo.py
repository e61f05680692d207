"""The SuperInfo term: compress what h keeps of its own view, keep what predicts the other."""

import torch
from torch import Tensor, nn

from pretrain.decoders import Decoder, pool_view
from pretrain.terms.term import Features, Term
from superinfo.information import gaussian_nll, kl_to_standard_normal

LOG_VARIANCE_RANGE = (-8.0, 4.0)


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
    gradients of encoder and projector are the base's to the bit.
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
    ) -> None:
        """Coefficients are (c1, c2) and (p1, p2). Raises ValueError if one is negative."""
        super().__init__()
        if min(*compression, *prediction) < 0:
            raise ValueError(f"coefficients must not be negative, got {compression} and {prediction}")
        self.compression, self.prediction = compression, prediction
        self.log_variance = log_variance
        self.to_log_variance = nn.Linear(feature_dim, feature_dim) if learned_variance else None
        if self.to_log_variance is not None:
            nn.init.zeros_(self.to_log_variance.weight)
            nn.init.constant_(self.to_log_variance.bias, log_variance)
        self.decoder = Decoder(feature_dim, decoder_channels)

    def forward(self, mu1: Tensor, mu2: Tensor, v1: Tensor, v2: Tensor, noise: torch.Generator) -> Features:
        """Return the samples that base and decoder read, and the weighted sum of KL and NLL (see `Term`)."""
        log_variance1, log_variance2 = self._log_variance(mu1), self._log_variance(mu2)
        h1, h2 = mu1, mu2
        if any((*self.compression, *self.prediction)):
            h1, h2 = _sample(mu1, log_variance1, noise), _sample(mu2, log_variance2, noise)
        kl1 = kl_to_standard_normal(mu1, log_variance1).mean()
        kl2 = kl_to_standard_normal(mu2, log_variance2).mean()
        nll1, nll2 = self._nll(h1, v2), self._nll(h2, v1)
        (c1, c2), (p1, p2) = self.compression, self.prediction
        loss = c1 * kl1 + c2 * kl2 + p1 * nll1 + p2 * nll2
        parts = {"kl1": kl1.detach(), "kl2": kl2.detach(), "nll1": nll1.detach(), "nll2": nll2.detach()}
        return Features(h1, h2, loss, parts)

    def _log_variance(self, mu: Tensor) -> Tensor:
        if self.to_log_variance is None:
            return torch.full_like(mu, self.log_variance)
        log_variance: Tensor = self.to_log_variance(mu)
        return log_variance.clamp(*LOG_VARIANCE_RANGE)

    def _nll(self, h: Tensor, other_view: Tensor) -> Tensor:
        target = pool_view(other_view)
        return gaussian_nll(target, self.decoder(h, target.shape[-1]), self.decoder.log_variance).mean()


def _sample(mu: Tensor, log_variance: Tensor, noise: torch.Generator) -> Tensor:
    epsilon = torch.randn(mu.shape, generator=noise, device=mu.device, dtype=mu.dtype)
    return mu + (0.5 * log_variance).exp() * epsilon
