"""The file contracts between the stages: Checkpoint, Converted weights, Record, and the manifest beside them.

Every artifact is written whole or not at all (`superinfo.files`) and carries the name and version of its schema.
Only the functions on checkpoints need torch, and import it themselves: tables are made without it.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator

from superinfo.errors import UserError
from superinfo.files import write_atomically
from superinfo.schema import JsonArtifact
from superinfo.spec import Later, Spec

if TYPE_CHECKING:
    import torch

CHECKPOINT = "checkpoint.pt"
MANIFEST = "manifest.json"
WEIGHTS = "detectron2.pkl"
OVERLAY = "detectron2.yaml"
CONVERSION = "conversion.json"
RECORD = "record.json"
PICTURES = "pictures.png"
"""Of a detector, ground truth beside prediction."""

Positive = Annotated[float, Field(gt=0)]
RowName = Annotated[str, Field(pattern=r"^[A-Za-z0-9+_-][A-Za-z0-9+._-]*$", max_length=150)]
"""Of a run, and so of its folder."""
Line = Annotated[str, Field(pattern=r"^\P{C}*$", max_length=500)]
"""A text without control characters: it is shown on terminals, whoever wrote the file that it is from."""

Count = Annotated[int, Field(ge=0, lt=2**63)]
"""Of images, parameters, epochs; or a seed. Frames keep 64 bits."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


Arch = Literal[
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "wide_resnet50_2",
    "wide_resnet101_2",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
]


class EncoderSpec(Spec):
    """A ResNet: depth, stem and width."""

    arch: Arch = "resnet50"
    stem: Literal["imagenet", "small", "stl"] = "imagenet"
    """imagenet: 7x7 stride 2 and max-pool; small: 3x3 stride 1; stl: 3x3 stride 2; the latter two without max-pool."""
    width: float = Field(default=1.0, gt=0, le=8)
    """Factor on every channel count, a multiple of 1/8."""
    stride_in_1x1: Annotated[bool, Later] = False
    """Whether a bottleneck strides in its first convolution, as MSRA's ResNets do, instead of in its 3x3 one."""

    @field_validator("width")
    @classmethod
    def _is_in_eighths(cls, width: float) -> float:
        if 64 * width % 8:
            raise ValueError("must be a multiple of 1/8, so that channels come in eights")
        return width

    @property
    def title(self) -> str:
        """Return the name for tables."""
        stride = ", stride in 1x1" if self.stride_in_1x1 else ""
        return f"{self.arch} x{self.width:g} {self.stem}{stride}"

    @property
    def stem_channels(self) -> int:
        """Return the channels after the stem."""
        return int(64 * self.width)


class Pixels(Spec):
    """How images are normalised before they enter an encoder."""

    mean: tuple[float, float, float]
    std: tuple[Positive, Positive, Positive]
    """Per channel, in the order of channels that the encoder takes, of images in [0, 1]."""
    channel_order: Literal["RGB", "BGR"] = "RGB"


class CheckpointInfo(Spec):
    """What a checkpoint says of itself."""

    format: Literal["superinfo.checkpoint/1"] = "superinfo.checkpoint/1"
    encoder: EncoderSpec
    name: RowName
    method: Line
    term: Line
    dataset: Line
    epochs: int
    seed: int
    input_size: int
    """Side of the training views, in pixels."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    """Per channel, of images in [0, 1]."""
    channel_order: Literal["RGB"] = "RGB"
    recipe_hash: Line


def save_checkpoint(path: Path, info: CheckpointInfo, state: "Mapping[str, torch.Tensor]") -> None:
    """Write an encoder's `state_dict` (torchvision ResNet keys, no classifier) with its metadata."""
    import torch

    state = {key: tensor.detach().cpu().contiguous() for key, tensor in state.items()}
    payload = {"superinfo": info.model_dump(mode="json"), "state_dict": state}
    write_atomically(path, lambda file: torch.save(payload, file))


def load_checkpoint(path: Path) -> "tuple[CheckpointInfo, dict[str, torch.Tensor]]":
    """Read a checkpoint without running any code from it. Raises UserError if it is not one of this project's."""
    import torch

    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint; `superinfo pretrain` prints the path of the one it wrote")
    try:
        payload = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the broken bytes lead it into
        reason = str(error).strip().splitlines()[:1]
        raise UserError(f"{path}: not a readable torch checkpoint ({' '.join(reason)[:120]})") from None
    if not isinstance(payload, dict) or not {"superinfo", "state_dict"} <= payload.keys():
        raise UserError(f"{path}: a torch file, but not a checkpoint written by `superinfo pretrain`")
    return CheckpointInfo.parse(payload["superinfo"], str(path)), payload["state_dict"]


def tensors_sha256(state: "Mapping[str, torch.Tensor]") -> str:
    """Return the SHA-256 over names, dtypes, shapes and bytes of tensors, in name order.

    The hash of the file itself would not do: `torch.save` embeds the file's name.
    """
    import torch

    digest = hashlib.sha256()
    for key in sorted(state):
        tensor = state[key].detach().cpu().contiguous()
        digest.update(json.dumps([key, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())  # NumPy has no bfloat16
    return digest.hexdigest()


class Provenance(Spec):
    """Where and with what an artifact was made."""

    created: str
    """UTC, ISO 8601."""
    commit: str | None
    """Of this project; a trailing `+` says that the tree had changes; None outside a git checkout."""
    versions: dict[str, str]
    hardware: dict[str, str | int]
    """`device` says whether a GPU was used. Older artifacts do not have it, and list a GPU wherever there was one."""


class Cost(Spec):
    """What a run took."""

    wall_seconds: float
    peak_memory_mib: float
    """Of a GPU where one was used, else resident memory; `Provenance.hardware` tells."""
    parameters: Count
    flops: float | None = None
    """Multiply-adds of one forward pass at the stated input, counted by fvcore."""
    flops_input: str | None = None


class Manifest(JsonArtifact):
    """Beside a checkpoint: all it takes to trace or repeat it."""

    format: Literal["superinfo.manifest/2"] = "superinfo.manifest/2"
    run: str
    command: str | None
    """That repeats the run, typed where it was started; None where no command line did."""
    recipe: dict[str, Any]
    recipe_hash: str
    tensors_sha256: str
    metrics: dict[str, float]
    """Of the last logged step: losses in nats, rates in images/s."""
    execution: dict[str, str | int] = Field(default_factory=dict)
    """How its last session ran, where that may differ between runs of one recipe: processes, device, precision, what
    batch norm saw, and the step that it was resumed at, if it was."""
    cost: Cost
    provenance: Provenance


class Source(Spec):
    """Where an encoder comes from, and what it is: all that a detector must know of it."""

    name: RowName
    """Row name of the pretraining recipe, or the name of a file from elsewhere."""
    layouts: list[Line]
    """Who writes such files; more than one where they write the same."""
    branch: Literal["online", "target"]
    encoder: EncoderSpec
    pixels: Pixels
    dtype: Line
    """Of the file's tensors; converted ones are float32."""
    affine_norms: bool = False
    """Whether its batch norms are affine maps without statistics, so that no detector can train them as batch norms."""
    tensors_sha256: Line
    """Of the encoder as read: torchvision's keys, float32."""
    checkpoint: CheckpointInfo | None
    """What a checkpoint of this project says of itself."""


class Loaded(Spec):
    """What a target's own loader made of converted weights."""

    tensors: int
    """Of the target's backbone, counters apart."""
    matched: int
    """Of those, how many hold the source's values, bit by bit."""


class Conversion(JsonArtifact):
    """The evidence that converted weights are the source encoder's."""

    format: Literal["superinfo.conversion/2"] = "superinfo.conversion/2"
    source: Source
    source_file_sha256: str
    target: str
    stem_flipped: bool = False
    """Whether the stem of a BGR encoder was turned to take RGB."""
    files: dict[str, str]
    """SHA-256 of each file beside this one."""
    tensors: dict[str, str]
    """SHA-256 of each converted tensor, by the target's key."""
    keys_used: dict[str, str]
    """The source's key to the target's."""
    keys_made: dict[str, str]
    """The target's key to how it was made, where the source has no such tensor."""
    keys_left: dict[str, str]
    """The source's key to the reason why it was left out."""
    loaded: dict[str, Loaded]
    """By what loaded it: Detectron2's FPN and C4, a torchvision model, ..."""
    feature_difference: dict[str, float]
    """Per stage, max |converted - source| / max |source| on a fixed input, over all that loaded it."""
    feature_samples: dict[str, list[float]]
    """Per stage, the source's features at fixed places on that input: the proof is run again without the source."""
    tolerance: float
    provenance: Provenance


class Who(Spec):
    """Whose features a record measures."""

    name: str
    """Row name of the pretraining recipe; `random` for random initialisation."""
    method: str
    term: str
    dataset: str | None
    epochs: Count | None
    """None where a file from elsewhere does not say."""
    seed: Count
    encoder: EncoderSpec
    recipe_hash: str | None
    """Of the pretraining recipe; None for random initialisation and for files from elsewhere."""
    tensors_sha256: str | None
    """Of the encoder; None for random initialisation."""
    pixels: Pixels | None = None
    """How its images are normalised, where no pretraining recipe says so."""


class What(Spec):
    """What was measured, and how."""

    task: str
    dataset: str
    split: str
    samples: Count
    """Images evaluated."""
    protocol: str
    protocol_version: Count


class Metric(Spec):
    """One figure."""

    value: float | None
    """None where it is undefined, as AP of large objects is on a set that has none."""
    unit: str
    higher_is_better: bool


class Record(JsonArtifact):
    """One measured cell of a table."""

    format: Literal["superinfo.record/2"] = "superinfo.record/2"
    run: str
    command: str | None
    """That repeats the measurement, typed where it was started; None where no command line did."""
    seed: Count
    who: Who
    what: What
    metrics: dict[str, Metric]
    deviations: list[str]
    """From the protocol, one sentence each."""
    recipe: dict[str, Any]
    recipe_hash: str
    protocol_hash: str
    """Of the recipe without its name and what the encoder brings along: equal ones measured in the same way."""
    cost: Cost
    provenance: Provenance
