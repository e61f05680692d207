"""Mean, spread, and t tests between rows: what a difference of two rows amounts to.

Figures are those of `scipy.stats.ttest_rel` and of `ttest_ind` with `equal_var=False`. A sample is a value for each
pretraining; several fine-tunings of one are averaged before (`replicates.py`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import stdtr, stdtrit

from results.table import Verdict

ALPHA = 0.05
"""A difference holds where its adjusted p is at most this."""
FEWEST = 3
"""Pretrainings of a row, or pairs of them, below which no test is made."""


@dataclass(frozen=True, slots=True)
class Test:
    """Of the hypothesis that two means are the same, two-sided."""

    difference: float
    p: float
    interval: tuple[float, float]
    """95 % confidence interval of the difference, by itself: not adjusted for other tests."""


def mean(values: Sequence[float]) -> float:
    """Return the mean of at least one value."""
    return math.fsum(values) / len(values)


def standard_deviation(values: Sequence[float]) -> float | None:
    """Return the standard deviation (n - 1); None for fewer than two values."""
    if len(values) < 2:
        return None
    centre = mean(values)
    return math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1))


def paired_t_test(ours: Sequence[float], base: Sequence[float]) -> Test:
    """Test the differences of at least two pairs against zero (Student 1908)."""
    differences = [a - b for a, b in zip(ours, base, strict=True)]
    spread = standard_deviation(differences)
    assert spread is not None
    return _test(mean(differences), spread / math.sqrt(len(differences)), len(differences) - 1)


def welch_t_test(ours: Sequence[float], base: Sequence[float]) -> Test:
    """Test two independent samples of at least two values each, of unlike variance (Welch 1947)."""
    parts = []
    for values in (ours, base):
        spread = standard_deviation(values)
        assert spread is not None
        parts.append(spread**2 / len(values))
    variance = sum(parts)
    weights = sum(part**2 / (len(values) - 1) for part, values in zip(parts, (ours, base), strict=True))
    return _test(mean(ours) - mean(base), math.sqrt(variance), variance**2 / weights if weights else math.inf)


def adjust(ps: Sequence[float]) -> list[float]:
    """Return the p-values of a family of tests, adjusted so that any false finding is as rare as one (Holm 1979)."""
    adjusted = [0.0] * len(ps)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = largest
    return adjusted


def judge(difference: float, p: float | None, *, higher_is_better: bool) -> Verdict:
    """Say what a difference amounts to, by its adjusted p; None where there are too few runs for a test."""
    if p is None:
        return Verdict.TOO_FEW
    if p > ALPHA or difference == 0:
        return Verdict.NOISE
    return Verdict.BETTER if (difference > 0) == higher_is_better else Verdict.WORSE


def _test(difference: float, error: float, freedom: float) -> Test:
    """Test a difference of a standard error; one without any error is certain."""
    if error == 0:
        return Test(difference, float(difference == 0), (difference, difference))
    p = 2 * float(stdtr(freedom, -abs(difference / error)))
    reach = float(stdtrit(freedom, 1 - ALPHA / 2)) * error
    return Test(difference, p, (difference - reach, difference + reach))
