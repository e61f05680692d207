"""The bounds in nats, against torch.distributions and against their definitions, element by element."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from superinfo.information import gaussian_kl, gaussian_nll, info_nce, isotropic_kl, kl_to_standard_normal


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (4, 128)])
def test_kl_is_that_of_torch_distributions(shape: tuple[int, int]) -> None:
    mean, log_variance = 3 * draw(*shape), draw(*shape, 2)[..., 0]
    posterior = Independent(Normal(mean, (log_variance / 2).exp()), 1)
    prior = Independent(Normal(torch.zeros_like(mean), torch.ones_like(mean)), 1)
    found = kl_to_standard_normal(mean, log_variance)
    assert found.shape == shape[:1]
    torch.testing.assert_close(found, kl_divergence(posterior, prior), rtol=0, atol=1e-10)


def test_kl_is_the_expected_log_ratio_of_the_densities() -> None:
    mean, log_variance = 1.5, -0.7
    sigma = math.exp(log_variance / 2)
    step = 0.01
    total = 0.0
    for k in range(-1000, 1000):  # ten sigma to both sides
        x = mean + k * step * sigma
        log_p = -((x - mean) ** 2) / (2 * sigma**2) - math.log(sigma) - 0.5 * math.log(2 * math.pi)
        log_r = -(x**2) / 2 - 0.5 * math.log(2 * math.pi)
        total += math.exp(log_p) * (log_p - log_r) * step * sigma
    found = kl_to_standard_normal(*(torch.tensor([[value]], dtype=torch.float64) for value in (mean, log_variance)))
    assert found.item() == pytest.approx(total, abs=1e-10)


def test_kl_is_zero_for_the_prior_itself_and_positive_elsewhere() -> None:
    zeros = torch.zeros(2, 7)
    assert torch.equal(kl_to_standard_normal(zeros, zeros), torch.zeros(2))
    assert (kl_to_standard_normal(draw(50, 4), draw(50, 4)) > 0).all()


@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (4, 128)])
def test_kl_of_two_gaussians_is_that_of_torch_distributions(shape: tuple[int, int]) -> None:
    mean, log_variance, other_mean, other_log_variance = draw(4, *shape)
    one = Independent(Normal(mean, (log_variance / 2).exp()), 1)
    two = Independent(Normal(other_mean, (other_log_variance / 2).exp()), 1)
    found = gaussian_kl(mean, log_variance, other_mean, other_log_variance)
    assert found.shape == shape[:1]
    torch.testing.assert_close(found, kl_divergence(one, two), rtol=1e-12, atol=1e-10)


def test_kl_of_two_gaussians_is_zero_where_they_agree_and_that_to_the_prior_where_one_is_the_prior() -> None:
    mean, log_variance = draw(2, 6, 5)
    zeros = torch.zeros_like(mean)
    assert torch.equal(gaussian_kl(mean, log_variance, mean, log_variance), zeros[:, 0])
    to_prior = gaussian_kl(mean, log_variance, zeros, zeros)
    torch.testing.assert_close(to_prior, kl_to_standard_normal(mean, log_variance), rtol=0, atol=1e-10)
    assert (gaussian_kl(zeros, zeros, mean, log_variance) - to_prior).abs().min() > 1e-3


@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (4, 3, 8, 8)])
def test_nll_is_minus_the_log_density_of_torch_distributions(shape: tuple[int, ...]) -> None:
    target, mean, log_variance = draw(3, *shape)
    log_density: Tensor = Normal(mean, (log_variance / 2).exp()).log_prob(target)  # type: ignore[no-untyped-call]
    expected = -log_density.reshape(shape[0], -1).sum(dim=1)
    found = gaussian_nll(target, mean, log_variance)
    assert found.shape == shape[:1]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_nll_with_one_variance_for_all_is_the_sum_over_elements() -> None:
    target, mean = draw(2, 2, 3, 4, 4)
    log_variance = torch.tensor(-1.3, dtype=torch.float64)
    for row, found in enumerate(gaussian_nll(target, mean, log_variance)):
        expected = 0.0
        for x, m in zip(target[row].flatten().tolist(), mean[row].flatten().tolist(), strict=True):
            density = math.exp(-((x - m) ** 2) / (2 * math.exp(-1.3))) / math.sqrt(2 * math.pi * math.exp(-1.3))
            expected -= math.log(density)
        assert found.item() == pytest.approx(expected, abs=1e-10)


def test_images_of_a_batch_do_not_mix() -> None:
    a, b = draw(2, 6, 5)
    for bound in (kl_to_standard_normal(a, b), gaussian_nll(a, b, b)):
        assert bound.shape == (6,)
    torch.testing.assert_close(
        kl_to_standard_normal(a, b), torch.cat([kl_to_standard_normal(a[i : i + 1], b[i : i + 1]) for i in range(6)])
    )
    torch.testing.assert_close(
        gaussian_kl(a, b, b, a), torch.cat([gaussian_kl(*(x[i : i + 1] for x in (a, b, b, a))) for i in range(6)])
    )
    torch.testing.assert_close(
        gaussian_nll(a, b, b), torch.cat([gaussian_nll(a[i : i + 1], b[i : i + 1], b[i : i + 1]) for i in range(6)])
    )


def test_gradients_are_those_of_the_formulas() -> None:
    a, b, c = (draw(3, 4, k)[..., 0].requires_grad_() for k in (1, 2, 3))
    scalar = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(kl_to_standard_normal, (a, b))
    assert torch.autograd.gradcheck(gaussian_nll, (a, b, c))
    assert torch.autograd.gradcheck(gaussian_nll, (a, b, scalar))
    d = draw(3, 4).requires_grad_()
    assert torch.autograd.gradcheck(gaussian_kl, (a, b, c, d))


def test_the_best_single_variance_is_the_mean_square_error() -> None:
    target, mean = draw(2, 8, 20)
    error = (target - mean).square().mean()
    log_variance = error.log().requires_grad_()
    (gradient,) = torch.autograd.grad(gaussian_nll(target, mean, log_variance).sum(), log_variance)
    assert abs(gradient.item()) < 1e-10


@pytest.mark.parametrize("dimension", [1, 3, 20])
def test_isotropic_kl_is_that_of_torch_distributions(dimension: int) -> None:
    mean, other = draw(2, 6, dimension)
    spread = draw(dimension, dimension)
    covariance = spread @ spread.T + 0.1 * torch.eye(dimension, dtype=torch.float64)
    posterior = MultivariateNormal(mean, 0.3 * torch.eye(dimension, dtype=torch.float64))
    expected = kl_divergence(posterior, MultivariateNormal(other, covariance))
    torch.testing.assert_close(isotropic_kl(mean, 0.3, other, covariance), expected, rtol=1e-9, atol=1e-9)
    to_one = isotropic_kl(mean, 0.3, other[:1], covariance)
    expected = kl_divergence(posterior, MultivariateNormal(other[:1].expand(6, -1), covariance))
    torch.testing.assert_close(to_one, expected, rtol=1e-9, atol=1e-9)


def test_isotropic_kl_is_the_diagonal_one_where_the_covariance_is_diagonal() -> None:
    mean, other, log_variance = draw(5, 4), draw(5, 4, 2)[..., 0], draw(4, 3)[:, 0]
    found = isotropic_kl(mean, 0.5, other, log_variance.exp().diag())
    expected = gaussian_kl(mean, torch.full_like(mean, math.log(0.5)), other, log_variance.expand(5, -1))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_info_nce_is_the_log_of_the_right_ones_share_against_chance() -> None:
    scores = draw(3, 7, 7)
    found = info_nce(scores)
    assert found.shape == (3, 7)
    for group in range(3):
        for row in range(7):
            every = [math.exp(value) for value in scores[group, row].tolist()]
            expected = math.log(every[row] / (sum(every) / 7))
            assert found[group, row].item() == pytest.approx(expected, abs=1e-12)


def test_info_nce_is_zero_of_a_critic_that_sees_nothing_and_at_most_the_log_of_the_pairs() -> None:
    assert info_nce(torch.zeros(5, 5)).abs().max() < 1e-6
    assert info_nce(1000 * torch.eye(5)).max() <= math.log(5) + 1e-6
