"""Checkpoints as public projects write them: containers, names, heads, and all else that lies in such a file.

What each holds follows from the project's public code, and is written out here once more: nothing of the converter's
own tables is used.
"""

import argparse
import functools
import math
import pickle
import re
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import omegaconf
import safetensors.torch
import torch
import torchvision
from torch import Tensor, nn

State = dict[str, Tensor]
Spell = Callable[[str], str]
"""Torchvision's key of a tensor to a project's."""
Save = Callable[[Any, Path], object]

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Torchvision's, RGB."""
CAFFE_MEAN = (103.53 / 255, 116.28 / 255, 123.675 / 255)
"""Of Detectron, BGR."""


@dataclass(frozen=True)
class Example:
    """A file that one project writes."""

    title: str
    source: str
    """The name for `--source`."""
    make: Callable[[State, State], dict[str, Any]]
    """What the file holds, of an online encoder and its momentum encoder."""
    online: Spell
    where: tuple[str, ...] = ("state_dict",)
    """The keys that lead to the tensors."""
    target: Spell | None = None
    target_where: tuple[str, ...] | None = None
    default: str = "online"
    save: Save = torch.save
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD
    order: str = "RGB"
    stem: str = "imagenet"
    stride_in_1x1: bool = False
    counters: bool = True
    """Whether batch norms have `num_batches_tracked`."""
    named: bool = False
    """Whether only `--source` tells it from others."""
    reasons: dict[str, str] = field(default_factory=dict)
    """By a key that is no encoder's: a word of why it is left out."""

    def write(self, path: Path, online: State, target: State) -> dict[str, Any]:
        """Write the file; returns what it holds. Classes that only its author has are gone when it is read."""
        with others_modules():
            content = self.make(online, target)
            self.save(content, path)
        return content

    def place(self, branch: str) -> tuple[Spell, tuple[str, ...]]:
        """Return how a branch spells its tensors, and where they are."""
        if branch == "online":
            return self.online, self.where
        assert self.target is not None
        return self.target, self.where if self.target_where is None else self.target_where


@functools.cache
def weights(arch: str, width: float = 1.0, seed: int = 0, kernel: int = 7) -> State:
    """Return a torchvision ResNet's tensors, without `fc`, all channels times `width`, random so that each matters."""
    with torch.device("meta"):
        model = getattr(torchvision.models, arch)()
    random = torch.Generator().manual_seed(seed)
    shapes = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items() if not key.startswith("fc.")}
    return {key: _values(key, _scaled(key, shape, width, kernel), random) for key, shape in shapes.items()}


def _scaled(key: str, shape: tuple[int, ...], width: float, kernel: int) -> tuple[int, ...]:
    if key == "conv1.weight":
        return (int(shape[0] * width), 3, kernel, kernel)
    return (*(int(channels * width) for channels in shape[:2]), *shape[2:])


def _values(key: str, shape: tuple[int, ...], random: torch.Generator) -> Tensor:
    if key.endswith("num_batches_tracked"):
        return torch.randint(1000, 9999, (), generator=random)
    if len(shape) == 4:
        return torch.randn(shape, generator=random).mul((2 / math.prod(shape[1:])) ** 0.5)
    if key.endswith(("running_var", "weight")):
        return torch.rand(shape, generator=random).add(0.5)
    return torch.randn(shape, generator=random).div(10)


def below(prefix: str, spell: Spell = str) -> Spell:
    """Return a spelling below a prefix."""
    return lambda key: prefix + spell(key)


def respelt(state: State, spell: Spell) -> State:
    """Return tensors under a project's names."""
    return {spell(key): tensor for key, tensor in state.items()}


def without_counters(state: State) -> State:
    """Return what frozen batch norms have."""
    return {key: tensor for key, tensor in state.items() if not key.endswith("num_batches_tracked")}


def generator(key: str) -> str:
    """lightly's ResNetGenerator, and Kuang Liu's ResNets for CIFAR."""
    return key.replace("downsample", "shortcut")


def numbered(children: dict[str, int], spell: Spell = str) -> Spell:
    """Return the spelling of an `nn.Sequential` of a network's children."""

    def number(key: str) -> str:
        child, rest = spell(key).split(".", 1)
        return f"{children[child]}.{rest}"

    return number


sequential = numbered({"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7})
"""Torchvision's children: ReLU and pooling are two of them."""
sequential_generator = numbered({"conv1": 0, "bn1": 1, "layer1": 2, "layer2": 3, "layer3": 4, "layer4": 5}, generator)
"""Those of lightly's ResNetGenerator, whose ReLUs are functions."""


def infocl(key: str) -> str:
    """InfoCL's modules/resnet.py."""
    return key.replace("downsample.0", "shortcut.0").replace("downsample.1", "shortcut_bn")


def infocl_imagenet(key: str) -> str:
    """InfoCL's modules/resnet_imagenet.py."""
    return key.replace("downsample.0", "ds_conv1").replace("downsample.1", "ds_bn1")


def detectron2(key: str) -> str:
    """Detectron2's tools/convert-torchvision-to-d2.py, line by line."""
    if "layer" not in key:
        key = "stem." + key
    for number in (1, 2, 3, 4):
        key = key.replace(f"layer{number}", f"res{number + 1}")
    for number in (1, 2, 3):
        key = key.replace(f"bn{number}", f"conv{number}.norm")
    return key.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut.norm")


def c4_detector(key: str) -> str:
    """A C4 detector's: its last stage is a part of the heads."""
    spelt = detectron2(key)
    return f"roi_heads.{spelt}" if spelt.startswith("res5") else f"backbone.{spelt}"


def caffe2(mean: str, var: str, weight: str, bias: str) -> Spell:
    """Detectron's blobs: `res2_0_branch2a_bn_s`."""
    leaves = {"running_mean": mean, "running_var": var, "weight": weight, "bias": bias}

    def spell(key: str) -> str:
        if key == "conv1.weight":
            return "conv1_w"
        if key.startswith("bn1."):
            return f"res_conv1_bn_{leaves[key[4:]]}"
        found = re.fullmatch(r"layer(\d)\.(\d+)\.(\w+?)(\d|\.0|\.1)\.(\w+)", key)
        assert found is not None
        layer, block, module, number, leaf = found.groups()
        branch = "1" if module == "downsample" else f"2{'abc'[int(number) - 1]}"
        is_norm = module == "bn" or number == ".1"
        return f"res{int(layer) + 1}_{block}_branch{branch}_{f'bn_{leaves[leaf]}' if is_norm else 'w'}"

    return spell


STATISTICS = caffe2("rm", "riv", "s", "b")
MSRA_IN_DETECTRON2 = caffe2("running_mean", "running_var", "gamma", "beta")


# What lies around an encoder


def features(state: State) -> int:
    """Return the channels behind the last stage."""
    return len(state["layer4.0.downsample.1.weight"])


def linear(name: str, outputs: int, inputs: int, *, bias: bool = True) -> State:
    """Return a linear layer's tensors."""
    return {f"{name}.weight": torch.ones(outputs, inputs)} | ({f"{name}.bias": torch.ones(outputs)} if bias else {})


def norm(name: str, channels: int, *, affine: bool = True) -> State:
    """Return a batch norm's tensors."""
    return {f"{name}.{key}": tensor for key, tensor in nn.BatchNorm1d(channels, affine=affine).state_dict().items()}


def head(name: str, layers: str, inputs: int) -> State:
    """Return a head: `0l 1n 3l` are a linear layer, a batch norm and a linear layer, by their numbers.

    `w` is a linear layer without bias, `s` a batch norm without weight and bias.
    """
    tensors: State = {}
    for layer in layers.split():
        number, kind = layer[:-1], layer[-1]
        if kind in "lw":
            tensors |= linear(f"{name}.{number}", 16, inputs, bias=kind == "l")
            inputs = 16
        else:
            tensors |= norm(f"{name}.{number}", 16, affine=kind == "n")
    return tensors


def sgd(state: State, **group: Any) -> dict[str, Any]:
    """Return the state of SGD with momentum, one buffer to a parameter."""
    parameters = [tensor for key, tensor in state.items() if key.endswith(("weight", "bias"))]
    return {
        "state": {number: {"momentum_buffer": torch.zeros_like(tensor)} for number, tensor in enumerate(parameters)},
        "param_groups": [{"lr": 0.03, "momentum": 0.9, "params": list(range(len(parameters))), **group}],
    }


@contextmanager
def others_modules() -> Iterator[None]:
    """Forget, at the end, the modules that `pretend` made."""
    modules, main = set(sys.modules), set(vars(sys.modules["__main__"]))
    try:
        yield
    finally:
        for name in set(sys.modules) - modules:
            if getattr(sys.modules[name], "__pretended__", False):
                del sys.modules[name]
        for name in set(vars(sys.modules["__main__"])) - main:
            delattr(sys.modules["__main__"], name)


def pretend(module: str, thing: type | FunctionType) -> None:
    """Make a class or function one of a module that is made for it."""
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        name = ".".join(parts[:end])
        if name not in sys.modules:
            sys.modules[name] = ModuleType(name)
            vars(sys.modules[name])["__pretended__"] = True
    thing.__module__, thing.__qualname__ = module, thing.__name__
    setattr(sys.modules[module], thing.__name__, thing)


def legacy(content: Any, path: Path) -> None:
    """Save as torch did before version 1.6."""
    torch.save(content, path, _use_new_zipfile_serialization=False)


def numpy_pickle(content: Any, path: Path) -> None:
    """Save as Detectron2's tools do: arrays, by `pickle.dump`."""
    path.write_bytes(pickle.dumps(_arrays(content)))


def python2_pickle(content: Any, path: Path) -> None:
    """Save in the protocol that Detectron's files have."""
    path.write_bytes(pickle.dumps(_arrays(content), protocol=2))


def _arrays(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _arrays(value) for key, value in node.items()}
    return node.numpy() if isinstance(node, Tensor) else node


def safetensors_file(content: Any, path: Path) -> None:
    """Save as Hugging Face does."""
    safetensors.torch.save_file(content, path, {"format": "pt"})


# The projects


def torchvision_file(online: State, target: State) -> dict[str, Any]:
    return online | linear("fc", 10, features(online))


def timm_train(online: State, target: State) -> dict[str, Any]:
    return {
        "epoch": 3,
        "arch": "resnet50",
        "state_dict": online | linear("fc", 10, features(online)),
        "optimizer": sgd(online),
        "version": 2,
        "args": argparse.Namespace(model="resnet50", lr=0.1, mean=None),
        "amp_scaler": {"scale": 65536.0, "growth_factor": 2.0},
        "state_dict_ema": target | linear("fc", 10, features(online)),
        "metric": np.float64(76.5),
    }


def moco(fc: str) -> Callable[[State, State], dict[str, Any]]:
    def make(online: State, target: State) -> dict[str, Any]:
        tensors: State = {}
        for name, state in (("q", online), ("k", target)):
            encoder = f"module.encoder_{name}."
            layers = head(f"{encoder}fc", fc, features(state)) if fc else linear(f"{encoder}fc", 16, features(state))
            tensors |= respelt(state, below(encoder)) | layers
        tensors |= {"module.queue": torch.ones(16, 64), "module.queue_ptr": torch.zeros(1, dtype=torch.int64)}
        return {"epoch": 200, "arch": "resnet50", "state_dict": OrderedDict(tensors), "optimizer": sgd(online)}

    return make


def moco_v3(online: State, target: State) -> dict[str, Any]:
    tensors = head("module.predictor", "0w 1n 3w", 16)
    for encoder, state in (("module.base_encoder.", online), ("module.momentum_encoder.", target)):
        tensors |= respelt(state, below(encoder)) | head(f"{encoder}fc", "0w 1n 3w 4s", features(state))
    scaler = {"scale": 65536.0, "growth_factor": 2.0, "growth_interval": 2000, "_growth_tracker": 7}
    return {"epoch": 300, "arch": "resnet50", "state_dict": tensors, "optimizer": sgd(online), "scaler": scaler}


def simsiam(online: State, target: State) -> dict[str, Any]:
    tensors = respelt(online, below("module.encoder."))
    tensors |= head("module.encoder.fc", "0w 1n 3w 4n 6l 7s", features(online)) | head(
        "module.predictor", "0w 1n 3l", 16
    )
    return {"epoch": 100, "arch": "resnet50", "state_dict": tensors, "optimizer": sgd(online)}


def barlow_twins(online: State, target: State) -> dict[str, Any]:
    tensors = respelt(online, below("module.backbone."))
    tensors |= head("module.projector", "0w 1n 3w 4n 6w", features(online)) | norm("module.bn", 16, affine=False)
    return {"epoch": 1000, "model": tensors, "optimizer": sgd(online, weight_decay_filter=True)}


def vicreg(online: State, target: State) -> dict[str, Any]:
    def exclude_bias_and_norm(parameter: Tensor) -> bool:
        return parameter.ndim == 1

    pretend("__main__", exclude_bias_and_norm)  # type: ignore[arg-type]
    tensors = respelt(online, below("module.backbone."))
    tensors |= head("module.projector", "0l 1n 3l 4n 6w", features(online))
    group = {"weight_decay_filter": exclude_bias_and_norm, "lars_adaptation_filter": exclude_bias_and_norm}
    return {"epoch": 1000, "model": tensors, "optimizer": sgd(online, **group)}


def swav(online: State, target: State) -> dict[str, Any]:
    tensors = respelt(online, below("module.")) | linear("module.prototypes", 30, 16, bias=False)
    tensors |= head("module.projection_head", "0l 1n 3l", features(online))
    amp = {"loss_scaler0": {"loss_scale": 65536.0, "unskipped": 12}}
    return {"epoch": 800, "state_dict": tensors, "optimizer": sgd(online), "amp": amp}


def deepcluster_v2(online: State, target: State) -> dict[str, Any]:
    """As published: no container."""
    tensors = respelt(online, below("module.")) | head("module.projection_head", "0l 1n 3l", features(online))
    for number in range(3):
        tensors |= linear(f"module.prototypes.prototypes{number}", 30, 16, bias=False)
    return tensors


def dino(online: State, target: State) -> dict[str, Any]:
    def network(state: State) -> State:
        tensors = respelt(state, below("module.backbone.")) | head("module.head.mlp", "0l 2l 4l", features(state))
        return tensors | {f"module.head.last_layer.weight_{part}": torch.ones(16, 16) for part in "gv"}

    return {
        "student": network(online),
        "teacher": network(target),
        "optimizer": sgd(online),
        "epoch": 800,
        "args": argparse.Namespace(arch="resnet50", use_fp16=True, local_crops_scale=(0.05, 0.14)),
        "dino_loss": {"center": torch.zeros(1, 16)},
        "fp16_scaler": {"scale": 65536.0},
    }


def byol_pytorch(online: State, target: State) -> dict[str, Any]:
    """`learner.state_dict()`: the user's network is there under its own name and as a part of the online encoder."""
    width = features(online)
    tensors: State = {}
    for name, state in (("net", online), ("online_encoder.net", online), ("target_encoder.net", target)):
        tensors |= respelt(state, below(f"{name}.")) | linear(f"{name}.fc", 10, width)
    for name in ("online_encoder", "target_encoder"):
        tensors |= head(f"{name}.projector", "0l 1n 3l", width)
    return tensors | head("online_predictor", "0l 1n 3l", 16)


def byol_sthalles(online: State, target: State) -> dict[str, Any]:
    def network(state: State) -> State:
        return respelt(state, below("encoder.", sequential)) | head("projetion.net", "0l 1n 3l", features(state))

    return {
        "online_network_state_dict": network(online),
        "target_network_state_dict": network(target),
        "optimizer_state_dict": sgd(online),
    }


def simclr_sthalles(online: State, target: State) -> dict[str, Any]:
    tensors = respelt(online, below("backbone.")) | head("backbone.fc", "0l 2l", features(online))
    return {"epoch": 200, "arch": "resnet50", "state_dict": tensors, "optimizer": sgd(online)}


def pycontrast(online: State, target: State) -> dict[str, Any]:
    tensors = respelt(online, below("module.encoder.")) | head("module.head", "0l 2l", features(online))
    ema = respelt(target, below("encoder.")) | head("head", "0l 2l", features(online))
    memory = {"memory": torch.ones(64, 16), "params": torch.tensor([-1, 16])}
    return {"model": tensors, "contrast": memory, "optimizer": sgd(online), "epoch": 200, "model_ema": ema}


def infocl_file(spell: Spell, heads: Callable[[int], State]) -> Callable[[State, State], dict[str, Any]]:
    return lambda online, target: respelt(online, below("encoder.", spell)) | heads(features(online))


def infocl_simclr(inputs: int) -> State:
    return head("projector", "0l 2l", inputs)


def infocl_byol(inputs: int) -> State:
    return head("projector", "0l 1n 3l", inputs) | head("predictor", "0l 1n 3l", 16)


def infocl_barlow_twins(inputs: int) -> State:
    return head("projector", "0l 1n 3l", inputs)


def lightning_container(tensors: State, online: State, **more: Any) -> dict[str, Any]:
    """Return what PyTorch Lightning's trainer saves around a module."""
    return {
        "epoch": 399,
        "global_step": 78000,
        "pytorch-lightning_version": "1.6.4",
        "state_dict": OrderedDict(tensors),
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 400}}}},
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.9), "dirpath": Path("trained")}},
        "optimizer_states": [sgd(online)],
        "lr_schedulers": [],
        **more,
    }


def solo(encoder: str) -> Callable[[State, State], dict[str, Any]]:
    def make(online: State, target: State) -> dict[str, Any]:
        def static_lr(get_lr: Any, param_group_indexes: Any, lrs_to_replace: Any) -> Any:
            raise AssertionError("run by reading a file")

        pretend("solo.methods.base", static_lr)  # type: ignore[arg-type]
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(torch.optim.SGD([nn.Parameter(torch.ones(2))]), 10)
        frozen = functools.partial(static_lr, get_lr=scheduler.get_lr, param_group_indexes=[1], lrs_to_replace=[0.1])
        scheduler.get_lr = frozen  # type: ignore[method-assign]
        tensors = respelt(online, below(f"{encoder}.")) | respelt(target, below(f"momentum_{encoder}."))
        for name in ("", "momentum_"):
            tensors |= linear(f"{name}classifier", 10, features(online))
            tensors |= head(f"{name}projector", "0l 1n 3l", features(online))
        tensors |= head("predictor", "0l 1n 3l", 16)
        tensors |= {"queue": torch.ones(2, 16, 64), "queue_ptr": torch.zeros(1, dtype=torch.int64)}
        return lightning_container(tensors, online, lr_schedulers=[scheduler.state_dict()])

    return make


def solo_online(online: State, target: State) -> dict[str, Any]:
    """A method without a momentum encoder, and the settings as OmegaConf has them."""
    tensors = respelt(online, below("backbone.")) | linear("classifier", 10, features(online))
    tensors |= head("projector", "0l 1n 3l 4n 6l", features(online))
    settings = omegaconf.OmegaConf.create({"method": "barlow_twins", "optimizer": {"lr": 0.3}, "crops": [{"size": 32}]})
    return lightning_container(
        tensors, online, hyper_parameters=settings, hparams_name="cfg", hparams_type=type(settings)
    )


def lightning(online: State, target: State) -> dict[str, Any]:
    """Anyone's module, by an old Lightning that keeps callbacks by their class, and settings as an AttributeDict."""

    class AttributeDict(dict[str, Any]):
        pass

    class ModelCheckpoint:
        pass

    pretend("pytorch_lightning_of_old.utilities.parsing", AttributeDict)
    pretend("pytorch_lightning_of_old.callbacks.model_checkpoint", ModelCheckpoint)
    tensors = respelt(online, below("resnet.")) | linear("resnet.fc", 10, features(online)) | linear("probe", 10, 16)
    settings = AttributeDict(lr=0.1, args=argparse.Namespace(gpus=8))
    callbacks = {ModelCheckpoint: {"best_model_score": torch.tensor(0.9)}}
    return lightning_container(tensors, online, hyper_parameters=settings, callbacks=callbacks)


def lightly(online: State, target: State) -> dict[str, Any]:
    """The BYOL and MoCo examples."""
    tensors: State = {}
    for name, state in (("", online), ("_momentum", target)):
        tensors |= respelt(state, below(f"backbone{name}.", sequential))
        tensors |= head(f"projection_head{name}.layers", "0w 1n 3l", features(state))
    tensors |= head("prediction_head.layers", "0w 1n 3l", 16)
    tensors |= {
        "criterion.memory_bank.bank": torch.ones(16, 64),
        "criterion.memory_bank.bank_ptr": torch.zeros(1).long(),
    }
    return lightning_container(tensors, online)


def lightly_dino(online: State, target: State) -> dict[str, Any]:
    tensors: State = {"criterion.center": torch.zeros(1, 1, 16)}
    for name, state in (("student", online), ("teacher", target)):
        tensors |= respelt(state, below(f"{name}_backbone.", sequential))
        tensors |= head(f"{name}_head.layers", "0l 2l 4l", features(state))
        tensors |= {f"{name}_head.last_layer.weight_{part}": torch.ones(16, 16) for part in "gv"}
    return lightning_container(tensors, online)


def lightly_generator(online: State, target: State) -> dict[str, Any]:
    return respelt(online, generator) | linear("linear", 10, features(online))


def vissl(online: State, target: State) -> dict[str, Any]:
    trunk = respelt(online, below("_feature_blocks."))
    heads = head("0.clf", "0l 2l", features(online))
    model = {"model": {"trunk": trunk, "heads": heads}, "meters": {"train": {}, "test": {}}}
    return {
        "phase_idx": 99,
        "iteration": 1000,
        "loss": {"name": "simclr_info_nce_loss"},
        "iteration_num": 9,
        "train_phase_idx": 99,
        "classy_state_dict": {
            "train": True,
            "base_model": model,
            "optimizer": {"optim": sgd(online), "parameters": None},
            "loss": {},
            "phase_idx": 99,
            "hooks": {},
        },
    }


def vissl_probe(online: State, target: State) -> dict[str, Any]:
    """A linear evaluation on frozen features, converted by VISSL's own script."""
    return {"model_state_dict": respelt(online, below("base_model._feature_blocks."))}


def densecl(online: State, target: State) -> dict[str, Any]:
    """DenseCL, and MoCo of OpenSelfSup and mmselfsup 0.x: the online encoder lies there twice."""
    tensors = respelt(online, below("backbone."))
    for name, state in (("encoder_q", online), ("encoder_k", target)):
        tensors |= respelt(state, below(f"{name}.0.")) | head(f"{name}.1.mlp", "0l 2l", features(state))
        tensors |= {f"{name}.1.mlp2.0.weight": torch.ones(16, features(state), 1, 1)}
    for queue in ("queue", "queue2"):
        tensors |= {queue: torch.ones(16, 64), f"{queue}_ptr": torch.zeros(1, dtype=torch.int64)}
    meta = {"mmcv_version": "1.0.3", "config": "model = dict(type='DenseCL')", "epoch": 200, "iter": 1000}
    return {"meta": meta, "state_dict": OrderedDict(tensors), "optimizer": sgd(online)}


def openselfsup_byol(online: State, target: State) -> dict[str, Any]:
    tensors = respelt(online, below("backbone."))
    for name, state in (("online_net", online), ("target_net", target)):
        tensors |= respelt(state, below(f"{name}.0.")) | linear(f"{name}.1.fc0", 16, features(state))
        tensors |= norm(f"{name}.1.bn0", 16) | linear(f"{name}.1.fc1", 16, 16)
    tensors |= linear("head.predictor.fc0", 16, 16) | norm("head.predictor.bn0", 16)
    return {"meta": {"epoch": 200}, "state_dict": OrderedDict(tensors), "optimizer": sgd(online)}


def mmpretrain(ema: str) -> Callable[[State, State], dict[str, Any]]:
    """mmselfsup 1.x and mmpretrain: an averaged model, and the history of the losses, of a class of theirs."""

    def make(online: State, target: State) -> dict[str, Any]:
        class HistoryBuffer:
            def __init__(self, values: list[float]) -> None:
                self._max_length, self._log_history = 1_000_000, np.array(values)
                self._count_history = np.ones(len(values), dtype=np.int64)

        pretend("mmengine.logging.history_buffer", HistoryBuffer)
        tensors = respelt(online, below("backbone.")) | respelt(target, below(f"{ema}.module.0."))
        for name in ("neck", f"{ema}.module.1"):
            tensors |= linear(f"{name}.fc0", 16, features(online)) | norm(f"{name}.bn0", 16)
            tensors |= linear(f"{name}.fc1", 16, 16)
        tensors |= {f"{ema}.steps": torch.tensor(1000)}
        tensors |= linear("head.predictor.fc0", 16, 16) | norm("head.predictor.bn0", 16)
        return {
            "meta": {"epoch": 200, "cfg": "model = dict(type='BYOL')", "mmengine_version": "0.8.4"},
            "state_dict": OrderedDict(tensors),
            "message_hub": {
                "log_scalars": OrderedDict({"train/loss": HistoryBuffer([4.0, 3.0]), "train/lr": HistoryBuffer([0.1])}),
                "runtime_info": OrderedDict(epoch=200, loop_stage="train", best=np.float32(0.5)),
                "resumed_keys": OrderedDict({"train/loss": True}),
            },
            "optimizer": sgd(online),
            "param_schedulers": [{"start_factor": 1e-4, "last_step": 10, "_global_step": 11}],
        }

    return make


def pixpro(online: State, target: State) -> dict[str, Any]:
    def projector(name: str, inputs: int) -> State:
        tensors = {f"{name}.linear1.weight": torch.ones(16, inputs, 1, 1), f"{name}.linear1.bias": torch.ones(16)}
        tensors |= {f"{name}.linear2.weight": torch.ones(16, 16, 1, 1), f"{name}.linear2.bias": torch.ones(16)}
        return tensors | norm(f"{name}.bn1", 16)

    tensors = respelt(online, below("module.encoder.")) | respelt(target, below("module.encoder_k."))
    for name in ("projector", "projector_k"):
        tensors |= projector(f"module.{name}", features(online))
    tensors |= {
        "module.value_transform.weight": torch.ones(16, 16, 1, 1),
        "module.value_transform.bias": torch.ones(16),
    }
    return {
        "opt": argparse.Namespace(model="PixPro", arch="resnet50", crop=0.08, local_rank=0),
        "model": tensors,
        "optimizer": sgd(online),
        "scheduler": {"T_max": 100, "base_lrs": [0.1]},
        "epoch": 100,
        "amp": {"loss_scaler0": {"loss_scale": 65536.0}},
    }


def detectron2_bare(author: str, state_of: Callable[[State], State] = dict) -> Callable[[State, State], dict[str, Any]]:
    """What converters to Detectron2 write: with the classifier below `stem.`, as they do not drop it."""

    def make(online: State, target: State) -> dict[str, Any]:
        model = respelt(state_of(online), detectron2) | linear("stem.fc", 10, features(online))
        return {"model": model, "__author__": author, "matching_heuristics": True}

    return make


def detector(spell: Spell) -> Callable[[State, State], dict[str, Any]]:
    """A Mask R-CNN that Detectron2 trained, of frozen batch norms."""

    def make(online: State, target: State) -> dict[str, Any]:
        model = respelt(without_counters(online), spell)
        if spell is c4_detector:
            model |= linear("roi_heads.mask_head.predictor", 8, 8)
        else:
            for level in (2, 3, 4, 5):
                for kind in ("lateral", "output"):
                    model |= linear(f"backbone.fpn_{kind}{level}", 8, 8)
            model |= linear("roi_heads.box_head.fc1", 8, 8) | linear("roi_heads.mask_head.mask_fcn1", 8, 8)
        model |= linear("roi_heads.box_predictor.cls_score", 8, 8) | linear("proposal_generator.rpn_head.conv", 8, 8)
        model |= {"pixel_mean": torch.ones(3, 1, 1), "pixel_std": torch.ones(3, 1, 1)}
        model |= {"proposal_generator.anchor_generator.cell_anchors.0": torch.ones(3, 4)}
        return {"model": model, "optimizer": sgd(online), "scheduler": {"last_epoch": 9}, "iteration": 89999}

    return make


def caffe2_blobs(spell: Spell, *, wrapped: bool) -> Callable[[State, State], dict[str, Any]]:
    def make(online: State, target: State) -> dict[str, Any]:
        blobs: dict[str, Any] = respelt(without_counters(online), spell)
        classifier = linear("fc", 10, features(online))
        blobs |= {"conv1_b": torch.zeros(len(online["conv1.weight"])), "fc1000_w": classifier["fc.weight"]}
        blobs |= {"fc1000_b": classifier["fc.bias"]}
        if not wrapped:
            return blobs
        blobs |= {f"{name}_momentum": torch.zeros_like(blobs[name]) for name in ("conv1_w", "res2_0_branch1_w")
                  if name in blobs}  # fmt: skip
        return {"blobs": blobs | {"lr": torch.ones(1), "model_iter": torch.ones(1).long()}, "cfg": "MODEL: {}"}

    return make


MOCO_REASONS = {"module.queue": "queue", "module.encoder_k.conv1.weight": "momentum encoder"}

EXAMPLES = (
    Example("torchvision", "torchvision", torchvision_file, str, where=(), reasons={"fc.weight": "classifier"}),
    Example("torchvision 2018", "torchvision", torchvision_file, str, where=(), save=legacy),
    Example("safetensors", "timm", torchvision_file, str, where=(), save=safetensors_file),
    Example("timm", "timm", timm_train, str, target=str, target_where=("state_dict_ema",)),
    Example(
        "moco v1",
        "moco",
        moco(""),
        below("module.encoder_q."),
        target=below("module.encoder_k."),
        save=legacy,
        reasons=MOCO_REASONS | {"module.encoder_q.fc.weight": "head"},
    ),
    Example(
        "moco v2",
        "moco",
        moco("0l 2l"),
        below("module.encoder_q."),
        target=below("module.encoder_k."),
        save=legacy,
        reasons=MOCO_REASONS | {"module.encoder_q.fc.2.weight": "head"},
    ),
    Example(
        "moco v3",
        "moco_v3",
        moco_v3,
        below("module.base_encoder."),
        target=below("module.momentum_encoder."),
        reasons={"module.predictor.0.weight": "prediction", "module.momentum_encoder.bn1.bias": "momentum encoder"},
    ),
    Example(
        "simsiam", "simsiam", simsiam, below("module.encoder."), reasons={"module.predictor.0.weight": "prediction"}
    ),
    Example(
        "barlow twins",
        "barlow_twins",
        barlow_twins,
        below("module.backbone."),
        where=("model",),
        reasons={"module.projector.0.weight": "projection"},
    ),
    Example(
        "vicreg",
        "vicreg",
        vicreg,
        below("module.backbone."),
        where=("model",),
        reasons={"module.projector.6.weight": "projection"},
    ),
    Example(
        "swav",
        "swav",
        swav,
        below("module."),
        std=(0.228, 0.224, 0.225),
        reasons={"module.prototypes.weight": "head", "module.projection_head.0.weight": "projection"},
    ),
    Example(
        "deepcluster v2", "swav", deepcluster_v2, below("module."), where=(), std=(0.228, 0.224, 0.225), save=legacy
    ),
    Example(
        "dino",
        "dino",
        dino,
        below("module.backbone."),
        where=("student",),
        target=below("module.backbone."),
        target_where=("teacher",),
        default="target",
        reasons={"module.head.mlp.0.weight": "head"},
    ),
    Example(
        "byol-pytorch",
        "byol_pytorch",
        byol_pytorch,
        below("online_encoder.net."),
        where=(),
        target=below("target_encoder.net."),
        reasons={"net.fc.weight": "classifier", "target_encoder.projector.0.weight": "proje"},
    ),
    Example(
        "PyTorch-BYOL",
        "byol_sthalles",
        byol_sthalles,
        below("encoder.", sequential),
        where=("online_network_state_dict",),
        target=below("encoder.", sequential),
        target_where=("target_network_state_dict",),
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        reasons={"projetion.net.0.weight": "projection"},
    ),
    Example(
        "SimCLR of sthalles",
        "simclr_sthalles",
        simclr_sthalles,
        below("backbone."),
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        reasons={"backbone.fc.0.weight": "head"},
    ),
    Example(
        "SimCLR of Google",
        "simclr_google",
        lambda online, target: {"state_dict": torchvision_file(online, target)},
        str,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        named=True,
    ),
    Example(
        "PyContrast",
        "encoder",
        pycontrast,
        below("module.encoder."),
        where=("model",),
        target=below("encoder."),
        target_where=("model_ema",),
    ),
    Example(
        "InfoCL on ImageNet, SimCLR",
        "infocl_imagenet",
        infocl_file(infocl_imagenet, infocl_simclr),
        below("encoder.", infocl_imagenet),
        where=(),
        reasons={"projector.0.weight": "projection"},
    ),
    Example(
        "InfoCL on ImageNet, BYOL",
        "infocl_imagenet",
        infocl_file(infocl_imagenet, infocl_byol),
        below("encoder.", infocl_imagenet),
        where=(),
        reasons={"predictor.0.weight": "prediction"},
    ),
    Example(
        "InfoCL on CIFAR",
        "infocl_cifar",
        infocl_file(infocl, infocl_byol),
        below("encoder.", infocl),
        where=(),
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        stem="small",
        named=True,
    ),
    Example(
        "InfoCL on STL-10",
        "infocl_stl",
        infocl_file(infocl, infocl_barlow_twins),
        below("encoder.", infocl),
        where=(),
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        stem="stl",
        named=True,
    ),
    Example(
        "solo-learn",
        "solo",
        solo("backbone"),
        below("backbone."),
        target=below("momentum_backbone."),
        reasons={"momentum_backbone.bn1.bias": "momentum encoder", "classifier.weight": "classifier", "queue": "queue"},
    ),
    Example(
        "anyone's",
        "backbone",
        lambda online, target: respelt(online, below("backbone.")) | linear("classify", 10, features(online)),
        below("backbone."),
        where=(),
        reasons={"classify.weight": "backbone."},
    ),
    Example("solo-learn of old", "solo", solo("encoder"), below("encoder."), target=below("momentum_encoder.")),
    Example("solo-learn, Barlow Twins", "solo", solo_online, below("backbone.")),
    Example("Lightning of old", "lightning", lightning, below("resnet."), save=legacy),
    Example(
        "lightly",
        "lightly",
        lightly,
        below("backbone.", sequential),
        target=below("backbone_momentum.", sequential),
        reasons={"backbone_momentum.1.bias": "momentum encoder", "projection_head.layers.0.weight": "projection"},
    ),
    Example(
        "lightly's DINO",
        "lightly",
        lightly_dino,
        below("student_backbone.", sequential),
        target=below("teacher_backbone.", sequential),
        reasons={"teacher_backbone.1.bias": "momentum encoder", "criterion.center": "loss"},
    ),
    Example(
        "lightly's ResNetGenerator",
        "lightly_generator",
        lightly_generator,
        generator,
        where=(),
        stem="small",
        reasons={"linear.weight": "classifier"},
    ),
    Example(
        "vissl",
        "vissl",
        vissl,
        below("_feature_blocks."),
        where=("classy_state_dict", "base_model", "model", "trunk"),
    ),
    Example(
        "vissl, linear evaluation",
        "vissl",
        vissl_probe,
        below("base_model._feature_blocks."),
        where=("model_state_dict",),
    ),
    Example(
        "OpenSelfSup's DenseCL",
        "openmmlab",
        densecl,
        below("backbone."),
        target=below("encoder_k.0."),
        reasons={
            "queue2": "queue",
            "encoder_k.0.bn1.bias": "momentum encoder",
            "encoder_q.0.bn1.bias": "online encoder",
        },
    ),
    Example(
        "OpenSelfSup's BYOL",
        "openmmlab",
        openselfsup_byol,
        below("backbone."),
        target=below("target_net.0."),
        reasons={"target_net.0.bn1.bias": "momentum encoder", "head.predictor.fc0.weight": "prediction"},
    ),
    Example(
        "mmpretrain's MoCo",
        "openmmlab",
        mmpretrain("encoder_k"),
        below("backbone."),
        target=below("encoder_k.module.0."),
    ),
    Example(
        "mmpretrain's BYOL",
        "openmmlab",
        mmpretrain("target_net"),
        below("backbone."),
        target=below("target_net.module.0."),
        reasons={"neck.fc0.weight": "projection", "head.predictor.fc0.weight": "prediction"},
    ),
    Example(
        "mmselfsup's extracted backbone",
        "torchvision",
        lambda online, target: {"state_dict": online, "author": "MMSelfSup"},
        str,
    ),
    Example(
        "pixpro",
        "pixpro",
        pixpro,
        below("module.encoder."),
        where=("model",),
        target=below("module.encoder_k."),
        reasons={"module.encoder_k.bn1.bias": "momentum encoder", "module.projector.linear1.weight": "projection"},
    ),
    Example(
        "Detectron2's converter from torchvision",
        "detectron2_rgb",
        detectron2_bare("torchvision"),
        detectron2,
        where=("model",),
        save=numpy_pickle,
        reasons={"stem.fc.weight": "classifier"},
    ),
    Example(
        "MoCo's converter to Detectron2",
        "detectron2_rgb",
        detectron2_bare("MOCO"),
        detectron2,
        where=("model",),
        save=numpy_pickle,
    ),
    Example(
        "a detector with a pyramid, RGB",
        "detectron2_rgb",
        detector(below("backbone.bottom_up.", detectron2)),
        below("backbone.bottom_up.", detectron2),
        where=("model",),
        counters=False,
        named=True,
        reasons={"backbone.fpn_lateral2.weight": "detector", "roi_heads.box_head.fc1.weight": "detector"},
    ),
    Example(
        "a C4 detector, MSRA",
        "detectron2_msra",
        detector(c4_detector),
        c4_detector,
        where=("model",),
        counters=False,
        named=True,
        mean=CAFFE_MEAN,
        std=(1 / 255, 1 / 255, 1 / 255),
        order="BGR",
        stride_in_1x1=True,
        reasons={"roi_heads.box_predictor.cls_score.weight": "detector", "pixel_mean": "detector"},
    ),
    Example(
        "MSRA's ResNet of Detectron2",
        "caffe2_msra",
        caffe2_blobs(MSRA_IN_DETECTRON2, wrapped=False),
        MSRA_IN_DETECTRON2,
        where=(),
        save=python2_pickle,
        counters=False,
        named=True,
        mean=CAFFE_MEAN,
        std=(1 / 255, 1 / 255, 1 / 255),
        order="BGR",
        stride_in_1x1=True,
        reasons={"fc1000_w": "classifier"},
    ),
    Example(
        "Detectron's blobs with statistics",
        "caffe2_fair",
        caffe2_blobs(STATISTICS, wrapped=True),
        STATISTICS,
        where=("blobs",),
        save=python2_pickle,
        counters=False,
        named=True,
        mean=CAFFE_MEAN,
        std=(57.375 / 255, 57.12 / 255, 58.395 / 255),
        order="BGR",
        reasons={"conv1_w_momentum": "optimi"},
    ),
)
