"""A group of columns, with the runs that count there: one slot for each row."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import get_args

from results.cells import Slot
from results.declaration import Declaration, Group, MetricColumn
from results.literature import PublishedFilter
from results.metrics import check_known, digits, style
from results.protocols import Protocol
from results.records import Run, Store, Unfinished
from results.remarks import remarks
from results.replicates import Replicates
from results.rows import RowRuns, row_recipe
from results.table import Column
from results.vocabulary import MetricName


@dataclass(frozen=True)
class Selection:
    """What a store has for a group of columns."""

    spec: Group
    runs: tuple[Run, ...]
    unfinished: tuple[Unfinished, ...]

    @classmethod
    def of(cls, group: Group, declaration: Declaration, store: Store) -> "Selection":
        """Select by what was measured, by whose features, and by seed."""
        seeds = set(declaration.seeds)
        runs = tuple(
            run
            for run in store.runs
            if group.runs.holds(run) and group.pretrained.holds(run) and (not seeds or run.seed in seeds)
        )
        recipes = frozenset(run.recipe for run in runs)
        unfinished = tuple(
            one
            for one in store.unfinished
            if group.runs.awaits(one, recipes) and group.pretrained.awaits(one) and (not seeds or one.seed in seeds)
        )
        return cls(group, runs, unfinished)

    @cached_property
    def common(self) -> frozenset[str]:
        """Deviations that all runs share, where there are several."""
        if len(self.runs) < 2:
            return frozenset()
        return frozenset.intersection(*(frozenset(run.deviations) for run in self.runs))

    def columns(self, name: str) -> list[Column]:
        """Return the columns, with unit and direction as most runs have them. Raises UserError as `build` does."""
        asked = self.spec.columns
        check_known((one.metric for one in asked), {name for run in self.runs for name in run.metrics}, name)
        return [self._column(one) for one in asked]

    @property
    def published(self) -> list[PublishedFilter | None]:
        """Return for each column which of others' figures it quotes."""
        return [_quoting(self.spec.published, one.metric) for one in self.spec.columns]

    def slots(self, rows: Sequence[RowRuns], seeds: Collection[int]) -> list[Slot]:
        """Return what each row has here; `seeds` are those that it is to have a run of."""
        own, awaited = {id(run) for run in self.runs}, {id(one) for one in self.unfinished}
        slots = []
        for row in rows:
            runs = [run for run in row.runs if id(run) in own]
            done = {run.seed for run in runs}
            pending = tuple(one for one in row.unfinished if id(one) in awaited and one.seed not in done)
            absent = {*seeds} - done - {one.seed for one in pending}
            slots.append(_slot(runs, pending, len(absent)))
        return slots

    def remarks(self, slots: Sequence[Slot]) -> list[list[str]]:
        """Return the footnotes of each row here."""
        usual = usual_protocol(slots)
        example = next((run for run in self.runs if Protocol.of(run) == usual), None)
        return [remarks(slot, example, self.common) for slot in slots]

    def _column(self, column: MetricColumn) -> Column:
        found = [metric for run in self.runs if (metric := run.metrics.get(column.metric)) is not None]
        kinds = Counter((metric.unit, metric.higher_is_better) for metric in found)
        unit, higher_is_better = kinds.most_common(1)[0][0] if found else (None, None)
        shown = style(column.metric, unit, higher_is_better=higher_is_better)
        return Column(
            key=f"{self.spec.header}: {column.metric}" if self.spec.header else column.metric,
            group=self.spec.header,
            header=shown.header if column.header is None else column.header,
            unit=shown.unit,
            higher_is_better=shown.higher_is_better,
            digits=digits(shown.unit) if column.digits is None else column.digits,
            difference=column.difference,
        )


def _quoting(published: PublishedFilter | None, metric: str) -> PublishedFilter | None:
    if published is None or metric not in get_args(MetricName):
        return None
    return published.model_copy(update={"metrics": (metric,)})


def usual_protocol(slots: Sequence[Slot]) -> Protocol | None:
    """Return how most rows were measured; None if there is no run."""
    protocols = Counter(slot.protocol for slot in slots if slot.protocol is not None)
    return protocols.most_common(1)[0][0] if protocols else None


def _slot(runs: Sequence[Run], unfinished: tuple[Unfinished, ...], absent: int) -> Slot:
    replicates = Replicates.of(runs)
    protocols = {Protocol.of(members[0]) for members in replicates.groups}
    recipes = {row_recipe(members[0]) for members in replicates.groups}
    return Slot(
        replicates=replicates,
        unfinished=unfinished,
        expected=len(runs) + len(unfinished) + absent,
        protocol=protocols.pop() if len(protocols) == 1 else None,
        mixed=len(protocols) > 1 or len(recipes) > 1,
    )
