"""BYOL's loss against its formula and lightly's, and its target against its recurrence."""

import copy

import pytest
import torch
from lightly.loss import NegativeCosineSimilarity
from torch import Tensor

from pretrain.methods import BYOL
from pretrain.noise import Noise
from pretrain.schedule import Moment
from superinfo.artifacts import EncoderSpec
from superinfo.encoders import ResNet, build_encoder

NAMES = ("p1", "p2", "t1", "t2")


def distance(p: Tensor, t: Tensor) -> Tensor:
    """Grill et al. 2020, eq. 2, literally: the squared distance of unit vectors, mean over images."""
    losses = []
    for prediction, target in zip(p, t, strict=True):
        a, b = (row / (row * row).sum().sqrt() for row in (prediction, target))
        losses.append(((a - b) ** 2).sum())
    return torch.stack(losses).mean()


def byol(momentum: float = 0.996) -> tuple[ResNet, BYOL]:
    torch.manual_seed(0)
    encoder = build_encoder(EncoderSpec(arch="resnet18", stem="stl", width=0.125)).double()
    method = BYOL(encoder, hidden_dim=8, output_dim=4, prediction_dim=8, momentum=momentum)
    return encoder, method.double()


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


def test_loss_equals_the_formula_and_lightlys() -> None:
    _, method = byol()
    p1, p2, t1, t2 = rows = draw(4, 5, 4).requires_grad_()
    loss = method.loss(dict(zip(NAMES, rows, strict=True)))
    cosine = NegativeCosineSimilarity()
    for expected in (distance(p1, t2) + distance(p2, t1), 4 + 2 * (cosine(p1, t2) + cosine(p2, t1))):
        assert loss.item() == pytest.approx(expected.item(), abs=1e-10)
        found, wanted = (torch.autograd.grad(value, rows, retain_graph=True)[0] for value in (loss, expected))
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)


def test_loss_reaches_from_zero_for_true_predictions_to_eight_for_opposite_ones() -> None:
    _, method = byol()
    t1, t2 = draw(2, 5, 4)
    assert method.loss({"p1": t2, "p2": t1, "t1": t1, "t2": t2}).item() == pytest.approx(0, abs=1e-10)
    assert method.loss({"p1": -t2, "p2": -t1, "t1": t1, "t2": t2}).item() == pytest.approx(8, abs=1e-10)


def test_loss_depends_neither_on_the_order_of_views_nor_of_images_nor_on_length() -> None:
    _, method = byol()
    p1, p2, t1, t2 = rows = draw(4, 5, 4)
    loss = method.loss(dict(zip(NAMES, rows, strict=True))).item()
    order, lengths = torch.tensor([3, 0, 4, 1, 2]), draw(5, 1).exp()
    assert method.loss({"p1": p2, "p2": p1, "t1": t2, "t2": t1}).item() == pytest.approx(loss, abs=1e-12)
    permuted = {name: row[order] for name, row in zip(NAMES, rows, strict=True)}
    assert method.loss(permuted).item() == pytest.approx(loss, abs=1e-12)
    scaled = {"p1": p1 * lengths, "p2": 3 * p2, "t1": 7 * t1, "t2": t2 / lengths}
    assert method.loss(scaled).item() == pytest.approx(loss, abs=1e-12)
    assert method.loss({"p1": p2, "p2": p1, "t1": t1, "t2": t2}).item() != pytest.approx(loss, abs=1e-3)


def test_predictions_are_the_online_networks_and_targets_the_targets() -> None:
    _, method = byol()
    method.eval()
    for parameter in method.target.parameters():
        parameter.add_(0.01)
    (h1, h2), (v1, v2) = draw(2, 5, 64), draw(2, 5, 3, 16, 16)
    embedded = method.embed(h1, h2, v1, v2, Noise(0, 0, 5).rows(0, 5))
    target = method.target
    expected = {
        "p1": method.predictor(method.projector(h1)),
        "p2": method.predictor(method.projector(h2)),
        "t1": target.projector(target.encoder(v1)),
        "t2": target.projector(target.encoder(v2)),
    }
    assert embedded.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(embedded[name], tensor)


def test_no_gradient_reaches_the_target() -> None:
    encoder, method = byol()
    v1, v2 = draw(2, 5, 3, 16, 16)
    embedded = method.embed(encoder(v1), encoder(v2), v1, v2, Noise(0, 0, 5).rows(0, 5))
    assert [embedded[name].requires_grad for name in NAMES] == [True, True, False, False]
    torch.autograd.backward(method.loss(embedded))
    assert all(p.grad is None and not p.requires_grad for p in method.target.parameters())
    trained = [*encoder.parameters(), *method.projector.parameters(), *method.predictor.parameters()]
    assert all(p.grad is not None and p.grad.any() for p in trained)


@pytest.mark.parametrize(("step", "momentum"), [(0, 0.9), (5, 0.95), (10, 1.0)])
def test_the_target_follows_with_a_momentum_that_rises_by_half_a_cosine(step: int, momentum: float) -> None:
    encoder, method = byol(momentum=0.9)
    target = method.target
    before = copy.deepcopy(target)
    for parameter in (*encoder.parameters(), *method.projector.parameters()):
        parameter.data.add_(torch.rand_like(parameter))
    method.after_step(encoder, {}, Moment(step, steps_per_epoch=5, epochs=2))
    for online, ours, old in ((encoder, target.encoder, before.encoder), (method.projector, target.projector, None)):
        former = dict((old or before.projector).named_parameters())
        trained = dict(online.named_parameters())
        for name, parameter in ours.named_parameters():
            wanted = momentum * former[name] + (1 - momentum) * trained[name]
            torch.testing.assert_close(parameter, wanted, rtol=0, atol=1e-12)


def test_the_target_starts_as_a_copy_and_its_batch_norm_statistics_are_its_own() -> None:
    encoder, method = byol()
    target = method.target.encoder
    for key, tensor in encoder.state_dict().items():
        assert torch.equal(tensor, target.state_dict()[key]), key
    v1, v2 = draw(2, 5, 3, 16, 16)
    method.embed(draw(5, 64), draw(5, 64), v1, v2, Noise(0, 0, 5).rows(0, 5))
    mean = target.bn1.running_mean
    assert mean is not None
    moved = mean.clone()
    torch.testing.assert_close(moved, 0.1 * target.conv1(torch.cat([v1, v2])).mean(dim=(0, 2, 3)))
    method.after_step(encoder, {}, Moment(0, 5, 2))
    assert torch.equal(mean, moved)
    assert encoder.bn1.running_mean is not None
    assert not encoder.bn1.running_mean.any()
