"""Who writes checkpoints, and how: one entry for each layout that is known.

The facts are those of each project's public code (the modules that it saves, and its normalisation of images).
"""

from dataclasses import dataclass
from typing import Literal

from superinfo.artifacts import IMAGENET_MEAN, IMAGENET_STD, Pixels
from transfer.convert import dialects
from transfer.convert.dialects import Dialect

Branch = Literal["online", "target"]
Stem = Literal["small", "stl"]

IMAGENET = Pixels(mean=IMAGENET_MEAN, std=IMAGENET_STD)
AS_THEY_ARE = Pixels(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
SWAV = Pixels(mean=IMAGENET_MEAN, std=(0.228, 0.224, 0.225))
HALVES = Pixels(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
MSRA = Pixels(mean=(103.53 / 255, 116.28 / 255, 123.675 / 255), std=(1 / 255, 1 / 255, 1 / 255), channel_order="BGR")
FAIR = Pixels(
    mean=(103.53 / 255, 116.28 / 255, 123.675 / 255),
    std=(57.375 / 255, 57.12 / 255, 58.395 / 255),
    channel_order="BGR",
)
"""Of Detectron2's model zoo: ResNets of MSRA, and ResNeXt-101-32x8d."""

MAPS = ("", "state_dict", "model", "model_state_dict", "model_state", "net", "network", "module", "state_dict/model")
"""Where a file keeps its tensors by name, as a path of dictionary keys."""
EMA = ("state_dict_ema", "model_ema", "ema", "ema_state_dict")
WRAPPERS = ("", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.")
"""What DataParallel and torch.compile put before all names."""


@dataclass(frozen=True)
class Place:
    """Where an encoder lies: below a prefix, in one of some dictionaries of the file."""

    prefix: str
    maps: tuple[str, ...] = MAPS
    also: tuple[tuple[str, str], ...] = ()
    """Further prefixes, each with the beginning of those keys below it that are the encoder's."""


@dataclass(frozen=True)
class Layout:
    """How a code base writes a ResNet."""

    name: str
    """For `--source`."""
    title: str
    online: tuple[Place, ...]
    """The first one that a file has counts: where it has several, they are one module under several names."""
    target: tuple[Place, ...] = ()
    """Of the momentum encoder, or the teacher."""
    dialect: Dialect = dialects.torchvision
    heads: str = r"fc\."
    """What else lies below the prefix, as a regular expression of a key's beginning."""
    marks: tuple[str, ...] = ()
    """Regular expressions: each is found in a name or top-level key of such a file."""
    unless: tuple[str, ...] = ()
    """None of these is."""
    pixels: Pixels = IMAGENET
    small_stem: Stem | None = None
    """What a 3x3 stem is in this code base; None where that does not follow from the file."""
    default: Branch = "online"
    """The branch that the authors' own evaluation reads."""
    stride_in_1x1: bool = False
    generic: bool = False
    """Whether it says little of who wrote a file: it does not count beside one that says more."""
    only_named: bool = False
    """Whether such a file looks like one of another layout, so that only `--source` can tell it."""
    zeros: str = ""
    """Tensors that may lie below the prefix if they are zero, as a regular expression: biases of convolutions."""
    norms_may_be_affine: bool = False
    """Whether batch norms may come without statistics, as an affine map."""
    refused: str = ""
    """Why no detector computes what this encoder computes."""
    refused_small: str = ""
    """The same, of its 3x3 stem."""


def _under(*prefixes: str, maps: tuple[str, ...] = MAPS) -> tuple[Place, ...]:
    return tuple(Place(prefix, maps) for prefix in prefixes)


_D2_PLACES = (
    Place("backbone.bottom_up."),
    Place("backbone.", also=(("roi_heads.", "res5."),)),
    Place("bottom_up."),
    Place(""),
)
_D2_HEADS = r"(stem\.)?fc\.|fpn_|linear\.|top_block\.|res5\.norm\."
_C2_HEADS = (
    r"lr$|model_iter|weight_order|.*_momentum$|pred_|fc\d|fpn_|retnet_|rpn_|bbox_|cls_|mask_|_\[mask|"
    r"head_conv|conv_"
)
_D2_RGB_AUTHORS = r"^__author__=(torchvision|MOCO|contrastive_learning|third_party|OpenSelfSup|CONVERTED)$"

LAYOUTS: tuple[Layout, ...] = (
    Layout("torchvision", "torchvision", _under(""), _under("", maps=EMA)),
    Layout("timm", "timm ResNets with torchvision's keys", _under(""), _under("", maps=EMA)),
    Layout(
        "simclr_google",
        "Google's SimCLR, converted to torchvision's keys by tonylins' or others' code",
        _under(""),
        pixels=AS_THEY_ARE,
        only_named=True,
    ),
    Layout(
        "moco",
        "MoCo v1 and v2",
        _under("encoder_q."),
        _under("encoder_k."),
        marks=(r"encoder_q\.conv1\.|encoder_q\.layer",),
    ),
    Layout("moco_v3", "MoCo v3", _under("base_encoder."), _under("momentum_encoder.")),
    Layout("simsiam", "SimSiam", _under("encoder."), marks=(r"encoder\.fc\.\d",)),
    Layout(
        "barlow_twins",
        "Barlow Twins",
        _under("backbone."),
        heads="",
        marks=(r"projector\.\d", r"^(module\.)?bn\.running_mean$"),
    ),
    Layout(
        "vicreg",
        "VICReg",
        _under("backbone."),
        heads="",
        marks=(r"projector\.\d",),
        unless=(r"^(module\.)?bn\.running_mean$", "^pytorch-lightning_version$"),
    ),
    Layout(
        "swav",
        "SwAV and DeepCluster-v2",
        _under(""),
        heads=r"projection_head\.|prototypes\.",
        marks=("prototypes",),
        pixels=SWAV,
    ),
    Layout(
        "dino",
        "DINO's ResNet-50",
        _under("backbone.", "", maps=("student",)),
        _under("backbone.", "", maps=("teacher",)),
        heads=r"head\.|fc\.",
        default="target",
    ),
    Layout(
        "byol_pytorch",
        "lucidrains' byol-pytorch",
        _under("online_encoder.net.", "learner.online_encoder.net."),
        _under("target_encoder.net.", "learner.target_encoder.net."),
    ),
    Layout(
        "byol_sthalles",
        "sthalles' PyTorch-BYOL",
        _under("encoder.", maps=("online_network_state_dict",)),
        _under("encoder.", maps=("target_network_state_dict",)),
        dialect=dialects.sequential,
        pixels=AS_THEY_ARE,
    ),
    Layout(
        "simclr_sthalles", "sthalles' SimCLR", _under("backbone."), marks=(r"backbone\.fc\.\d",), pixels=AS_THEY_ARE
    ),
    Layout("infocl_imagenet", "InfoCL on ImageNet", _under("encoder."), dialect=dialects.ds_norm),
    Layout(
        "infocl_cifar",
        "InfoCL on CIFAR",
        _under("encoder."),
        dialect=dialects.shortcut_norm,
        pixels=HALVES,
        small_stem="small",
    ),
    Layout(
        "infocl_stl",
        "InfoCL on STL-10",
        _under("encoder."),
        dialect=dialects.shortcut_norm,
        pixels=HALVES,
        small_stem="stl",
    ),
    Layout(
        "solo",
        "solo-learn",
        _under("backbone.", "encoder."),
        _under("momentum_backbone.", "momentum_encoder."),
        heads="",
        marks=(
            r"^(momentum_)?classifier\.|^momentum_(backbone|encoder)\.",
            "^hyper_parameters$|^pytorch-lightning_version$",
        ),
        refused_small="solo-learn's 3x3 stem pads by 2 pixels, which no feature pyramid fits",
    ),
    Layout(
        "lightning",
        "a Lightning module",
        _under("backbone.", "encoder.", "model.", "net.", "resnet.", "model.backbone.", "model.encoder."),
        _under("momentum_backbone.", "momentum_encoder.", "backbone_momentum.", "teacher_backbone.", "target_encoder."),
        marks=("^pytorch-lightning_version$",),
        generic=True,
    ),
    Layout(
        "lightly",
        "lightly, the children of a torchvision ResNet in a Sequential",
        _under("backbone.", "student_backbone.", "features.", "model.backbone.", ""),
        _under("backbone_momentum.", "teacher_backbone.", "momentum_backbone."),
        dialect=dialects.sequential,
    ),
    Layout(
        "lightly_generator",
        "lightly's ResNetGenerator, or another ResNet after Kuang Liu's for CIFAR",
        _under("", "backbone.", "encoder."),
        _under("backbone_momentum."),
        dialect=dialects.shortcut_pair,
        heads=r"(linear|fc)\.",
        small_stem="small",
    ),
    Layout(
        "lightly_sequential_generator",
        "lightly, the children of its ResNetGenerator in a Sequential",
        _under("backbone.", ""),
        dialect=dialects.sequential_without_relu,
        small_stem="small",
        refused="its stem has no ReLU, as taking the children of lightly's ResNetGenerator loses it",
    ),
    Layout(
        "vissl",
        "VISSL",
        _under(
            "_feature_blocks.",
            "base_net._feature_blocks.",
            "base_model._feature_blocks.",
            "trunk._feature_blocks.",
            maps=("classy_state_dict/base_model/model/trunk", "trunk", *MAPS),
        ),
    ),
    Layout(
        "openmmlab",
        "mmselfsup, mmpretrain, OpenSelfSup and DenseCL",
        _under("backbone.", "online_net.0.", "encoder_q.0.", "base_encoder.0."),
        tuple(
            Place(f"{net}.{module}0.")
            for net in ("encoder_k", "target_net", "momentum_encoder")
            for module in ("", "module.")
        ),
        heads="",
        marks=(
            r"^meta$|^(online|target)_net\.(module\.)?\d|^encoder_[qk]\.(module\.)?\d|^(base|momentum)_encoder\.(module\.)?0\.",
        ),
        unless=("^pytorch-lightning_version$",),
        small_stem="small",
    ),
    Layout(
        "pixpro",
        "PixPro",
        _under("encoder."),
        _under("encoder_k."),
        heads="",
        marks=(r"projector\.linear1|value_transform|encoder_k\.",),
    ),
    Layout(
        "backbone",
        "a ResNet below `backbone.`",
        _under("backbone."),
        _under("momentum_backbone.", "backbone_momentum."),
        generic=True,
    ),
    Layout(
        "encoder",
        "PyContrast, or another ResNet below `encoder.`",
        _under("encoder.", "encoder.module."),
        (*_under("momentum_encoder.", "target_encoder."), *_under("encoder.", maps=EMA)),
        generic=True,
    ),
    Layout(
        "detectron2_rgb",
        "Detectron2, on torchvision's ResNets or another of their kind (RGB, stride in the 3x3 convolution)",
        _D2_PLACES,
        dialect=dialects.detectron2,
        heads=_D2_HEADS,
        unless=(r"^__author__=Caffe2$",),
    ),
    Layout(
        "detectron2_msra",
        "Detectron2, on its default MSRA ResNets (BGR, standard deviation 1, stride in the 1x1 convolution)",
        _D2_PLACES,
        dialect=dialects.detectron2,
        heads=_D2_HEADS,
        unless=(_D2_RGB_AUTHORS,),
        pixels=MSRA,
        stride_in_1x1=True,
    ),
    Layout(
        "caffe2_msra",
        "Detectron's first version: MSRA's ResNets (BGR, standard deviation 1, stride in the 1x1 convolution)",
        _under("", maps=("", "blobs")),
        dialect=dialects.caffe2,
        zeros=r"(conv1|res\d_\d+_branch(1|2[abc]))_b$",
        norms_may_be_affine=True,
        heads=_C2_HEADS,
        pixels=MSRA,
        stride_in_1x1=True,
    ),
    Layout(
        "caffe2_fair",
        "Detectron's first version: FAIR's ResNeXt-101-32x8d (BGR, stride in the 3x3 convolution)",
        _under("", maps=("", "blobs")),
        dialect=dialects.caffe2,
        zeros=r"(conv1|res\d_\d+_branch(1|2[abc]))_b$",
        norms_may_be_affine=True,
        heads=_C2_HEADS,
        pixels=FAIR,
    ),
)
