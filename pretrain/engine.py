"""The training loop: images in, checkpoint.pt out."""

import math
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from lightning_fabric import Fabric

from pretrain.batches import Batches, TwoViewImages, load_batches
from pretrain.clock import Clock
from pretrain.distributed import mean
from pretrain.launch import build_fabric
from pretrain.learner import Learner
from pretrain.methods import Embedded
from pretrain.model import WATCHED, Losses
from pretrain.monitor import MetricsLog, feature_statistics
from pretrain.online_knn import OnlineKNN
from pretrain.publish import publish
from pretrain.recipe import PretrainRecipe, checkpoint_path
from pretrain.schedule import Moment, learning_rate
from pretrain.unreadable import UnreadableImages
from superinfo.artifacts import load_checkpoint
from superinfo.datasets.images import open_images
from superinfo.device import enough_memory
from superinfo.errors import Diverged, Interrupted, SuperInfoError, UserError
from superinfo.files import write_text
from superinfo.processes import Agreement, started_by_a_launcher
from superinfo.progress import Advance, progress, say
from superinfo.runs import StopSignal, interruptible, locked, reset_peak_memory
from superinfo.spec import identity_hash
from superinfo.state import newest_state, read_state, save_state
from superinfo.views import TwoViews
from superinfo.workers import workers_for

INTERRUPTED = "interrupted"
"""Lies in the folder of a run that a signal stopped: torchrun and Slurm swallow the exit code that says so."""
LOOKED_AT = 256
"""Images of a batch whose features are looked at for collapse."""


def pretrain(
    recipe: PretrainRecipe,
    seed: int,
    runs: Path,
    device: str = "auto",
    devices: int = 1,
    *,
    command: str | None = None,
) -> Path:
    """Train an encoder and return its checkpoint's path; resume an unfinished run, leave a finished one alone.

    `command` is the line that repeats the run, for its manifest.
    Under torchrun or srun the processes are those that they start; otherwise this script is started `devices` times.
    The first process alone says, writes and raises; where it raises, the others exit.
    Raises UserError on bad data and where a GPU's memory is too small, Diverged on a loss that is not finite,
    Interrupted on SIGTERM and SIGUSR1.
    """
    path = checkpoint_path(recipe, seed, runs)
    if not started_by_a_launcher() and _finished(path, recipe):
        return path
    fabric = build_fabric(recipe, device, devices)
    with ExitStack() as stack:
        stack.enter_context(interruptible(recipe.name))
        fabric.launch()
        agreement = Agreement()

        def finished() -> bool:
            stack.enter_context(locked(path.parent))
            return _finished(path, recipe)

        if not agreement.first(finished):
            with _memory_to_train(recipe, fabric.world_size):
                _Run(recipe, seed, runs, fabric, agreement).train(command)
    return path


def _finished(path: Path, recipe: PretrainRecipe) -> bool:
    if not path.exists():
        return False
    info, _ = load_checkpoint(path)
    if info.recipe_hash != identity_hash(recipe):
        raise UserError(f"{path}: checkpoint of another recipe, {info.name}; move it out of this run's folder")
    return True


def _memory_to_train(recipe: PretrainRecipe, processes: int) -> AbstractContextManager[None]:
    """Say what to do where a GPU has not enough, in whichever process that is."""
    share = recipe.batch_size // processes
    chunk = min(recipe.chunk_size or share, share)
    smaller = [size for size in range(2, chunk // 2 + 1) if share % size == 0]
    changes = [f"--set chunk_size={size}" for size in smaller[-1:]]
    changes += ["--set precision=bf16-mixed"] * (recipe.precision == "32-true")
    anew = f"{' or '.join(changes)} starts anew; " if changes else ""
    what = f"{recipe.name}: {chunk} images at once"
    return enough_memory(what, f"{anew}on a GPU with more the same command resumes")


class _Run:
    """A run from its first step, or from where a former process left it."""

    def __init__(self, recipe: PretrainRecipe, seed: int, runs: Path, fabric: Fabric, agreement: Agreement) -> None:
        self.recipe, self.seed, self.fabric, self.agreement = recipe, seed, fabric, agreement
        self.folder = checkpoint_path(recipe, seed, runs).parent
        self.recipe_hash = identity_hash(recipe)
        reset_peak_memory()
        self.knn: OnlineKNN | None = None
        found = agreement.first(lambda: self._prepare(runs / "data"))
        self.images = open_images(recipe.data, runs / "data")
        self.unreadable = UnreadableImages(self.images, recipe.max_unreadable)
        self.learner = Learner(recipe, seed, fabric)
        self.step, seconds = 0, 0.0
        if found is not None:
            state = read_state(found)
            self.learner.restore(state)
            self.unreadable.retry(state["unreadable"])
            self.step, seconds = state["step"], state["seconds"]
            if fabric.is_global_zero:
                say(f"{self.folder.name}: resumed at step {self.step:,}")
        self.batches = Batches(
            len(self.images), recipe.batch_size, recipe.epochs, seed, self.step, fabric.global_rank, fabric.world_size
        )
        self.total = recipe.epochs * self.batches.steps_per_epoch
        self.clock = Clock(seconds)

    def _prepare(self, data: Path) -> Path | None:
        """Do what the first process does before the others: find a state, generate data, and fail, if need be."""
        images = open_images(self.recipe.data, data)
        if self.recipe.monitor.knn is not None:
            self.knn = OnlineKNN(self.recipe.monitor.knn, self.recipe, images, data)
        return newest_state(self.folder, self.recipe_hash)

    def train(self, command: str | None) -> None:
        """Train to the end and publish the checkpoint.

        What keeps a run from its end is agreed upon: the first process raises it, the others return.
        """
        recipe, fabric = self.recipe, self.fabric
        if failure := self.unreadable.too_many():  # as a former process found, and nobody mended
            return self._end(failure)
        views = TwoViews(recipe.views, recipe.view_size, recipe.data.mean, recipe.data.std)
        dataset = TwoViewImages(self.images, views, self.seed)
        with ExitStack() as stack:
            stop = stack.enter_context(StopSignal())
            on_gpu = fabric.device.type == "cuda"
            workers = workers_for(recipe.workers, self.agreement)
            loaded = stack.enter_context(load_batches(dataset, self.batches, workers, pin=on_gpu))
            log, advance = self._watched(stack)
            for batch in self.clock.timed(loaded):
                moment = Moment(self.step, self.batches.steps_per_epoch, recipe.epochs)
                losses, embedded = self.learner.learn(batch.views, moment)
                self.step += 1
                last, news = self.step == self.total, self.unreadable.news(batch.unreadable)
                due = self.clock.since_save() > 60 * recipe.save_minutes
                stopping, saving, found = self.agreement.any(stop.received and not last, due, bool(news))
                if found:
                    self.unreadable.add(self.agreement.merged(news), tell=fabric.is_global_zero)
                failure = self.unreadable.too_many()
                asked = recipe.monitor.knn is not None and recipe.monitor.knn.due(moment.epoch, recipe.epochs)
                if stopping or saving or failure or last or asked or moment.step % recipe.log_every == 0:
                    accuracy = self._accuracy(stop) if asked else {}
                    finite = self.learner.is_finite() and not any(map(math.isnan, accuracy.values()))
                    if any(self.agreement.any(not finite)):
                        return self._end(self._divergence(moment.step))
                    self._log(log, losses, embedded, moment, accuracy)
                advance(recipe.batch_size, f"loss {log.last.get('loss', math.nan):.3f}" if log else "")
                if stopping or saving or failure:
                    self._save(log)
                if failure or stopping:
                    return self._end(failure or self._interrupted())
            metrics = log.last if log else {}
        if fabric.is_global_zero:
            encoder, execution = self.learner.bare.encoder, self.learner.execution()
            if self.batches.first_step:
                execution["resumed_at_step"] = self.batches.first_step
            publish(self.folder, command, recipe, self.seed, encoder, metrics, execution, self.clock.total())
        fabric.barrier()
        return None

    def _watched(self, stack: ExitStack) -> tuple[MetricsLog | None, Advance]:
        """Open log and progress display, in the first process."""
        if not self.fabric.is_global_zero:
            return None, _nobody_looks
        (self.folder / INTERRUPTED).unlink(missing_ok=True)
        monitor, size = self.recipe.monitor, self.recipe.batch_size
        log = MetricsLog(self.folder, self.step, tensorboard=monitor.tensorboard, wandb=monitor.wandb)
        stack.enter_context(log)
        shown = progress(self.recipe.name, self.total * size, "images", self.step * size)
        return log, stack.enter_context(shown)

    def _accuracy(self, stop: StopSignal) -> dict[str, float]:
        """Return the kNN accuracy, in the first process and unless a signal comes."""
        if self.knn is None:
            return {}
        accuracy = self.knn.accuracy(self.learner.bare.encoder, abandoned=lambda: stop.received)
        return {} if accuracy is None else {"knn": accuracy}

    def _log(
        self, log: MetricsLog | None, losses: Losses, embedded: Embedded, moment: Moment, accuracy: dict[str, float]
    ) -> None:
        metrics = mean(losses.parts)
        if log is None:
            return
        metrics |= {"epoch": moment.epoch, "lr": learning_rate(self.recipe.optimizer, moment)}
        looked_at = (embedded[name][:LOOKED_AT] for name in WATCHED)
        metrics |= {name: float(value) for name, value in feature_statistics(*looked_at).items()}
        metrics |= self.clock.rates(self.recipe.batch_size) | {"unreadable": len(self.unreadable.found)}
        log.write({"step": moment.step, **metrics, **accuracy})

    def _save(self, log: MetricsLog | None) -> None:
        if log is not None:
            log.sync()
            state = {"seconds": self.clock.total(), "unreadable": self.unreadable.found, **self.learner.state()}
            save_state(self.folder, self.step, state, self.recipe_hash)
        self.clock.saved()
        self.fabric.barrier()

    def _end(self, failure: SuperInfoError) -> None:
        if self.fabric.is_global_zero:
            raise failure

    def _interrupted(self) -> Interrupted:
        if self.fabric.is_global_zero:
            write_text(self.folder / INTERRUPTED, f"stopped by a signal after step {self.step}\n")
        return Interrupted(f"{self.folder}: stopped after step {self.step}; the same command resumes")

    def _divergence(self, step: int) -> Diverged:
        recipe = self.recipe
        what = f"loss or weights are not finite at step {step} or shortly before"
        remedy = f"lower optimizer.lr (now {recipe.optimizer.lr:g})"
        if recipe.term.kind != "none":
            remedy += " or the term's coefficients"
        return Diverged(f"{recipe.name}: {what}; {remedy}; {self.folder / 'metrics.jsonl'} has the losses until then")


def _nobody_looks(units: int, note: str) -> None:
    """Stand in for progress in the processes that show none."""
