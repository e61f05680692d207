"""The metrics of one record in little memory: thousands of records share names, units and directions."""

import math
from array import array
from collections.abc import Iterator, Mapping

from superinfo.artifacts import Metric

Kinds = dict[str, tuple[int, str, bool]]
"""By a metric's name its place among the values, its unit, and whether higher is better."""


class Figures(Mapping[str, Metric]):
    """Metrics by name, in a record's order."""

    __slots__ = ("_kinds", "_values")

    def __init__(self, kinds: Kinds, values: "array[float]") -> None:
        self._kinds, self._values = kinds, values

    @classmethod
    def of(cls, metrics: Mapping[str, Metric], shared: dict[tuple[tuple[str, str, bool], ...], Kinds]) -> "Figures":
        """Keep some metrics; records of one task find their kinds in `shared`."""
        key = tuple((name, metric.unit, metric.higher_is_better) for name, metric in metrics.items())
        if (kinds := shared.get(key)) is None:
            kinds = shared[key] = {name: (i, unit, higher) for i, (name, unit, higher) in enumerate(key)}
        values = (math.nan if metric.value is None else metric.value for metric in metrics.values())
        return cls(kinds, array("d", values))

    def __getitem__(self, name: str) -> Metric:
        place, unit, higher_is_better = self._kinds[name]
        value = self._values[place]
        return Metric(value=None if math.isnan(value) else value, unit=unit, higher_is_better=higher_is_better)

    def __contains__(self, name: object) -> bool:
        return name in self._kinds

    def __iter__(self) -> Iterator[str]:
        return iter(self._kinds)

    def __len__(self) -> int:
        return len(self._kinds)

    def __repr__(self) -> str:
        return f"Figures({dict(self)})"
