"""Fine-tuning by Detectron2's own trainer, resumable, with progress on stderr."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import build_detection_train_loader, get_detection_dataset_dicts
from detectron2.engine import DefaultTrainer, HookBase, hooks
from detectron2.solver.build import get_default_optimizer_params, maybe_add_gradient_clipping
from detectron2.utils.env import seed_all_rng
from detectron2.utils.events import JSONWriter
from torch.utils.data import Sampler

from superinfo.errors import Diverged, EvidenceRefused, Interrupted, UserError
from superinfo.files import keep_lines, write_atomically
from superinfo.progress import progress, say
from superinfo.runs import StopSignal
from superinfo.tensorboard import TENSORBOARD
from transfer.convert.proof import load_backbone
from transfer.detection.events import EventsWriter
from transfer.detection.mapper import Mapper
from transfer.detection.vocabulary import Vocabulary

FINAL = "model_final.pth"
STATE = "training.pt"
LOG_EVERY = 20


def train(cfg: CfgNode, title: str, save_minutes: float, vocabulary: Vocabulary) -> tuple[torch.nn.Module, float]:
    """Fine-tune to the end of the schedule, from where a killed run stopped; return the model and the seconds it took.

    Leaves in the config's output folder `model_final.pth`, which Detectron2 loads and which names classes and
    keypoints, `metrics.json` and `tensorboard/`.
    Raises Diverged on a loss that is not finite, EvidenceRefused if a backbone tensor was not loaded, and
    Interrupted, with the state saved, on SIGTERM.
    """
    folder = Path(cfg.OUTPUT_DIR)
    if (folder / FINAL).exists():
        final = torch.load(folder / FINAL, map_location="cpu", weights_only=True)
        model: torch.nn.Module = Trainer.build_model(cfg)
        model.load_state_dict(final["model"])
        return model, final["seconds"]
    trainer = Trainer(cfg, title, save_minutes)
    trainer.resume_or_load(resume=True)
    remedy = f"lower SOLVER.BASE_LR (now {cfg.SOLVER.BASE_LR:g}) or set a norm in FPN and heads"
    try:
        trainer.train()
    except FloatingPointError:
        raise Diverged(f"{title}: the loss is not finite at iteration {trainer.iter}; {remedy}") from None
    weights = {"model": trainer.model.state_dict(), "seconds": trainer.seconds(), **vocabulary.payload}
    if not all(tensor.isfinite().all() for tensor in weights["model"].values()):
        raise Diverged(f"{title}: weights are not finite after the last iteration; {remedy}")
    write_atomically(folder / FINAL, lambda file: torch.save(weights, file))
    (folder / STATE).unlink(missing_ok=True)
    return trainer.model, weights["seconds"]


class Trainer(DefaultTrainer):  # type: ignore[misc]  # Detectron2 has no types
    """Detectron2's DefaultTrainer whose images and random numbers depend on (seed, iteration) alone.

    A run that was killed and resumed thus ends where an undisturbed one does, data loader workers apart: they draw
    their flips and scales from streams of their own.
    """

    def __init__(self, cfg: CfgNode, title: str, save_minutes: float) -> None:
        self.title, self.save_minutes = title, save_minutes
        self.state_file = Path(cfg.OUTPUT_DIR) / STATE
        self._saved = _load_state(self.state_file)
        self.first = self._saved["trainer"]["iteration"] + 1 if self._saved else 0
        self._start = time.monotonic() - (self._saved["seconds"] if self._saved else 0)
        seed_all_rng(cfg.SEED)
        super().__init__(cfg)

    def resume_or_load(self, resume: bool = True) -> None:
        """Take up the saved state, else load the converted weights and see that all of the backbone is theirs."""
        if resume and self._saved:
            self.model.load_state_dict(self._saved["model"])
            self.load_state_dict(self._saved["trainer"])
            self._trainer.optimizer.load_state_dict(self._saved["optimizer"])
            self.start_iter = self.first
            say(f"{self.title}: resumed at iteration {self.start_iter:,}")
        elif self.cfg.MODEL.WEIGHTS:
            tensors, matched = load_backbone(self.model, Path(self.cfg.MODEL.WEIGHTS))
            line = f"{self.title}: {matched} of {tensors} backbone tensors matched ({100 * matched / tensors:.4g} %)"
            if matched < tensors:
                raise EvidenceRefused(f"{line}; convert the checkpoint anew")
            say(line)

    def seconds(self) -> float:
        """Return the time spent so far, over all resumes."""
        return time.monotonic() - self._start

    def save(self) -> None:
        """Write all that resuming needs, atomically."""
        payload = {
            "model": self.model.state_dict(),
            "trainer": self.state_dict(),
            "optimizer": self._trainer.optimizer.state_dict(),  # Detectron2 0.6 leaves it out of the trainer's state
            "seconds": self.seconds(),
        }
        write_atomically(self.state_file, lambda file: torch.save(payload, file))

    def build_train_loader(self, cfg: CfgNode) -> Any:
        """Return the loader of training batches, from the first iteration that is still to do."""
        dataset = get_detection_dataset_dicts(cfg.DATASETS.TRAIN, filter_empty=cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS)
        sampler = Shuffled(len(dataset), cfg.SEED, self.first * cfg.SOLVER.IMS_PER_BATCH)
        return build_detection_train_loader(cfg, dataset=dataset, sampler=sampler, mapper=Mapper(cfg, is_train=True))

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: torch.nn.Module) -> torch.optim.Optimizer:
        """Return Detectron2's SGD, or AdamW with the same parameter groups and clipping."""
        if cfg.SOLVER.OPTIMIZER == "SGD":
            return super().build_optimizer(cfg, model)  # type: ignore[no-any-return]
        groups = get_default_optimizer_params(model, base_lr=cfg.SOLVER.BASE_LR, weight_decay_norm=0.0)
        adamw = maybe_add_gradient_clipping(cfg, torch.optim.AdamW)
        return adamw(groups, cfg.SOLVER.BASE_LR, weight_decay=cfg.SOLVER.WEIGHT_DECAY, fused=True)  # type: ignore[no-any-return]

    def build_hooks(self) -> list[HookBase]:
        """Return Detectron2's timer, scheduler and writers, and our seeds, progress and saving."""
        curves = self.state_file.with_name("metrics.json")
        keep_lines(curves, lambda metrics: metrics["iteration"] < self.first)
        events = EventsWriter(curves.with_name(TENSORBOARD), self.first, LOG_EVERY)
        writers = [JSONWriter(str(curves), LOG_EVERY), events]
        return [
            SeedEachIteration(self.cfg.SEED),
            hooks.IterationTimer(),
            hooks.LRScheduler(),
            hooks.PeriodicWriter(writers, period=LOG_EVERY),
            ShowProgress(self.title),
            SaveState(self.save_minutes),
        ]


class Shuffled(Sampler[int]):
    """An endless stream of indices, a fresh permutation each pass, that starts at any position."""

    def __init__(self, size: int, seed: int, position: int) -> None:
        self.size, self.seed, self.position = size, seed, position

    def __iter__(self) -> Iterator[int]:
        epoch, first = divmod(self.position, self.size)
        while True:
            yield from np.random.default_rng([self.seed, epoch]).permutation(self.size)[first:].tolist()
            epoch, first = epoch + 1, 0


class SeedEachIteration(HookBase):  # type: ignore[misc]
    """Seeds torch, numpy and random with (seed, iteration) before every step."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def before_step(self) -> None:
        """Reseed."""
        state = np.random.SeedSequence([self.seed, self.trainer.iter]).generate_state(1)
        torch.manual_seed(int(state[0]))
        np.random.seed(int(state[0]))


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
    """Saves the training state every few minutes, and on SIGTERM before leaving."""

    def __init__(self, minutes: float) -> None:
        self.seconds, self._stop = 60 * minutes, StopSignal()

    def before_train(self) -> None:
        """Start the clock and listen for signals."""
        self._last = time.monotonic()
        self._stop.__enter__()

    def after_step(self) -> None:
        """Save if it is time to."""
        if self.trainer.iter + 1 == self.trainer.max_iter:
            return
        if self._stop.received or time.monotonic() - self._last > self.seconds:
            self.trainer.save()
            self._last = time.monotonic()
        if self._stop.received:
            done = self.trainer.iter + 1
            raise Interrupted(f"{self.trainer.title}: stopped after iteration {done}; the same command resumes")

    def after_train(self) -> None:
        """Stop listening."""
        self._stop.__exit__()


def _load_state(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)  # type: ignore[no-any-return]
    except Exception:  # torch raises whatever the broken bytes lead it into
        raise UserError(f"{path}: broken training state; delete it to start this run anew") from None
