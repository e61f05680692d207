"""What a detector starts from: random weights, a converted folder, or a file that nobody vouches for."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from superinfo.artifacts import OVERLAY, WEIGHTS, Pixels, Who, tensors_sha256
from superinfo.errors import EvidenceRefused, UserError
from transfer.convert.formats import open_checkpoint
from transfer.convert.maps import is_tensor
from transfer.convert.reading import row_name
from transfer.convert.tensors import FileTensor, Malformed
from transfer.convert.verify import read_evidence, verify
from transfer.overlay import encoder_overlay
from transfer.recipe import DetectRecipe
from transfer.who import random_who, who_from

FORMATS = {".pkl": "pickle", ".pth": "torch zip"}
"""Of the files that Detectron2 loads, by the suffix that it goes by."""
ALLOW = "or --set weights.unverified=true, which the record will say"


@dataclass(frozen=True)
class Start:
    """Weights, the config that goes with them, and what the record has to say of both."""

    file: Path | None
    """None for random weights."""
    overlay: dict[str, Any]
    verified: bool = True
    notes: list[str] = field(default_factory=list)


def who_starts(recipe: DetectRecipe, weights: Path | None, seed: int) -> Who:
    """Say whose features a detector starts from; None is random weights.

    Raises UserError if `weights` is no converted folder, unless the recipe allows unverified files.
    """
    if weights is None:
        return random_who(recipe.encoder, seed)
    if recipe.weights.unverified and weights.is_file():
        return _who_of_file(recipe, weights)
    try:
        return who_from(read_evidence(weights).source)
    except UserError as error:
        if weights.is_file() and weights.suffix in FORMATS:
            raise UserError(f"{weights}: a file that is not proven; convert its checkpoint, {ALLOW}") from None
        raise error from None


def open_weights(recipe: DetectRecipe, weights: Path | None) -> Start:
    """Verify what a detector starts from and return it.

    Raises EvidenceRefused if a folder is not what its evidence says and the recipe does not allow that, and UserError
    if it was converted for something else.
    """
    pixels = Pixels(mean=recipe.mean, std=recipe.std)
    if weights is None:
        return Start(None, encoder_overlay(recipe.encoder, pixels))
    if recipe.weights.unverified and weights.is_file():
        note = f"weights are a file that is not proven to be any encoder's: {weights.name}"
        return Start(weights, encoder_overlay(recipe.encoder, pixels), verified=False, notes=[note])
    evidence = read_evidence(weights)
    if WEIGHTS not in evidence.files:
        raise UserError(f"{weights}: converted to {evidence.target}, not to Detectron2's {WEIGHTS}; convert it anew")
    try:
        verify(weights)
        return Start(weights / WEIGHTS, _read_overlay(weights))
    except EvidenceRefused as refused:
        if not recipe.weights.unverified:
            raise EvidenceRefused(f"{refused}, {ALLOW}") from None
        note = f"weights are not what their evidence speaks of: {str(refused).removeprefix(f'{weights}/')}"
        _open(weights / WEIGHTS)
        return Start(weights / WEIGHTS, _read_overlay(weights), verified=False, notes=[note])


def _read_overlay(weights: Path) -> dict[str, Any]:
    try:
        overlay = yaml.safe_load((weights / OVERLAY).read_text())
    except (OSError, ValueError, yaml.YAMLError):
        overlay = None
    if not isinstance(overlay, dict):
        raise UserError(f"{weights / OVERLAY}: no config overlay; convert the checkpoint anew")
    return overlay


def _who_of_file(recipe: DetectRecipe, weights: Path) -> Who:
    return Who(
        name=row_name(weights),
        method="unverified",
        term="none",
        dataset=None,
        epochs=None,
        seed=0,
        encoder=recipe.encoder,
        recipe_hash=None,
        tensors_sha256=tensors_sha256({key: _read(weights, key, tensor) for key, tensor in _open(weights).items()}),
        pixels=Pixels(mean=recipe.mean, std=recipe.std),
    )


def _read(weights: Path, key: str, stored: FileTensor) -> Tensor:
    try:
        return stored.read()
    except Malformed as error:
        raise UserError(f"{weights}: tensor {key} {error}; was it copied or downloaded to the end?") from None


def _open(weights: Path) -> dict[str, FileTensor]:
    """Return a file's tensors. Raises UserError if Detectron2 would not read it as what it is."""
    if weights.suffix not in FORMATS:
        raise UserError(f"{weights}: Detectron2 loads {' and '.join(FORMATS)} files; convert the checkpoint")
    opened = open_checkpoint(weights)
    if opened.format != FORMATS[weights.suffix]:
        raise UserError(
            f"{weights}: a {opened.format} file, which Detectron2 does not load under that name; convert it"
        )
    inner = opened.content.get("model", opened.content) if isinstance(opened.content, dict) else {}
    return {key: value for key, value in inner.items() if is_tensor(value)} if isinstance(inner, dict) else {}
