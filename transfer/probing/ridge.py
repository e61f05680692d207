"""Ridge regression in closed form, in float64, its strength chosen on validation rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transfer.probing.labelled import Floats

Doubles = NDArray[np.float64]
STRENGTHS: tuple[float, ...] = tuple(10.0 ** (k / 2) for k in range(-10, 7))
"""Tried, from 1e-5 to 1e3, in units of the features' variance: the loss is the mean squared error plus strength x the
squared weights of standardised features."""


@dataclass(frozen=True)
class Standard:
    """Mean and standard deviation of training features; a constant feature becomes 0."""

    mean: Doubles
    scale: Doubles
    """One over the standard deviation; 0 of a constant."""

    @classmethod
    def of(cls, features: Floats) -> "Standard":
        """Take them from features `(n, D)`."""
        mean, std = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
        constant = std <= 1e-6 * np.abs(mean) + 1e-12
        return cls(mean, np.divide(1, std, out=np.zeros(std.shape), where=~constant))

    def __call__(self, features: Floats) -> Doubles:
        """Standardise features `(m, D)`."""
        return (features - self.mean) * self.scale


class Ridge:
    """All ridge regressions of `targets` `(n, T)` on standardised features `(n, D)`, by one eigendecomposition.

    The weights for a strength s minimise mean |y - x w - b|^2 + s |w|^2. Source: Hoerl and Kennard 1970.
    """

    def __init__(self, features: Doubles, targets: Doubles) -> None:
        self.centre, self.offset = features.mean(axis=0), targets.mean(axis=0)
        inputs, centred = features - self.centre, targets - self.offset
        count, dimension = inputs.shape
        # The smaller of covariance (D, D) and kernel (n, n); both have the same eigenvalues but for zeros.
        if dimension <= count:
            self.values, vectors = np.linalg.eigh(inputs.T @ inputs / count)
            self.basis, self.coordinates = vectors, vectors.T @ (inputs.T @ centred) / count
        else:
            self.values, vectors = np.linalg.eigh(inputs @ inputs.T / count)
            self.basis, self.coordinates = inputs.T @ vectors / count, vectors.T @ centred
        self.values = np.maximum(self.values, 0)

    def predict(self, features: Doubles, strengths: Sequence[float]) -> Doubles:
        """Return the predictions for features `(m, D)`, one strength for each target, `(m, T)`."""
        shrunk = self.coordinates / (self.values[:, None] + np.array(strengths))
        predicted: Doubles = (features - self.centre) @ (self.basis @ shrunk) + self.offset
        return predicted


def choose_strengths(
    train: tuple[Doubles, Doubles], validation: tuple[Doubles, Doubles], groups: Sequence[int]
) -> list[float]:
    """Return the strength of each target, fitted on `train`, with the least squared error on `validation`.

    Both are features `(n, D)` with targets `(n, T)`; targets of one number in `groups` `(T,)` share their strength.
    """
    ridge = Ridge(*train)
    features, targets = validation
    errors = np.stack(
        [
            np.square(ridge.predict(features, [strength] * targets.shape[1]) - targets).mean(axis=0)
            for strength in STRENGTHS
        ]
    )
    chosen = {group: int(errors[:, np.array(groups) == group].sum(axis=1).argmin()) for group in set(groups)}
    return [STRENGTHS[chosen[group]] for group in groups]


def read_off(
    train: tuple[Doubles, Doubles], test: Doubles, groups: Sequence[int], validation_share: float, seed: Sequence[int]
) -> Doubles:
    """Return predictions of the targets for `test` `(m, D)`: `(m, T)`.

    Strengths are chosen on a random share of the training rows, then fitted on all of them.
    """
    features, targets = train
    order = np.random.default_rng(seed).permutation(len(features))
    cut = max(1, round(validation_share * len(features)))
    kept, held = np.sort(order[cut:]), np.sort(order[:cut])
    strengths = choose_strengths((features[kept], targets[kept]), (features[held], targets[held]), groups)
    return Ridge(features, targets).predict(test, strengths)
