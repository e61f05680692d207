"""A checkpoint to a folder of weights for a detector or a library, with the evidence that they are the encoder's."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from superinfo.artifacts import CONVERSION, Conversion, Pixels, Source, tensors_sha256
from superinfo.encoders import ResNet, build_encoder
from superinfo.errors import EvidenceRefused, UserError
from superinfo.files import exclusive, file_sha256, new_folder
from superinfo.progress import say
from superinfo.runs import provenance
from transfer.convert.dialects import COUNTER
from transfer.convert.evidence import TOLERANCE, Evidence, features_difference, samples, source_features
from transfer.convert.reading import NOTHING_GIVEN, Ambiguous, Given, Reading, source_of
from transfer.convert.recognition import read_encoder
from transfer.convert.sources import Branch
from transfer.convert.targets import Target, target_named
from transfer.convert.tensors import FileTensor, Malformed
from transfer.convert.unfilled import unfilled
from transfer.convert.verify import tensor_hashes, verify

NORM_EPSILON = 1e-5
"""What batch norm adds to variances."""
NO_COUNTER = "a counter that no inference reads; the target starts its own"


def convert(
    checkpoint: Path,
    out: Path,
    to: str = "detectron2",
    *,
    source: str | None = None,
    branch: Branch | None = None,
    given: Given = NOTHING_GIVEN,
    flip_stem: bool = False,
) -> Path:
    """Write weights and `conversion.json`, and for Detectron2 the overlay, into the new folder `out`; return it.

    `source` names a layout where the file alone does not tell, `branch` the online or the momentum encoder, `given`
    what no file tells; `flip_stem` turns a BGR encoder into one for RGB. Does nothing if `out` already holds this
    conversion. Raises UserError for a file that cannot be read or not in one way, and if `out` holds anything else;
    EvidenceRefused, with nothing written, if a tensor is missing, left over or broken, or if the proof fails.
    """
    target = target_named(to)
    with ThreadPoolExecutor(max_workers=1) as beside:
        reading = read_encoder(checkpoint, source, branch, given)
        encoder = load_reading(checkpoint, reading)
        assert reading.encoder is not None
        if reason := target.refuse(reading.encoder):
            raise UserError(f"{checkpoint}: not for {target.name}: {reason}")
        file_hash = beside.submit(file_sha256, checkpoint)  # of gigabytes, where optimiser and queue are in the file
        expected = source_features(encoder, reading.pixels)
        origin = source_of(checkpoint, reading, tensors_sha256(encoder.state_dict()))
        if flip_stem:
            origin = _flip(checkpoint, encoder, origin)
        # Whoever comes while another process makes the folder waits, and then finds it made.
        with nullcontext() if out.exists() else exclusive(out.with_name(f".{out.name}.lock"), wait=True):
            if out.exists():
                _check_same(out, origin, target, checkpoint)
                verify(out)
                return out
            keys = {key: name for key in encoder.state_dict() if (name := target.rename(key)) is not None}
            converted = {keys[key]: tensor for key, tensor in encoder.state_dict().items() if key in keys}
            evidence = Evidence(partial(features_difference, source=expected))
            with new_folder(out) as folder:
                target.write(folder, converted, origin)
                target.prove(folder / target.weights, origin, converted, evidence)
                if not evidence.holds:
                    raise EvidenceRefused(f"{checkpoint}: {evidence.describe()}; nothing was written")
                Conversion(
                    source=origin,
                    source_file_sha256=file_hash.result(),
                    target=target.name,
                    stem_flipped=flip_stem,
                    files={file.name: file_sha256(file) for file in sorted(folder.iterdir())},
                    tensors=tensor_hashes(converted),
                    keys_used={reading.keys[key]: name for key, name in keys.items() if key in reading.keys},
                    keys_made={name: _how_made(key) for key, name in keys.items() if key not in reading.keys},
                    keys_left=reading.left
                    | {name: NO_COUNTER for key, name in reading.keys.items() if key not in keys},
                    loaded=evidence.loaded,
                    feature_difference=evidence.difference,
                    feature_samples=samples(expected),
                    tolerance=TOLERANCE,
                    provenance=provenance(),
                ).write(folder / CONVERSION)
    say(f"{origin.name} ({' or '.join(origin.layouts)}, {origin.branch}): {evidence.describe()}")
    return out


def load_reading(path: Path, reading: Reading) -> ResNet:
    """Return the encoder of a reading, its tensors views of the file, in evaluation mode.

    Raises EvidenceRefused, with the tensor's name, for one that is missing, left over, of wrong shape or not finite,
    Ambiguous where the stem does not follow from the file, and UserError where no detector computes the same.
    """
    if reading.refused:
        raise UserError(f"{path}: {reading.refused}")
    if reading.faults:
        name, problem = next(iter(reading.faults.items()))
        more = f", and {len(reading.faults) - 1} more are wrong" if len(reading.faults) > 1 else ""
        layout = " or ".join(reading.names)
        raise EvidenceRefused(f"{path}: tensor {name} {problem}{more} (read as {layout}, {reading.found})")
    if reading.encoder is None:
        raise Ambiguous(
            f"{path}: its 3x3 stem does not show its stride: say --set stem=small (stride 1) or --set stem=stl "
            "(stride 2), or --source NAME if that is its layout"
        )
    with unfilled():
        encoder = build_encoder(reading.encoder)
    state = {key: _checked(path, reading, key, tensor) for key, tensor in reading.tensors.items()}
    for name, stored in reading.zeros.items():
        if bool(_values(path, name, stored).any()):
            raise EvidenceRefused(f"{path}: tensor {name} is a convolution's bias and not zero; no target has one")
    for key, tensor in encoder.state_dict().items():
        if key in reading.made:  # such that normalising changes nothing
            zero = key.endswith("running_mean")
            state[key] = torch.zeros(tensor.shape) if zero else torch.ones(tensor.shape) - NORM_EPSILON
        elif key.endswith(COUNTER):
            state.setdefault(key, torch.tensor(0))
    encoder.load_state_dict(state, assign=True)
    return encoder.eval()


def _checked(path: Path, reading: Reading, key: str, stored: FileTensor) -> Tensor:
    name = reading.keys[key]
    tensor = _values(path, name, stored)
    if key.endswith(COUNTER):
        return tensor.to(torch.int64).reshape(())
    if not tensor.is_floating_point():
        raise EvidenceRefused(f"{path}: tensor {name} is of whole numbers; weights are not quantised")
    values = tensor.float()
    if not values.isfinite().all():
        raise EvidenceRefused(f"{path}: tensor {name} has values that are not finite; did the training diverge?")
    if key.endswith("running_var") and bool((values < 0).any()):
        raise EvidenceRefused(f"{path}: tensor {name} has negative values; a variance has none")
    return values


def _values(path: Path, name: str, stored: FileTensor) -> Tensor:
    try:
        return stored.read()
    except Malformed as error:
        raise UserError(f"{path}: tensor {name} {error}; was it copied or downloaded to the end?") from None


def _flip(path: Path, encoder: ResNet, origin: Source) -> Source:
    """Turn the stem of an encoder for BGR, in place, so that it takes RGB."""
    pixels = origin.pixels
    if pixels.channel_order != "BGR":
        raise UserError(f"{path}: takes RGB already; leave --flip-stem out")
    encoder.conv1.weight = torch.nn.Parameter(encoder.conv1.weight.flip(1))
    turned = Pixels(mean=pixels.mean[::-1], std=pixels.std[::-1], channel_order="RGB")
    return origin.model_copy(update={"pixels": turned})


def _how_made(key: str) -> str:
    if key.endswith(COUNTER):
        return "0: the source has no counter"
    return "such that normalising changes nothing: the source's batch norm is an affine map"


def _check_same(out: Path, origin: Source, target: Target, checkpoint: Path) -> None:
    if not (out / CONVERSION).exists():
        raise UserError(f"{out}: exists and is no conversion; name a new folder with --out")
    held = Conversion.read(out / CONVERSION)
    if held.source.tensors_sha256 != origin.tensors_sha256:
        raise UserError(
            f"{out}: holds the conversion of another checkpoint than {checkpoint}; name a new folder with --out"
        )
    if (held.target, held.source.encoder, held.source.pixels) != (target.name, origin.encoder, origin.pixels):
        raise UserError(f"{out}: holds another conversion of this checkpoint; name a new folder with --out")
