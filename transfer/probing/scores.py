"""Accuracy, overall or per class, with a bootstrap interval over the test images."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from superinfo.artifacts import Metric
from superinfo.datasets.images import Labels

RESAMPLES = 2000
LEVEL = 0.95
Score = Literal["accuracy", "mean_per_class_accuracy"]


def score(predicted: Labels, labels: Labels, kind: Score) -> float:
    """Return top-1 accuracy, or its mean over the classes that have images, in percent; both are `(n,)`."""
    right = predicted == labels
    if kind == "accuracy":
        return 100 * float(right.mean())
    return 100 * float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))


def scores(predicted: Labels, labels: Labels, kind: Score, seed: int = 0) -> dict[str, Metric]:
    """Return the figures of a classifier, in percent: its accuracy, and the ends of a 95 % interval for `kind`."""
    low, high = interval(predicted == labels, labels, kind, seed)
    values = {"accuracy": score(predicted, labels, "accuracy")}
    values |= {kind: score(predicted, labels, kind), f"{kind}_low": low, f"{kind}_high": high}
    return {name: percent(value) for name, value in values.items()}


def interval(right: NDArray[np.bool_], labels: Labels, kind: Score, seed: int = 0) -> tuple[float, float]:
    """Return the ends of the 95 % percentile bootstrap interval over images, in percent.

    `right` and `labels` are `(n,)`. A resample of n images matters only by how many it has of each class, right and
    wrong, and these counts follow a multinomial law: drawing them is drawing images, at the cost of the classes. A
    class that a resample misses does not count in its mean. Source: Efron 1979.
    """
    _, classes = np.unique(labels, return_inverse=True)
    cells = np.bincount(2 * classes + right, minlength=2 * (classes.max() + 1))
    draw = np.random.default_rng(seed)
    counts = draw.multinomial(len(labels), cells / len(labels), size=RESAMPLES).reshape(RESAMPLES, -1, 2)
    if kind == "accuracy":
        counts = counts.sum(axis=1, keepdims=True)
    images = counts.sum(axis=2)
    shares = np.divide(counts[..., 1], images, out=np.zeros(images.shape), where=images > 0)
    resampled = shares.sum(axis=1) / (images > 0).sum(axis=1)
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return 100 * float(low), 100 * float(high)


def percent(value: float) -> Metric:
    """Return an accuracy as a metric."""
    return Metric(value=value, unit="percent", higher_is_better=True)
