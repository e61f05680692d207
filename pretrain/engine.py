"""The training loop: images in, checkpoint.pt out."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from pretrain.batches import Batches, TwoViewImages, load_batches, to_views
from pretrain.model import Losses, Pretraining, build_model
from pretrain.monitor import MetricsLog
from pretrain.optimizer import build_optimizer, learning_rate
from pretrain.recipe import PretrainRecipe, checkpoint_path
from superinfo.artifacts import (
    CHECKPOINT,
    MANIFEST,
    CheckpointInfo,
    Cost,
    Manifest,
    save_checkpoint,
    tensors_sha256,
)
from superinfo.datasets.images import ImageSet, open_images
from superinfo.device import pick_device
from superinfo.encoders import ResNet, count_flops
from superinfo.errors import Diverged, Interrupted, UserError
from superinfo.files import write_atomically
from superinfo.progress import progress, say
from superinfo.runs import StopSignal, locked, peak_memory_mib, provenance, reset_peak_memory
from superinfo.spec import identity_hash
from superinfo.views import TwoViews

STATE = "training.pt"


def pretrain(recipe: PretrainRecipe, seed: int, runs: Path, device: str = "auto") -> Path:
    """Train an encoder and return its checkpoint's path; resume an unfinished run, leave a finished one alone.

    Raises UserError on bad data, Diverged on a loss that is not finite, Interrupted (state saved) on SIGTERM.
    """
    path = checkpoint_path(recipe, seed, runs)
    if path.exists():
        return path
    fabric = Fabric(accelerator=pick_device(device).type, devices=1, precision=recipe.precision)
    with locked(path.parent):
        if not path.exists():
            reset_peak_memory()
            images = open_images(recipe.data, runs / "data")
            _train(recipe, seed, path.parent, images, fabric)
    return path


def _train(recipe: PretrainRecipe, seed: int, folder: Path, images: ImageSet, fabric: Fabric) -> None:
    bare = build_model(recipe, seed).to(memory_format=torch.channels_last)
    model, optimizer = fabric.setup(bare, build_optimizer(recipe.optimizer, bare))
    state = _State(bare, optimizer.optimizer)
    state.load(folder / STATE)
    batches = Batches(len(images), recipe.batch_size, recipe.epochs, seed, state.step)
    views = TwoViews(recipe.views, recipe.view_size, recipe.data.mean, recipe.data.std)
    dataset, pin = TwoViewImages(images, views, seed), fabric.device.type == "cuda"
    mean, std = (fabric.to_device(torch.tensor(values)) for values in (recipe.data.mean, recipe.data.std))
    noise = torch.Generator(fabric.device)
    finite = torch.tensor(True, device=fabric.device)
    total = batches.steps_per_epoch * recipe.epochs
    clock = _Clock(state.seconds)
    log = MetricsLog(folder / "metrics.jsonl", state.step)
    size = recipe.batch_size
    with (
        StopSignal() as stop,
        load_batches(dataset, batches, recipe.workers, pin) as loaded,
        progress(recipe.name, total * size, "images", state.step * size) as advance,
    ):
        for batch in clock.timed(loaded):
            lr = learning_rate(recipe.optimizer, state.step, batches.steps_per_epoch, recipe.epochs)
            for group in optimizer.param_groups:
                group["lr"] = lr
            noise.manual_seed(_noise_seed(seed, state.step))
            v1, v2 = to_views(fabric.to_device(batch), mean, std)
            losses: Losses = model(v1, v2, noise)
            optimizer.zero_grad()
            fabric.backward(losses.total)
            optimizer.step()
            finite &= losses.total.detach().isfinite()

            stopping = stop.received and state.step + 1 < total
            saving = stopping or clock.since_save() > 60 * recipe.save_minutes
            if saving or state.step % recipe.log_every == 0 or state.step + 1 == total:
                if not finite:
                    raise Diverged(_divergence(recipe, folder, state.step))
                parts = {name: float(value) for name, value in losses.parts.items()}
                epoch = (state.step + 1) / batches.steps_per_epoch
                log.write({"step": state.step, "epoch": epoch, "lr": lr, **parts, **clock.rates(size)})
            state.step += 1
            advance(size, f"loss {log.last.get('loss', math.nan):.3f}")
            if saving:
                log.sync()
                state.seconds = clock.total()
                state.save(folder / STATE)
                clock.saved()
            if stopping:
                raise Interrupted(f"{folder}: stopped after step {state.step}; the same command resumes")
    log.close()
    if not all(tensor.isfinite().all() for tensor in bare.encoder.state_dict().values()):
        raise Diverged(_divergence(recipe, folder, state.step))
    _publish(recipe, seed, folder, bare.encoder, log.last, clock.total())


@dataclass
class _State:
    """All that a killed run needs to go on as if nothing had happened."""

    model: Pretraining
    optimizer: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0

    def save(self, path: Path) -> None:
        payload = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        write_atomically(path, lambda file: torch.save(payload, file))

    def load(self, path: Path) -> None:
        """Take up what `save` left, if anything."""
        if not path.exists():
            return
        try:
            payload = torch.load(path, map_location="cpu", weights_only=True)
        except Exception:  # torch raises whatever the broken bytes lead it into
            raise UserError(f"{path}: broken training state; delete it to start this run anew") from None
        self.model.load_state_dict(payload["model"])
        self.optimizer.load_state_dict(payload["optimizer"])
        self.step, self.seconds = payload["step"], payload["seconds"]
        say(f"{path.parent.name}: resumed at step {self.step:,}")


class _Clock:
    """Time: of the run over all its resumes, since the last save and the last log, and spent waiting for data."""

    def __init__(self, before: float) -> None:
        now = time.monotonic()
        self._start, self._save, self._log = now - before, now, now
        self._waited, self._steps = 0.0, 0

    def timed(self, batches: Iterator[Tensor]) -> Iterator[Tensor]:
        while True:
            start = time.monotonic()
            batch = next(batches, None)
            if batch is None:
                return
            self._waited += time.monotonic() - start
            self._steps += 1
            yield batch

    def rates(self, batch_size: int) -> dict[str, float]:
        now = time.monotonic()
        spent = max(now - self._log, 1e-9)
        rates = {"images_per_second": self._steps * batch_size / spent, "data_wait": self._waited / spent}
        self._log, self._waited, self._steps = now, 0.0, 0
        return rates

    def total(self) -> float:
        return time.monotonic() - self._start

    def since_save(self) -> float:
        return time.monotonic() - self._save

    def saved(self) -> None:
        self._save = time.monotonic()


def _noise_seed(seed: int, step: int) -> int:
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0] >> 1)


def _divergence(recipe: PretrainRecipe, folder: Path, step: int) -> str:
    what = f"loss or weights are not finite at step {step} or shortly before"
    remedy = f"lower optimizer.lr (now {recipe.optimizer.lr:g})"
    if recipe.term.kind != "none":
        remedy += " or the term's coefficients"
    return f"{recipe.name}: {what}; {remedy}; {folder / 'metrics.jsonl'} has the losses until then"


def _publish(
    recipe: PretrainRecipe,
    seed: int,
    folder: Path,
    encoder: ResNet,
    metrics: dict[str, float],
    seconds: float,
) -> None:
    """Write the manifest, then the checkpoint, whose existence says that the run is done."""
    state = {key: tensor.detach().cpu() for key, tensor in encoder.state_dict().items()}
    recipe_hash = identity_hash(recipe)
    Manifest(
        run=folder.name,
        recipe=recipe.model_dump(mode="json"),
        recipe_hash=recipe_hash,
        tensors_sha256=tensors_sha256(state),
        metrics=metrics,
        cost=Cost(
            wall_seconds=seconds,
            peak_memory_mib=peak_memory_mib(),
            parameters=sum(p.numel() for p in encoder.parameters()),
            flops=count_flops(encoder, recipe.view_size),
            flops_input=f"1x3x{recipe.view_size}x{recipe.view_size}",
        ),
        provenance=provenance(),
    ).write(folder / MANIFEST)
    info = CheckpointInfo(
        encoder=recipe.encoder,
        name=recipe.name,
        method=recipe.method.kind,
        term=recipe.term.kind,
        dataset=recipe.data.title,
        epochs=recipe.epochs,
        seed=seed,
        input_size=recipe.view_size,
        mean=recipe.data.mean,
        std=recipe.data.std,
        recipe_hash=recipe_hash,
    )
    save_checkpoint(folder / CHECKPOINT, info, state)
    (folder / STATE).unlink(missing_ok=True)
