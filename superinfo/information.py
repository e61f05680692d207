"""The bounds of the objective, as functions of tensors, in nats."""

import math

from torch import Tensor


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL( N(mean, exp(log_variance)) || N(0, I) ), per row.

    `mean` and `log_variance` are `(B, D)`; returns `(B,)`, in nats, summed over D. Its average over images bounds
    I(v; h) from above for h drawn from that Gaussian (Alemi et al. 2017, arXiv 1612.00410, eq. 14).
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1)


def gaussian_nll(target: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """-log N(target; mean, exp(log_variance)), per row, with the half log 2 pi sigma squared.

    `target` and `mean` are `(B, ...)`, `log_variance` broadcasts to them; returns `(B,)`, in nats, summed over
    the rest. H(target) minus its average bounds I(target; h) from below when `mean` reads h (Barber and Agakov 2003).
    """
    nll = 0.5 * ((target - mean).square() * (-log_variance).exp() + log_variance + math.log(2 * math.pi))
    return nll.flatten(start_dim=1).sum(dim=1)


def gaussian_kl(mean: Tensor, log_variance: Tensor, other_mean: Tensor, other_log_variance: Tensor) -> Tensor:
    """KL( N(mean, exp(log_variance)) || N(other_mean, exp(other_log_variance)) ), diagonal, per row.

    All are `(B, D)`; returns `(B,)`, in nats, summed over D.
    """
    ratio = (log_variance - other_log_variance).exp()
    distance = (mean - other_mean).square() * (-other_log_variance).exp()
    return 0.5 * (ratio + distance - 1 + other_log_variance - log_variance).sum(dim=1)
