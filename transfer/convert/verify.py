"""Whether a converted folder is what its evidence speaks of."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from superinfo.artifacts import CONVERSION, OVERLAY, Conversion, Source, tensors_sha256
from superinfo.errors import EvidenceRefused, UserError
from superinfo.files import file_sha256
from transfer.convert.evidence import Evidence, samples_difference
from transfer.convert.formats import open_checkpoint
from transfer.convert.maps import is_tensor
from transfer.convert.own import OWN, read_source
from transfer.convert.rewriting import rewritten
from transfer.convert.targets import Target, detectron2_overlay, payload, target_named
from transfer.convert.tensors import FileTensor, Malformed


def tensor_hashes(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the SHA-256 of each tensor, over its name, dtype, shape and bytes."""
    return {key: tensors_sha256({key: tensor}) for key, tensor in tensors.items()}


def read_evidence(folder: Path) -> Conversion:
    """Return the evidence of a converted folder. Raises UserError if it is none."""
    if not (folder / CONVERSION).is_file():
        remedy = "`superinfo convert CHECKPOINT --to detectron2 --out DIR` makes one"
        raise UserError(f"{folder}: no converted weights; {remedy}")
    return Conversion.read(folder / CONVERSION)


def verify(folder: Path) -> Conversion:
    """Compare every file of a converted folder, and every tensor, with its evidence, which is returned.

    Raises EvidenceRefused, with the tensor's name where one differs, and UserError if the folder is no conversion.
    """
    evidence = read_evidence(folder)
    target = target_named(evidence.target)
    if evidence.files.keys() != target.files:
        raise EvidenceRefused(
            f"{folder / CONVERSION}: does not speak of {', '.join(sorted(target.files))}; convert anew"
        )
    if reason := target.refuse(evidence.source.encoder):
        raise EvidenceRefused(f"{folder / CONVERSION}: not of {target.name}: {reason}")
    changed = [name for name, digest in evidence.files.items() if not _is(folder / name, digest)]
    if target.weights in changed or not changed:
        _compare_tensors(folder / target.weights, target, evidence)
    if target.has_overlay and OVERLAY not in changed:
        _compare_overlay(folder / OVERLAY, evidence)
    if changed:
        raise EvidenceRefused(f"{folder / changed[0]}: not the file that {CONVERSION} speaks of; convert anew")
    return evidence


def prove_again(folder: Path) -> tuple[Conversion, Evidence]:
    """Verify a converted folder, load it with the target's own code, and compare features with the recorded ones.

    That code reads the tensors from a file that is written anew here: what it would run, a stranger may have written.
    Returns the evidence that is there, and what was found now. Raises EvidenceRefused where they differ.
    """
    recorded = verify(folder)
    target = target_named(recorded.target)
    found = Evidence(partial(samples_difference, recorded=recorded.feature_samples))
    tensors = _floats(_stored(folder / target.weights, target, recorded.source))
    with rewritten(folder / target.weights) as weights:
        try:
            target.prove(weights, recorded.source, tensors, found)
        except Exception as error:  # whatever a loader does with what is not what the evidence says
            refusal = f"{folder}: {target.name} does not take it: {str(error)[:200]}; convert anew"
            raise EvidenceRefused(refusal) from error
    if not found.holds:
        raise EvidenceRefused(f"{folder}: {found.describe()}; convert anew")
    return recorded, found


def _compare_tensors(weights: Path, target: Target, evidence: Conversion) -> None:
    if not weights.is_file():
        raise EvidenceRefused(f"{weights}: is missing; convert anew")
    try:
        stored = _stored(weights, target, evidence.source)
    except UserError as error:
        raise EvidenceRefused(f"{error}; not the file that {CONVERSION} speaks of") from None
    for key, digest in evidence.tensors.items():
        if key not in stored:
            raise EvidenceRefused(f"{weights}: tensor {key} is missing; convert anew")
        if _digest(key, stored[key]) != digest:
            raise EvidenceRefused(f"{weights}: tensor {key} is not the one that {CONVERSION} speaks of; convert anew")
    if extra := stored.keys() - evidence.tensors.keys():
        raise EvidenceRefused(f"{weights}: tensor {min(extra)} is one too many; convert anew")


def _digest(key: str, stored: FileTensor) -> str | None:
    try:
        return tensors_sha256({key: stored.read()})
    except Malformed:
        return None


def _compare_overlay(path: Path, evidence: Conversion) -> None:
    try:
        said = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, ValueError, RecursionError):
        said = None
    if said != detectron2_overlay(evidence.source):
        raise EvidenceRefused(f"{path}: not the overlay of the encoder that {CONVERSION} speaks of; convert anew")


def _stored(weights: Path, target: Target, source: Source) -> Mapping[str, FileTensor]:
    """Return a file's tensors. Raises UserError if it holds anything that a conversion of that source does not."""
    opened = open_checkpoint(weights, strangers=False)
    if opened.format != target.format:
        raise UserError(f"{weights}: a {opened.format} file, where {target.name} has a {target.format} file")
    tensors = _unpacked(weights, opened.content, source) if target.has_overlay else opened.content
    if not isinstance(tensors, dict) or not all(isinstance(k, str) and is_tensor(v) for k, v in tensors.items()):
        raise UserError(f"{weights}: holds more than tensors by name")
    return tensors


def _unpacked(weights: Path, content: Any, source: Source) -> Any:
    """Return what a file for Detectron2 has under `model`. Raises UserError if what is beside it is not as written."""
    written = payload({}, source)
    if not isinstance(content, dict) or content.keys() != written.keys():
        raise UserError(f"{weights}: holds other parts than {', '.join(written)}")
    if read_source(content[OWN], weights) != source:
        raise UserError(f"{weights}: says of another encoder under `{OWN}`")
    for key in written.keys() - {"model", OWN}:
        if content[key] != written[key]:
            raise UserError(f"{weights}: has another `{key}` than {written[key]!r}")
    return content["model"]


def _floats(stored: Mapping[str, FileTensor]) -> dict[str, Tensor]:
    read = {key: tensor.read() for key, tensor in stored.items()}
    return {key: tensor for key, tensor in read.items() if torch.is_floating_point(tensor)}


def _is(path: Path, digest: str) -> bool:
    return path.is_file() and file_sha256(path) == digest
