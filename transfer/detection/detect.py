"""One detection run: recipe and weights in, record.json out."""

import contextlib
from pathlib import Path

from superinfo.artifacts import RECORD, Record, Who
from superinfo.runs import locked, run_id
from superinfo.spec import identity_hash
from transfer.detection.weights import open_weights, who_starts
from transfer.recipe import DetectRecipe
from transfer.who import inputs_of


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
        launch(evaluate_again, (recipe, who, seed, path, runs, kind, command), kind, devices)
        return path
    if path.exists():
        Record.read(path)  # which refuses what is no whole record
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
    from superinfo.processes import is_main_process, world_size
    from superinfo.progress import say
    from superinfo.runs import interruptible, reset_peak_memory
    from transfer.detection.evaluate import evaluate
    from transfer.detection.machine import batch_as_told
    from transfer.detection.measure import figures, logged_to, prepare, publish
    from transfer.detection.train import FINAL, train
    from transfer.detection.trained import CONFIG

    folder, run_hash = path.parent, _run_hash(recipe, who)
    start = open_weights(recipe, weights)
    setting = prepare(recipe, start, seed, folder, run_hash, runs, kind)
    cfg, splits = setting.cfg, setting.splits
    if is_main_process() and not (folder / FINAL).exists():
        write_text(folder / CONFIG, cfg.dump())
        say(f"{folder.name}: {batch_as_told(cfg, world_size(), recipe.images_per_device)}")
    reset_peak_memory()
    with interruptible(folder.name), logged_to(folder):
        trained = train(
            cfg,
            folder.name,
            run_hash,
            start,
            splits.train,
            setting.state,
            setting.notes,
            save_minutes=recipe.save_minutes,
            evaluation=lambda model: figures(evaluate(cfg, model, splits.test.annotations)[0]),
            evaluate_every=recipe.evaluate_every,
        )
        publish(recipe, who, seed, path, splits, cfg, trained.model, trained.seconds, trained.notes, command)
