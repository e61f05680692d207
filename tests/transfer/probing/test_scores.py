"""Accuracy and its interval, against loops."""

import numpy as np
import pytest

from transfer.probing.scores import Score, interval, score, scores

KINDS: list[Score] = ["accuracy", "mean_per_class_accuracy"]


def answers(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Three classes of unequal size, of which the smallest is told best; the class 1 has no images."""
    draw = np.random.default_rng(seed)
    labels = draw.choice([0, 2, 3], size=120, p=[0.73, 0.25, 0.02])
    return np.where(draw.random(120) < np.array([0.5, 0, 0.8, 0.9])[labels], labels, 1), labels


def by_hand(predicted: np.ndarray, labels: np.ndarray, kind: Score) -> float:
    right = [int(one == other) for one, other in zip(predicted, labels, strict=True)]
    if kind == "accuracy":
        return 100 * sum(right) / len(right)
    shares = []
    for label in set(labels.tolist()):
        of_class = [one for one, other in zip(right, labels, strict=True) if other == label]
        shares.append(sum(of_class) / len(of_class))
    return 100 * sum(shares) / len(shares)


@pytest.mark.parametrize("kind", KINDS)
def test_a_score_is_what_it_is_called(kind: Score) -> None:
    predicted, labels = answers(0)
    assert score(predicted, labels, kind) == pytest.approx(by_hand(predicted, labels, kind), abs=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_the_interval_is_that_of_resampled_images(kind: Score) -> None:
    predicted, labels = answers(1)
    draw = np.random.default_rng(7)
    resampled = []
    for _ in range(4000):
        rows = draw.integers(0, len(labels), len(labels))
        resampled.append(by_hand(predicted[rows], labels[rows], kind))
    low, high = np.quantile(resampled, [0.025, 0.975])
    found = interval(predicted == labels, labels, kind)
    assert high - low > 5
    assert found == pytest.approx((low, high), abs=1.0)


def test_the_interval_follows_its_seed_and_holds_the_score() -> None:
    predicted, labels = answers(1)
    found = {name: metric.value for name, metric in scores(predicted, labels, "mean_per_class_accuracy").items()}
    assert set(found) == {
        "accuracy",
        "mean_per_class_accuracy",
        "mean_per_class_accuracy_low",
        "mean_per_class_accuracy_high",
    }
    low, value, high = (found[f"mean_per_class_accuracy{end}"] for end in ("_low", "", "_high"))
    assert low is not None
    assert value is not None
    assert high is not None
    assert low <= value <= high
    assert low < high
    right = predicted == labels
    assert interval(right, labels, "accuracy", 0) == interval(right, labels, "accuracy", 0)
    assert interval(right, labels, "accuracy", 0) != interval(right, labels, "accuracy", 1)


def test_one_who_is_always_right_has_no_spread() -> None:
    _, labels = answers(3)
    assert interval(np.ones(120, bool), labels, "mean_per_class_accuracy") == (100.0, 100.0)
