"""What one row has in one group of columns, and the cells that come of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from results.comparisons import Sample
from results.metrics import interval_of
from results.protocols import Protocol
from results.records import Run, Unfinished
from results.replicates import Replicates
from results.statistics import mean, standard_deviation
from results.table import Cell, Column, Difference, State
from superinfo.artifacts import Metric


@dataclass(frozen=True)
class Slot:
    """The runs of one row in one group of columns."""

    replicates: Replicates
    unfinished: tuple[Unfinished, ...]
    expected: int
    protocol: Protocol | None
    """None without runs, and where they were measured in more than one way."""
    mixed: bool
    """Whether runs were measured in more than one way, or are of more than one pretraining recipe: there is no mean."""

    @property
    def runs(self) -> tuple[Run, ...]:
        """Return the runs, pretraining by pretraining."""
        return self.replicates.runs

    @property
    def whole(self) -> bool:
        """Whether every run that should be there is, so that there may be a mean."""
        return bool(self.runs) and not self.unfinished and not self.mixed and len(self.runs) >= self.expected


@dataclass(frozen=True, slots=True)
class Figure:
    """A cell but for what other rows say of it."""

    state: State
    sample: Sample | None
    """None unless the state is MEASURED."""
    values: tuple[float, ...]
    """Of each pretraining; of each fine-tuning where one pretraining has all of them."""
    runs: int
    odd: str
    """What is wrong with its runs' figures, for a footnote; empty if nothing is."""


def read_figure(slot: Slot, column: Column) -> Figure:
    """Return what a slot has to show in a column."""
    runs = slot.runs
    found = [run.metrics.get(column.metric) for run in runs]
    numbers = [one.value for one in found if one is not None and one.value is not None and math.isfinite(one.value)]
    if not runs or not (slot.unfinished or any(found)):
        return Figure(_without_runs(slot), None, (), 0, "")
    if odd := _odd_for(column, [one for one in found if one is not None]):
        return Figure(State.UNDEFINED, None, (), len(numbers), f"{odd}: not shown")
    if slot.mixed:
        return Figure(State.UNDEFINED, None, (), len(numbers), "")
    if not slot.whole:
        return Figure(_without_runs(slot), None, tuple(numbers), len(numbers), "")
    if len(numbers) < len(runs):
        odd = "no number" if not numbers else f"no number in {len(runs) - len(numbers)} of {len(runs)} runs"
        return Figure(State.UNDEFINED, None, tuple(numbers), len(numbers), odd)
    sample = Sample(tuple(slot.replicates.values(column.metric)), slot.replicates.design, slot.protocol)
    return Figure(State.MEASURED, sample, tuple(numbers) if slot.replicates.single else sample.values, len(numbers), "")


def draw_cell(
    figure: Figure, slot: Slot, metric: str, difference: Difference | None, marks: tuple[str, ...], *, best: bool
) -> Cell:
    """Return the finished cell."""
    sample = figure.sample
    return Cell(
        state=figure.state,
        mean=None if sample is None else mean(sample.values),
        spread=None if sample is None else standard_deviation(figure.values),
        interval=_interval(slot.runs[0].metrics, metric) if sample is not None and figure.runs == 1 else None,
        runs=figure.runs,
        expected=slot.expected,
        values=figure.values,
        difference=difference,
        best=best,
        marks=marks,
        records=slot.runs,
    )


def _odd_for(column: Column, metrics: Sequence[Metric]) -> str:
    """Say in which respect figures are not the column's; nothing if they are."""
    if units := {one.unit for one in metrics} - {column.unit}:
        return f"recorded in {' and '.join(sorted(units))}, where the column is in {column.unit}"
    if any(one.higher_is_better != column.higher_is_better for one in metrics):
        ours, theirs = ("lower", "higher") if column.higher_is_better else ("higher", "lower")
        return f"recorded as better where it is {ours}, where the column's is better where it is {theirs}"
    return ""


def _without_runs(slot: Slot) -> State:
    states = {one.state for one in slot.unfinished}
    if "failed" in states:
        return State.FAILED
    return State.RUNNING if states else State.MISSING


def _interval(metrics: Mapping[str, Metric], metric: str) -> tuple[float, float] | None:
    ends = [one.value for name in interval_of(metric) if (one := metrics.get(name)) is not None]
    low, high = ends if len(ends) == 2 else (None, None)
    return None if low is None or high is None else (low, high)
