"""The SuperInfo term against its definition, and its neutrality at zero."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pretrain.gradients import Gradients
from pretrain.model import Losses, Pretraining, build_model
from pretrain.noise import Noise
from pretrain.recipe import PretrainRecipe
from pretrain.schedule import Moment
from pretrain.terms import EncodedView, SuperInfo
from pretrain.terms.posterior import sample

LOG_VARIANCE = -2.0
PARTS = ("kl1", "kl2", "nll1", "nll2")
METHODS = {
    "simclr": {"hidden_dim": 32, "output_dim": 16},
    "moco": {"hidden_dim": 32, "output_dim": 16, "queue_length": 20, "norm_groups": 2},
    "byol": {"hidden_dim": 32, "output_dim": 16, "prediction_dim": 32},
    "barlow_twins": {"hidden_dim": 32, "output_dim": 16},
}


def definition(term: SuperInfo, mu: list[Tensor], views: list[Tensor], samples: list[Tensor]) -> tuple[Tensor, Tensor]:
    """KL and NLL of both views, element by element, as the objective defines them."""
    kls, nlls = [], []
    for i in (0, 1):
        kl = nll = torch.zeros((), dtype=torch.float64)
        for row in mu[i]:
            for m in row:
                kl = kl + 0.5 * (m * m + math.exp(LOG_VARIANCE) - 1 - LOG_VARIANCE)
        other = F.adaptive_avg_pool2d(views[1 - i], 16)
        log_variance = term.pixel_log_variance
        for target, mean in zip(other.flatten(), term.decoder(samples[i], 16).flatten(), strict=True):
            squares = (target - mean) ** 2 / log_variance.exp()
            nll = nll + 0.5 * (squares + log_variance + math.log(2 * math.pi))
        kls.append(kl / len(mu[i]))
        nlls.append(nll / len(mu[i]))
    return torch.stack(kls), torch.stack(nlls)


def encoded(*mu: Tensor, size: int = 16) -> list[EncodedView]:
    generator = torch.Generator().manual_seed(2)
    images = [torch.randn(len(m), 3, size, size, dtype=m.dtype, generator=generator) for m in mu]
    return [EncodedView(image, {"res5": m}) for image, m in zip(images, mu, strict=True)]


def test_loss_equals_the_definition() -> None:
    torch.manual_seed(0)
    compression, prediction = (0.3, 0.7), (0.02, 0.05)
    term = SuperInfo(6, compression, prediction, log_variance=LOG_VARIANCE, decoder_channels=8).double()
    term.pixel_log_variance.data.fill_(0.4)
    mu = [torch.randn(2, 6, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    view1, view2 = encoded(*mu, size=32)
    rows = Noise(0, 0, 2).rows(0, 2)
    features = term(view1, view2, rows)
    loss, parts = term.loss(features.measured)
    samples = [m + math.exp(LOG_VARIANCE / 2) * rows.normal(n, m) for n, m in zip(("h1", "h2"), mu, strict=True)]
    torch.testing.assert_close(features.h1, samples[0])
    torch.testing.assert_close(features.h2, samples[1])
    kl, nll = definition(term, mu, [view1.images, view2.images], samples)
    expected = torch.tensor(compression, dtype=torch.float64) @ kl + torch.tensor(prediction, dtype=torch.float64) @ nll
    assert loss.item() == pytest.approx(expected.item(), abs=1e-10)
    trained = [*mu, *term.parameters()]
    for gradient, wanted in zip(
        torch.autograd.grad(loss, trained), torch.autograd.grad(expected, trained), strict=True
    ):
        torch.testing.assert_close(gradient, wanted, rtol=0, atol=1e-10)
    assert [parts[name].item() for name in PARTS] == pytest.approx([*kl.tolist(), *nll.tolist()], abs=1e-10)


def test_each_coefficient_weighs_its_own_part() -> None:
    views = encoded(*torch.randn(2, 4, 6))
    for i, name in enumerate(PARTS):
        c1, c2, p1, p2 = (2.5 * (i == k) for k in range(4))
        torch.manual_seed(0)
        term = SuperInfo(6, (c1, c2), (p1, p2))
        loss, parts = term.loss(term(*views, Noise(0, 0, 4).rows(0, 4)).measured)
        assert len({value.item() for value in parts.values()}) == 4
        assert loss.item() == pytest.approx(2.5 * parts[name].item(), rel=1e-6)


def test_swapping_views_and_their_noise_swaps_the_parts() -> None:
    torch.manual_seed(0)
    term = SuperInfo(6, (1.0, 1.0), (1.0, 1.0), log_variance=-200.0).double()  # no noise to speak of
    view1, view2 = encoded(*torch.randn(2, 4, 6, dtype=torch.float64))
    _, parts = term.loss(term(view1, view2, Noise(0, 0, 4).rows(0, 4)).measured)
    _, swapped = term.loss(term(view2, view1, Noise(0, 0, 4).rows(0, 4)).measured)
    for one, two in (("kl1", "kl2"), ("nll1", "nll2")):
        assert (swapped[one].item(), swapped[two].item()) == pytest.approx((parts[two].item(), parts[one].item()))


def test_the_decoder_reads_the_sample_of_one_view_and_paints_the_other() -> None:
    """The NLL of view 2 moves with the noise of h1 and with the pixels of view 2, and with nothing else."""
    torch.manual_seed(0)
    term = SuperInfo(6, (0.0, 0.0), (1.0, 0.0), log_variance=0.0).double()
    view1, view2 = encoded(*torch.randn(2, 4, 6, dtype=torch.float64))
    noise = Noise(0, 0, 4).rows(0, 4)
    for view in (view1, view2):
        view.mu.requires_grad_()
        view.images.requires_grad_()
    nll = term(view1, view2, noise).measured["nll1"].sum()
    sources = [view1.mu, view2.images, view2.mu, view1.images]
    gradients = torch.autograd.grad(nll, sources, allow_unused=True)
    assert [g is not None and bool(g.any()) for g in gradients] == [True, True, False, False]
    other = term(view1, view2, Noise(0, 1, 4).rows(0, 4)).measured["nll1"].sum()
    assert not torch.isclose(other, nll)


def test_a_learned_variance_sets_the_sample_and_the_kl() -> None:
    torch.manual_seed(0)
    term = SuperInfo(6, (1.0, 0.0), (0.0, 0.0), learned_variance=True).double()
    learned = term.posterior.learned
    assert learned is not None
    learned.weight.data.normal_()
    view1, view2 = encoded(*torch.randn(2, 4, 6, dtype=torch.float64))
    rows = Noise(0, 0, 4).rows(0, 4)
    features = term(view1, view2, rows)
    log_variance = (view1.mu @ learned.weight.T + learned.bias).clamp(-8, 4)
    torch.testing.assert_close(features.h1, sample(view1.mu, log_variance, rows.normal("h1", view1.mu)))
    kl = 0.5 * (view1.mu**2 + log_variance.exp() - 1 - log_variance).sum(dim=1)
    torch.testing.assert_close(features.measured["kl1"], kl)


def test_negative_coefficients_are_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        SuperInfo(6, (-0.1, 0.0), (0.0, 0.0))


@pytest.mark.parametrize("variance", ["fixed", "learned"])
@pytest.mark.parametrize("method", METHODS)
def test_zero_coefficients_leave_the_base_to_the_bit(method: str, variance: str) -> None:
    """Loss, gradients, and weights after three optimiser steps: equal bits, not close ones."""
    plain, zero = _model(method), _model(method, (0.0, 0.0), (0.0, 0.0), variance)
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9) for model in (plain, zero)]
    for step in range(3):
        losses = [_learn(model, step) for model in (plain, zero)]
        assert torch.equal(losses[0].total, losses[1].total)
        assert torch.equal(losses[0].parts["base"], losses[1].parts["base"])
        shared = dict(zero.named_parameters())
        for name, parameter in plain.named_parameters():
            gradient = shared[name].grad
            assert (parameter.grad is None) == (gradient is None), name
            assert parameter.grad is None or gradient is None or torch.equal(parameter.grad, gradient), name
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    for key, tensor in plain.state_dict().items():
        assert torch.equal(tensor, zero.state_dict()[key]), key


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("place", range(4))
def test_any_coefficient_changes_what_the_base_computes(method: str, place: int) -> None:
    c1, c2, p1, p2 = (1e-3 * (place == k) for k in range(4))
    plain, weighed = _learn(_model(method), 0), _learn(_model(method, (c1, c2), (p1, p2)), 0)
    assert not torch.equal(plain.parts["base"], weighed.parts["base"])
    assert not torch.equal(weighed.total, weighed.parts["base"])


def _model(
    method: str,
    compression: tuple[float, float] | None = None,
    prediction: tuple[float, float] = (0.0, 0.0),
    variance: str = "fixed",
) -> Pretraining:
    term = {"kind": "superinfo", "compression": compression, "prediction": prediction, "variance": variance}
    recipe = {
        "name": "test",
        "data": {"kind": "scenes", "count": 6, "size": 16},
        "view_size": 16,
        "encoder": {"arch": "resnet18", "stem": "stl", "width": 0.125},
        "method": {"kind": method, **METHODS[method]},
        "term": {"kind": "none"} if compression is None else term,
        "optimizer": {"kind": "sgd", "lr": 0.1},
        "epochs": 1,
        "batch_size": 6,
    }
    return build_model(PretrainRecipe.parse(recipe, "test"), seed=0)


def _learn(model: Pretraining, step: int) -> Losses:
    """Add the gradient of a batch, and do what follows an optimiser's step but for the step."""
    v1, v2 = torch.randn(2, 6, 3, 16, 16, generator=torch.Generator().manual_seed(step))
    moment = Moment(step, steps_per_epoch=4, epochs=1)
    losses, embedded = Gradients(model, model, 6)(lambda chunk: (v1[chunk], v2[chunk]), 6, Noise(0, step, 6), moment)
    model.after_step(embedded, moment)
    return losses
