"""A finished detector, from the folder of its run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from detectron2.config import CfgNode, get_cfg
from detectron2.modeling import build_model
from torch import nn

from superinfo.artifacts import CHECKPOINT, MANIFEST, RECORD, Record
from superinfo.errors import UserError
from transfer.detection.options import apply_options
from transfer.detection.train import FINAL, REMEDY, read_final
from transfer.detection.vocabulary import Vocabulary

CONFIG = "config.yaml"
"""The whole Detectron2 config of a run, as its detector was built and trained."""
PRETRAINING = (CHECKPOINT, MANIFEST, "metrics.jsonl")


@dataclass(frozen=True)
class Detector:
    """A detector that predicts."""

    run: str
    """The name of its run."""
    cfg: CfgNode
    model: nn.Module
    """On its device, in evaluation mode."""
    vocabulary: Vocabulary
    notes: list[str]
    """What a record has to say of how it was trained."""


def load_detector(run: Path, device: torch.device, options: Mapping[str, Any] | None = None) -> Detector:
    """Load the detector of a finished run of `superinfo detect`; nothing in its files is run.

    `options` change its config by dotted names, as `TEST.DETECTIONS_PER_IMAGE`.

    Raises UserError if `run` is the folder of another run or of none, is not finished, or lacks a file.
    """
    record = _read_record(run)
    cfg = _read_config(run / CONFIG)
    apply_options(cfg, options or {})
    cfg.MODEL.DEVICE = device.type
    weights = run / FINAL
    payload = read_final(weights)
    try:
        vocabulary, notes = Vocabulary.read(payload), [str(note) for note in payload["notes"]]
        model: nn.Module = build_model(cfg)
        model.load_state_dict(payload["model"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{weights}: does not say its classes ({error}); {REMEDY}") from None
    except RuntimeError:
        raise UserError(f"{weights}: not the weights of the detector in {CONFIG}; {REMEDY}") from None
    return Detector(record.run, cfg, model.eval(), vocabulary, notes)


def _read_record(run: Path) -> Record:
    if not run.is_dir():
        raise UserError(f"{run}: no folder; name that of a finished `superinfo detect`, which its {RECORD} lies in")
    if not (run / RECORD).exists():
        if any((run / name).exists() for name in PRETRAINING):
            raise UserError(f"{run}: a pretraining run; convert its checkpoint, and `superinfo detect` with that")
        if (run / CONFIG).exists():
            raise UserError(f"{run}: not finished; the same `superinfo detect` resumes it")
        raise UserError(f"{run}: no finished run of `superinfo detect`: no {RECORD} in it")
    record = Record.read(run / RECORD)
    if "config" not in record.recipe:
        raise UserError(f"{run}: a run of `superinfo probe` ({record.what.task}), which has no detector")
    for name in (CONFIG, FINAL):
        if not (run / name).is_file():
            raise UserError(f"{run / name}: no such file; {REMEDY}")
    return record


def _read_config(path: Path) -> CfgNode:
    cfg = get_cfg()
    cfg.set_new_allowed(True)  # keys of ours, which Detectron2 has no defaults for
    try:
        cfg.merge_from_other_cfg(CfgNode(yaml.safe_load(path.read_text())))
    except (
        yaml.YAMLError,
        UnicodeDecodeError,
        AssertionError,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
    ) as error:
        raise UserError(f"{path}: not a Detectron2 config ({' '.join(str(error).split())[:120]})") from None
    cfg.MODEL.WEIGHTS = ""
    return cfg
