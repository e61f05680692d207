"""SimCLR's loss against its formula, written as loops, and against lightly's."""

import math

import pytest
import torch
from lightly.loss import NTXentLoss
from torch import Tensor

from pretrain.methods import SimCLR
from pretrain.noise import Noise


def nt_xent(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """Chen et al. 2020, eq. 1, literally: mean over the 2B views of -log softmax of the positive's similarity."""
    z = [*z1, *z2]
    batch = len(z1)
    losses = []
    for i in range(2 * batch):
        positive = (i + batch) % (2 * batch)
        similarities = {
            k: torch.dot(z[i], z[k]) / (z[i].norm() * z[k].norm()) / temperature for k in range(2 * batch) if k != i
        }
        total = sum((s.exp() for s in similarities.values()), start=torch.zeros((), dtype=z1.dtype))
        losses.append(total.log() - similarities[positive])
    return torch.stack(losses).mean()


def simclr(temperature: float = 0.5, *, projector_norm: bool = True) -> SimCLR:
    torch.manual_seed(0)
    return SimCLR(6, hidden_dim=8, output_dim=4, temperature=temperature, projector_norm=projector_norm).double()


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_loss_equals_the_formula_and_lightlys(temperature: float) -> None:
    method, rows = simclr(temperature), draw(2, 5, 4).requires_grad_()
    z1, z2 = rows
    loss = method.loss({"z1": z1, "z2": z2})
    for expected in (nt_xent(z1, z2, temperature), NTXentLoss(temperature)(z1, z2)):
        assert loss.item() == pytest.approx(expected.item(), abs=1e-10)
        found, wanted = (torch.autograd.grad(value, rows, retain_graph=True)[0] for value in (loss, expected))
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)


def test_the_embedding_is_the_projection_of_each_view() -> None:
    method, (h1, h2), views = simclr(), draw(2, 5, 6), draw(5, 3, 16, 16)
    embedded = method.embed(h1, h2, views, views, Noise(0, 0, 5).rows(0, 5))
    assert embedded.keys() == {"z1", "z2"}
    for name, h in {"z1": h1, "z2": h2}.items():
        torch.testing.assert_close(embedded[name], method.projector(h))


def test_the_projector_is_two_layers_with_batch_norm_or_without() -> None:
    linear, norm, relu = torch.nn.Linear, torch.nn.BatchNorm1d, torch.nn.ReLU
    kinds = {normed: [type(m) for m in simclr(projector_norm=normed).projector.layers] for normed in (True, False)}
    assert kinds == {True: [linear, norm, relu, linear, norm], False: [linear, relu, linear]}


def test_loss_of_equal_features_is_the_log_of_the_number_of_others() -> None:
    same = torch.ones(7, 4, dtype=torch.float64)
    assert simclr().loss({"z1": same, "z2": same}).item() == pytest.approx(math.log(13), abs=1e-10)


def test_loss_depends_neither_on_the_order_of_views_nor_of_images_nor_on_length() -> None:
    method, (z1, z2) = simclr(), draw(2, 5, 4)
    loss = method.loss({"z1": z1, "z2": z2}).item()
    order, lengths = torch.tensor([3, 0, 4, 1, 2]), draw(5, 1).exp()
    assert method.loss({"z1": z2, "z2": z1}).item() == pytest.approx(loss, abs=1e-12)
    assert method.loss({"z1": z1[order], "z2": z2[order]}).item() == pytest.approx(loss, abs=1e-12)
    assert method.loss({"z1": z1 * lengths, "z2": 3 * z2}).item() == pytest.approx(loss, abs=1e-12)
    assert method.loss({"z1": z1[order], "z2": z2}).item() != pytest.approx(loss, abs=1e-3)
