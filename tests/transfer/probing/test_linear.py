"""The paper protocol's linear classifier, against the same steps written out."""

import numpy as np
import torch

from tests.transfer.probing.test_logistic import CLASSES, CPU, problem
from transfer.probing.labelled import Labelled
from transfer.probing.linear import train_linear
from transfer.probing.recipe import SGDSpec
from transfer.probing.ridge import Doubles


def scaled(rows: int, seed: int) -> Labelled:
    found = problem(rows, seed=seed)
    features = (found.features - found.features.mean(axis=0)) / (found.features.std(axis=0) + 1)
    return Labelled(features, found.labels)


def literal(spec: SGDSpec, train: Labelled, seed: int) -> tuple[Doubles, Doubles]:
    """Return weights and biases after momentum SGD in float64, gradients by hand."""
    torch.manual_seed(seed)
    start = torch.nn.Linear(train.features.shape[1], CLASSES)
    parameters = [start.weight.detach().double().numpy().copy(), start.bias.detach().double().numpy().copy()]
    speeds = [np.zeros_like(parameter) for parameter in parameters]
    for epoch in range(spec.epochs):
        rate = spec.lr * 0.1 ** sum(epoch >= milestone for milestone in spec.milestones)
        order = np.random.default_rng([seed, epoch]).permutation(len(train.labels))
        for first in range(0, len(order), spec.batch_size):
            rows = order[first : first + spec.batch_size]
            x = train.features[rows].astype(np.float64)
            scores = np.exp(x @ parameters[0].T + parameters[1])
            error = (scores / scores.sum(axis=1, keepdims=True) - np.eye(CLASSES)[train.labels[rows]]) / len(rows)
            for number, gradient in enumerate((error.T @ x, error.sum(axis=0))):
                speeds[number] = spec.momentum * speeds[number] + gradient + spec.weight_decay * parameters[number]
                parameters[number] -= rate * speeds[number]
    return parameters[0], parameters[1]


def test_training_takes_the_steps_of_the_protocol() -> None:
    spec = SGDSpec(kind="sgd", epochs=9, batch_size=16, lr=0.1, weight_decay=0.01, milestones=(4, 7))
    train, test = scaled(60, 0), scaled(30, 1)
    found = train_linear(spec, CLASSES, train, test, 3, CPU)
    weight, bias = literal(spec, train, 3)
    np.testing.assert_allclose(found.model.weight.detach().numpy(), weight, atol=1e-5)
    np.testing.assert_allclose(found.model.bias.detach().numpy(), bias, atol=1e-5)
    assert np.array_equal(found.predicted, (test.features @ weight.T + bias).argmax(axis=1))


def test_the_defaults_are_the_papers() -> None:
    spec = SGDSpec(kind="sgd")
    assert (spec.batch_size, spec.epochs, spec.lr, spec.momentum) == (128, 100, 0.01, 0.9)
    assert (spec.milestones, spec.weight_decay, spec.best_epoch_on_test) == ((60, 80), 0.0, False)


def test_the_epochs_are_scored_on_test_only_where_that_is_asked_for() -> None:
    train, test = scaled(60, 0), scaled(30, 1)
    plain, asked = (
        train_linear(SGDSpec(kind="sgd", epochs=6, lr=2.0, best_epoch_on_test=best), CLASSES, train, test, 0, CPU)
        for best in (False, True)
    )
    assert plain.right == []
    assert len(asked.right) == 6
    assert asked.right[-1] == float((plain.predicted == test.labels).mean())
    assert max(asked.right) > asked.right[-1], "a rate this high makes the last epoch no best one"
