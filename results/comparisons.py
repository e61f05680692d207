"""Rows of one column against each other: differences to their bases, and which is best beyond noise."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

from results.statistics import ALPHA, FEWEST, Comparison, adjust, judge, mean, paired_t_test, welch_t_test
from results.table import Difference

Kind = Literal["paired", "welch"]


@dataclass(frozen=True, slots=True)
class Sample:
    """What a cell's figure is the mean of."""

    values: tuple[float, ...]
    """One for each pretraining."""
    design: Hashable
    """Pretrainings and seeds behind the values: samples of one design can be paired."""
    protocol: Hashable
    """Samples of another one are not compared."""


def compare(ours: Sample, base: Sample, kind: Kind) -> Comparison | None:
    """Test two samples; None if they are too small, or do not vary.

    By pairs if `kind` is so and both have the same pretraining and fine-tuning seeds, else as independent ones.
    """
    if min(len(ours.values), len(base.values)) < FEWEST:
        return None
    if kind == "paired" and ours.design == base.design:
        return paired_t_test(ours.values, base.values)
    return welch_t_test(ours.values, base.values)


def find_differences(
    samples: Sequence[Sample | None], bases: Sequence[int | None], kind: Kind, *, higher_is_better: bool
) -> list[Difference | None]:
    """Return each row's difference to its base, all tests of the column adjusted together; None where either lacks."""
    pairs: dict[int, tuple[Sample, Sample]] = {}
    for index, (ours, base) in enumerate(zip(samples, bases, strict=True)):
        theirs = None if base is None else samples[base]
        if ours is not None and theirs is not None and ours.protocol == theirs.protocol:
            pairs[index] = ours, theirs
    tests = {index: compare(*pair, kind) for index, pair in pairs.items()}
    made = [index for index, test in tests.items() if test is not None]
    adjusted = dict(zip(made, adjust([test.p for test in tests.values() if test is not None]), strict=True))
    found: list[Difference | None] = [None] * len(samples)
    for index, (ours, theirs) in pairs.items():
        test, p = tests[index], adjusted.get(index)
        value = mean(ours.values) - mean(theirs.values) if test is None else test.difference
        verdict = judge(value, p, higher_is_better=higher_is_better)
        interval = None if test is None else test.interval
        found[index] = Difference(value, p, interval, verdict, min(len(ours.values), len(theirs.values)))
    return found


def find_best(samples: Sequence[Sample | None], kind: Kind, *, higher_is_better: bool) -> int | None:
    """Return the row that is better than every other one beyond noise, its tests adjusted together; None if none is.

    A row that is alone is no best. All are to be of one protocol.
    """
    there = [(index, sample) for index, sample in enumerate(samples) if sample is not None]
    if len(there) < 2:
        return None
    there.sort(key=lambda pair: mean(pair[1].values), reverse=higher_is_better)
    (first, best), *others = there
    ps = []
    for _, other in others:  # the nearest first: it is the one that decides
        test = compare(best, other, kind)
        if test is None or test.p > ALPHA:
            return None
        ps.append(test.p)
    return first if max(adjust(ps)) <= ALPHA else None
