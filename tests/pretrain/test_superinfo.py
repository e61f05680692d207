"""The SuperInfo term against its definition, and its neutrality at zero."""

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pretrain.methods.simclr import SimCLR
from pretrain.model import Pretraining
from pretrain.terms import SuperInfo, Term
from superinfo.artifacts import EncoderSpec
from superinfo.encoders import build_encoder

LOG_VARIANCE = -2.0


def definition(term: SuperInfo, mu: list[Tensor], views: list[Tensor], samples: list[Tensor]) -> tuple[Tensor, Tensor]:
    """KL and NLL of both views, element by element, as the objective defines them."""
    kls, nlls = [], []
    for i in (0, 1):
        kl = nll = torch.zeros((), dtype=torch.float64)
        for row in mu[i]:
            for m in row:
                kl = kl + 0.5 * (m * m + math.exp(LOG_VARIANCE) - 1 - LOG_VARIANCE)
        other = F.adaptive_avg_pool2d(views[1 - i], 16)
        log_variance = term.decoder.log_variance
        for target, mean in zip(other.flatten(), term.decoder(samples[i], 16).flatten(), strict=True):
            squares = (target - mean) ** 2 / log_variance.exp()
            nll = nll + 0.5 * (squares + log_variance + math.log(2 * math.pi))
        kls.append(kl / len(mu[i]))
        nlls.append(nll / len(mu[i]))
    return torch.stack(kls), torch.stack(nlls)


def test_loss_equals_the_definition() -> None:
    torch.manual_seed(0)
    compression, prediction = (0.3, 0.7), (0.02, 0.05)
    term = SuperInfo(6, compression, prediction, log_variance=LOG_VARIANCE, decoder_channels=8).double()
    term.decoder.log_variance.data.fill_(0.4)
    mu = [torch.randn(2, 6, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    views = [torch.randn(2, 3, 32, 32, dtype=torch.float64) for _ in range(2)]
    features = term(*mu, *views, torch.Generator().manual_seed(5))
    noise = torch.Generator().manual_seed(5)
    samples = [m + math.exp(LOG_VARIANCE / 2) * torch.randn(m.shape, generator=noise, dtype=torch.float64) for m in mu]
    torch.testing.assert_close(features.h1, samples[0])
    torch.testing.assert_close(features.h2, samples[1])
    kl, nll = definition(term, mu, views, samples)
    expected = torch.tensor(compression, dtype=torch.float64) @ kl + torch.tensor(prediction, dtype=torch.float64) @ nll
    assert features.loss.item() == pytest.approx(expected.item(), abs=1e-10)
    for gradient, wanted in zip(torch.autograd.grad(features.loss, mu), torch.autograd.grad(expected, mu), strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=0, atol=1e-10)
    assert [features.parts[name].item() for name in ("kl1", "kl2", "nll1", "nll2")] == pytest.approx(
        [*kl.tolist(), *nll.tolist()], abs=1e-10
    )


def test_each_coefficient_weighs_its_own_part() -> None:
    names = ("kl1", "kl2", "nll1", "nll2")
    mu1, mu2 = torch.randn(2, 4, 6)
    v1, v2 = torch.randn(2, 4, 3, 16, 16)
    for i, name in enumerate(names):
        coefficients = [0.0] * 4
        coefficients[i] = 2.5
        torch.manual_seed(0)
        term = SuperInfo(6, (coefficients[0], coefficients[1]), (coefficients[2], coefficients[3]))
        features = term(mu1, mu2, v1, v2, torch.Generator().manual_seed(1))
        assert features.loss.item() == pytest.approx(2.5 * features.parts[name].item(), rel=1e-6)


def test_learned_variance_starts_at_its_bias_and_stays_within_its_range() -> None:
    term = SuperInfo(6, (1.0, 1.0), (0.0, 0.0), learned_variance=True)
    assert term.to_log_variance is not None
    mu = torch.randn(3, 6)
    torch.testing.assert_close(term._log_variance(mu), torch.full_like(mu, -4.0))
    term.to_log_variance.bias.data.copy_(torch.tensor([-50.0, -8, -4, 0, 4, 50]))
    torch.testing.assert_close(term._log_variance(mu)[0], torch.tensor([-8.0, -8, -4, 0, 4, 4]))


def test_negative_coefficients_are_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        SuperInfo(6, (-0.1, 0.0), (0.0, 0.0))


@pytest.mark.parametrize("learned", [False, True])
def test_zero_coefficients_leave_plain_simclr_to_the_bit(learned: bool) -> None:
    """Loss, gradients, and weights after three optimiser steps: equal bits, not close ones."""
    plain, zero = _model(None), _model(SuperInfo(64, (0.0, 0.0), (0.0, 0.0), learned_variance=learned))
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9) for model in (plain, zero)]
    data = torch.Generator().manual_seed(3)
    for step in range(3):
        v1, v2 = torch.randn(2, 6, 3, 32, 32, generator=data)
        losses = [model(v1, v2, torch.Generator().manual_seed(step)).total for model in (plain, zero)]
        assert torch.equal(*losses)
        for optimizer, loss in zip(optimizers, losses, strict=True):
            optimizer.zero_grad()
            loss.backward()
        for name, parameter in itertools.chain(plain.encoder.named_parameters(), plain.method.named_parameters()):
            twin = dict(itertools.chain(zero.encoder.named_parameters(), zero.method.named_parameters()))[name]
            assert parameter.grad is not None
            assert twin.grad is not None
            assert torch.equal(parameter.grad, twin.grad), name
        for optimizer in optimizers:
            optimizer.step()
    for key, tensor in plain.encoder.state_dict().items():
        assert torch.equal(tensor, zero.encoder.state_dict()[key]), key


def test_any_coefficient_changes_what_simclr_computes() -> None:
    v1, v2 = torch.randn(2, 6, 3, 32, 32)
    plain = _model(None)(v1, v2, torch.Generator()).total
    weighed = _model(SuperInfo(64, (1e-3, 0.0), (0.0, 0.0)))(v1, v2, torch.Generator()).total
    assert not torch.equal(plain, weighed)


def _model(term: Term | None) -> Pretraining:
    torch.manual_seed(0)
    encoder = build_encoder(EncoderSpec(arch="resnet18", stem="small", width=0.125))
    return Pretraining(encoder, SimCLR(encoder.feature_dim, 32, 16), term or Term())
