"""`superinfo detect --evaluate-only`: the detector of a finished run scored again, as it was or on other test data."""

from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import torch

from superinfo.artifacts import RECORD, Metric, Record, Who
from superinfo.errors import SuperInfoError, UserError
from superinfo.processes import Agreement, is_main_process
from superinfo.progress import say
from superinfo.runs import locked, reset_peak_memory
from superinfo.spec import identity
from transfer.detection.config import read_config, read_needs
from transfer.detection.data import register
from transfer.detection.evaluate import evaluate, rehearse
from transfer.detection.measure import logged_to, publish
from transfer.detection.options import apply_options, flatten
from transfer.detection.train import FINAL
from transfer.detection.trained import load_detector
from transfer.detection.vocabulary import Vocabulary
from transfer.recipe import DetectRecipe
from transfer.who import inputs_of

TOLERANCE = 1e-6
"""In percent: between figures that one machine computes twice."""


def evaluate_again(
    recipe: DetectRecipe, who: Who, seed: int, path: Path, runs: Path, kind: str, command: str | None
) -> None:
    """Score the detector of the finished run that trained as this recipe does, without training anything.

    If that run is the one at `path`, its figures are compared with its record's, which stays as it is. Else, where the
    recipe tests on other data or in another way, the figures become a record at `path`, which names the run that
    trained. Raises UserError if no finished run did or its classes are not the data's, as `rehearse` does, and
    SuperInfoError if figures differ from the record's.
    """
    run = path.parent if (path.parent / FINAL).exists() else _trained_alike(recipe, who, seed, runs)
    detector = load_detector(run, torch.device(kind), _test_options(recipe))
    splits = register(recipe.data, runs, read_needs(recipe))
    cfg = detector.cfg.clone()
    test = splits.test.annotations
    detector.vocabulary.refuse_other(Vocabulary.of(test, keypoints=cfg.MODEL.KEYPOINT_ON), run / FINAL)
    Agreement().first(lambda: rehearse(cfg, test))
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = (splits.train.name,), (splits.test.name,)
    cfg.OUTPUT_DIR = str(path.parent)
    with locked(path.parent) if is_main_process() else nullcontext(), logged_to(path.parent):
        reset_peak_memory()
        if path.exists():
            found, _ = evaluate(cfg, detector.model, test)
            if is_main_process():
                _compare(Record.read(path), found)
        else:
            notes = [f"evaluated only; trained by the run {run.name}", *detector.notes]
            publish(recipe, who, seed, path, splits, cfg, detector.model, 0.0, notes, command)


def _trained_alike(recipe: DetectRecipe, who: Who, seed: int, runs: Path) -> Path:
    """Return the folder of a finished run that differs in nothing but how, and on what, it was evaluated."""
    wanted = _training(recipe, who)
    for path in sorted(runs.glob(f"*--{who.name}-s{seed}-*/{RECORD}")):
        with suppress(UserError):  # one that cannot be read is another run's, or to be told when that one is asked for
            record = Record.read(path)
            if any(note.startswith("evaluated only") for note in record.deviations):
                continue
            if _training(DetectRecipe.parse(record.recipe, str(path)), record.who) == wanted:
                return path.parent
    raise UserError(
        f"{runs}: no finished run of {recipe.name} with {who.name}, seed {seed}; run it without --evaluate-only"
    )


def _training(recipe: DetectRecipe, who: Who) -> tuple[dict[str, Any], list[str]]:
    """Return all that a trained detector depends on."""
    fields = identity(recipe)
    for name in ("name", "protocol", "protocol_version"):
        fields.pop(name)
    fields["data"] = {k: v for k, v in fields["data"].items() if k not in {"test", "test_split", "max_seen", "metric"}}
    fields["options"] = {name: value for name, value in fields["options"].items() if not _is_of_test(name)}
    return fields, inputs_of(who)


def _test_options(recipe: DetectRecipe) -> dict[str, Any]:
    """Return, by dotted name, all of the recipe's config that matters when a detector is tested alone."""
    cfg = read_config(recipe.config)
    apply_options(cfg, recipe.options)
    return {name: value for name, value in flatten(cfg).items() if _is_of_test(name)}


def _is_of_test(option: str) -> bool:
    within = option.startswith("TEST.") and not option.startswith("TEST.PRECISE_BN.")
    return within or (option.endswith("_TEST") and not option.startswith("DATASETS."))


def _compare(record: Record, found: dict[str, Metric]) -> None:
    if others := record.metrics.keys() ^ found.keys():
        raise SuperInfoError(f"{record.run}: {min(others)} is only in its record, which stays, or only there now")
    for name, metric in record.metrics.items():
        now = found[name].value
        if not _same(metric.value, now):
            raise SuperInfoError(f"{record.run}: {name} is {now} now, and {metric.value} in its record, which stays")
    say(f"{record.run}: evaluated again, all {len(record.metrics)} figures as in its record")


def _same(one: float | None, other: float | None) -> bool:
    return one is other if one is None or other is None else abs(one - other) <= TOLERANCE
