"""The bounds of the objective, as functions of tensors, in nats."""

import math

import torch
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


def isotropic_kl(mean: Tensor, variance: float, other_mean: Tensor, other_covariance: Tensor) -> Tensor:
    """KL( N(mean, variance I) || N(other_mean, other_covariance) ), per row, the other with a full covariance.

    `mean` is `(B, D)`, `other_mean` broadcasts to it, `other_covariance` is `(D, D)`; returns `(B,)`, in nats. With the
    posterior p(h1|v1) first, its average over images bounds I(v1; h1) from above for any other Gaussian that is the
    same for all images, and I(v1; h1 | v2) for any that depends on v2 alone. Raises torch's LinAlgError if the
    covariance is not positive definite.
    """
    dimension = mean.shape[1]
    factor = torch.linalg.cholesky(other_covariance)
    trace = variance * torch.cholesky_inverse(factor).diagonal().sum()
    distance = torch.linalg.solve_triangular(factor, (mean - other_mean).T, upper=False).square().sum(dim=0)
    log_ratio = 2 * factor.diagonal().log().sum() - dimension * math.log(variance)
    nats: Tensor = 0.5 * (trace + distance - dimension + log_ratio)
    return nats


def info_nce(scores: Tensor) -> Tensor:
    """log N + log of the softmax that the right partner gets among N, per row.

    `scores` is `(..., N, N)`, a critic's value for each pair, the right ones on the diagonal; returns `(..., N)`, in
    nats, at most log N. Its average bounds the mutual information of the partners from below, whatever the critic
    (van den Oord et al. 2018, arXiv 1807.03748; Poole et al. 2019, arXiv 1905.06922, eq. 10).
    """
    right: Tensor = scores.log_softmax(dim=-1).diagonal(dim1=-2, dim2=-1)
    return math.log(scores.shape[-1]) + right
