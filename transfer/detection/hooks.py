"""What happens around each iteration of a detector's training: seeds, statistics, evaluation, progress, saving."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import islice

import numpy as np
import torch
from detectron2.engine import HookBase
from detectron2.utils.events import EventStorage
from fvcore.nn.precise_bn import update_bn_stats
from torch import nn

from superinfo.errors import Interrupted
from superinfo.processes import is_main_process, rank, world_size
from superinfo.progress import progress, say
from superinfo.runs import StopSignal
from transfer.detection.loader import build_train_loader

LOG_EVERY = 20
"""Iterations between two lines of the curves, and over whose median they are smoothed."""

Evaluation = Callable[[nn.Module], dict[str, float]]
"""Figures of a model, by name, in every process."""


class SeedEachIteration(HookBase):  # type: ignore[misc]
    """Seeds torch and numpy with seed, iteration and the number of the process before every step."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def before_step(self) -> None:
        """Reseed."""
        seed_iteration(self.seed, self.trainer.iter)


def seed_iteration(seed: int, iteration: int) -> None:
    """Seed what Detectron2 draws from while it learns: which proposals are sampled."""
    entropy = [seed, iteration] + [rank()] * (rank() > 0)
    state = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    torch.manual_seed(state)
    np.random.seed(state)


class MakeStatisticsPrecise(HookBase):  # type: ignore[misc]
    """Replaces batch norms' moving statistics by averages over training batches, before each evaluation and at the end.

    As Detectron2's PreciseBN, but for its batches: they are the same ones each time, so that neither a resume nor an
    evaluation on the way changes the last result.
    """

    def __init__(self, batches: int, every: int) -> None:
        self.batches, self.every = batches, every

    def after_step(self) -> None:
        """Update the statistics if it is time to."""
        done = self.trainer.iter + 1
        if done == self.trainer.max_iter or (self.every and done % self.every == 0):
            loader = build_train_loader(self.trainer.cfg, self.trainer.images, 0, rank(), world_size(), workers=0)
            seed_iteration(self.trainer.cfg.SEED, self.trainer.max_iter)
            with EventStorage():
                update_bn_stats(self.trainer.bare, islice(loader, self.batches), self.batches)


class EvaluateEvery(HookBase):  # type: ignore[misc]
    """Evaluates every so many iterations, for the curves; the last iteration is left to the record."""

    def __init__(self, every: int, evaluation: Evaluation) -> None:
        self.every, self.evaluation = every, evaluation

    def after_step(self) -> None:
        """Evaluate if it is time to."""
        done = self.trainer.iter + 1
        if done % self.every or done == self.trainer.max_iter:
            return
        figures = self.evaluation(self.trainer.bare)
        self.trainer.bare.train()
        if is_main_process():
            self.trainer.storage.put_scalars(**figures, smoothing_hint=False)
            shown = ", ".join(f"{name} {value:.1f}" for name, value in figures.items() if name.endswith("/AP"))
            say(f"{self.trainer.title}: iteration {done:,}: {shown}")


class ShowProgress(HookBase):  # type: ignore[misc]
    """Advances a progress display with each iteration."""

    def __init__(self, title: str) -> None:
        self.title, self._stack = title, ExitStack()

    def before_train(self) -> None:
        """Open the display."""
        shown = progress(self.title, self.trainer.max_iter, "iterations", self.trainer.start_iter)
        self._advance = self._stack.enter_context(shown)

    def after_step(self) -> None:
        """Advance it."""
        loss = self.trainer.storage.history("total_loss").median(LOG_EVERY)
        self._advance(1, f"loss {loss:.3f}")

    def after_train(self) -> None:
        """Close it."""
        self._stack.close()


class SaveState(HookBase):  # type: ignore[misc]
    """Saves the training state every so many seconds, and on SIGTERM before leaving; all processes agree when."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self._stop = seconds, StopSignal()

    def before_train(self) -> None:
        """Start the clock and listen for signals."""
        self._last = time.monotonic()
        self._stop.__enter__()

    def after_step(self) -> None:
        """Save if it is time to."""
        done = self.trainer.iter + 1
        if done == self.trainer.max_iter:
            return
        due = time.monotonic() - self._last > self.seconds
        stopping, saving = self.trainer.agreement.any(self._stop.received, due)
        if stopping or saving:
            self.trainer.save()
            self._last = time.monotonic()
        if stopping:
            raise Interrupted(f"{self.trainer.title}: stopped after iteration {done}; the same command resumes")

    def after_train(self) -> None:
        """Stop listening."""
        self._stop.__exit__()
