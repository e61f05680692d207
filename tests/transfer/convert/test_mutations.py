"""A tensor that is not what it should be, in the source or in what was converted, is refused with its name."""

import io
import itertools
import json
import pickle
import random
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml
from torch import Tensor

from superinfo.artifacts import (
    CONVERSION,
    OVERLAY,
    RECORD,
    WEIGHTS,
    CheckpointInfo,
    Conversion,
    EncoderSpec,
    tensors_sha256,
)
from superinfo.errors import EvidenceRefused, SuperInfoError
from superinfo.files import file_sha256
from transfer.convert import convert
from transfer.convert.inspection import inspect
from transfer.convert.resnet import to_detectron2
from transfer.convert.verify import verify
from transfer.detection.detect import detect
from transfer.detection.train import FINAL
from transfer.recipe import DetectRecipe

State = dict[str, Tensor]

WIDTH = 0.125
"""Narrow, as 200 are to be written."""


def weights(arch: str = "resnet18", width: float = WIDTH, seed: int = 0) -> State:
    """Return a ResNet's tensors by torchvision's keys, random so that each matters."""
    from superinfo.encoders import build_encoder

    torch.manual_seed(seed)
    state = build_encoder(EncoderSpec.parse({"arch": arch, "width": width}, "test")).state_dict()
    return {key: _drawn(key, tensor) for key, tensor in state.items()}


def _drawn(key: str, tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return torch.tensor(7)
    if tensor.dim() > 1:
        return tensor.clone()
    return torch.rand(tensor.shape) + 0.5 if key.endswith(("weight", "running_var")) else torch.randn(tensor.shape) / 10


# Sources.


def own(state: State, arch: str) -> Any:
    info = CheckpointInfo(
        encoder=EncoderSpec.parse({"arch": arch, "width": WIDTH}, "test"),
        name="simclr",
        method="simclr",
        term="none",
        dataset="none",
        epochs=1,
        seed=0,
        input_size=64,
        mean=(0.4, 0.45, 0.5),
        std=(0.2, 0.25, 0.3),
        recipe_hash="0" * 64,
    )
    return {"superinfo": info.model_dump(mode="json"), "state_dict": state}


def torchvision(state: State, arch: str) -> Any:
    channels = 512 if arch in {"resnet18", "resnet34"} else 2048
    return {**state, "fc.weight": torch.zeros(1000, int(channels * WIDTH)), "fc.bias": torch.zeros(1000)}


def moco(state: State, arch: str) -> Any:
    """MoCo v2: the momentum encoder is whole, and must not stand in."""
    heads = {f"encoder_{which}.fc.{n}.weight": torch.zeros(8, 8) for which in "qk" for n in (0, 2)}
    tensors = {f"encoder_q.{key}": tensor for key, tensor in state.items()}
    tensors |= {f"encoder_k.{key}": tensor for key, tensor in weights(arch, seed=1).items()} | heads
    tensors |= {"queue": torch.zeros(8, 16), "queue_ptr": torch.zeros(1, dtype=torch.int64)}
    return {"epoch": 200, "arch": arch, "state_dict": {f"module.{key}": tensor for key, tensor in tensors.items()}}


def detectron2(state: State, arch: str) -> Any:
    arrays = {to_detectron2(key): tensor.numpy() for key, tensor in state.items() if tensor.is_floating_point()}
    return {"model": arrays, "__author__": "torchvision", "matching_heuristics": True}


def lightning(state: State, arch: str) -> Any:
    tensors = {f"backbone.{key}": tensor for key, tensor in state.items()}
    return {"state_dict": tensors, "pytorch-lightning_version": "2.0", "epoch": 1}


Make = Callable[[State, str], Any]
LAYOUTS: dict[str, tuple[Make, Callable[[str], str]]] = {
    "own": (own, str),
    "torchvision": (torchvision, str),
    "moco": (moco, "module.encoder_q.{}".format),
    "detectron2": (detectron2, to_detectron2),
    "lightning": (lightning, "backbone.{}".format),
    "safetensors": (lambda state, arch: state, str),
}
"""What a file holds, and how it spells a tensor's name."""


def write(path: Path, layout: str, content: Any) -> Path:
    if layout == "detectron2":
        path.write_bytes(pickle.dumps(content))
    elif layout == "safetensors":
        safetensors.torch.save_file(content, path)
    else:
        torch.save(content, path)
    return path


KINDS = (
    "conv1.weight",
    "bn1.weight",
    "bn1.bias",
    "bn1.running_mean",
    "bn1.running_var",
    "layer1.0.conv1.weight",
    "layer2.0.conv2.weight",
    "layer2.0.downsample.0.weight",
    "layer2.0.downsample.1.weight",
    "layer2.0.downsample.1.running_var",
    "layer3.1.bn1.bias",
    "layer3.1.bn2.running_mean",
    "layer4.1.conv2.weight",
    "layer4.1.bn2.running_var",
)
"""A tensor of each kind, from the first to the last."""

Mutate = Callable[[State, str], None]


def dropped(state: State, key: str) -> None:
    del state[key]


def renamed(state: State, key: str) -> None:
    state[key + "_"] = state.pop(key)


def grown(state: State, key: str) -> None:
    state[key] = torch.cat([state[key], state[key][:1]])


def flattened(state: State, key: str) -> None:
    state[key] = state[key].reshape(-1, 1)


def turned(state: State, key: str) -> None:
    state[key] = state[key].new_ones((*state[key].shape[1:], state[key].shape[0] + 1))


def without_number(value: float) -> Mutate:
    def change(state: State, key: str) -> None:
        flat = state[key].flatten().clone()
        flat[len(flat) // 2] = value
        state[key] = flat.view(state[key].shape)

    return change


def of_integers(state: State, key: str) -> None:
    state[key] = (state[key] * 100).to(torch.int8)


SOURCE_MUTATIONS: dict[str, Mutate] = {
    "dropped": dropped,
    "renamed": renamed,
    "grown": grown,
    "flattened": flattened,
    "turned": turned,
    "NaN": without_number(float("nan")),
    "infinite": without_number(float("inf")),
    "minus infinite": without_number(float("-inf")),
    "of integers": of_integers,
}

DONE: dict[str, int] = {}
"""How many mutations each test refused."""


def refused(run: Callable[[], object], names: set[str]) -> str | None:
    """Return what of a refusal is wrong: exit code, line, and one of some tensors' names in it."""
    try:
        run()
    except EvidenceRefused as error:
        message = str(error)
        if error.exit_code != 3 or not message.isprintable():
            return f"exits with {error.exit_code}: {message!r}"
        told = {name for name in names if re.search(rf"(?<![\w.]){re.escape(name)}(?![\w.])", message)}
        return None if told or not names else f"does not name {sorted(names)[0]}: {message}"
    except SuperInfoError as error:
        return f"exits with {error.exit_code}: {error}"
    except Exception as error:
        return f"ends in a traceback: {type(error).__name__}: {str(error)[:200]}"
    return "passes"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_mutated_source_is_refused_with_the_tensors_name(tmp_path: Path, layout: str) -> None:
    make, spell = LAYOUTS[layout]
    whole, faults = weights(), []
    cases = list(itertools.product(SOURCE_MUTATIONS.items(), KINDS))
    cases = cases[:: {"own": 1, "torchvision": 3, "moco": 5}.get(layout, 9)]  # in steps that meet all kinds
    for (label, mutate), key in cases:
        state = {name: tensor.clone() for name, tensor in whole.items()}
        mutate(state, key)
        path = write(tmp_path / "checkpoint", layout, make_mutated(make, state, spell, key))
        if found := refused(lambda path=path: convert(path, tmp_path / "out"), {spell(key)}):  # type: ignore[misc]
            faults.append(f"{key} {label}: {found}")
        DONE[f"source, {layout}"] = DONE.get(f"source, {layout}", 0) + 1
        if left := [file.name for file in tmp_path.iterdir() if file != path]:
            shutil.rmtree(tmp_path / "out", ignore_errors=True)
            faults.append(f"{key} {label}: leaves {left}")
    assert faults == []


def make_mutated(make: Make, state: State, spell: Callable[[str], str], key: str) -> Any:
    """Return a file's content; a name that no ResNet has is spelt as its neighbours are."""
    strange = {name: state.pop(name) for name in [key + "_"] if name in state}
    content = make(state, "resnet18")
    inner = content.get("state_dict", content.get("model", content))
    for name, tensor in strange.items():
        inner[spell(name.removesuffix("_")) + "_"] = tensor.numpy() if "model" in content else tensor
    return content


@pytest.mark.parametrize("layout", ["own", "torchvision", "moco", "detectron2"])
def test_a_source_of_another_depth_is_refused_with_a_tensors_name(tmp_path: Path, layout: str) -> None:
    """Blocks too many, too few, in the wrong stage, or of the other kind."""
    make, spell = LAYOUTS[layout]
    whole, deeper = weights(), weights("resnet34")
    faults = []
    for label, state, names in depths(whole, deeper):
        path = write(tmp_path / "checkpoint", layout, make(state, "resnet18"))
        if found := refused(lambda path=path: convert(path, tmp_path / "out"), set(map(spell, names))):  # type: ignore[misc]
            faults.append(f"{label}: {found}")
        DONE[f"depth, {layout}"] = DONE.get(f"depth, {layout}", 0) + 1
    assert faults == []
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint"]


def depths(whole: State, deeper: State) -> Iterator[tuple[str, State, set[str]]]:
    for stage in range(1, 5):
        last = {key for key in whole if key.startswith(f"layer{stage}.1.")}
        yield f"stage {stage} lacks its last block", {k: t for k, t in whole.items() if k not in last}, last
        more = {key.replace(".1.", ".2.", 1): whole[key] for key in last}
        yield f"stage {stage} has a block more", whole | more, {key for key in more if key not in whole}
        far = {key.replace(".1.", ".7.", 1): whole[key] for key in last}
        yield f"stage {stage} has a block far away", whole | far, set(far)
    third = {key: tensor for key, tensor in deeper.items() if key.startswith(("layer1", "layer2", "conv1", "bn1"))}
    lacking = {key for key in deeper if key.startswith(("layer3", "layer4"))}
    yield "half of a deeper one", third, lacking | {key for key in third if key not in whole}
    mixed = whole | {key: tensor for key, tensor in deeper.items() if key.startswith("layer3")}
    yield "a stage of a deeper one", mixed, {key for key in mixed if key not in whole} | set(deeper)
    bottleneck = whole | {"layer1.0.conv3.weight": torch.zeros(32, 8, 1, 1)}
    yield "a third convolution", bottleneck, {"layer1.0.conv3.weight"} | set(weights("resnet50"))


# Converted folders.

TARGETS = {"detectron2": WEIGHTS, "safetensors": "encoder.safetensors"}


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a conversion to each target."""
    folder = tmp_path_factory.mktemp("converted")
    path = write(folder / "checkpoint", "own", own(weights(), "resnet18"))
    for target in TARGETS:
        convert(path, folder / target, target)
    wide = write(folder / "wide", "torchvision", weights(width=1.0))
    convert(wide, folder / "torchvision", "torchvision")
    return folder


def stored(folder: Path) -> State:
    if (folder / WEIGHTS).exists():
        arrays = pickle.loads((folder / WEIGHTS).read_bytes())["model"]
        return {key: torch.from_numpy(array.copy()) for key, array in arrays.items()}
    if (folder / "encoder.safetensors").exists():
        return safetensors.torch.load((folder / "encoder.safetensors").read_bytes())
    loaded: State = torch.load(folder / "torchvision.pth", weights_only=True)
    return loaded


def store(folder: Path, state: Mapping[str, Tensor]) -> None:
    """Write other tensors into the file that the converter wrote, which else stays as it is."""
    if (path := folder / WEIGHTS).exists():
        content = pickle.loads(path.read_bytes())
        content["model"] = {key: tensor.numpy() for key, tensor in state.items()}
        replace(path, pickle.dumps(content, protocol=4))
    elif (path := folder / "encoder.safetensors").exists():
        with safetensors.safe_open(path, "pt") as opened:
            metadata = opened.metadata()
        replace(path, safetensors.torch.save({key: tensor.contiguous() for key, tensor in state.items()}, metadata))
    else:
        file = io.BytesIO()
        torch.save(dict(state), file)
        replace(folder / "torchvision.pth", file.getvalue())


def replace(path: Path, data: bytes) -> None:
    """Write a new file: the earlier one may still be mapped."""
    new = path.with_name("new")
    new.write_bytes(data)
    new.replace(path)


def rehash(folder: Path, *, tensors: bool = False) -> None:
    """Do as an attacker who writes the evidence anew: of the files, or of the tensors too."""
    evidence = json.loads((folder / CONVERSION).read_text())
    evidence["files"] = {name: file_sha256(folder / name) for name in evidence["files"]}
    if tensors:
        evidence["tensors"] = {key: tensors_sha256({key: tensor}) for key, tensor in stored(folder).items()}
    (folder / CONVERSION).write_text(json.dumps(evidence))


Mutation = tuple[str, State, set[str]]
"""What was done, the tensors after it, and those that it changed."""


def mutations(whole: State) -> Iterator[Mutation]:
    draw = random.Random(0)
    floats = [key for key, tensor in whole.items() if tensor.is_floating_point()]
    by_shape: dict[tuple[int, ...], list[str]] = {}
    for key in floats:
        by_shape.setdefault(tuple(whole[key].shape), []).append(key)
    for keys in by_shape.values():
        for key, other in zip(keys, keys[1:] + keys[:1], strict=True):
            if key != other:
                yield f"{key} swapped with {other}", whole | {key: whole[other], other: whole[key]}, {key, other}
    for key in floats:
        tensor = whole[key]
        if tensor.dim() == 4:
            if tensor.shape[0] == tensor.shape[1]:
                yield f"{key} transposed", whole | {key: tensor.transpose(0, 1).contiguous()}, {key}
            if tensor.shape[2] > 1:
                yield f"{key} transposed in space", whole | {key: tensor.transpose(2, 3).contiguous()}, {key}
            yield f"{key} turned in channels", whole | {key: tensor.flip(0).contiguous()}, {key}
        scale = draw.choice((2.0, -1.0, 0.0, 1 + 1e-6, 0.5))
        yield f"{key} scaled by {scale}", whole | {key: tensor * scale}, {key}
        yield f"{key}: a bit flipped", whole | {key: flipped(tensor, draw)}, {key}
    for key in [key for key in floats if key.endswith("running_mean")]:
        norm = key.removesuffix("running_mean")
        for one, other in (("running_mean", "running_var"), ("weight", "running_var"), ("bias", "running_mean")):
            pair = {norm + one: whole[norm + other], norm + other: whole[norm + one]}
            yield f"{norm}{one} exchanged with {other}", whole | pair, set(pair)
    for key in floats[::9]:
        yield f"{key} dropped", {name: tensor for name, tensor in whole.items() if name != key}, {key}
        respelt = {name + "_" if name == key else name: tensor for name, tensor in whole.items()}
        yield f"{key} renamed", respelt, {key, key + "_"}
        yield f"{key} twice", whole | {key + ".copy": whole[key].clone()}, {key + ".copy"}
        yield f"{key} of doubles", whole | {key: whole[key].double()}, {key}
        yield f"{key} of halves", whole | {key: whole[key].half()}, {key}
        yield f"{key} of another shape", whole | {key: whole[key].reshape(1, -1)}, {key}


def flipped(tensor: Tensor, draw: random.Random) -> Tensor:
    data = bytearray(tensor.contiguous().numpy().tobytes())
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return torch.from_numpy(np.frombuffer(data, np.float32).copy()).view(tensor.shape)


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    def data(tensor: Tensor) -> bytes:
        return tensor.contiguous().numpy().tobytes()

    return one.keys() == other.keys() and all(
        one[key].dtype == other[key].dtype and one[key].shape == other[key].shape and data(one[key]) == data(other[key])
        for key in one
    )


@pytest.mark.parametrize("target", ["detectron2", "safetensors", "torchvision"])
@pytest.mark.parametrize("hashed", [False, True])
def test_a_mutated_conversion_is_refused_with_the_tensors_name(
    converted: Path, tmp_path: Path, target: str, hashed: bool
) -> None:
    """Also where an attacker has written the files' hashes anew."""
    folder = tmp_path / "weights"
    shutil.copytree(converted / target, folder)
    evidence = (folder / CONVERSION).read_bytes()
    whole = stored(folder)
    assert verify(folder).tensors.keys() == whole.keys()
    every = {"detectron2": 11 if hashed else 5, "safetensors": 40, "torchvision": 150}[target]
    faults = []
    for label, state, names in itertools.islice(mutations(whole), None, None, every):
        assert not same(state, whole), label
        store(folder, state)
        (folder / CONVERSION).write_bytes(evidence)
        if hashed:
            rehash(folder)
        for verb in (verify, inspect):
            if found := refused(lambda verb=verb: verb(folder), names):  # type: ignore[misc]
                faults.append(f"{label}: {verb.__name__} {found}")
        DONE[f"{target}, {hashed}"] = DONE.get(f"{target}, {hashed}", 0) + 1
    assert faults == []


@pytest.mark.parametrize("target", ["detectron2", "safetensors", "torchvision"])
def test_a_bit_flipped_in_the_file_is_refused_with_the_tensors_name(
    converted: Path, tmp_path: Path, target: str
) -> None:
    folder = tmp_path / "weights"
    shutil.copytree(converted / target, folder)
    path = next(file for file in folder.iterdir() if file.suffix in {".pkl", ".pth", ".safetensors"})
    good, draw, faults = path.read_bytes(), random.Random(1), []
    tensors = list(stored(folder).items())
    for key, tensor in tensors[:: 4 if target != "torchvision" else 30]:
        data = tensor.numpy().tobytes()
        if len(data) < 32 or good.count(data) != 1:
            continue
        place = good.index(data) + draw.randrange(len(data))
        replace(path, good[:place] + bytes([good[place] ^ 1 << draw.randrange(8)]) + good[place + 1 :])
        if found := refused(lambda: verify(folder), {key}):
            faults.append(f"{key} at {place}: {found}")
        DONE[f"bits, {target}"] = DONE.get(f"bits, {target}", 0) + 1
    assert faults == []
    replace(path, good)
    assert verify(folder)


@pytest.mark.parametrize("target", ["detectron2", "safetensors"])
def test_weights_whose_every_hash_was_written_anew_are_refused_for_their_features(
    converted: Path, tmp_path: Path, target: str
) -> None:
    folder = tmp_path / "weights"
    shutil.copytree(converted / target, folder)
    evidence, whole, faults = (folder / CONVERSION).read_bytes(), stored(folder), []
    told = [
        case for case in mutations(whole) if re.search(r"swapped|transposed$|scaled by (2|0.5|-1)|exchanged", case[0])
    ]
    for label, state, _ in told[:: len(told) // 5]:
        store(folder, state)
        (folder / CONVERSION).write_bytes(evidence)
        rehash(folder, tensors=True)
        if found := refused(lambda: inspect(folder), set()):
            faults.append(f"{label}: {found}")
        DONE[f"all hashes, {target}"] = DONE.get(f"all hashes, {target}", 0) + 1
    for label, state in (
        ("a tensor less", {key: tensor for key, tensor in whole.items() if "res4.1.conv2.w" not in key}),
        ("a tensor less", {key: tensor for key, tensor in whole.items() if "layer3.1.conv2.w" not in key}),
        ("another name", {key.replace("4.1.conv2", "4.1.conv9"): tensor for key, tensor in whole.items()}),
        ("another shape", {key: tensor.reshape(-1) for key, tensor in whole.items()}),
        ("nothing", {}),
    ):
        if same(state, whole):
            continue
        store(folder, state)
        (folder / CONVERSION).write_bytes(evidence)
        rehash(folder, tensors=True)
        if found := refused(lambda: inspect(folder), set()):
            faults.append(f"{label}: {found}")
    assert faults == []


def set_mean(overlay: Any) -> None:
    overlay["MODEL"]["PIXEL_MEAN"] = overlay["MODEL"]["PIXEL_MEAN"][::-1]


def set_std(overlay: Any) -> None:
    overlay["MODEL"]["PIXEL_STD"][0] += 1e-3


def set_format(overlay: Any) -> None:
    overlay["INPUT"]["FORMAT"] = "BGR"


def set_stride(overlay: Any) -> None:
    overlay["MODEL"]["RESNETS"]["STRIDE_IN_1X1"] = True


def set_depth(overlay: Any) -> None:
    overlay["MODEL"]["RESNETS"]["DEPTH"] = 34


def set_freeze(overlay: Any) -> None:
    overlay["MODEL"]["BACKBONE"]["FREEZE_AT"] = 5


def add_option(overlay: Any) -> None:
    overlay["SOLVER"] = {"BASE_LR": 0.0}


def clear(overlay: Any) -> None:
    overlay.clear()


OVERLAYS = (set_mean, set_std, set_format, set_stride, set_depth, set_freeze, add_option, clear)


@pytest.mark.parametrize("hashed", ["not", "anew", "no more"])
def test_a_changed_overlay_is_refused(converted: Path, tmp_path: Path, hashed: str) -> None:
    """Also where its hash was written anew, or left out of the evidence."""
    folder = tmp_path / "weights"
    shutil.copytree(converted / "detectron2", folder)
    evidence, overlay, faults = (folder / CONVERSION).read_bytes(), (folder / OVERLAY).read_text(), []
    for change in OVERLAYS:
        said = yaml.safe_load(overlay)
        change(said)
        (folder / OVERLAY).write_text(yaml.safe_dump(said))
        (folder / CONVERSION).write_bytes(evidence)
        if hashed == "anew":
            rehash(folder)
        elif hashed == "no more":
            whole = json.loads(evidence)
            del whole["files"][OVERLAY]
            (folder / CONVERSION).write_text(json.dumps(whole))
        for verb in (verify, inspect):
            if found := refused(lambda verb=verb: verb(folder), {OVERLAY}):  # type: ignore[misc]
                faults.append(f"{change.__name__}: {verb.__name__} {found}")
        DONE[f"overlay, {hashed}"] = DONE.get(f"overlay, {hashed}", 0) + 1
    for label, text in (
        ("no YAML", "{"),
        ("a list", "[1]"),
        ("empty", ""),
        ("code", "!!python/object/apply:os.system ['true']"),
        ("not UTF-8", "\udcff"),
    ):
        (folder / OVERLAY).write_bytes(text.encode("utf-8", "surrogateescape"))
        (folder / CONVERSION).write_bytes(evidence)
        if hashed == "anew":
            rehash(folder)
        if hashed != "no more" and (found := refused(lambda: verify(folder), {OVERLAY})):
            faults.append(f"{label}: {found}")
    assert faults == []


EVIDENCE: tuple[tuple[str, Any], ...] = (
    ("source.encoder.arch", "resnet34"),
    ("source.encoder.arch", "resnet50"),
    ("source.encoder.stem", "stl"),
    ("source.encoder.width", 0.25),
    ("source.pixels.mean", [0.5, 0.45, 0.4]),
    ("source.pixels.std", [0.3, 0.25, 0.2]),
    ("source.pixels.channel_order", "BGR"),
    ("feature_samples", {}),
    ("feature_samples.res2", []),
    ("feature_samples.res5", [0.0] * 65),
    ("tensors", {}),
    ("target", "detectron2-pth"),
    ("target", "torchvision"),
)


@pytest.mark.parametrize("target", ["detectron2", "safetensors", "torchvision"])
def test_evidence_of_something_else_is_refused(converted: Path, tmp_path: Path, target: str) -> None:
    folder = tmp_path / "weights"
    shutil.copytree(converted / target, folder)
    whole, faults = (folder / CONVERSION).read_bytes(), []
    for place, value in EVIDENCE:
        if value == target:
            continue
        said = json.loads(whole)
        *path, last = place.split(".")
        part = said
        for name in path:
            part = part[name]
        part[last] = value
        (folder / CONVERSION).write_text(json.dumps(said))
        if found := refused(lambda: inspect(folder), set()):
            faults.append(f"{place} {value}: {found}")
        DONE[f"evidence, {target}"] = DONE.get(f"evidence, {target}", 0) + 1
    assert faults == []


RECIPE: dict[str, Any] = {
    "name": "tiny",
    "protocol": "test",
    "data": {"kind": "scenes", "size": 64, "classes": ["disk", "cross"], "train": 2, "test": 2, "objects": [1, 3]},
    "config": "mask_rcnn_fpn_cpu",
    "options": {"SOLVER.MAX_ITER": 1},
    "encoder": {"arch": "resnet18", "stem": "imagenet", "width": WIDTH},
}


def test_detect_refuses_before_it_makes_or_trains_anything(converted: Path, tmp_path: Path) -> None:
    folder, runs = tmp_path / "weights", tmp_path / "runs"
    shutil.copytree(converted / "detectron2", folder)
    evidence, whole, faults = (folder / CONVERSION).read_bytes(), stored(folder), []
    recipe = DetectRecipe.parse(RECIPE, "test")
    cases = list(mutations(whole))
    for number, (label, state, names) in enumerate(cases[:: len(cases) // 24]):
        store(folder, state)
        (folder / CONVERSION).write_bytes(evidence)
        if number % 2:
            rehash(folder)
        if found := refused(lambda: detect(recipe, folder, seed=0, runs=runs, device="cpu"), names):
            faults.append(f"{label}: {found}")
        DONE["detect"] = DONE.get("detect", 0) + 1
    store(folder, whole)
    overlay = (folder / OVERLAY).read_text()
    for change in OVERLAYS:
        said = yaml.safe_load(overlay)
        change(said)
        (folder / OVERLAY).write_text(yaml.safe_dump(said))
        (folder / CONVERSION).write_bytes(evidence)
        rehash(folder)
        if found := refused(lambda: detect(recipe, folder, seed=0, runs=runs, device="cpu"), {OVERLAY}):
            faults.append(f"overlay, {change.__name__}: {found}")
        DONE["detect"] += 1
    assert faults == []
    made = {file.name for file in runs.rglob("*")} if runs.exists() else set()
    assert not {RECORD, FINAL, "metrics.json", "data"} & made
    assert not [name for name in made if name.endswith(".state")]


def test_pixels_that_do_not_give_the_features_are_refused(converted: Path, tmp_path: Path) -> None:
    """The overlay and the evidence's pixels changed alike, and hashed anew: the recorded features say otherwise."""
    folder = tmp_path / "weights"
    shutil.copytree(converted / "detectron2", folder)
    said = json.loads((folder / CONVERSION).read_text())
    said["source"]["pixels"]["mean"] = said["source"]["pixels"]["mean"][::-1]
    (folder / CONVERSION).write_text(json.dumps(said))
    overlay = yaml.safe_load((folder / OVERLAY).read_text())
    set_mean(overlay)
    (folder / OVERLAY).write_text(yaml.safe_dump(overlay))
    rehash(folder)
    assert refused(lambda: inspect(folder), set()) is None


def test_these_were_more_than_200_mutations(converted: Path) -> None:
    """Counted as they were refused; alone, this test counts what would be generated."""
    sources = len(SOURCE_MUTATIONS) * len(KINDS)
    files = sum(1 for _ in mutations(stored(converted / "detectron2")))
    assert sum(DONE.values()) >= 200 or sources + files >= 200
    assert Conversion.read(converted / "detectron2" / CONVERSION).target == "detectron2"
