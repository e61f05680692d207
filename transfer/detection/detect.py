"""One detection run: recipe and weights in, record.json out."""

import contextlib
from pathlib import Path

from superinfo.artifacts import RECORD, Who
from superinfo.runs import locked, run_id
from superinfo.spec import identity_hash
from transfer.detection.weights import open_weights, who_starts
from transfer.recipe import DetectRecipe
from transfer.who import inputs_of

PICTURES = "pictures.png"


def detect(
    recipe: DetectRecipe,
    weights: Path | None,
    seed: int,
    runs: Path,
    device: str = "auto",
    devices: int = 1,
    *,
    evaluate_only: bool = False,
    command: str | None = None,
) -> Path:
    """Fine-tune and evaluate a detector from a converted folder, or from random weights if None; return record.json.

    Resumes an unfinished run, leaves a finished one alone. Beside the record: the detector (`model_final.pth` and
    `config.yaml`), curves (`metrics.json`, `tensorboard/`), predictions and `pictures.png`. With `evaluate_only`
    nothing is trained: see `transfer.detection.again`. `command` is the line that repeats it, for the record. Raises
    UserError on bad input, and Diverged, EvidenceRefused and Interrupted as `train` does.
    """
    from superinfo.device import pick_device
    from superinfo.processes import is_main_process
    from transfer.detection.again import evaluate_again
    from transfer.detection.launch import launch

    who = who_starts(recipe, weights, seed)
    path = record_path(recipe, who, seed, runs)
    kind = pick_device(device).type
    if evaluate_only:
        evaluate_again(recipe, who, seed, path, runs, kind, command)
        return path
    if path.exists():
        return path
    with contextlib.ExitStack() as stack:
        if is_main_process():
            stack.enter_context(locked(path.parent))
        if not path.exists():
            launch(_measure, (recipe, who, weights, seed, path, runs, kind, command), kind, devices)
    return path


def record_path(recipe: DetectRecipe, who: Who, seed: int, runs: Path) -> Path:
    """Return where a run's record lies, or will lie."""
    return runs / run_id(f"{recipe.name}--{who.name}", seed, _run_hash(recipe, who)) / RECORD


def _run_hash(recipe: DetectRecipe, who: Who) -> str:
    return identity_hash(recipe, inputs_of(who))


def _measure(
    recipe: DetectRecipe,
    who: Who,
    weights: Path | None,
    seed: int,
    path: Path,
    runs: Path,
    kind: str,
    command: str | None,
) -> None:
    """Prepare, train, score, and write the record last; in every process of the run."""
    from superinfo.files import write_text
    from superinfo.processes import is_main_process
    from superinfo.runs import interruptible, reset_peak_memory
    from transfer.detection.evaluate import evaluate
    from transfer.detection.measure import figures, logged_to, prepare, publish
    from transfer.detection.train import train
    from transfer.detection.trained import CONFIG

    start = open_weights(recipe, weights)
    setting = prepare(recipe, start, seed, path.parent, runs, kind)
    cfg, test = setting.cfg, setting.splits.test.annotations
    if is_main_process():
        write_text(path.parent / CONFIG, cfg.dump())
    reset_peak_memory()
    with interruptible(path.parent.name), logged_to(path.parent):
        trained = train(
            cfg,
            path.parent.name,
            _run_hash(recipe, who),
            start,
            setting.splits.train,
            save_minutes=recipe.save_minutes,
            evaluation=lambda model: figures(evaluate(cfg, model, test)),
            evaluate_every=recipe.evaluate_every,
        )
        notes = [*start.notes, *trained.notes]
        publish(recipe, who, seed, path, setting, trained.model, trained.seconds, notes, command)
