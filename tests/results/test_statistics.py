"""Statistics equal scipy's, published figures and figures worked out by hand; and they have an answer at the edges."""

import math

import numpy as np
import pytest
from scipy import stats

from results.statistics import (
    Comparison,
    adjust,
    judge,
    mean,
    paired_t_test,
    standard_deviation,
    welch_t_test,
)
from results.table import Verdict

SLEEP = ([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0], [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])
"""Extra hours of sleep by two drugs, of Student's paper (1908)."""


def samples(seed: int) -> tuple[list[float], list[float]]:
    draw = np.random.default_rng(seed)
    size = int(draw.integers(2, 40))
    first = draw.normal(50, 5, size)
    return list(first), list(first + draw.normal(draw.normal(0, 2), draw.uniform(0.1, 4), size))


@pytest.mark.parametrize("seed", range(50))
def test_a_paired_test_is_scipys(seed: int) -> None:
    a, b = samples(seed)
    found, expected = paired_t_test(a, b), stats.ttest_rel(a, b)
    assert found is not None
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9, abs=1e-12)
    assert found.difference == pytest.approx(np.mean(a) - np.mean(b), abs=1e-12)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval(0.95)), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("seed", range(50))
def test_welchs_test_is_scipys(seed: int) -> None:
    a, _ = samples(seed)
    _, b = samples(seed + 1000)
    found, expected = welch_t_test(a, b), stats.ttest_ind(a, b, equal_var=False)
    assert found is not None
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9, abs=1e-12)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval(0.95)), rel=1e-12, abs=1e-12)


def test_students_own_data_give_the_figures_in_every_textbook() -> None:
    paired, welch = paired_t_test(*SLEEP), welch_t_test(*SLEEP)
    assert paired is not None
    assert welch is not None
    assert paired.difference == pytest.approx(-1.58, abs=1e-12)
    assert paired.p == pytest.approx(0.00283289, abs=5e-9)  # R: t.test(extra ~ group, sleep, paired = TRUE)
    assert paired.interval == pytest.approx((-2.4598858, -0.7001142), abs=5e-8)
    assert welch.p == pytest.approx(0.07939414, abs=5e-9)  # R: t.test(extra ~ group, sleep)
    assert welch.interval == pytest.approx((-3.3654832, 0.2054832), abs=5e-8)


@pytest.mark.parametrize("count", [2, 3, 10, 5000])
def test_mean_and_standard_deviation_are_numpys(count: int) -> None:
    values = list(np.random.default_rng(count).normal(1e6, 1e-3, count))
    assert mean(values) == pytest.approx(np.mean(values), rel=1e-12)
    assert standard_deviation(values) == pytest.approx(np.std(values, ddof=1), rel=1e-6)


def test_one_value_has_no_spread() -> None:
    assert standard_deviation([3.0]) is None
    assert standard_deviation([3.0, 3.0]) == 0.0


def test_equal_samples_do_not_differ() -> None:
    for found in (paired_t_test([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]), welch_t_test([2.0] * 3, [2.0] * 3)):
        assert found == Comparison(0.0, 1.0, None)
    rounded = paired_t_test([0.1 + 0.2, 1.0, 2.0], [0.3, 1.0, 2.0])
    assert rounded is not None
    assert (rounded.p, rounded.interval) == (1.0, None)


@pytest.mark.parametrize(
    "pairs",
    [
        [(50.0, 50.5), (52.5, 53.0), (48.0, 48.5)],  # on 200 images
        [(50.1, 50.4), (52.2, 52.5), (48.3, 48.6)],
        [(0.1 + 0.2, 0.1), (0.5, 0.3), (0.9, 0.7)],
        [(1e-9, 3e-9), (2e-9, 4e-9), (5e-9, 7e-9)],
    ],
    ids=["exact", "rounded", "fractions", "small"],
)
def test_a_difference_that_is_the_same_in_every_pair_is_not_tested(pairs: list[tuple[float, float]]) -> None:
    ours, base = zip(*pairs, strict=True)
    assert paired_t_test(ours, base) is None
    assert welch_t_test(ours, base) is not None


def test_samples_without_any_spread_are_not_tested() -> None:
    assert welch_t_test([2.0] * 3, [1.0] * 3) is None
    assert welch_t_test([0.3, 0.1 + 0.2, 0.3], [1.0] * 3) is None


def test_differences_that_vary_by_the_smallest_step_are_tested() -> None:
    ours, base = [50.5, 53.0, 48.6], [50.0, 52.5, 48.0]  # on 1,000 images
    found = paired_t_test(ours, base)
    assert found is not None
    assert found.p == pytest.approx(stats.ttest_rel(ours, base).pvalue, rel=1e-9)


def test_one_sample_without_spread_is_scipys_too() -> None:
    a, b = [1.0, 2.0, 4.0], [3.0, 3.0, 3.0]
    found = welch_t_test(a, b)
    assert found is not None
    assert found.p == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue, abs=1e-12)


def test_thousands_of_seeds_are_scipys_too() -> None:
    draw = np.random.default_rng(1)
    a, b = list(draw.normal(70, 1, 5000)), list(draw.normal(70.05, 1, 5000))
    paired, welch = paired_t_test(a, b), welch_t_test(a, b)
    assert paired is not None
    assert welch is not None
    assert paired.p == pytest.approx(stats.ttest_rel(a, b).pvalue, rel=1e-9)
    assert welch.p == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue, rel=1e-9)


def test_pairs_of_unequal_number_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        paired_t_test([1.0, 2.0, 3.0], [1.0, 2.0])


def test_holms_adjustment_is_that_of_his_paper_and_of_r() -> None:
    assert adjust([0.01, 0.02, 0.03, 0.005]) == pytest.approx([0.03, 0.04, 0.04, 0.02])  # R: p.adjust(p, "holm")
    assert adjust([0.5, 0.5, 0.9]) == [1.0, 1.0, 1.0]
    assert adjust([0.04]) == [0.04]
    assert adjust([]) == []


@pytest.mark.parametrize("seed", range(20))
def test_holms_adjustment_rejects_what_the_step_down_procedure_rejects(seed: int) -> None:
    ps = list(np.random.default_rng(seed).uniform(0, 0.08, 6))
    rejected: set[int] = set()
    for rank, index in enumerate(np.argsort(ps)):
        if ps[index] > 0.05 / (len(ps) - rank):
            break
        rejected.add(int(index))
    assert {index for index, p in enumerate(adjust(ps)) if p <= 0.05} == rejected


@pytest.mark.parametrize(
    ("difference", "p", "higher", "verdict"),
    [
        (1.0, 0.05, True, Verdict.BETTER),
        (-1.0, 0.01, True, Verdict.WORSE),
        (-1.0, 0.01, False, Verdict.BETTER),
        (1.0, 0.01, False, Verdict.WORSE),
        (9.0, math.nextafter(0.05, 1), True, Verdict.NOISE),
        (0.0, 0.0, True, Verdict.NOISE),
        (9.0, None, True, Verdict.TOO_FEW),
    ],
)
def test_a_verdict_is_one_word(difference: float, p: float | None, higher: bool, verdict: Verdict) -> None:
    assert judge(difference, p, higher_is_better=higher) is verdict
