"""The training loop: images in, checkpoint.pt out."""

import math
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor

from pretrain import distributed
from pretrain.batches import Batch, Batches, TwoViewImages, Unreadable, load_batches, to_views
from pretrain.clock import Clock
from pretrain.gradients import Gradients
from pretrain.launch import build_fabric
from pretrain.methods import Embedded
from pretrain.model import WATCHED, Losses, build_model
from pretrain.monitor import MetricsLog, feature_statistics
from pretrain.noise import Noise
from pretrain.online_knn import OnlineKNN
from pretrain.optimizer import build_optimizer, set_rate
from pretrain.publish import publish
from pretrain.recipe import PretrainRecipe, checkpoint_path
from pretrain.schedule import Moment, learning_rate
from pretrain.state import load_state, save_state
from superinfo.artifacts import load_checkpoint
from superinfo.datasets.images import ImageSet, open_images
from superinfo.errors import Diverged, Interrupted, SuperInfoError, UserError
from superinfo.files import write_text
from superinfo.progress import progress, say
from superinfo.runs import StopSignal, locked, reset_peak_memory
from superinfo.spec import identity_hash
from superinfo.views import TwoViews

INTERRUPTED = "interrupted"
"""Lies in the folder of a run that a signal stopped: torchrun and Slurm swallow the exit code that says so."""
LOOKED_AT = 256
"""Images of a batch whose features are looked at for collapse."""
TOLD = 5
"""Unreadable images that are named; more are only counted."""


def pretrain(recipe: PretrainRecipe, seed: int, runs: Path, device: str = "auto", devices: int = 1) -> Path:
    """Train an encoder and return its checkpoint's path; resume an unfinished run, leave a finished one alone.

    Under torchrun or srun the processes are those that they start; otherwise this script is started `devices` times.
    The first process alone says, writes and raises.
    Raises UserError on bad data, Diverged on a loss that is not finite, Interrupted (state saved) on SIGTERM.
    """
    path = checkpoint_path(recipe, seed, runs)
    if _finished(path, recipe):
        return path
    fabric = build_fabric(recipe, device, devices)
    with ExitStack() as stack:
        if distributed.is_main_process():
            stack.enter_context(locked(path.parent))
            if _finished(path, recipe):
                return path
        fabric.launch()
        reset_peak_memory()
        images = open_images(recipe.data, runs / "data")
        _Run(recipe, seed, path.parent, images, runs / "data", fabric).train()
    return path


def _finished(path: Path, recipe: PretrainRecipe) -> bool:
    if not path.exists():
        return False
    info, _ = load_checkpoint(path)
    if info.recipe_hash != identity_hash(recipe):
        raise UserError(f"{path}: checkpoint of another recipe, {info.name}; move it out of this run's folder")
    return True


class _Run:
    """A run from its first step, or from where a former process left it."""

    def __init__(
        self, recipe: PretrainRecipe, seed: int, folder: Path, images: ImageSet, cache: Path, fabric: Fabric
    ) -> None:
        self.recipe, self.seed, self.folder, self.images, self.fabric = recipe, seed, folder, images, fabric
        self.recipe_hash = identity_hash(recipe)
        self.bare = build_model(recipe, seed)
        if recipe.channels_last:
            self.bare = self.bare.to(memory_format=torch.channels_last)
        self.synchronised = recipe.sync_batch_norm and fabric.world_size > 1 and fabric.device.type == "cuda"
        if self.synchronised:
            self.bare.synchronise_batch_norm()
        if recipe.compile:
            self.bare.encoder.stages = torch.compile(self.bare.encoder.stages)  # type: ignore[method-assign]
        self.model, self.optimizer = fabric.setup(self.bare, build_optimizer(recipe.optimizer, self.bare))
        self.step, seconds = 0, 0.0
        self.unreadable: Unreadable = {}
        if state := load_state(folder, self.recipe_hash, tell=fabric.is_global_zero):
            self.bare.load_state_dict(state["model"])
            self.optimizer.optimizer.load_state_dict(state["optimizer"])
            fabric.strategy.precision.load_state_dict(state["precision"])
            self.step, seconds, self.unreadable = state["step"], state["seconds"], state["unreadable"]
            if fabric.is_global_zero:
                say(f"{folder.name}: resumed at step {self.step:,}")
        self.share = recipe.batch_size // fabric.world_size
        self.batches = Batches(
            len(images), recipe.batch_size, recipe.epochs, seed, self.step, fabric.global_rank, fabric.world_size
        )
        self.total = recipe.epochs * self.batches.steps_per_epoch
        without_sync = partial(fabric.no_backward_sync, self.model) if fabric.world_size > 1 else None
        chunk_size = min(recipe.chunk_size or self.share, self.share)
        self.gradients = Gradients(self.model, self.bare, chunk_size, fabric.backward, without_sync)
        self.mean, self.std = (fabric.to_device(torch.tensor(v)) for v in (recipe.data.mean, recipe.data.std))
        self.finite = torch.tensor(True, device=fabric.device)
        self.agreement = distributed.Agreement()
        knn = recipe.monitor.knn if fabric.is_global_zero else None
        self.knn = None if knn is None else OnlineKNN(knn, recipe, images, cache)
        self.clock = Clock(seconds)

    def train(self) -> None:
        """Train to the end and publish the checkpoint.

        What keeps a run from its end is agreed upon: the first process raises it, the others just return, as a
        launcher kills the first one when another fails.
        """
        recipe, fabric = self.recipe, self.fabric
        views = TwoViews(recipe.views, recipe.view_size, recipe.data.mean, recipe.data.std)
        dataset = TwoViewImages(self.images, views, self.seed)
        with ExitStack() as stack:
            stop = stack.enter_context(StopSignal())
            loaded = stack.enter_context(
                load_batches(dataset, self.batches, recipe.workers, pin=fabric.device.type == "cuda")
            )
            log, advance = None, _nobody_looks
            if fabric.is_global_zero:
                (self.folder / INTERRUPTED).unlink(missing_ok=True)
                monitor = recipe.monitor
                log = MetricsLog(self.folder, self.step, tensorboard=monitor.tensorboard, wandb=monitor.wandb)
                stack.enter_context(log)
                size = recipe.batch_size
                advance = stack.enter_context(progress(recipe.name, self.total * size, "images", self.step * size))
            for batch in self.clock.timed(loaded):
                moment = Moment(self.step, self.batches.steps_per_epoch, recipe.epochs)
                losses, embedded = self._learn(batch, moment)
                last = self.step + 1 == self.total
                stopping, saving, spoilt = self.agreement.any(
                    stop.received and not last,
                    self.clock.since_save() > 60 * recipe.save_minutes,
                    len(self.unreadable) > recipe.max_unreadable * len(self.images),
                )
                knn_due = recipe.monitor.knn is not None and recipe.monitor.knn.due(moment.epoch, recipe.epochs)
                if stopping or saving or spoilt or last or knn_due or self.step % recipe.log_every == 0:
                    if spoilt:
                        return self._end(self._too_many_unreadable())
                    if any(self.agreement.any(not self.finite or not self._encoder_is_finite())):
                        return self._end(self._divergence())
                    self._log(log, losses, embedded, moment, knn_due)
                self.step += 1
                advance(recipe.batch_size, f"loss {log.last.get('loss', math.nan):.3f}" if log else "")
                if stopping or saving:
                    self._save(log)
                if stopping:
                    if log:
                        write_text(self.folder / INTERRUPTED, f"stopped by a signal after step {self.step}\n")
                    told = f"{self.folder}: stopped after step {self.step}; the same command resumes"
                    return self._end(Interrupted(told))
            metrics = log.last if log else {}
        if fabric.is_global_zero:
            execution: dict[str, str | int] = {
                "processes": fabric.world_size,
                "batch_norm": "synchronised" if self.synchronised else f"over {self.gradients.chunk_size} images",
                "device": fabric.device.type,
                "precision": recipe.precision,
            }
            publish(self.folder, recipe, self.seed, self.bare.encoder, metrics, execution, self.clock.total())
        fabric.barrier()
        return None

    def _encoder_is_finite(self) -> bool:
        return all(bool(tensor.isfinite().all()) for tensor in self.bare.encoder.state_dict().values())

    def _end(self, failure: SuperInfoError) -> None:
        if self.fabric.is_global_zero:
            raise failure

    def _learn(self, batch: Batch, moment: Moment) -> tuple[Losses, Embedded]:
        """Do one step; return its losses, and the embedding of this process's images."""

        def views(chunk: slice) -> tuple[Tensor, Tensor]:
            pixels = self.fabric.to_device(batch.views[chunk])
            v1, v2 = to_views(pixels, self.mean, self.std)
            return (v1, v2) if self.recipe.channels_last else (v1.contiguous(), v2.contiguous())

        set_rate(self.optimizer, learning_rate(self.recipe.optimizer, moment))
        noise = Noise(self.seed, self.step, self.recipe.batch_size, self.fabric.device)
        self.optimizer.zero_grad()
        losses, embedded = self.gradients(views, self.share, noise, moment)
        if self.recipe.optimizer.clip_norm is not None:
            # Overflow in half precision is the scaler's business, and divergence that of `_divergence`.
            clip_norm = self.recipe.optimizer.clip_norm
            self.fabric.clip_gradients(self.model, self.optimizer, max_norm=clip_norm, error_if_nonfinite=False)
        self.optimizer.step()
        self.bare.after_step(embedded, moment)
        self.finite &= losses.total.detach().isfinite()
        self._note(batch.unreadable)
        return losses, embedded

    def _note(self, unreadable: Unreadable) -> None:
        for index, reason in unreadable.items():
            if index not in self.unreadable and len(self.unreadable) <= TOLD:
                more = "skipped; more of them are only counted" if len(self.unreadable) == TOLD else "skipped"
                say(f"{reason}; {more}")
            self.unreadable[index] = reason

    def _log(self, log: MetricsLog | None, losses: Losses, embedded: Embedded, moment: Moment, knn_due: bool) -> None:
        metrics = distributed.mean(losses.parts)
        if log is None:
            return
        metrics |= {"epoch": moment.epoch, "lr": learning_rate(self.recipe.optimizer, moment)}
        watched = (embedded[name][:LOOKED_AT] for name in WATCHED)
        metrics |= {name: float(value) for name, value in feature_statistics(*watched).items()}
        metrics |= self.clock.rates(self.recipe.batch_size) | {"unreadable": len(self.unreadable)}
        if self.knn is not None and knn_due:
            metrics["knn"] = self.knn.accuracy(self.bare.encoder)
        log.write({"step": self.step, **metrics})

    def _save(self, log: MetricsLog | None) -> None:
        if log is not None:
            log.sync()
            state = {
                "model": self.bare.state_dict(),
                "optimizer": self.optimizer.optimizer.state_dict(),
                "precision": self.fabric.strategy.precision.state_dict(),
                "seconds": self.clock.total(),
                "unreadable": self.unreadable,
            }
            save_state(self.folder, self.step, state, self.recipe_hash)
        self.clock.saved()
        self.fabric.barrier()

    def _divergence(self) -> Diverged:
        recipe = self.recipe
        what = f"loss or weights are not finite at step {self.step} or shortly before"
        remedy = f"lower optimizer.lr (now {recipe.optimizer.lr:g})"
        if recipe.term.kind != "none":
            remedy += " or the term's coefficients"
        return Diverged(f"{recipe.name}: {what}; {remedy}; {self.folder / 'metrics.jsonl'} has the losses until then")

    def _too_many_unreadable(self) -> UserError:
        found = f"{len(self.unreadable)} of {len(self.images)} images cannot be read, more than max_unreadable"
        named = next(iter(self.unreadable.values()), "another process names them")
        return UserError(f"{self.recipe.name}: {found} ({self.recipe.max_unreadable:g} of them); for one, {named}")


def _nobody_looks(units: int, note: str) -> None:
    """Stand in for progress in the processes that show none."""
