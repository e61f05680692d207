"""From runs to a sample: what is repeated is the pretraining, and its fine-tunings are averaged."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from results.protocols import Protocol
from results.records import Run
from results.rows import row_recipe
from results.statistics import mean


@dataclass(frozen=True)
class Replicates:
    """The runs of one row, by pretraining and by how they were measured."""

    groups: tuple[tuple[Run, ...], ...]
    """The runs of each pretraining that were measured alike; both in the order of seeds."""

    @classmethod
    def of(cls, runs: Sequence[Run]) -> "Replicates":
        """Group runs by what they repeat."""
        groups: dict[Hashable, list[Run]] = {}
        for run in sorted(runs, key=lambda run: (run.who.seed, run.seed, run.id)):
            groups.setdefault((row_recipe(run), pretraining(run), Protocol.of(run)), []).append(run)
        return cls(tuple(map(tuple, groups.values())))

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """All runs, pretraining by pretraining."""
        return tuple(run for members in self.groups for run in members)

    @cached_property
    def design(self) -> tuple[tuple[Hashable, tuple[int, ...]], ...]:
        """Pretrainings and the seeds of their runs: samples of one design can be paired."""
        return tuple((pretraining(members[0]), tuple(run.seed for run in members)) for members in self.groups)

    @cached_property
    def duplicates(self) -> tuple[Run, ...]:
        """Runs that repeat another one with its own seed, which comes before."""
        return tuple(run for members in self.groups for before, run in pairwise(members) if before.seed == run.seed)

    @property
    def single(self) -> bool:
        """Whether one pretraining has all runs, and they are several."""
        return len(self.groups) == 1 and len(self.runs) > 1

    def values(self, metric: str) -> list[float]:
        """Return the mean of each pretraining's runs. Every run must have a number."""
        return [mean([value_of(run, metric) for run in members]) for members in self.groups]


def pretraining(run: Run) -> Hashable:
    """Return what tells the pretrainings of one recipe apart: their seed; of files from elsewhere, their tensors."""
    who = run.who
    return who.seed if who.recipe_hash is not None or who.tensors_sha256 is None else who.tensors_sha256


def value_of(run: Run, metric: str) -> float:
    """Return a figure that is there."""
    value = run.metrics[metric].value
    assert value is not None
    return value
