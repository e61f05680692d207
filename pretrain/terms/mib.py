"""MIB: a stochastic encoder whose posteriors agree in both views."""

from typing import Literal

from torch import Tensor

from pretrain.noise import RowsOfNoise
from pretrain.terms.posterior import Posterior, sample
from pretrain.terms.term import EncodedView, Features, Term
from superinfo.information import gaussian_kl


class MIB(Term):
    """weight x the divergence of p(h1|v1) from p(h2|v2); the base reads one sample of each.

    `skl`: the symmetrised KL in nats, (KL(p1||p2) + KL(p2||p1)) / 2, which bounds the mean of both views' superfluous
    information from above (Federici et al. 2020, arXiv 2002.07017), as its authors define it. `mse`: the mean over
    dimensions of (mu1 - mu2)^2, as the public code of Wang et al. 2022 (InfoCL) has it, weight 5e-4, sigma 0.1; with a
    fixed variance that is the same but for a factor D / (2 sigma^2).
    """

    def __init__(
        self,
        feature_dim: int,
        weight: float,
        *,
        divergence: Literal["skl", "mse"] = "skl",
        learned_variance: bool = False,
        log_variance: float = -4.605,
        warmup_epochs: float = 0.0,
    ) -> None:
        super().__init__({"mib": weight}, warmup_epochs)
        self.divergence = divergence
        self.posterior = Posterior(feature_dim, log_variance, learned_variance)

    def forward(self, view1: EncodedView, view2: EncodedView, noise: RowsOfNoise) -> Features:
        """Return one sample of each posterior, and each image's divergence."""
        mu1, mu2 = view1.mu, view2.mu
        log_variance1, log_variance2 = (self.posterior.log_variance(mu) for mu in (mu1, mu2))
        h1 = sample(mu1, log_variance1, noise.normal("h1", mu1))
        h2 = sample(mu2, log_variance2, noise.normal("h2", mu2))
        return Features(h1, h2, {"mib": self._divergence(mu1, log_variance1, mu2, log_variance2)})

    def _divergence(self, mu1: Tensor, log_variance1: Tensor, mu2: Tensor, log_variance2: Tensor) -> Tensor:
        if self.divergence == "mse":
            return (mu1 - mu2).square().mean(dim=1)
        there = gaussian_kl(mu1, log_variance1, mu2, log_variance2)
        return 0.5 * (there + gaussian_kl(mu2, log_variance2, mu1, log_variance1))
