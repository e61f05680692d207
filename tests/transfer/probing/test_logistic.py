"""Logistic regression by L-BFGS: at the optimum of its loss, its strength chosen on validation images."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from transfer.probing.labelled import Labelled
from transfer.probing.logistic import Logistic, choose
from transfer.probing.recipe import LBFGSSpec

CPU = torch.device("cpu")
CLASSES = 3


def problem(rows: int = 60, dimension: int = 5, seed: int = 0, spread: float = 2.0) -> Labelled:
    """Classes that overlap, on features of very unlike sizes, one of them constant."""
    draw = np.random.default_rng(seed)
    labels = np.arange(rows) % CLASSES
    centres = np.random.default_rng(99).normal(size=(CLASSES, dimension))
    features = centres[labels] + spread * draw.normal(size=(rows, dimension))
    features = features * np.logspace(-2, 2, dimension) + np.linspace(-5, 5, dimension)
    features = np.hstack([features, np.full((rows, 1), 7.0)])
    return Labelled(features.astype(np.float32), labels.astype(np.int64))


def optimum(data: Labelled, c: float) -> torch.Tensor:
    """Descend the gradient of the loss, written out, until it vanishes; return logits of the features."""
    x = torch.tensor(data.features, dtype=torch.float64)[:, :-1]
    x = (x - x.mean(dim=0)) / x.std(dim=0, correction=0)
    y = torch.tensor(data.labels)
    weights = torch.zeros(CLASSES, x.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(CLASSES, dtype=torch.float64, requires_grad=True)
    for _ in range(20_000):
        loss = c * F.cross_entropy(x @ weights.T + bias, y, reduction="sum") + 0.5 * weights.square().sum()
        gradients = torch.autograd.grad(loss, (weights, bias))
        if max(float(gradient.abs().max()) for gradient in gradients) < 1e-9:
            break
        with torch.no_grad():
            weights -= gradients[0] / (1 + c * len(x))
            bias -= gradients[1] / (1 + c * len(x))
    else:
        pytest.fail("the oracle did not converge")
    return (x @ weights.T + bias).detach()


@pytest.mark.parametrize("c", [0.01, 1.0])
def test_a_fit_is_where_gradient_descent_ends(c: float) -> None:
    data = problem()
    model = Logistic(data, CLASSES, CPU).fit(c, 500)
    found = model._logits(torch.tensor(data.features).double()).detach()
    expected = optimum(data, c)
    torch.testing.assert_close(found.softmax(dim=1), expected.softmax(dim=1), rtol=0, atol=1e-5)
    assert np.array_equal(model.predict(data.features), expected.argmax(dim=1).numpy())


def test_the_gradient_is_that_of_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transfer.probing.logistic.BLOCK", 7)  # 60 rows in blocks, the last one smaller
    model = Logistic(problem(), CLASSES, CPU)
    model.weights.data.normal_(generator=torch.Generator().manual_seed(0))
    model.loss(0.1)
    assert model.weights.grad is not None
    analytic = model.weights.grad.clone()
    for row, column in ((0, 0), (1, 3), (2, 6)):
        ends = []
        for sign in (1, -1):
            model.weights.data[row, column] += sign * 1e-5
            ends.append(float(model.loss(0.1)))
            model.weights.data[row, column] -= sign * 1e-5
        assert float(analytic[row, column]) == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=1e-7)


def test_where_a_fit_starts_does_not_matter() -> None:
    data = problem()
    warm = Logistic(data, CLASSES, CPU).fit(1e-3, 500).fit(10.0, 1000)
    cold = Logistic(data, CLASSES, CPU).fit(10.0, 1000)
    torch.testing.assert_close(warm.weights.detach(), cold.weights.detach(), rtol=0, atol=1e-3)


def test_the_strength_is_the_best_on_validation_images_and_the_fit_is_on_both() -> None:
    train, validation = problem(30, 20, seed=1, spread=4), problem(90, 20, seed=2, spread=4)
    spec = LBFGSSpec(kind="lbfgs", grid=(10.0, 1e-4, 1e-2, 1.0))
    chosen = choose(spec, train, validation, "accuracy", CLASSES, CPU)
    right = {
        c: 100
        * float((Logistic(train, CLASSES, CPU).fit(c, 500).predict(validation.features) == validation.labels).mean())
        for c in spec.grid
    }
    assert chosen.validation == pytest.approx(right)
    assert len(set(right.values())) > 1
    assert chosen.c == min(c for c in right if right[c] == max(right.values()))
    both = Logistic(train.joined(validation), CLASSES, CPU).fit(chosen.c, 500)
    torch.testing.assert_close(chosen.model.weights.detach(), both.weights.detach(), rtol=0, atol=1e-4)
