"""What every kind of probe works with, and what it gives back."""

from dataclasses import dataclass
from pathlib import Path

import torch

from superinfo.artifacts import Metric
from transfer.probing.encoder import Subject
from transfer.probing.features import Features, FeatureStore
from transfer.probing.labelled import Labelled
from transfer.probing.recipe import ProbeRecipe
from transfer.probing.splits import Split, Splits


@dataclass(frozen=True)
class Trial:
    """One probe of one encoder."""

    recipe: ProbeRecipe
    seed: int
    subject: Subject
    splits: Splits
    store: FeatureStore
    runs: Path
    folder: Path
    """Of this run."""
    run_hash: str
    device: torch.device

    @property
    def classes(self) -> int:
        """Return the number of classes; a set may have labels without names."""
        train = self.splits.train
        return max(len(train.images.classes), int(train.labels.max()) + 1)

    def labelled(self, split: Split) -> Labelled:
        """Return a split's features with their classes."""
        found: Features = self.store.of(split)
        return Labelled(found.values, found.labels)


@dataclass(frozen=True)
class Outcome:
    """What a probe found."""

    metrics: dict[str, Metric]
    samples: int
    """Test images behind the figures."""
    notes: tuple[str, ...] = ()
    """What the record must say beside them."""
    seconds_before: float = 0.0
    """That processes took from which this one went on."""
