"""SimCLR's loss against its formula, written as loops, and against lightly's gradients."""

import math

import pytest
import torch
from torch import Tensor

from pretrain.methods.simclr import SimCLR


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


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_loss_equals_the_formula(temperature: float) -> None:
    torch.manual_seed(0)
    method = SimCLR(feature_dim=6, hidden_dim=8, output_dim=4, temperature=temperature).double()
    h1, h2 = torch.randn(2, 5, 6, dtype=torch.float64, requires_grad=True)
    loss = method(h1, h2)
    expected = nt_xent(method.projector(h1), method.projector(h2), temperature)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-10)
    gradients = torch.autograd.grad(loss, list(method.parameters()))
    for gradient, wanted in zip(gradients, torch.autograd.grad(expected, list(method.parameters())), strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=0, atol=1e-10)


def test_loss_of_equal_features_is_the_log_of_the_number_of_others() -> None:
    torch.manual_seed(0)
    method = SimCLR(feature_dim=6, hidden_dim=8, output_dim=4).double().eval()
    same = torch.ones(7, 6, dtype=torch.float64)
    assert method(same, same).item() == pytest.approx(math.log(13), abs=1e-10)


def test_loss_does_not_depend_on_which_view_comes_first() -> None:
    torch.manual_seed(0)
    method = SimCLR(feature_dim=6, hidden_dim=8, output_dim=4).double().eval()
    h1, h2 = torch.randn(2, 5, 6, dtype=torch.float64)
    assert method(h1, h2).item() == pytest.approx(method(h2, h1).item(), abs=1e-12)
