"""checkpoint.pt to a folder that Detectron2 loads: weights, overlay, evidence."""

import pickle
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from superinfo.artifacts import CONVERSION, OVERLAY, WEIGHTS, Conversion, tensors_sha256
from superinfo.encoders import load_encoder
from superinfo.errors import EvidenceRefused, UserError
from superinfo.files import file_sha256, new_folder, write_atomically, write_text
from superinfo.progress import say
from superinfo.runs import provenance
from transfer.convert.resnet import to_detectron2
from transfer.overlay import backbone_name, encoder_overlay

TOLERANCE = 1e-4
BATCHES_TRACKED = "num_batches_tracked"


def convert(checkpoint: Path, out: Path) -> Path:
    """Write `detectron2.pkl`, `detectron2.yaml` and `conversion.json` into the new folder `out`; return it.

    Does nothing if `out` already holds this checkpoint's conversion. Raises UserError if `out` holds anything else,
    and EvidenceRefused, with nothing written, if the proof fails.
    """
    from transfer.convert.proof import prove

    encoder, info = load_encoder(checkpoint)
    state = encoder.state_dict()
    source_hash = tensors_sha256(state)
    if out.exists():
        _check_same(out, source_hash, checkpoint)
        return out
    used, left = split_keys(state)
    overlay = encoder_overlay(info.encoder, info.mean, info.std)
    with new_folder(out) as folder:
        _write_weights(folder / WEIGHTS, {used[key]: state[key] for key in used})
        write_text(folder / OVERLAY, overlay_text(overlay))
        proof = prove(folder / WEIGHTS, overlay, encoder, info)
        if proof.matched < proof.tensors or not all(d <= TOLERANCE for d in proof.difference.values()):
            raise EvidenceRefused(f"{checkpoint}: {proof.describe()}; nothing was written")
        Conversion(
            source=info,
            source_file_sha256=file_sha256(checkpoint),
            source_tensors_sha256=source_hash,
            weights_sha256=file_sha256(folder / WEIGHTS),
            overlay_sha256=file_sha256(folder / OVERLAY),
            backbone=backbone_name(info.encoder),
            keys_used=used,
            keys_left=left,
            backbone_tensors=proof.tensors,
            backbone_tensors_matched=proof.matched,
            feature_difference=proof.difference,
            tolerance=TOLERANCE,
            provenance=provenance(),
        ).write(folder / CONVERSION)
    say(f"{info.name}: {proof.describe()}")
    return out


def split_keys(state: dict[str, Tensor]) -> tuple[dict[str, str], dict[str, str]]:
    """Return which tensors go where in Detectron2, and which are left out and why."""
    left = {
        key: "a counter that no inference reads; Detectron2 starts its own"
        for key in state
        if key.endswith(BATCHES_TRACKED)
    }
    return {key: to_detectron2(key) for key in state if key not in left}, left


def overlay_text(overlay: dict[str, Any]) -> str:
    """Return the overlay as YAML with the note that must go with it."""
    note = "# Goes over any Detectron2 config, with MODEL.WEIGHTS set to the detectron2.pkl beside this file.\n"
    if "NAME" in overlay["MODEL"]["BACKBONE"]:
        note += "# Needs `import transfer.detection.backbone`, which registers the backbone named here, and an FPN.\n"
    return note + yaml.safe_dump(overlay, sort_keys=False, default_flow_style=None)


def _write_weights(path: Path, tensors: dict[str, Tensor]) -> None:
    # Detectron2 finds unprefixed names below `backbone.` (C4) or `backbone.bottom_up.` (FPN) by its heuristics.
    payload = {
        "model": {key: tensor.numpy() for key, tensor in tensors.items()},
        "__author__": "superinfo convert",
        "matching_heuristics": True,
    }
    write_atomically(path, lambda file: pickle.dump(payload, file, protocol=4))


def _check_same(out: Path, source_hash: str, checkpoint: Path) -> None:
    if not (out / CONVERSION).exists():
        raise UserError(f"{out}: exists and is no conversion; name a new folder with --out")
    if Conversion.read(out / CONVERSION).source_tensors_sha256 != source_hash:
        raise UserError(
            f"{out}: holds the conversion of another checkpoint than {checkpoint}; name a new folder with --out"
        )
