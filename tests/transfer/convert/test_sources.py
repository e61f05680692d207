"""Any project's checkpoint in: recognised from the file alone, read bit for bit, converted with proof, or refused."""

import argparse
import pickle
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
import torchvision
import yaml
from detectron2 import model_zoo
from detectron2.checkpoint.c2_model_loading import convert_basic_c2_names
from detectron2.config import get_cfg
from lightly.models import ResNetGenerator
from lightly.models.modules import SimCLRProjectionHead
from torch import Tensor, nn
from torch.utils.data import DataLoader

from superinfo.artifacts import CONVERSION, OVERLAY, WEIGHTS, Conversion, EncoderSpec, Pixels
from superinfo.errors import EvidenceRefused, SuperInfoError, UserError
from tests.transfer.convert import layouts
from tests.transfer.convert.layouts import EXAMPLES, Example, State, below, detectron2, respelt, weights
from transfer.convert import convert
from transfer.convert.architecture import find_architecture
from transfer.convert.export import load_reading
from transfer.convert.reading import Reading, parse_facts
from transfer.convert.recognition import read_encoder
from transfer.convert.sources import Branch
from transfer.overlay import encoder_overlay

MakeCheckpoint = Callable[..., Path]

ARCHS = ("resnet18", "resnet50")
BRANCHES: tuple[Branch, Branch] = ("online", "target")
WIDTH = 0.25
"""So narrow that a conversion takes a second; Detectron2's own builder makes such a ResNet-50."""

each_example = pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.title)
with_target = pytest.mark.parametrize(
    "example", [example for example in EXAMPLES if example.target], ids=lambda example: example.title
)
without_target = pytest.mark.parametrize(
    "example",
    [example for example in EXAMPLES if example.target is None and not example.named],
    ids=lambda example: example.title,
)
one_of_each_source = pytest.mark.parametrize(
    "example", list({example.source: example for example in EXAMPLES}.values()), ids=lambda example: example.source
)


def encoders(example: Example, arch: str) -> tuple[State, State]:
    kernel = 7 if example.stem == "imagenet" else 3
    return weights(arch, WIDTH, 0, kernel), weights(arch, WIDTH, 1, kernel)


def same_bits(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and bits(one) == bits(other)


def bits(tensor: Tensor) -> bytes:
    return tensor.detach().contiguous().numpy().tobytes()


def assert_reads(path: Path, reading: Reading, state: State) -> None:
    """The encoder of a reading is exactly these tensors; a counter that the file leaves out is 0."""
    found = load_reading(path, reading).state_dict()
    assert found.keys() == state.keys() | {key for key in found if key.endswith("num_batches_tracked")}
    for key, tensor in found.items():
        assert same_bits(tensor, state.get(key, torch.tensor(0))), key


def refused(kind: type[SuperInfoError], path: Path, **choice: Any) -> str:
    """What is said of a file that cannot be read, in one line that names it."""
    with pytest.raises(kind) as caught:
        load_reading(path, read_encoder(path, **choice))
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


# What each project writes


@each_example
def test_a_file_tells_its_encoder_and_gives_it_bit_for_bit(example: Example, tmp_path: Path) -> None:
    states = encoders(example, "resnet18")
    content = example.write(tmp_path / "file", *states)
    reading = read_encoder(tmp_path / "file", example.source if example.named else None)
    spell, where = example.place(example.default)
    state = states[example.default == "target"]
    state = state if example.counters else layouts.without_counters(state)
    assert example.source in reading.names
    assert reading.branch == example.default
    assert reading.encoder == EncoderSpec.parse({"arch": "resnet18", "stem": example.stem, "width": WIDTH}, "test")
    assert reading.pixels.mean == pytest.approx(example.mean)
    assert reading.pixels.std == pytest.approx(example.std)
    assert reading.pixels.channel_order == example.order
    assert reading.keys == {key: spell(key) for key in state}
    assert_reads(tmp_path / "file", reading, state)
    for part in where:
        content = content[part]
    assert reading.left.keys() == content.keys() - {spell(key) for key in state}
    assert all(reason and "``" not in reason for reason in reading.left.values())
    for key, word in example.reasons.items():
        assert word in reading.left[key], key


@with_target
def test_online_and_momentum_encoder_are_two_encoders(example: Example, tmp_path: Path) -> None:
    states = encoders(example, "resnet18")
    example.write(tmp_path / "file", *states)
    for branch, state in zip(BRANCHES, states, strict=True):
        reading = read_encoder(tmp_path / "file", branch=branch)
        spell, where = example.place(branch)
        assert example.source in reading.names
        assert (reading.branch, reading.map) == (branch, "/".join(where))
        assert reading.keys == {key: spell(key) for key in state}
        assert_reads(tmp_path / "file", reading, state)


@without_target
def test_a_file_without_a_momentum_encoder_says_so(example: Example, tmp_path: Path) -> None:
    example.write(tmp_path / "file", *encoders(example, "resnet18"))
    assert "--branch" in refused(UserError, tmp_path / "file", branch="target")


@one_of_each_source
def test_every_source_converts_with_proof_and_comes_back(example: Example, tmp_path: Path) -> None:
    states = encoders(example, "resnet50")
    example.write(tmp_path / "file", *states)
    spell, _ = example.place(example.default)
    state = layouts.without_counters(states[example.default == "target"])
    out = convert(tmp_path / "file", tmp_path / "out", source=example.source if example.named else None)
    proof = Conversion.read(out / CONVERSION)
    assert example.source in proof.source.layouts
    assert (proof.source.branch, proof.source.encoder.arch) == (example.default, "resnet50")
    detectors = {"Detectron2 FPN", "Detectron2 C4"} if example.stem == "imagenet" else {"Detectron2 FPN"}
    assert proof.loaded.keys() == detectors
    assert all(found.tensors == found.matched == len(state) == 265 for found in proof.loaded.values())
    assert proof.feature_difference.keys() == {"res2", "res3", "res4", "res5"}
    assert max(proof.feature_difference.values()) < 1e-4
    assert proof.keys_used == {spell(key): detectron2(key) for key in state}
    assert not proof.keys_made
    overlay = yaml.safe_load((out / OVERLAY).read_text())
    assert overlay["INPUT"]["FORMAT"] == example.order
    assert overlay["MODEL"]["PIXEL_MEAN"] == pytest.approx([255 * value for value in example.mean], abs=1e-3)
    assert overlay["MODEL"]["PIXEL_STD"] == pytest.approx([255 * value for value in example.std], abs=1e-3)
    assert overlay["MODEL"]["RESNETS"] == {
        "DEPTH": 50,
        "STEM_OUT_CHANNELS": 16,
        "RES2_OUT_CHANNELS": 64,
        "NUM_GROUPS": 1,
        "WIDTH_PER_GROUP": 16,
        "STRIDE_IN_1X1": example.stride_in_1x1,
        "NORM": "BN",
    }
    back = safetensors.torch.load_file(convert(out / WEIGHTS, tmp_path / "back", "safetensors") / "encoder.safetensors")
    assert layouts.without_counters(back).keys() == state.keys()
    assert all(same_bits(back[key], tensor) for key, tensor in state.items())


@pytest.mark.slow
@one_of_each_source
def test_every_source_converts_a_resnet_18_with_proof(example: Example, tmp_path: Path) -> None:
    states = encoders(example, "resnet18")
    example.write(tmp_path / "file", *states)
    state = layouts.without_counters(states[example.default == "target"])
    out = convert(tmp_path / "file", tmp_path / "out", source=example.source if example.named else None)
    (proof,) = Conversion.read(out / CONVERSION).loaded.values()
    assert proof.tensors == proof.matched == len(state) == 100
    back = safetensors.torch.load_file(convert(out / WEIGHTS, tmp_path / "back", "safetensors") / "encoder.safetensors")
    assert all(same_bits(back[key], tensor) for key, tensor in state.items())


def test_a_resnet_18_converts_with_a_pyramid_alone(tmp_path: Path) -> None:
    """Detectron2's C4 heads are of bottlenecks."""
    out = convert(saved(tmp_path / "file", weights("resnet18")), tmp_path / "out")
    loaded = Conversion.read(out / CONVERSION).loaded
    assert {name: (found.tensors, found.matched) for name, found in loaded.items()} == {"Detectron2 FPN": (100, 100)}


def test_every_name_that_source_takes_has_an_example(tmp_path: Path) -> None:
    path = saved(tmp_path / "file", weights("resnet18", WIDTH))
    with pytest.raises(UserError, match=r"--source nobody: unknown; choose from ") as caught:
        read_encoder(path, "nobody")
    names = set(str(caught.value).partition("choose from ")[2].split(", "))
    shown_below = {"superinfo", "lightly_sequential_generator"}
    assert names == {example.source for example in EXAMPLES} | shown_below


@pytest.mark.parametrize("title", ["vicreg", "dino", "pixpro", "solo-learn", "mmpretrain's BYOL", "Lightning of old"])
def test_classes_that_only_a_files_author_has_are_not_needed(title: str, tmp_path: Path) -> None:
    """Torch itself refuses such a file; reading it imports none of what it names."""
    example = next(example for example in EXAMPLES if example.title == title)
    example.write(tmp_path / "file", *encoders(example, "resnet18"))
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "file", weights_only=True)
    before = set(sys.modules)
    assert not load_reading(tmp_path / "file", read_encoder(tmp_path / "file")).training
    assert not {name.partition(".")[0] for name in set(sys.modules) - before} & {"mmengine", "solo", "argparse"}
    assert not hasattr(sys.modules["__main__"], "exclude_bias_and_norm")


def test_what_lightning_saved_is_not_said_to_be_vicregs(tmp_path: Path) -> None:
    """Their keys are alike, but VICReg's own code saves without Lightning."""
    path = saved(tmp_path / "file", layouts.solo_online(weights("resnet18", WIDTH), {}))
    assert "vicreg" not in read_encoder(path).names


def test_this_projects_own_files_are_read_in_all_three_forms(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    checkpoint = make_checkpoint(width=WIDTH, stem="stl")
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    weight_files = {
        to: convert(checkpoint, tmp_path / to, to) / name
        for to, name in (("detectron2", WEIGHTS), ("safetensors", "encoder.safetensors"))
    }
    for path in (checkpoint, *weight_files.values()):
        reading = read_encoder(path)
        assert reading.names == ["superinfo"]
        assert reading.encoder == EncoderSpec(arch="resnet18", stem="stl", width=WIDTH)
        assert (reading.pixels.mean, reading.pixels.std) == ((0.4, 0.45, 0.5), (0.2, 0.25, 0.3))
        assert reading.info is not None
        assert reading.info.method == "simclr"
        found = load_reading(path, reading).state_dict()
        assert all(same_bits(found[key], tensor) for key, tensor in layouts.without_counters(state).items())


def test_examples_spell_detectrons_blobs_as_detectron2_reads_them() -> None:
    keys = list(layouts.without_counters(weights("resnet50", WIDTH)))
    for spell in (layouts.STATISTICS, layouts.MSRA_IN_DETECTRON2):
        assert convert_basic_c2_names([spell(key) for key in keys]) == [detectron2(key) for key in keys]


# What the libraries themselves write


@torch.no_grad()
def assert_computes(path: Path, body: nn.Module, **choice: Any) -> None:
    """The encoder of a file gives the last feature maps that the library's own network gives."""
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    found = load_reading(path, read_encoder(path, **choice)).stages(images)["res5"]
    torch.testing.assert_close(found, body.eval()(images), rtol=1e-5, atol=1e-5)


def body_of(model: nn.Module) -> nn.Sequential:
    """A network up to its last feature maps."""
    return nn.Sequential(
        *(child for name, child in model.named_children() if name not in {"avgpool", "global_pool", "fc"})
    )


@pytest.mark.parametrize("arch", ARCHS)
def test_torchvisions_networks_are_read_as_they_compute(arch: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = getattr(torchvision.models, arch)()
    path = saved(tmp_path / "file", model.state_dict())
    assert read_encoder(path).encoder == EncoderSpec.parse({"arch": arch}, "test")
    assert_computes(path, body_of(model))


def test_timms_networks_are_read_as_they_compute(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = timm.create_model("resnet18")
    safetensors.torch.save_file(model.state_dict(), tmp_path / "file", {"format": "pt"})
    assert_computes(tmp_path / "file", body_of(model))


def test_a_checkpoint_that_lightning_saved_of_lightlys_modules_is_read_as_it_computes(tmp_path: Path) -> None:
    import omegaconf
    from pytorch_lightning import LightningModule, Trainer

    class SimCLR(LightningModule):
        def __init__(self, settings: Any) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.backbone = nn.Sequential(*list(torchvision.models.resnet18().children())[:-1])
            self.projection_head = SimCLRProjectionHead(512, 512, 8)

        def training_step(self, batch: Tensor, number: int) -> Tensor:
            loss: Tensor = self.projection_head(self.backbone(batch).flatten(1)).square().mean()
            return loss

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.projection_head.parameters(), lr=0.1, momentum=0.9)
            return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)]

    torch.manual_seed(0)
    model = SimCLR(omegaconf.OmegaConf.create({"optimizer": {"lr": 0.1}}))
    trainer = Trainer(
        max_steps=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(model, DataLoader(torch.rand(2, 3, 32, 32), batch_size=2))  # type: ignore[arg-type]
    trainer.save_checkpoint(tmp_path / "file.ckpt")
    reading = read_encoder(tmp_path / "file.ckpt")
    assert "lightly" in reading.names
    assert reading.left.keys() == {f"projection_head.{key}" for key in model.projection_head.state_dict()}
    assert_computes(tmp_path / "file.ckpt", model.backbone[:-1])


def test_lightlys_resnet_generator_is_read_as_it_computes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = ResNetGenerator("resnet-18", width=WIDTH)
    path = saved(tmp_path / "file", model.state_dict())
    reading = read_encoder(path)
    assert reading.names == ["lightly_generator"]
    assert reading.encoder == EncoderSpec(arch="resnet18", stem="small", width=WIDTH)
    stem = nn.Sequential(model.conv1, model.bn1, nn.ReLU())
    assert_computes(path, nn.Sequential(stem, model.layer1, model.layer2, model.layer3, model.layer4))


def test_the_children_of_lightlys_resnet_generator_are_refused_as_they_lose_a_relu(tmp_path: Path) -> None:
    children = nn.Sequential(*list(ResNetGenerator("resnet-18", width=WIDTH).children())[:-1])
    path = saved(tmp_path / "file", respelt(children.state_dict(), below("backbone.")))
    assert "no ReLU" in refused(UserError, path)


# Which ResNet it is


@pytest.mark.parametrize(
    "arch",
    [
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
    ],
)
def test_every_resnet_of_torchvision_is_told_from_the_shapes_of_its_tensors(arch: str) -> None:
    found = find_architecture(shapes_of(arch))
    assert (found.arch, found.width, found.kernel, found.faults) == (arch, 1.0, 7, {})


def shapes_of(arch: str) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        state = getattr(torchvision.models, arch)().state_dict()
    return {key: tuple(tensor.shape) for key, tensor in state.items() if not key.startswith("fc.")}


@pytest.mark.parametrize("width", [0.125, 0.5, 2.0, 4.0, 5.0])
def test_swavs_widths_are_no_wide_resnets(width: float) -> None:
    """SwAV's `resnet50w2` has twice the channels everywhere, torchvision's `wide_resnet50_2` within blocks alone."""
    shapes = {
        key: (*(channels if channels == 3 else int(channels * width) for channels in shape[:2]), *shape[2:])
        for key, shape in shapes_of("resnet50").items()
    }
    found = find_architecture(shapes)
    assert (found.arch, found.width, found.faults) == ("resnet50", width, {})
    assert find_architecture(shapes_of("wide_resnet50_2")).width == 1.0


@pytest.mark.parametrize(
    ("arch", "width", "expected"),
    [
        ("wide_resnet50_2", 0.25, {"NUM_GROUPS": 1, "WIDTH_PER_GROUP": 32, "RES2_OUT_CHANNELS": 64}),
        ("resnext50_32x4d", 0.25, {"NUM_GROUPS": 32, "WIDTH_PER_GROUP": 1, "RES2_OUT_CHANNELS": 64}),
        ("resnext50_32x4d", 1.0, {"NUM_GROUPS": 32, "WIDTH_PER_GROUP": 4, "RES2_OUT_CHANNELS": 256}),
    ],
)
def test_detectron2_builds_wide_resnets_and_resnexts_from_the_overlay(
    arch: str, width: float, expected: dict[str, int], tmp_path: Path
) -> None:
    out = convert(saved(tmp_path / "file", weights(arch, width)), tmp_path / "out")
    proof = Conversion.read(out / CONVERSION)
    assert proof.source.encoder.arch == arch
    assert {name: found.matched for name, found in proof.loaded.items()} == {
        "Detectron2 FPN": 265,
        "Detectron2 C4": 265,
    }
    resnets = yaml.safe_load((out / OVERLAY).read_text())["MODEL"]["RESNETS"]
    assert resnets.items() >= expected.items()


def test_the_overlay_of_resnext_101_32x8d_says_what_detectron2s_own_config_says() -> None:
    theirs = model_zoo.get_config("COCO-Detection/faster_rcnn_X_101_32x8d_FPN_3x.yaml").MODEL.RESNETS
    pixels = Pixels(mean=layouts.MEAN, std=layouts.STD)
    ours = encoder_overlay(EncoderSpec(arch="resnext101_32x8d"), pixels)["MODEL"]["RESNETS"]
    for key in ("DEPTH", "STEM_OUT_CHANNELS", "RES2_OUT_CHANNELS", "NUM_GROUPS", "WIDTH_PER_GROUP", "STRIDE_IN_1X1"):
        assert ours[key] == theirs[key], key


# Where a file can be read in two ways


def test_readings_that_differ_in_nothing_go_on_and_name_the_family(tmp_path: Path) -> None:
    """Torchvision's and timm's ResNets have the same keys and compute the same."""
    reading = read_encoder(saved(tmp_path / "file", weights("resnet18", WIDTH)))
    assert reading.names == ["torchvision", "timm"]


def test_a_detectron2_pickle_without_author_must_be_named(tmp_path: Path) -> None:
    """On MSRA's ResNets, Detectron2's default, it takes BGR and strides elsewhere; its tensors do not say."""
    path = saved(tmp_path / "file", {"model": respelt(weights("resnet50", WIDTH), detectron2)})
    message = refused(UserError, path)
    assert "2 ways" in message
    for told in ("detectron2_rgb", "detectron2_msra", "RGB", "BGR", "--source"):
        assert told in message
    chosen = {name: read_encoder(path, name) for name in ("detectron2_rgb", "detectron2_msra")}
    assert {name: reading.pixels.channel_order for name, reading in chosen.items()} == {
        "detectron2_rgb": "RGB",
        "detectron2_msra": "BGR",
    }
    assert {name: reading.encoder and reading.encoder.stride_in_1x1 for name, reading in chosen.items()} == {
        "detectron2_rgb": False,
        "detectron2_msra": True,
    }


@pytest.mark.parametrize("spell", [layouts.STATISTICS, layouts.MSRA_IN_DETECTRON2], ids=["rm", "running_mean"])
def test_detectrons_blobs_must_be_named(spell: layouts.Spell, tmp_path: Path) -> None:
    state = layouts.without_counters(weights("resnet50", WIDTH))
    layouts.python2_pickle(respelt(state, spell), tmp_path / "file")
    message = refused(UserError, tmp_path / "file")
    for told in ("caffe2_msra", "caffe2_fair", "--source"):
        assert told in message


def test_infocls_small_stems_must_be_named_as_their_stride_does_not_show(tmp_path: Path) -> None:
    state = respelt(weights("resnet18", WIDTH, kernel=3), below("encoder.", layouts.infocl))
    path = saved(tmp_path / "file", state | layouts.infocl_byol(128))
    message = refused(UserError, path)
    for told in ("infocl_cifar", "infocl_stl", "small", "stl", "--source"):
        assert told in message
    stems = {name: read_encoder(path, name).encoder for name in ("infocl_cifar", "infocl_stl")}
    assert {name: encoder and encoder.stem for name, encoder in stems.items()} == {
        "infocl_cifar": "small",
        "infocl_stl": "stl",
    }


@pytest.mark.parametrize("stem", ["small", "stl"])
def test_torchvisions_names_with_a_small_stem_need_to_be_told_which(stem: str, tmp_path: Path) -> None:
    state = weights("resnet18", WIDTH, kernel=3)
    path = saved(tmp_path / "file", state)
    assert f"--set stem={stem}" in refused(UserError, path)
    reading = read_encoder(path, given=parse_facts([f"stem={stem}"]))
    assert reading.encoder is not None
    assert reading.encoder.stem == stem
    assert_reads(path, reading, state)


def test_what_is_given_of_pixels_goes_before_what_the_layout_says(tmp_path: Path) -> None:
    path = saved(tmp_path / "file", layouts.swav(*encoders(EXAMPLES[0], "resnet18")))
    pixels = read_encoder(path, given=parse_facts(["mean=[0.1, 0.2, 0.3]", "channel_order=BGR"])).pixels
    assert pixels == Pixels(mean=(0.1, 0.2, 0.3), std=(0.225, 0.224, 0.228), channel_order="BGR")


def test_a_name_that_is_not_the_files_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "file", weights("resnet18", WIDTH))
    assert "not as moco writes it" in refused(UserError, path, source="moco")


@pytest.mark.parametrize(
    ("name", "near"), [("mocov3", "moco_v3"), ("dinov1", "dino"), ("detectron2", "detectron2_rgb")]
)
def test_an_unknown_source_is_answered_with_a_near_one(name: str, near: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "file", weights("resnet18", WIDTH))
    with pytest.raises(UserError, match=rf"--source {name}: unknown \(did you mean `{near}"):
        read_encoder(path, name)


# What is no ResNet of any detector


def solo_on_cifar() -> State:
    content = layouts.solo_online(weights("resnet18", WIDTH, kernel=3), {})
    content.pop("hyper_parameters")
    content.pop("hparams_type")
    return content


def vision_transformer(prefix: str) -> State:
    names = ("cls_token", "pos_embed", "patch_embed.proj.weight", "blocks.0.attn.qkv.weight", "norm.weight")
    return {f"{prefix}{name}": torch.ones(4, 4) for name in names}


def clip(prefix: str = "visual.") -> State:
    """Its stem has three convolutions; pooling before each shortcut's convolution does not show in the keys."""
    state = weights("resnet50", WIDTH, kernel=3)
    stem = {f"conv{number}.weight": torch.ones(16, 16, 3, 3) for number in (2, 3)}
    stem |= layouts.norm("bn2", 16) | layouts.norm("bn3", 16)
    tensors = respelt(state | stem, below(prefix))
    if not prefix:
        return tensors
    tensors |= layouts.linear("visual.attnpool.q_proj", 16, 16) | {"logit_scale": torch.tensor(4.6)}
    return tensors | {"transformer.resblocks.0.attn.in_proj_weight": torch.ones(16, 16)}


def timm_tensors(name: str) -> State:
    with torch.device("meta"):
        state = timm.create_model(name).state_dict()
    return {key: torch.ones(tensor.shape, dtype=tensor.dtype) for key, tensor in state.items()}


def group_norm() -> State:
    return {key: tensor for key, tensor in weights("resnet50", WIDTH).items() if key.endswith(("weight", "bias"))}


def sgd_alone() -> dict[str, Any]:
    return {"epoch": 3, "optimizer": layouts.sgd(weights("resnet18", WIDTH))}


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        (solo_on_cifar, UserError, "solo-learn's 3x3 stem pads by 2 pixels"),
        (lambda: {"state_dict": vision_transformer("module.base_encoder.")}, UserError, "vision transformer"),
        (lambda: {"teacher": vision_transformer("backbone.")}, UserError, "vision transformer"),
        (clip, UserError, "CLIP's ResNet"),
        (lambda: clip(prefix=""), EvidenceRefused, r"tensor (conv2.weight|conv3.weight|bn2.\w+|bn3.\w+) "),
        (lambda: timm_tensors("seresnet18"), EvidenceRefused, r"tensor layer\d.\d.se.\S+ "),
        (lambda: timm_tensors("resnet18d"), EvidenceRefused, r"tensor (conv1.(\d.)?|layer\d.0.downsample.2.)\w+ "),
        (group_norm, EvidenceRefused, r"tensor bn1.running_mean is missing"),
        (sgd_alone, UserError, "holds no tensors by name"),
        (lambda: {"model": nn.Linear(2, 2).state_dict()}, UserError, "no ResNet"),
    ],
    ids=[
        "solo-learn on CIFAR",
        "a ViT of MoCo v3",
        "a ViT of DINO",
        "CLIP",
        "CLIP without its attention",
        "SE-ResNet",
        "deep stem",
        "group norm",
        "an optimizer alone",
        "no ResNet",
    ],
)
def test_what_no_detector_computes_is_refused_with_the_reason(
    content: Callable[[], Any], kind: type[SuperInfoError], words: str, tmp_path: Path
) -> None:
    assert re.search(words, refused(kind, saved(tmp_path / "file", content())))


def test_a_deep_stem_is_refused_by_its_shape_too(tmp_path: Path) -> None:
    """timm's `resnet18d` with its stem left out still averages before the shortcuts: its keys tell."""
    state = {key: tensor for key, tensor in timm_tensors("resnet18d").items() if not key.startswith(("conv1.", "bn1."))}
    path = saved(tmp_path / "file", state | {key: t for key, t in weights("resnet18").items() if "layer" not in key})
    assert "downsample" in refused(EvidenceRefused, path)


def test_a_resnet_below_an_unknown_prefix_is_read_where_the_message_says(tmp_path: Path) -> None:
    """VICReg's linear evaluation: a Sequential of the encoder and the classifier."""
    state = weights("resnet18", WIDTH)
    content = {
        "epoch": 100,
        "best_acc": argparse.Namespace(top1=73.2, top5=91.1),
        "model": respelt(state, below("module.0.")) | layouts.linear("module.1", 10, 128),
        "optimizer": layouts.sgd(state),
        "scheduler": {"T_max": 100},
    }
    path = saved(tmp_path / "file", content)
    found = re.search(r"--set (prefix=\S+)", refused(UserError, path))
    assert found is not None
    reading = read_encoder(path, given=parse_facts([found[1]]))
    assert reading.keys == {key: f"module.0.{key}" for key in state}
    assert reading.left.keys() == {"module.1.weight", "module.1.bias"}
    assert_reads(path, reading, state)


def test_a_resnet_at_the_top_of_an_unknown_dictionary_is_read_where_the_message_says(tmp_path: Path) -> None:
    state = weights("resnet18", WIDTH)
    path = saved(tmp_path / "file", {"net": {"state_dict": state}})
    found = re.search(r"--set (prefix=\S*)", refused(UserError, path))
    assert found is not None
    for said in (found[1], "prefix=''"):
        assert_reads(path, read_encoder(path, given=parse_facts([said])), state)
    with pytest.raises(UserError, match="--set: `prefix`"):
        parse_facts(["prefix=[]"])


def test_mocos_detectors_with_a_norm_after_the_last_stage_are_read(tmp_path: Path) -> None:
    """Its C4 heads, `Res5ROIHeadsExtraNorm`, have one; it is the detector's, not the encoder's."""
    state = layouts.without_counters(weights("resnet50", WIDTH))
    content = layouts.detector(layouts.c4_detector)(state, state)
    content["model"] |= layouts.without_counters(layouts.norm("roi_heads.res5.norm", 512))
    path = saved(tmp_path / "file", content)
    reading = read_encoder(path, "detectron2_rgb")
    assert {key for key in reading.left if "res5.norm" in key} == {
        f"roi_heads.res5.norm.{leaf}" for leaf in ("weight", "bias", "running_mean", "running_var")
    }
    assert_reads(path, reading, state)


# BGR


@pytest.fixture
def msra(tmp_path: Path) -> Path:
    """A ResNet-50 that takes BGR."""
    content = {"model": respelt(layouts.without_counters(weights("resnet50", WIDTH)), detectron2)}
    layouts.numpy_pickle(content, tmp_path / "R-50.pkl")
    return tmp_path / "R-50.pkl"


def test_a_bgr_encoder_stays_one(msra: Path, tmp_path: Path) -> None:
    out = convert(msra, tmp_path / "out", source="detectron2_msra")
    overlay = yaml.safe_load((out / OVERLAY).read_text())
    defaults = get_cfg()
    assert overlay["INPUT"]["FORMAT"] == defaults.INPUT.FORMAT == "BGR"
    assert overlay["MODEL"]["PIXEL_MEAN"] == pytest.approx(defaults.MODEL.PIXEL_MEAN)
    assert overlay["MODEL"]["PIXEL_STD"] == pytest.approx(defaults.MODEL.PIXEL_STD)
    assert overlay["MODEL"]["RESNETS"]["STRIDE_IN_1X1"] is defaults.MODEL.RESNETS.STRIDE_IN_1X1 is True
    stem = pickle.loads((out / WEIGHTS).read_bytes())["model"]["stem.conv1.weight"]
    assert stem.tobytes() == bits(weights("resnet50", WIDTH)["conv1.weight"])


def test_a_flipped_stem_takes_rgb_and_computes_the_same(msra: Path, tmp_path: Path) -> None:
    kept = convert(msra, tmp_path / "kept", source="detectron2_msra")
    out = convert(msra, tmp_path / "out", source="detectron2_msra", flip_stem=True)
    overlay = yaml.safe_load((out / OVERLAY).read_text())
    assert overlay["INPUT"]["FORMAT"] == "RGB"
    assert overlay["MODEL"]["PIXEL_MEAN"] == pytest.approx([123.675, 116.28, 103.53])
    stem = pickle.loads((out / WEIGHTS).read_bytes())["model"]["stem.conv1.weight"]
    assert stem.tobytes() == bits(weights("resnet50", WIDTH)["conv1.weight"].flip(1))
    proofs = [Conversion.read(folder / CONVERSION) for folder in (kept, out)]
    assert [proof.stem_flipped for proof in proofs] == [False, True]
    for stage, (*values, largest) in proofs[0].feature_samples.items():
        assert proofs[1].feature_samples[stage] == pytest.approx([*values, largest], abs=1e-4 * largest)
    bgr, rgb = (load_reading(path, read_encoder(path)) for path in (kept / WEIGHTS, out / WEIGHTS))
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = bgr(images.flip(1))
        torch.testing.assert_close(rgb(images), expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


def test_the_stem_of_an_rgb_encoder_is_not_flipped(tmp_path: Path) -> None:
    path = saved(tmp_path / "file", weights("resnet18", WIDTH))
    with pytest.raises(UserError, match="takes RGB already; leave --flip-stem out"):
        convert(path, tmp_path / "out", flip_stem=True)
    assert not (tmp_path / "out").exists()


def test_batch_norms_that_are_an_affine_map_get_statistics_that_change_nothing(tmp_path: Path) -> None:
    """Detectron's own ResNets: scale and bias, no mean and variance."""
    state = weights("resnet50", WIDTH)
    fused = {key: tensor for key, tensor in state.items() if key.endswith(("weight", "bias"))}
    layouts.python2_pickle(layouts.caffe2_blobs(layouts.STATISTICS, wrapped=False)(fused, fused), tmp_path / "R-50.pkl")
    encoder = load_reading(tmp_path / "R-50.pkl", read_encoder(tmp_path / "R-50.pkl", "caffe2_msra"))
    found = encoder.state_dict()
    assert all(same_bits(found[key], tensor) for key, tensor in fused.items())
    maps = torch.randn(2, 16, 4, 4, generator=torch.Generator().manual_seed(0))
    affine = maps * state["bn1.weight"].view(-1, 1, 1) + state["bn1.bias"].view(-1, 1, 1)
    torch.testing.assert_close(encoder.bn1(maps), affine, rtol=1e-6, atol=1e-6)
    out = convert(tmp_path / "R-50.pkl", tmp_path / "out", source="caffe2_msra")
    made = {detectron2(key) for key in state if key.endswith(("running_mean", "running_var"))}
    assert Conversion.read(out / CONVERSION).keys_made.keys() == made


# How tensors are stored


def channels_last(tensor: Tensor) -> Tensor:
    return tensor.to(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


@pytest.mark.parametrize(
    "stored",
    [Tensor.half, Tensor.bfloat16, lambda tensor: tensor.double() / 3, channels_last],
    ids=["float16", "bfloat16", "float64", "channels last"],
)
def test_other_types_and_strides_convert(stored: Callable[[Tensor], Tensor], tmp_path: Path) -> None:
    state = {
        key: tensor if key.endswith("num_batches_tracked") else stored(tensor)
        for key, tensor in weights("resnet50", WIDTH).items()
    }
    expected = {key: tensor.float().contiguous() for key, tensor in layouts.without_counters(state).items()}
    path = saved(tmp_path / "file", {"state_dict": state})
    out = convert(path, tmp_path / "out")
    converted = pickle.loads((out / WEIGHTS).read_bytes())["model"]
    assert {key: array.tobytes() for key, array in converted.items()} == {
        detectron2(key): bits(tensor) for key, tensor in expected.items()
    }
    assert {str(tensor.dtype) for key, tensor in state.items() if "num" not in key} == {
        f"torch.{Conversion.read(out / CONVERSION).source.dtype}"
    }


@pytest.mark.parametrize("save", [torch.save, layouts.legacy, layouts.safetensors_file])
def test_bfloat16_is_read_from_every_format(save: layouts.Save, tmp_path: Path) -> None:
    state = {key: tensor.bfloat16() for key, tensor in layouts.without_counters(weights("resnet18", WIDTH)).items()}
    save(state, tmp_path / "file")
    assert_reads(tmp_path / "file", read_encoder(tmp_path / "file"), {key: t.float() for key, t in state.items()})


@pytest.mark.parametrize("save", [torch.save, layouts.legacy])
def test_tensors_that_share_one_storage_are_read_each_at_its_place(save: layouts.Save, tmp_path: Path) -> None:
    """As flattened parameters are: every tensor a view of one vector, and one of them there twice."""
    state = layouts.without_counters(weights("resnet18", WIDTH))
    flat = torch.cat([tensor.flatten() for tensor in state.values()])
    ends = np.cumsum([tensor.numel() for tensor in state.values()])
    views = {
        key: nn.Parameter(flat[end - tensor.numel() : end].view(tensor.shape))
        for (key, tensor), end in zip(state.items(), ends, strict=True)
    }
    save({"state_dict": views, "ema": {"conv1.weight": views["conv1.weight"]}}, tmp_path / "file")
    assert_reads(tmp_path / "file", read_encoder(tmp_path / "file"), state)


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
@pytest.mark.parametrize("inner", ["", "backbone.", "encoder_q."])
def test_what_parallel_and_compiled_modules_put_before_names_is_seen_through(
    wrapper: str, inner: str, tmp_path: Path
) -> None:
    state = weights("resnet18", WIDTH)
    path = saved(tmp_path / "file", {"state_dict": respelt(state, below(wrapper + inner))})
    reading = read_encoder(path)
    assert reading.keys == {key: f"{wrapper}{inner}{key}" for key in state}
    assert_reads(path, reading, state)
