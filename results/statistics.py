"""Mean, spread, and t tests between rows: what a difference of two rows amounts to.

Figures are those of `scipy.stats.ttest_rel` and of `ttest_ind` with `equal_var=False`, but where nothing varies:
figures on a few hundred images move in steps, so that a few equal differences are a coincidence of rounding, not
certainty. A sample is a value for each pretraining; several fine-tunings of one are averaged before (`replicates.py`).
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
ROUNDING = 1e-12
"""Share of the largest figure; what varies by no more is equal but for the rounding of floats."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A two-sided t test of whether two means are the same."""

    difference: float
    p: float
    interval: tuple[float, float] | None
    """95 % confidence interval of the difference, by itself: not adjusted for other tests. None of equal samples."""


def mean(values: Sequence[float]) -> float:
    """Return the mean of at least one value."""
    return math.fsum(values) / len(values)


def standard_deviation(values: Sequence[float]) -> float | None:
    """Return the standard deviation (n - 1); None for fewer than two values."""
    if len(values) < 2:
        return None
    centre = mean(values)
    return math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1))


def paired_t_test(ours: Sequence[float], base: Sequence[float]) -> Comparison | None:
    """Test the differences of at least two pairs against zero (Student 1908); None where all are alike but not zero."""
    differences = [a - b for a, b in zip(ours, base, strict=True)]
    spread = standard_deviation(differences)
    assert spread is not None
    error = spread / math.sqrt(len(differences))
    return _test(mean(differences), error, len(differences) - 1, max(map(abs, (*ours, *base))))


def welch_t_test(ours: Sequence[float], base: Sequence[float]) -> Comparison | None:
    """Test two independent samples of at least two values each, of unlike variance (Welch 1947); None as above."""
    parts = []
    for values in (ours, base):
        spread = standard_deviation(values)
        assert spread is not None
        parts.append(spread**2 / len(values))
    variance = sum(parts)
    weights = sum(part**2 / (len(values) - 1) for part, values in zip(parts, (ours, base), strict=True))
    freedom = variance**2 / weights if weights else math.inf
    return _test(mean(ours) - mean(base), math.sqrt(variance), freedom, max(map(abs, (*ours, *base))))


def adjust(ps: Sequence[float]) -> list[float]:
    """Return the p-values of a family of tests, adjusted so that any false finding is as rare as one (Holm 1979)."""
    adjusted = [0.0] * len(ps)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = largest
    return adjusted


def judge(difference: float, p: float | None, *, higher_is_better: bool) -> Verdict:
    """Say what a difference amounts to, by its adjusted p; None where there is too little for a test."""
    if p is None:
        return Verdict.TOO_FEW
    if p > ALPHA or difference == 0:
        return Verdict.NOISE
    return Verdict.BETTER if (difference > 0) == higher_is_better else Verdict.WORSE


def _test(difference: float, error: float, freedom: float, largest: float) -> Comparison | None:
    """Test a difference of a standard error; one without any error tells nothing of its noise, unless it is none."""
    if error <= ROUNDING * largest:
        return Comparison(difference, 1.0, None) if abs(difference) <= ROUNDING * largest else None
    p = 2 * float(stdtr(freedom, -abs(difference / error)))
    reach = float(stdtrit(freedom, 1 - ALPHA / 2)) * error
    return Comparison(difference, p, (difference - reach, difference + reach))
