"""Fine-tuning of encoder and classifier on all labels or a share of each class, resumable to the bit on a CPU.

With 1 % and 10 % of the labels this is the field's semi-supervised evaluation (SimCLR, arXiv 2002.05709, B.5).
"""

import copy
import itertools
import math
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from superinfo.artifacts import tensors_sha256
from superinfo.device import enough_memory
from superinfo.encoders import ResNet
from superinfo.errors import Diverged, Interrupted, UserError
from superinfo.processes import Agreement
from superinfo.progress import Advance, progress, say
from superinfo.runs import StopSignal
from superinfo.state import newest_state, read_state, save_state
from superinfo.views import Pixels, ViewSpec, draw_view, view_generator
from superinfo.workers import loaded, start_worker, workers_for
from transfer.probing.features import TOLD, FeatureStore
from transfer.probing.pixels import normalised
from transfer.probing.recipe import FinetuneSpec
from transfer.probing.scores import scores
from transfer.probing.splits import Split, stratified
from transfer.probing.trial import Outcome, Trial

SUBSET = 2
"""Which of the seed's streams draws the labels that are used."""
Position = tuple[int, int]
"""Epoch and row of the training split."""


def finetune(trial: Trial, task: FinetuneSpec) -> Outcome:
    """Train encoder and classifier, then score them on the test images after the last epoch.

    The training state stays until the record is written, for whoever writes it to remove. Raises Diverged if the loss
    is not finite, UserError if the GPU's memory does not suffice, Interrupted after a signal, with the training state
    saved.
    """
    rows, _ = stratified(trial.splits.train.labels, task.label_fraction, [trial.seed, SUBSET])
    run = _Run(trial, task, trial.splits.train.part(rows))
    fewer = f"--set task.batch_size={run.batch_size // 2} starts anew; " if run.batch_size >= 4 else ""
    with enough_memory(
        f"{trial.recipe.name}: fine-tuning on {run.batch_size} images at once",
        f"{fewer}on a GPU with more the same command resumes",
    ):
        run.train()
    return run.evaluate()


class _Classifier(nn.Module):
    def __init__(self, encoder: ResNet, classes: int) -> None:
        super().__init__()
        self.encoder, self.head = encoder, nn.Linear(encoder.feature_dim, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.encoder(images))
        return logits


class _Run:
    """A run from its first step, or from where a former process left it."""

    def __init__(self, trial: Trial, task: FinetuneSpec, split: Split) -> None:
        self.trial, self.task, self.split = trial, task, split
        encoder = copy.deepcopy(trial.subject.encoder)
        torch.manual_seed(trial.seed)
        self.model = _Classifier(encoder, trial.classes).to(trial.device)
        groups = [
            {"params": list(encoder.parameters()), "lr": task.lr},
            {"params": list(self.model.head.parameters()), "lr": task.head_lr or task.lr},
        ]
        self.optimizer = torch.optim.SGD(
            groups, momentum=task.momentum, nesterov=task.momentum > 0, weight_decay=task.weight_decay
        )
        self.batch_size = min(task.batch_size, len(split.indices))
        self.steps_per_epoch = len(split.indices) // self.batch_size
        self.total = task.epochs * self.steps_per_epoch
        self.step, self.resumed = 0, False
        self.start, self.seconds_before = time.monotonic(), 0.0
        self.unreadable: set[str] = set()
        if (found := newest_state(trial.folder, trial.run_hash)) is not None:
            state = read_state(found)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.resumed = state["step"], True
            self.unreadable |= set(state.get("unreadable", ()))
            self.seconds_before = state.get("seconds", 0.0)
            say(f"{trial.folder.name}: resumed at step {self.step:,}")

    def train(self) -> None:
        title = f"{self.trial.recipe.name}: fine-tuning"
        with (
            StopSignal() as stop,
            loaded(self._loader()) as batches,
            progress(title, self.total * self.batch_size, "images", self.step * self.batch_size) as advance,
        ):
            saved = time.monotonic()
            self.model.train()
            for batch in batches:
                for shown in batch:
                    self._note_unreadable(shown.unreadable)
                self._learn(batch, advance)
                self.step += 1
                due = time.monotonic() - saved > 60 * self.task.save_minutes
                if stop.received or due or self.step == self.total:
                    self._save()
                    saved = time.monotonic()
                    if stop.received:
                        where = f"{self.trial.folder}: stopped after step {self.step}"
                        raise Interrupted(f"{where}; the same command resumes")

    def evaluate(self) -> Outcome:
        trial = self.trial
        self.model.eval()
        self._check_finite(torch.cat([p.detach().flatten() for p in self.model.parameters()]))
        tuned = replace(
            trial.subject, encoder=self.model.encoder, tensors_sha256=tensors_sha256(self.model.state_dict())
        )
        folder = trial.folder / "features"
        shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed when it removed them
        store = FeatureStore(tuned, trial.recipe, folder, trial.device)
        found = store.of(trial.splits.test)
        with torch.no_grad():
            logits = self.model.head(torch.tensor(found.values, device=trial.device))
        shutil.rmtree(folder)
        used = len(self.split.indices)
        notes = [f"fine-tuned on {used:,} of {len(trial.splits.train.indices):,} labelled images", *store.notes]
        if self.unreadable:
            notes.append(f"{len(self.unreadable):,} training images could not be read and were left out")
        if self.resumed and trial.device.type != "cpu":
            notes.append("resumed on a GPU: an undisturbed run may differ in the last digits")
        predicted = logits.argmax(dim=1).cpu().numpy()
        metrics = scores(predicted, found.labels, trial.recipe.metric)
        return Outcome(metrics, len(found.labels), tuple(notes), self.seconds_before)

    def _learn(self, batch: "list[_Shown]", advance: Advance) -> None:
        rate = 0.5 * (1 + math.cos(math.pi * self.step / self.total))
        for group, lr in zip(
            self.optimizer.param_groups, (self.task.lr, self.task.head_lr or self.task.lr), strict=True
        ):
            group["lr"] = lr * rate
        store = self.trial.store
        pixels = torch.from_numpy(np.stack([shown.pixels for shown in batch]))
        labels = torch.tensor([shown.label for shown in batch])
        images = normalised(pixels.to(self.trial.device), store.mean, store.std)
        loss = F.cross_entropy(self.model(images), labels.to(self.trial.device))
        self._check_finite(loss)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        advance(self.batch_size, f"loss {loss.item():.3f}")

    def _loader(self) -> DataLoader[Any]:
        cv2.setNumThreads(0)
        return DataLoader(
            _TrainingImages(self.trial, self.task, self.split),
            batch_sampler=_Order(
                len(self.split.indices), self.batch_size, self.task.epochs, self.trial.seed, self.step
            ),
            num_workers=workers_for(self.trial.recipe.workers, Agreement()),
            collate_fn=list,
            worker_init_fn=start_worker,
        )

    def _note_unreadable(self, reasons: tuple[str, ...]) -> None:
        most = self.trial.recipe.max_unreadable
        for reason in set(reasons) - self.unreadable:
            self.unreadable.add(reason)
            if len(self.unreadable) <= TOLD:
                say(f"{reason}; left out{'; more are only counted' if len(self.unreadable) == TOLD else ''}")
        if len(self.unreadable) > most * len(self.split.indices):
            what = f"{len(self.unreadable)} images cannot be read, more than max_unreadable ({most:g})"
            raise UserError(f"data.train: {what}; mend or remove them, for one {min(self.unreadable)}")

    def _check_finite(self, value: Tensor) -> None:
        if not bool(value.isfinite().all()):
            rate = f"lower task.lr (now {self.task.lr:g})"
            raise Diverged(f"{self.trial.recipe.name}: loss or weights are not finite at step {self.step}; {rate}")

    def _save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "unreadable": sorted(self.unreadable),
            "seconds": self.seconds_before + time.monotonic() - self.start,
        }
        save_state(self.trial.folder, self.step, state, self.trial.run_hash)


@dataclass(frozen=True)
class _Shown:
    """A training image as it is shown, `(S, S, 3)`, its class, and what could not be read on the way to it."""

    pixels: Pixels
    label: int
    unreadable: tuple[str, ...]


class _TrainingImages(Dataset[_Shown]):
    """A random crop, flipped or not, of an image in an epoch; an unreadable one gives its place to the next one."""

    def __init__(self, trial: Trial, task: FinetuneSpec, split: Split) -> None:
        self.split, self.size, self.seed = split, trial.recipe.input_size, trial.seed
        self.labels = split.labels
        none = (0.0, 0.0)
        self.views = ViewSpec(
            crop_scale=task.crop_scale, flip=task.flip, jitter=0.0, grayscale=0.0, blur=none, solarize=none
        )

    def __getitem__(self, position: Position) -> _Shown:
        epoch, row = position
        unreadable: list[str] = []
        for candidate in itertools.chain(range(row, len(self.labels)), range(row)):
            try:
                image = self.split.images[int(self.split.indices[candidate])]
            except UserError as error:
                unreadable.append(str(error))
            else:
                generator = view_generator(self.seed, epoch, int(self.split.indices[row]))
                pixels, _ = draw_view(image, self.views, 0, self.size, generator)
                return _Shown(pixels, int(self.labels[candidate]), tuple(unreadable))
        raise UserError(f"data.train: none of the {len(self.labels)} images can be read; the first: {unreadable[0]}")


class _Order:
    """Positions by batch from `first_step` on, a pure function of seed and step; incomplete batches are left out."""

    def __init__(self, images: int, batch_size: int, epochs: int, seed: int, first_step: int) -> None:
        self.images, self.batch_size, self.epochs = images, batch_size, epochs
        self.seed, self.first_step = seed, first_step

    def __iter__(self) -> Iterator[list[Position]]:
        steps = self.images // self.batch_size
        for step in range(self.first_step, self.epochs * steps):
            epoch, batch = divmod(step, steps)
            order = np.random.default_rng([self.seed, epoch]).permutation(self.images)
            yield [(epoch, int(row)) for row in order[batch * self.batch_size : (batch + 1) * self.batch_size]]

    def __len__(self) -> int:
        return self.epochs * (self.images // self.batch_size) - self.first_step
