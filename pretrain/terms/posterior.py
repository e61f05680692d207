"""A Gaussian around the backbone's output."""

import torch
from torch import Tensor, nn

LOG_VARIANCE_RANGE = (-8.0, 4.0)


class Posterior(nn.Module):
    """p(h|v) = N(mu, sigma^2), mu the backbone's output: the log-variance is fixed, or linear in mu and clamped.

    Where it is learned, it starts at `log_variance` for every image.
    """

    def __init__(self, feature_dim: int, log_variance: float, learned: bool) -> None:
        super().__init__()
        self.fixed = log_variance
        self.learned = nn.Linear(feature_dim, feature_dim) if learned else None
        if self.learned is not None:
            nn.init.zeros_(self.learned.weight)
            nn.init.constant_(self.learned.bias, log_variance)

    def log_variance(self, mu: Tensor) -> Tensor:
        """Return log sigma^2, `(b, D)` as `mu`."""
        if self.learned is None:
            return torch.full_like(mu, self.fixed)
        log_variance: Tensor = self.learned(mu).to(mu.dtype)  # autocast computes it in less
        return log_variance.clamp(*LOG_VARIANCE_RANGE)


def sample(mu: Tensor, log_variance: Tensor, epsilon: Tensor) -> Tensor:
    """Return mu + sigma epsilon, all `(b, D)`."""
    return mu + (0.5 * log_variance).exp() * epsilon
