"""`superinfo detect --evaluate-only`: the detector of a finished run scored again, as it was or on other test data."""

from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode

from superinfo.artifacts import RECORD, Metric, Record, Who
from superinfo.errors import SuperInfoError, UserError
from superinfo.progress import say
from superinfo.runs import locked, reset_peak_memory
from superinfo.spec import identity
from transfer.detection.config import apply_options, read_config, read_needs
from transfer.detection.data import register
from transfer.detection.evaluate import evaluate, rehearse
from transfer.detection.measure import Setting, logged_to, publish
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
    rehearse(cfg, test)
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = (splits.train.name,), (splits.test.name,)
    with locked(path.parent), logged_to(path.parent):
        cfg.OUTPUT_DIR = str(path.parent)
        reset_peak_memory()
        if path.exists():
            _compare(Record.read(path), evaluate(cfg, detector.model, test))
        else:
            notes = [f"evaluated only; trained by the run {run.name}"]
            publish(recipe, who, seed, path, Setting(splits, cfg, []), detector.model, 0.0, notes, command)


def _trained_alike(recipe: DetectRecipe, who: Who, seed: int, runs: Path) -> Path:
    """Return the folder of a finished run that differs in nothing but how, and on what, it was evaluated."""
    wanted = _training(recipe, who)
    for path in sorted(runs.glob(f"*--{who.name}-s{seed}-*/{RECORD}")):
        record = Record.read(path)
        if "config" not in record.recipe or any(note.startswith("evaluated only") for note in record.deviations):
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
    return {name: value for name, value in _flat(cfg, "").items() if _is_of_test(name)}


def _is_of_test(option: str) -> bool:
    within = option.startswith("TEST.") and not option.startswith("TEST.PRECISE_BN.")
    return within or (option.endswith("_TEST") and not option.startswith("DATASETS."))


def _flat(cfg: CfgNode, prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in cfg.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, CfgNode) else {f"{prefix}{name}": value}
    return found


def _compare(record: Record, found: dict[str, Metric]) -> None:
    for name, metric in record.metrics.items():
        now = found[name].value if name in found else None
        if not _same(metric.value, now):
            raise SuperInfoError(f"{record.run}: {name} is {now} now, and {metric.value} in its record, which stays")
    say(f"{record.run}: evaluated again, all {len(record.metrics)} figures as in its record")


def _same(one: float | None, other: float | None) -> bool:
    return one is other if one is None or other is None else abs(one - other) <= TOLERANCE
