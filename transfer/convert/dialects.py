"""How code bases spell the tensors of a ResNet, each as a bijection to torchvision's keys."""

from collections.abc import Callable
from functools import cache

from transfer.convert.resnet import to_detectron2

MOST_BLOCKS = 36
"""In a stage: ResNet-152 has that many."""
CONV = ("weight",)
COUNTER = "num_batches_tracked"
NORM = ("weight", "bias", "running_mean", "running_var", COUNTER)

Dialect = Callable[[], dict[str, str]]
"""Returns a table from a dialect's keys to torchvision's, for all ResNets at once."""


@cache
def torchvision() -> dict[str, str]:
    """`layer1.0.downsample.1.bias`; timm, and most code of the field, too."""
    units = {"conv1": CONV, "bn1": NORM}
    for layer in range(1, 5):
        for block in range(MOST_BLOCKS):
            place = f"layer{layer}.{block}"
            units |= {f"{place}.conv{n}": CONV for n in (1, 2, 3)} | {f"{place}.bn{n}": NORM for n in (1, 2, 3)}
            units |= {f"{place}.downsample.0": CONV, f"{place}.downsample.1": NORM}
    return {f"{unit}.{leaf}": f"{unit}.{leaf}" for unit, leaves in units.items() for leaf in leaves}


@cache
def sequential() -> dict[str, str]:
    """`4.0.downsample.1.bias`: the children of a torchvision ResNet in a Sequential, ReLU and pooling counted."""
    numbers = {"conv1": "0", "bn1": "1"} | {f"layer{layer}": str(layer + 3) for layer in range(1, 5)}

    def spell(key: str) -> str:
        head, _, rest = key.partition(".")
        return f"{numbers[head]}.{rest}"

    return _spelt(spell)


@cache
def shortcut_pair() -> dict[str, str]:
    """`layer1.0.shortcut.1.bias`: ResNets for CIFAR after Kuang Liu's, lightly's among them."""
    return _spelt(lambda key: key.replace(".downsample.", ".shortcut."))


@cache
def sequential_without_relu() -> dict[str, str]:
    """`3.0.shortcut.1.bias`: the children of lightly's ResNetGenerator, whose ReLUs are no children."""
    numbers = {"conv1": "0", "bn1": "1"} | {f"layer{layer}": str(layer + 1) for layer in range(1, 5)}

    def spell(key: str) -> str:
        head, _, rest = key.replace(".downsample.", ".shortcut.").partition(".")
        return f"{numbers[head]}.{rest}"

    return _spelt(spell)


@cache
def shortcut_norm() -> dict[str, str]:
    """`layer1.0.shortcut_bn.bias`: InfoCL's ResNets for CIFAR and STL-10."""
    return _spelt(lambda key: key.replace(".downsample.0.", ".shortcut.0.").replace(".downsample.1.", ".shortcut_bn."))


@cache
def ds_norm() -> dict[str, str]:
    """`layer1.0.ds_bn1.bias`: InfoCL's ResNets for ImageNet."""
    return _spelt(lambda key: key.replace(".downsample.0.", ".ds_conv1.").replace(".downsample.1.", ".ds_bn1."))


@cache
def detectron2() -> dict[str, str]:
    """`res2.0.shortcut.norm.bias`."""
    return _spelt(to_detectron2)


@cache
def caffe2() -> dict[str, str]:
    """`res2_0_branch1_bn_b`: Detectron's first version, and Detectron2's MSRA models, which spell norms `_bn_beta`.

    Where they have no statistics, batch norms are an affine map.
    """
    gamma = {"weight": "gamma", "bias": "beta", "running_mean": "running_mean", "running_var": "running_var"}
    classic = {"weight": "s", "bias": "b", "running_mean": "rm", "running_var": "riv"}
    return _spelt(_blobs(gamma), without=COUNTER) | _spelt(_blobs(classic), without=COUNTER)


def _blobs(leaves: dict[str, str]) -> Callable[[str], str]:
    branches = {"1": "2a", "2": "2b", "3": "2c"}

    def spell(key: str) -> str:
        *place, module, leaf = key.replace("downsample.", "downsample").split(".")
        if not place:
            return "conv1_w" if module == "conv1" else f"res_conv1_bn_{leaves[leaf]}"
        stem = f"res{int(place[0][5:]) + 1}_{place[1]}_branch"
        branch = "1" if module.startswith("downsample") else branches[module[-1]]
        is_norm = module.startswith("bn") or module == "downsample1"
        return f"{stem}{branch}_bn_{leaves[leaf]}" if is_norm else f"{stem}{branch}_w"

    return spell


def _spelt(spell: Callable[[str], str], without: str = "\n") -> dict[str, str]:
    table = {spell(key): key for key in torchvision() if not key.endswith(without)}
    assert len(table) == sum(not key.endswith(without) for key in torchvision())
    return table
