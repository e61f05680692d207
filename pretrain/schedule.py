"""How far a run is, and what follows from it: learning rate, momentum, warm-up of a term."""

import math
from dataclasses import dataclass

from pretrain.recipe import OptimizerSpec


@dataclass(frozen=True)
class Moment:
    """A step of a run, counted from 0."""

    step: int
    steps_per_epoch: int
    epochs: int

    @property
    def total(self) -> int:
        """Return the number of steps of the run."""
        return self.epochs * self.steps_per_epoch

    @property
    def epoch(self) -> float:
        """Return the epochs that are done after this step."""
        return (self.step + 1) / self.steps_per_epoch


def learning_rate(spec: OptimizerSpec, moment: Moment) -> float:
    """Return the rate of a step: linear warm-up from lr / warm-up steps, then half a cosine to zero at the end."""
    warmup = round(spec.warmup_epochs * moment.steps_per_epoch)
    if moment.step < warmup:
        return spec.lr * (moment.step + 1) / warmup
    return spec.lr * 0.5 * (1 + math.cos(math.pi * (moment.step - warmup) / max(1, moment.total - warmup)))


def rising_momentum(start: float, moment: Moment) -> float:
    """Return a target's momentum after a step: from `start` to 1 by half a cosine (BYOL, arXiv 2006.07733, A.1)."""
    return 1 - (1 - start) * 0.5 * (1 + math.cos(math.pi * moment.step / moment.total))
