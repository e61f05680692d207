"""Fine-tuning by Detectron2's own trainer, resumable, with progress on stderr."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.engine import AMPTrainer, DefaultTrainer, HookBase, SimpleTrainer, TrainerBase, hooks
from detectron2.solver.build import get_default_optimizer_params, maybe_add_gradient_clipping
from detectron2.utils.env import seed_all_rng
from detectron2.utils.events import EventWriter, JSONWriter
from fvcore.nn.precise_bn import get_bn_modules
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from superinfo.errors import Diverged, EvidenceRefused, UserError
from superinfo.files import keep_lines, write_atomically
from superinfo.processes import Agreement, buffers_left_alone, is_main_process, rank, world_size
from superinfo.progress import say
from superinfo.state import read_state, remove_states, save_state
from superinfo.tensorboard import TENSORBOARD
from superinfo.workers import end_workers
from transfer.convert.proof import encoder_tensors, load_backbone
from transfer.convert.rewriting import rewritten
from transfer.detection.data import RegisteredSplit
from transfer.detection.evaluate import detect_in_first_image
from transfer.detection.events import EventsWriter
from transfer.detection.hooks import (
    LOG_EVERY,
    EvaluateEvery,
    Evaluation,
    MakeStatisticsPrecise,
    SaveState,
    SeedEachIteration,
    ShowProgress,
)
from transfer.detection.loader import TrainingImages, build_train_loader
from transfer.detection.machine import schedule
from transfer.detection.options import REFUSALS, refusal, refused
from transfer.detection.vocabulary import Vocabulary
from transfer.detection.weights import Start

FINAL = "model_final.pth"
REMEDY = "repeat its `superinfo detect`, with another --runs"


@dataclass(frozen=True)
class Trained:
    """A detector at the end of its schedule."""

    model: nn.Module
    seconds: float
    notes: list[str]
    """What its record has to say of how it got there."""


def train(
    cfg: CfgNode,
    title: str,
    run_hash: str,
    start: Start,
    split: RegisteredSplit,
    state: Path | None,
    notes: Sequence[str],
    *,
    save_minutes: float,
    evaluation: Evaluation,
    evaluate_every: int,
) -> Trained:
    """Fine-tune on a split to the end of the schedule, from the state that a killed run left; free its objects.

    `notes` are what the record has to say already. Leaves in the config's output folder `model_final.pth`, which
    Detectron2 loads and which names classes, keypoints and notes, `metrics.json` and `tensorboard/`. Raises Diverged on
    a loss that is not finite, EvidenceRefused if a backbone tensor was not loaded, UserError if memory does not
    suffice, if Detectron2 cannot train or test with the config or finished weights are of other classes, and
    Interrupted, with the state saved, on SIGTERM and SIGUSR1.
    """
    final, vocabulary = Path(cfg.OUTPUT_DIR) / FINAL, Vocabulary.of(split.annotations, keypoints=cfg.MODEL.KEYPOINT_ON)
    if final.exists():
        done = read_final(final)
        Vocabulary.read(done).refuse_other(vocabulary, final)
        model = DefaultTrainer.build_model(cfg)
        model.load_state_dict(done["model"])
        return Trained(model, done["seconds"], done["notes"])
    with refused(f"{title}: cannot be trained"):
        trainer = Trainer(cfg, title, run_hash, save_minutes, state)
    try:
        split.forget_objects()
        trainer.begin(start, notes)
        trainer.evaluate_with(evaluation, evaluate_every)
        trainer.agreement.first(lambda: detect_in_first_image(cfg, trainer.bare))
        with _explained(trainer):
            trainer.train()
    finally:
        end_workers(trainer._trainer._data_loader_iter)
    trained = Trained(trainer.bare, trainer.seconds(), trainer.notes)
    trainer.agreement.first(lambda: _finish(trainer, trained, vocabulary, final))
    return trained


def read_final(weights: Path) -> dict[str, Any]:
    """Read what `train` left of a finished detector, on the CPU; nothing in the file is run. Raises UserError."""
    try:
        payload: dict[str, Any] = torch.load(weights, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the broken bytes lead it into
        raise UserError(f"{weights}: not a readable file of weights ({type(error).__name__}); {REMEDY}") from None
    return payload


def _finish(trainer: "Trainer", trained: Trained, vocabulary: Vocabulary, final: Path) -> None:
    state = trained.model.state_dict()
    if not all(tensor.isfinite().all() for tensor in state.values()):
        raise Diverged(f"{trainer.title}: weights are not finite after the last iteration; {trainer.remedy()}")
    payload = {"model": state, "seconds": trained.seconds, "notes": trained.notes, **vocabulary.payload}
    write_atomically(final, lambda file: torch.save(payload, file))
    remove_states(trainer.folder)


@contextmanager
def _explained(trainer: "Trainer") -> Iterator[None]:
    """Turn what stops a training into an error that says what to do."""
    try:
        yield
    except FloatingPointError:
        what = f"{trainer.title}: the loss is not finite at iteration {trainer.iter}"
        raise Diverged(f"{what}; {trainer.remedy()}") from None
    except torch.OutOfMemoryError:
        images = trainer.cfg.SOLVER.IMS_PER_BATCH // world_size()
        fewer = (
            f"--set images_per_device={images // 2}" if images > 1 else "a smaller --set options.INPUT.MAX_SIZE_TRAIN"
        )
        raise UserError(
            f"{trainer.title}: out of GPU memory at iteration {trainer.iter} with {images} images per device; {fewer} "
            "or --set options.SOLVER.AMP.ENABLED=true starts anew; on a GPU with more the same command resumes"
        ) from None
    except REFUSALS as error:
        if trainer.iter > trainer.start_iter:
            raise
        raise refusal(f"{trainer.title}: the first iteration failed", error) from error


class Trainer(DefaultTrainer):  # type: ignore[misc]  # Detectron2 has no types
    """Detectron2's DefaultTrainer whose images and random numbers depend on (seed, iteration) alone.

    A run that was killed and resumed thus ends where an undisturbed one does. What Detectron2's own class builds in one
    piece is built here of the same parts: its data parallelism knows no CPU, and its checkpoints neither the optimizer
    nor how far the data were read.
    """

    def __init__(self, cfg: CfgNode, title: str, run_hash: str, save_minutes: float, state: Path | None = None) -> None:
        TrainerBase.__init__(self)
        self.cfg, self.title, self.run_hash, self.save_minutes = cfg, title, run_hash, save_minutes
        self.folder, self.agreement = Path(cfg.OUTPUT_DIR), Agreement()
        self.saved = read_state(state) if state else None
        self.start_iter, self.max_iter = self.saved["step"] if self.saved else 0, cfg.SOLVER.MAX_ITER
        self._start = time.monotonic() - (self.saved["seconds"] if self.saved else 0)
        self.notes: list[str] = []
        seed_all_rng(cfg.SEED)
        self.bare: nn.Module = self.build_model(cfg)
        optimizer = self.build_optimizer(cfg, self.bare)
        self.images = TrainingImages.read(cfg)
        loader = build_train_loader(cfg, self.images, self.start_iter, rank(), world_size())
        stepper = AMPTrainer if cfg.SOLVER.AMP.ENABLED else SimpleTrainer
        self._trainer = stepper(_in_parallel(self.bare), loader, optimizer)
        self.scheduler = self.build_lr_scheduler(cfg, optimizer)
        self.register_hooks([SeedEachIteration(cfg.SEED), hooks.IterationTimer(), hooks.LRScheduler()])

    def begin(self, start: Start, notes: Sequence[str] = ()) -> None:
        """Load the weights to start from, unless a saved state holds later ones; complete the notes for the record.

        Raises EvidenceRefused if they do not fill the whole backbone and are to be verified ones, and UserError if they
        fill nothing of it; else unverified ones leave the rest as it was initialised.
        """
        if self.saved is not None:
            self._restore(self.saved)
            self.notes = [*self.saved["notes"], *(note for note in notes if note not in self.saved["notes"])]
            self.notes += self._notes_of_resuming(self.saved)
            self.saved = None
        else:
            self.notes = [*notes, *([] if start.file is None else self._load(start.file, verified=start.verified))]

    def _load(self, file: Path, *, verified: bool) -> list[str]:
        initial = {key: tensor.clone() for key, tensor in encoder_tensors(self.bare).items()}
        with rewritten(file) as copy, refused(f"{file}: Detectron2 cannot load it", "convert the checkpoint"):
            tensors, matched = load_backbone(self.bare, copy)
        line = f"{matched} of {tensors} backbone tensors matched ({100 * matched / tensors:.4g} %)"
        if matched < tensors and verified:
            raise EvidenceRefused(f"{self.title}: {line}; convert the checkpoint anew")
        if not matched:
            raise UserError(f"{file}: {line}: not of this encoder; convert its checkpoint, or start from `random`")
        if is_main_process():
            say(f"{self.title}: {line}")
        if verified:
            return []
        with torch.no_grad():
            for key, tensor in encoder_tensors(self.bare).items():
                if not tensor.isfinite().all():
                    tensor.copy_(initial[key])
        return [f"weights are not verified: {line}"]

    def evaluate_with(self, evaluation: Evaluation, every: int) -> None:
        """Add what happens late in an iteration: precise statistics, evaluation, curves, progress, saving."""
        late: list[HookBase] = []
        precise = self.cfg.TEST.PRECISE_BN
        if precise.ENABLED and get_bn_modules(self.bare):
            late.append(MakeStatisticsPrecise(precise.NUM_ITER, every))
        if every:
            late.append(EvaluateEvery(every, evaluation))
        if is_main_process():
            late += [hooks.PeriodicWriter(self.build_writers(), period=LOG_EVERY), ShowProgress(self.title)]
        self.register_hooks([*late, SaveState(60 * self.save_minutes)])

    def remedy(self) -> str:
        """Return what helps against a loss that is not finite."""
        return f"lower SOLVER.BASE_LR (now {self.cfg.SOLVER.BASE_LR:g}) or set a norm in FPN and heads"

    def seconds(self) -> float:
        """Return the time spent so far, over all resumes."""
        return time.monotonic() - self._start

    def save(self) -> None:
        """Write all that resuming needs, atomically, from the first process; the others wait."""

        def write() -> None:
            state = {
                "model": self.bare.state_dict(),
                "hooks": self.state_dict(),
                "stepper": self._trainer.state_dict(),
                "schedule": schedule(self.cfg),
                "machine": self._machine(),
                "seconds": self.seconds(),
                "notes": self.notes,
            }
            save_state(self.folder, self.iter + 1, state, self.run_hash)

        self.agreement.first(write)

    def _restore(self, saved: dict[str, Any]) -> None:
        self.bare.load_state_dict(saved["model"])
        self.load_state_dict(saved["hooks"])
        self._trainer.load_state_dict(saved["stepper"])
        if is_main_process():
            say(f"{self.title}: resumed at iteration {self.start_iter:,}")

    def _notes_of_resuming(self, saved: dict[str, Any]) -> list[str]:
        """Return what the record has to say of it: nothing where the run ends as an undisturbed one does."""
        before, here = saved["machine"], self._machine()
        if before != here:
            return [f"resumed at iteration {self.start_iter:,} on {here}, until then on {before}"]
        if self.cfg.MODEL.DEVICE != "cpu":  # whose kernels do not add up in one order alone
            return [f"resumed at iteration {self.start_iter:,}"]
        return []

    def _machine(self) -> str:
        processes = world_size()
        return f"{self.cfg.MODEL.DEVICE} in {processes} process{'es' * (processes > 1)}"

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
        """Return Detectron2's SGD, or AdamW with the same parameter groups and clipping."""
        solver = cfg.SOLVER
        if solver.OPTIMIZER == "SGD":
            return super().build_optimizer(cfg, model)  # type: ignore[no-any-return]
        groups = get_default_optimizer_params(
            model,
            base_lr=solver.BASE_LR,
            weight_decay_norm=solver.WEIGHT_DECAY_NORM,
            bias_lr_factor=solver.BIAS_LR_FACTOR,
            weight_decay_bias=solver.WEIGHT_DECAY_BIAS,
        )
        adamw = maybe_add_gradient_clipping(cfg, torch.optim.AdamW)
        # A fused one takes gradients times the scale of mixed precision, and clipping would see them so.
        fused = None if solver.AMP.ENABLED and solver.CLIP_GRADIENTS.ENABLED else True
        return adamw(groups, solver.BASE_LR, weight_decay=solver.WEIGHT_DECAY, fused=fused)  # type: ignore[no-any-return]

    def build_writers(self) -> list[EventWriter]:
        """Return the writers of metrics.json and TensorBoard, without what a resumed run does again."""
        curves = self.folder / "metrics.json"
        keep_lines(curves, lambda metrics: metrics["iteration"] < self.start_iter)
        return [JSONWriter(str(curves), LOG_EVERY), EventsWriter(self.folder / TENSORBOARD, self.start_iter, LOG_EVERY)]


def _in_parallel(model: nn.Module) -> nn.Module:
    if world_size() == 1:
        return model
    on_gpu = next(model.parameters()).is_cuda
    devices = [torch.cuda.current_device()] if on_gpu else None
    return DistributedDataParallel(model, device_ids=devices, **buffers_left_alone())
