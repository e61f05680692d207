"""What an encoder converts to: how each target's files are written, and how they are proven."""

import json
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from superinfo.artifacts import OVERLAY, WEIGHTS, EncoderSpec, Pixels, Source
from superinfo.errors import UserError
from superinfo.files import write_atomically, write_text
from transfer.convert.dialects import COUNTER
from transfer.convert.evidence import Evidence, fixed_images, normalised
from transfer.convert.own import OWN
from transfer.convert.resnet import to_detectron2
from transfer.convert.unfilled import unfilled
from transfer.overlay import encoder_overlay

State = Mapping[str, Tensor]
"""An encoder's tensors by torchvision's keys."""


@dataclass(frozen=True)
class Target:
    """A kind of file that others load."""

    name: str
    title: str
    weights: str
    """Name of the file."""
    format: str
    """Of that file, as `transfer.convert.formats` calls it: what another loader would take it for."""
    rename: Callable[[str], str | None]
    """Torchvision's key to the target's; None for a tensor that it does not have."""
    write: Callable[[Path, dict[str, Tensor], Source], None]
    """Write all files into a folder: the target's tensors, and where they come from."""
    prove: Callable[[Path, Source, Mapping[str, Tensor], Evidence], None]
    """Load a folder's weights with the target's own code, and add what is found to the evidence."""
    refuse: Callable[[EncoderSpec], str | None]
    """Return why the target does not have such an encoder, and what to do."""
    has_overlay: bool = False

    @property
    def files(self) -> set[str]:
        """Return the names of the files that are written."""
        return {self.weights, OVERLAY} if self.has_overlay else {self.weights}


def target_named(name: str) -> Target:
    """Return a target. Raises UserError if there is none of that name."""
    if name not in TARGETS:
        raise UserError(f"--to {name}: unknown target; choose {', '.join(TARGETS)}")
    return TARGETS[name]


def detectron2_overlay(source: Source) -> dict[str, Any]:
    """Return the config overlay that goes with an encoder."""
    return encoder_overlay(source.encoder, source.pixels, norm="FrozenBN" if source.affine_norms else "BN")


def overlay_text(overlay: dict[str, Any], weights: str = WEIGHTS) -> str:
    """Return the overlay as YAML with the note that must go with it."""
    note = f"# Goes over any Detectron2 config, with MODEL.WEIGHTS set to the {weights} beside this file.\n"
    if "NAME" in overlay["MODEL"]["BACKBONE"]:
        note += "# Needs `import transfer.detection.backbone`, which registers the backbone named here, and an FPN.\n"
    return note + yaml.safe_dump(overlay, sort_keys=False, default_flow_style=None)


def _without_counters(key: str) -> str | None:
    return None if key.endswith(COUNTER) else to_detectron2(key)


def payload(tensors: Mapping[str, Any], source: Source) -> dict[str, Any]:
    """Return what Detectron2's files hold: tensors, how they are to be read, and where they come from."""
    # Detectron2 finds unprefixed names below `backbone.` (C4) or `backbone.bottom_up.` (FPN) by its heuristics.
    said = source.model_dump(mode="json")
    return {"model": dict(tensors), "__author__": "superinfo convert", "matching_heuristics": True, OWN: said}


def _write_pkl(folder: Path, tensors: dict[str, Tensor], source: Source) -> None:
    arrays = {key: tensor.numpy() for key, tensor in tensors.items()}
    write_atomically(folder / WEIGHTS, lambda file: pickle.dump(payload(arrays, source), file, protocol=4))
    write_text(folder / OVERLAY, overlay_text(detectron2_overlay(source)))


def _write_pth(folder: Path, tensors: dict[str, Tensor], source: Source) -> None:
    write_atomically(folder / "detectron2.pth", lambda file: torch.save(payload(_own(tensors), source), file))
    write_text(folder / OVERLAY, overlay_text(detectron2_overlay(source), "detectron2.pth"))


def _prove_detectron2(path: Path, source: Source, tensors: Mapping[str, Tensor], evidence: Evidence) -> None:
    from transfer.convert.proof import prove_detectron2

    prove_detectron2(path, detectron2_overlay(source), source.encoder, tensors, evidence)


def _write_torchvision(folder: Path, tensors: dict[str, Tensor], source: Source) -> None:
    write_atomically(folder / "torchvision.pth", lambda file: torch.save(_own(tensors), file))


def _prove_torchvision(path: Path, source: Source, tensors: Mapping[str, Tensor], evidence: Evidence) -> None:
    """Load into torchvision's classifier but for `fc`, and into the body of its FPN detectors."""
    from torchvision import models
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
    from torchvision.ops.misc import FrozenBatchNorm2d

    state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    with unfilled():
        plain = getattr(models, source.encoder.arch)()
        plain.fc = nn.Identity()
        frozen = resnet_fpn_backbone(
            backbone_name=source.encoder.arch, weights=None, norm_layer=FrozenBatchNorm2d, trainable_layers=5
        )
    for name, model in (("torchvision ResNet", plain), ("torchvision FPN body", frozen.body)):
        model.load_state_dict(dict(state), strict=True, assign=True)
        _prove_module(name, model.eval(), source.pixels, tensors, evidence)


def _write_timm(folder: Path, tensors: dict[str, Tensor], source: Source) -> None:
    from safetensors.torch import save

    write_atomically(folder / "timm.safetensors", lambda file: file.write(save(_own(tensors), {"format": "pt"})))


def _prove_timm(path: Path, source: Source, tensors: Mapping[str, Tensor], evidence: Evidence) -> None:
    import timm

    with unfilled():
        model = timm.create_model(source.encoder.arch, pretrained=False, num_classes=0)
    model.load_state_dict(timm.models.load_state_dict(str(path)), strict=True, assign=True)
    _prove_module("timm ResNet", model.eval(), source.pixels, tensors, evidence)


def _write_safetensors(folder: Path, tensors: dict[str, Tensor], source: Source) -> None:
    from safetensors.torch import save

    metadata = {"format": "pt", OWN: json.dumps(source.model_dump(mode="json"))}
    write_atomically(folder / "encoder.safetensors", lambda file: file.write(save(_own(tensors), metadata)))


def _prove_safetensors(path: Path, source: Source, tensors: Mapping[str, Tensor], evidence: Evidence) -> None:
    from safetensors.torch import load_file

    from superinfo.encoders import build_encoder

    with unfilled():
        model = build_encoder(source.encoder)
    model.load_state_dict(load_file(path), strict=True, assign=True)
    _prove_module("safetensors", model.eval(), source.pixels, tensors, evidence)


@torch.no_grad()
def _prove_module(
    name: str, model: nn.Module, pixels: Pixels, tensors: Mapping[str, Tensor], evidence: Evidence
) -> None:
    """Add what a model of torchvision's kind holds and computes."""
    values = {key: tensor for key, tensor in model.state_dict().items() if tensor.is_floating_point()}
    evidence.add(name, values, tensors)
    x, features = normalised(fixed_images(), pixels), {}
    for child, module in model.named_children():
        if child in {"avgpool", "global_pool", "fc"}:
            break
        x = module(x)
        if child.startswith("layer"):
            features[f"res{int(child[5:]) + 1}"] = x
    evidence.compare(features)


def _own(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors that each have memory of their own and no holes in it: a view would be saved with all it views."""
    return {key: tensor.clone(memory_format=torch.contiguous_format) for key, tensor in tensors.items()}


def _refuse_nothing(encoder: EncoderSpec) -> None:
    return None


def _refuse_other_libraries(encoder: EncoderSpec) -> str | None:
    if encoder.stem != "imagenet":
        return f"it has no ResNet with the {encoder.stem} stem; --to safetensors keeps it, in torchvision's keys"
    if encoder.width != 1:
        return f"it has no {encoder.arch} of width {encoder.width:g}; --to safetensors keeps it, in torchvision's keys"
    if encoder.stride_in_1x1:
        return "it strides in the 3x3 convolution, this encoder in the 1x1 before it; --to detectron2 can say so"
    return None


def _refuse_without_timm(encoder: EncoderSpec) -> str | None:
    from importlib.util import find_spec

    if find_spec("timm") is None:
        return "the proof needs timm; `pip install timm`"
    return _refuse_other_libraries(encoder)


def _same_key(key: str) -> str:
    return key


TARGETS = {
    target.name: target
    for target in (
        Target(
            "detectron2",
            "Detectron2, with its overlay",
            WEIGHTS,
            "pickle",
            _without_counters,
            _write_pkl,
            _prove_detectron2,
            _refuse_nothing,
            has_overlay=True,
        ),
        Target(
            "detectron2-pth",
            "the same as a torch file",
            "detectron2.pth",
            "torch zip",
            _without_counters,
            _write_pth,
            _prove_detectron2,
            _refuse_nothing,
            has_overlay=True,
        ),
        Target(
            "torchvision",
            "torchvision's ResNet, and the body of its FPN detectors",
            "torchvision.pth",
            "torch zip",
            _same_key,
            _write_torchvision,
            _prove_torchvision,
            _refuse_other_libraries,
        ),
        Target(
            "timm", "timm", "timm.safetensors", "safetensors", _same_key, _write_timm, _prove_timm, _refuse_without_timm
        ),
        Target(
            "safetensors",
            "torchvision's keys, with what the encoder is",
            "encoder.safetensors",
            "safetensors",
            _same_key,
            _write_safetensors,
            _prove_safetensors,
            _refuse_nothing,
        ),
    )
}
