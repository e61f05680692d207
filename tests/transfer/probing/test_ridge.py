"""Ridge regression against the normal equations, and the choice of its strength against a loop."""

import numpy as np
import pytest

from transfer.probing.ridge import STRENGTHS, Doubles, Ridge, Standard, choose_strengths, read_off


def problem(rows: int, dimension: int, seed: int = 0) -> tuple[Doubles, Doubles]:
    draw = np.random.default_rng(seed)
    features = draw.normal(size=(rows, dimension)) + 3
    weights = np.random.default_rng(9).normal(size=(dimension, 3))
    return features, features @ weights + draw.normal(size=(rows, 3)) * np.array([0.1, 3.0, 30.0]) + 5


def literal(train: tuple[Doubles, Doubles], test: Doubles, strength: float) -> Doubles:
    """Solve for weights and an unpenalised bias together."""
    features, targets = train
    count, dimension = features.shape
    inputs = np.hstack([features, np.ones((count, 1))])
    penalty = np.diag([strength] * dimension + [0.0])
    solved = np.linalg.solve(inputs.T @ inputs / count + penalty, inputs.T @ targets / count)
    found: Doubles = np.hstack([test, np.ones((len(test), 1))]) @ solved
    return found


@pytest.mark.parametrize(("rows", "dimension"), [(40, 6), (6, 6), (12, 30)])
@pytest.mark.parametrize("strength", [1e-2, 1.0, 100.0])
def test_a_fit_solves_the_normal_equations(rows: int, dimension: int, strength: float) -> None:
    train, (test, _) = problem(rows, dimension), problem(7, dimension, 1)
    found = Ridge(*train).predict(test, [strength] * 3)
    np.testing.assert_allclose(found, literal(train, test, strength), rtol=1e-7, atol=1e-8)


def test_each_group_of_targets_has_the_strength_that_is_best_on_validation_rows() -> None:
    train, validation = problem(20, 12), problem(50, 12, 1)
    errors = np.array(
        [np.square(literal(train, validation[0], strength) - validation[1]).mean(axis=0) for strength in STRENGTHS]
    )
    best = [STRENGTHS[number] for number in errors.argmin(axis=0)]
    assert best[0] < best[1] < best[2], "the noisier a target, the stronger"
    assert choose_strengths(train, validation, [0, 1, 2]) == best
    shared = choose_strengths(train, validation, [0, 1, 1])
    assert shared == [best[0], *[STRENGTHS[int(errors[:, 1:].sum(axis=1).argmin())]] * 2]


def test_reading_off_fits_all_training_rows() -> None:
    train, (test, _) = problem(40, 6), problem(7, 6, 1)
    found = read_off(train, test, [0, 0, 0], 0.25, [0])
    assert min(np.abs(found - literal(train, test, strength)).max() for strength in STRENGTHS) < 1e-8


def test_standardising_leaves_out_what_is_constant() -> None:
    features = np.array([[1, 5, 2], [3, 5, 2], [5, 5, 8]], np.float32)
    found = Standard.of(features)(features)
    np.testing.assert_allclose(found[:, [0, 2]].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(found[:, [0, 2]].std(axis=0), 1)
    assert np.array_equal(found[:, 1], np.zeros(3))
