"""Barlow Twins' loss against its formula, written as loops, and against lightly's."""

import pytest
import torch
from lightly.loss import BarlowTwinsLoss
from torch import Tensor

from pretrain.methods import BarlowTwins
from pretrain.noise import Noise


def redundancy(z1: Tensor, z2: Tensor, off_diagonal: float) -> Tensor:
    """Zbontar et al. 2021, eq. 1 and 2, literally, with the variance that batch norm divides by."""
    batch, dims = z1.shape
    loss = torch.zeros((), dtype=z1.dtype)
    for i in range(dims):
        for j in range(dims):
            a, b = z1[:, i] - z1[:, i].sum() / batch, z2[:, j] - z2[:, j].sum() / batch
            variances = [(x * x).sum() / batch + 1e-5 for x in (a, b)]
            correlation = sum((a[n] * b[n] for n in range(batch)), start=torch.zeros((), dtype=z1.dtype)) / batch
            correlation = correlation / (variances[0] * variances[1]).sqrt()
            loss = loss + ((1 - correlation) ** 2 if i == j else off_diagonal * correlation**2)
    return loss


def barlow_twins(off_diagonal: float = 0.0051) -> BarlowTwins:
    torch.manual_seed(0)
    return BarlowTwins(6, hidden_dim=8, output_dim=4, off_diagonal=off_diagonal).double()


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("off_diagonal", [0.0051, 0.3])
def test_loss_equals_the_formula_and_lightlys(off_diagonal: float) -> None:
    method, rows = barlow_twins(off_diagonal), (0.1 * draw(2, 5, 4) + 1).requires_grad_()
    z1, z2 = rows
    loss = method.loss({"z1": z1, "z2": z2})
    for expected in (redundancy(z1, z2, off_diagonal), BarlowTwinsLoss(off_diagonal)(z1, z2)):
        assert loss.item() == pytest.approx(expected.item(), abs=1e-10)
        found, wanted = (torch.autograd.grad(value, rows, retain_graph=True)[0] for value in (loss, expected))
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)


def test_the_embedding_is_the_projection_of_each_view() -> None:
    method, (h1, h2), views = barlow_twins(), draw(2, 5, 6), draw(5, 3, 16, 16)
    embedded = method.embed(h1, h2, views, views, Noise(0, 0, 5).rows(0, 5))
    assert embedded.keys() == {"z1", "z2"}
    for name, h in {"z1": h1, "z2": h2}.items():
        torch.testing.assert_close(embedded[name], method.projector(h))


def test_loss_is_zero_where_dimensions_agree_across_views_and_with_nothing_else() -> None:
    signs = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=torch.float64)
    assert barlow_twins().loss({"z1": 100 * signs, "z2": 7 * signs + 5}).item() == pytest.approx(0, abs=1e-10)


def test_loss_of_embeddings_that_are_all_the_same_is_the_number_of_dimensions() -> None:
    same = torch.ones(5, 4, dtype=torch.float64)
    assert barlow_twins().loss({"z1": same, "z2": same}).item() == pytest.approx(4, abs=1e-10)


def test_loss_depends_neither_on_the_order_of_views_nor_of_images() -> None:
    method, (z1, z2) = barlow_twins(), draw(2, 5, 4)
    loss = method.loss({"z1": z1, "z2": z2}).item()
    order = torch.tensor([3, 0, 4, 1, 2])
    assert method.loss({"z1": z2, "z2": z1}).item() == pytest.approx(loss, abs=1e-12)
    assert method.loss({"z1": z1[order], "z2": z2[order]}).item() == pytest.approx(loss, abs=1e-12)
    assert method.loss({"z1": z1[order], "z2": z2}).item() != pytest.approx(loss, abs=1e-3)


def test_loss_does_not_depend_on_where_a_dimension_lies_nor_on_its_scale_above_epsilon() -> None:
    method, (z1, z2) = barlow_twins(), 10 * draw(2, 5, 4)
    loss = method.loss({"z1": z1, "z2": z2}).item()
    moved = {"z1": z1 * torch.tensor([1.0, 2, 30, 400]) + 7, "z2": z2 - torch.tensor([0.0, 1, 2, 3])}
    assert method.loss(moved).item() == pytest.approx(loss, abs=1e-5)
