"""From a checkpoint of anyone to an encoder: which tensors, of which ResNet, fed with which pixels."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args

import torch

from superinfo.architectures import encoder_shapes
from superinfo.artifacts import CheckpointInfo, EncoderSpec, Pixels, Positive, Source
from superinfo.errors import UserError
from superinfo.recipes import parse_overrides, suggest
from superinfo.spec import Spec
from transfer.convert.architecture import Found, compare_shapes, find_architecture
from transfer.convert.dialects import detectron2
from transfer.convert.formats import Opened, open_checkpoint
from transfer.convert.leftovers import why_left
from transfer.convert.maps import Map, all_maps, facts_of
from transfer.convert.sources import LAYOUTS, WRAPPERS, Branch, Layout, Place

MOST_SAID = 20_000
"""Parts and letters of what a file says of itself."""
S = TypeVar("S", CheckpointInfo, Source)
OWN = "superinfo"
"""This project's own layout, and the key under which its files say what they are."""

OWN_CHECKPOINT = Layout(OWN, "this project", ())
OWN_WEIGHTS = Layout(OWN, "this project, converted to Detectron2", (), dialect=detectron2)


class Given(Spec):
    """What the user says of a file where it does not say so itself."""

    prefix: str | None = None
    """Below which a torchvision ResNet lies, in a layout that is not known."""
    stem: Literal["imagenet", "small", "stl"] | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[Positive, Positive, Positive] | None = None
    channel_order: Literal["RGB", "BGR"] | None = None
    stride_in_1x1: bool | None = None

    def pixels(self, known: Pixels) -> Pixels:
        """Return the layout's pixels, but for what is given."""
        return Pixels(
            mean=self.mean or known.mean,
            std=self.std or known.std,
            channel_order=self.channel_order or known.channel_order,
        )


NOTHING_GIVEN = Given()


def parse_facts(overrides: Sequence[str]) -> Given:
    """Read `stem=small` and the like. Raises UserError for an unknown field or a wrong value."""
    return Given.parse(parse_overrides(overrides), "--set")


def parse_branch(name: str | None) -> Branch | None:
    """Raises UserError for a name that is no branch."""
    if name is not None and name not in get_args(Branch):
        raise UserError(f"--branch {name}: choose {' or '.join(get_args(Branch))}")
    return cast(Branch | None, name)


@dataclass(frozen=True)
class Reading:
    """One way to read a file: all of an encoder, in torchvision's keys."""

    layouts: tuple[Layout, ...]
    branch: Branch
    map: str
    """Path of the dictionary that the tensors are in."""
    tensors: Map
    keys: dict[str, str]
    """By torchvision key, the file's."""
    left: dict[str, str]
    """By the file's key, why it is no part of the encoder."""
    faults: dict[str, str]
    """By the file's key, what is wrong."""
    encoder: EncoderSpec | None
    """None where the stem does not follow from the file."""
    found: str
    """The architecture in words."""
    pixels: Pixels
    refused: str = ""
    info: CheckpointInfo | None = None
    made: dict[str, torch.Tensor] = field(default_factory=dict)
    """By torchvision key: tensors that the file leaves out."""

    @property
    def names(self) -> list[str]:
        """Return the layouts' names."""
        return [layout.name for layout in self.layouts]

    def describe(self) -> str:
        """Return what sets it apart from other readings."""
        stem = self.encoder.stem if self.encoder else "unknown"
        stride = ", stride in 1x1" if self.encoder and self.encoder.stride_in_1x1 else ""
        mean = "/".join(f"{value:.3g}" for value in self.pixels.mean)
        std = "/".join(f"{value:.3g}" for value in self.pixels.std)
        where = next(iter(self.keys.values()), "nothing")
        return f"{where}, {stem} stem{stride}, {self.pixels.channel_order}, mean {mean}, std {std}"


def read_encoder(
    path: Path, source: str | None = None, branch: Branch | None = None, given: Given = NOTHING_GIVEN
) -> Reading:
    """Open a checkpoint and find the encoder in it, faults and all.

    Raises UserError for a file that cannot be read, one in which no known layout is found, and one that can be read in
    two ways; the message says which, and how to choose.
    """
    return choose(path, open_checkpoint(path), source, branch, given)


def choose(path: Path, opened: Opened, source: str | None, branch: Branch | None, given: Given) -> Reading:
    """Find the only reading of an opened file, or raise as `read_encoder` does."""
    maps = all_maps(opened.content)
    if source is not None and source != OWN and source not in {layout.name for layout in LAYOUTS}:
        names = [OWN, *(layout.name for layout in LAYOUTS)]
        raise UserError(f"--source {source}: unknown{suggest(source, names)}; choose from {', '.join(names)}")
    if (own := _read_own(path, opened, maps, given)) is not None and source in {None, OWN}:
        return own
    if not any(maps.values()):
        raise UserError(f"{path}: holds no tensors by name; save a state_dict")
    facts = {name for names in maps.values() for name in names} | facts_of(opened)
    layouts = [layout for layout in LAYOUTS if source is None or layout.name == source]
    if given.prefix is not None:
        custom = Layout("given", f"below `{given.prefix}`, as given", (Place(given.prefix),))
        layouts = [custom]
    readings = [
        reading
        for layout in layouts
        if source is not None or given.prefix is not None or (_is_marked(layout, facts) and not layout.only_named)
        for reading in _readings(layout, maps, branch or layout.default, given)
    ]
    if not readings:
        raise UserError(f"{path}: {_unknown(maps, source, branch, layouts)}")
    fewest = min(len(reading.faults) for reading in readings)
    readings = [reading for reading in readings if len(reading.faults) == fewest]
    groups = _grouped([reading for reading in readings if not reading.layouts[0].generic] or readings)
    if len(groups) > 1:
        ways = "; ".join(f"{' or '.join(reading.names)} ({reading.describe()})" for reading in groups)
        raise UserError(f"{path}: can be read in {len(groups)} ways: {ways}; choose by --source NAME")
    return groups[0]


def source_of(path: Path, reading: Reading, tensors_sha256: str) -> Source:
    """Describe a reading that has no faults."""
    assert reading.encoder is not None
    dtypes = {str(t.dtype).removeprefix("torch.") for t in reading.tensors.values() if t.dtype.is_floating_point}
    return Source(
        name=reading.info.name if reading.info else re.sub(r"[^A-Za-z0-9+._-]", "_", path.stem),
        layouts=reading.names,
        branch=reading.branch,
        encoder=reading.encoder,
        pixels=reading.pixels,
        dtype=", ".join(sorted(dtypes)),
        tensors_sha256=tensors_sha256,
        checkpoint=reading.info,
    )


def _read_own(path: Path, opened: Opened, maps: dict[str, Map], given: Given) -> Reading | None:
    """Read a file of this project, which says itself what it holds."""
    said = opened.content.get(OWN) if isinstance(opened.content, dict) else None
    info, layout = None, OWN_CHECKPOINT
    if isinstance(said, dict) and "encoder" in said and "state_dict" in maps:
        info = _parse(CheckpointInfo, said, path)
        where, encoder = "state_dict", info.encoder
        pixels = Pixels(mean=info.mean, std=info.std, channel_order=info.channel_order)
    elif isinstance(said, dict) and "pixels" in said and "model" in maps:
        source = _parse(Source, said, path)
        where, layout, encoder, pixels, info = "model", OWN_WEIGHTS, source.encoder, source.pixels, source.checkpoint
    elif OWN in opened.metadata:
        source = _parse(Source, opened.metadata[OWN], path)
        where, encoder, pixels, info = "", source.encoder, source.pixels, source.checkpoint
    else:
        return None
    table = layout.dialect()
    keys = {table.get(name, name): name for name in maps[where]}
    spelling = {ours: theirs for theirs, ours in table.items()}
    shapes = {key: tuple(maps[where][name].shape) for key, name in keys.items()}
    faults = compare_shapes(shapes, encoder_shapes(encoder))
    return Reading(
        layouts=(layout,),
        branch="online",
        map=where,
        tensors={key: maps[where][name] for key, name in keys.items()},
        keys=keys,
        left={},
        faults={keys.get(key, spelling.get(key, key)): problem for key, problem in faults.items()},
        encoder=encoder,
        found=f"{encoder.arch}, width {encoder.width:g}",
        pixels=given.pixels(pixels),
        info=info,
    )


def _parse(model: type[S], said: Any, path: Path) -> S:
    """Read what a file says of itself: plain data, or its JSON."""
    try:
        plain = json.loads(said) if isinstance(said, str) else said
        if not _is_small(plain):
            raise ValueError
        json.dumps(plain)
    except (TypeError, ValueError, RecursionError):
        raise UserError(f"{path}: what it says of itself under `{OWN}` is broken; make the file anew") from None
    return model.parse(plain, str(path))


def _is_small(plain: Any) -> bool:
    """Whether data has few parts when it is spelt out: one list can be a part of itself, or of many."""
    waiting, parts = [plain], 0
    while waiting:
        part = waiting.pop()
        inner = [*part.keys(), *part.values()] if isinstance(part, dict) else part if isinstance(part, list) else []
        parts += 1 + len(part if isinstance(part, str) else inner)
        if parts > MOST_SAID:
            return False
        waiting += inner
    return True


def _is_marked(layout: Layout, facts: set[str]) -> bool:
    def seen(pattern: str) -> bool:
        return any(re.search(pattern, fact) for fact in facts)

    return all(map(seen, layout.marks)) and not any(map(seen, layout.unless))


def _readings(layout: Layout, maps: dict[str, Map], branch: Branch, given: Given) -> Iterator[Reading]:
    """Yield what a layout makes of each dictionary that holds such an encoder."""
    for path, tensors in maps.items():
        for place in layout.online if branch == "online" else layout.target:
            if path in place.maps and (reading := _reading(layout, path, tensors, place, branch, given)):
                yield reading
                break


def _reading(layout: Layout, path: str, tensors: Map, place: Place, branch: Branch, given: Given) -> Reading | None:
    table = layout.dialect()
    for wrapper in WRAPPERS:
        prefix = wrapper + place.prefix
        inside = _inside(tensors, prefix, place, wrapper)
        keys = {table[key]: name for key, name in inside.items() if key in table}
        if any(key.startswith("layer") and "conv" in key for key in keys):
            break
    else:
        return None
    spelling = {ours: theirs for theirs, ours in table.items()}
    made = _statistics(keys, tensors) if "caffe2" in layout.name else {}
    shapes = {key: tuple(tensors[name].shape) for key, name in keys.items()}
    found = find_architecture(shapes | {key: tuple(tensor.shape) for key, tensor in made.items()})
    faults = {keys.get(key, prefix + spelling.get(key, key)): problem for key, problem in found.faults.items()}
    heads = re.compile(layout.heads or r"(?!)")
    faults |= {
        name: "is in no ResNet of this layout"
        for key, name in inside.items()
        if key not in table and not heads.match(key)
    }
    used = set(keys.values())
    stem = given.stem or ("imagenet" if found.kernel == 7 else layout.small_stem)
    stride = layout.stride_in_1x1 if given.stride_in_1x1 is None else given.stride_in_1x1
    return Reading(
        layouts=(layout,),
        branch=branch,
        map=path,
        tensors={key: tensors[name] for key, name in keys.items()},
        keys=keys,
        left={name: why_left(name, prefix) for name in tensors if name not in used and name not in faults},
        faults=faults,
        encoder=_spec(found, stem, stride),
        found=f"{found.arch}, width {found.width:g}",
        pixels=given.pixels(layout.pixels),
        refused=layout.refused or (layout.refused_small if found.kernel == 3 and given.stem is None else ""),
        made=made,
    )


def _inside(tensors: Map, prefix: str, place: Place, wrapper: str) -> dict[str, str]:
    """Return the names below a place's prefixes, by what comes after."""
    inside = {name.removeprefix(prefix): name for name in tensors if name.startswith(prefix)}
    for further, beginning in place.also:
        start = wrapper + further
        inside |= {name.removeprefix(start): name for name in tensors if name.startswith(start + beginning)}
    return inside


def _spec(found: Found, stem: Literal["imagenet", "small", "stl"] | None, stride_in_1x1: bool) -> EncoderSpec | None:
    if stem is None or (stem == "imagenet") != (found.kernel == 7):
        return None
    bottleneck = not found.arch.endswith(("18", "34"))
    return EncoderSpec(arch=found.arch, stem=stem, width=found.width, stride_in_1x1=stride_in_1x1 and bottleneck)


def _statistics(keys: Mapping[str, str], tensors: Map) -> dict[str, torch.Tensor]:
    """Make the statistics of batch norms that are only an affine map: such that normalising changes nothing."""
    made = {}
    for key in [key for key in keys if key.endswith(".bias")]:
        norm, shape = key.removesuffix(".bias"), tensors[keys[key]].shape
        if f"{norm}.running_mean" not in keys:
            made[f"{norm}.running_mean"] = torch.zeros(shape)
            made[f"{norm}.running_var"] = torch.ones(shape) - 1e-5
    return made


def _grouped(readings: list[Reading]) -> list[Reading]:
    """Join the readings that differ in nothing but their layouts' names."""
    groups: dict[Any, list[Reading]] = {}
    for reading in readings:
        what = (reading.map, tuple(sorted(reading.keys.items())), reading.encoder, reading.pixels, reading.refused)
        groups.setdefault((what[0], what[1], str(what[2]), str(what[3]), what[4]), []).append(reading)
    joined = []
    for group in groups.values():
        layouts = tuple(layout for reading in group for layout in reading.layouts)
        joined.append(Reading(**{**vars(group[0]), "layouts": layouts}))
    return joined


def _unknown(maps: dict[str, Map], source: str | None, branch: Branch | None, layouts: list[Layout]) -> str:
    names = [name for tensors in maps.values() for name in tensors]
    shown = ", ".join(name[:50] for name in names[:3])
    if source is not None:
        return f"not as {source} writes it; it has {shown}, ..."
    if any("attnpool" in name for name in names):
        return "CLIP's ResNet, whose stem and pooling no detector here has"
    if any(re.search(r"cls_token|patch_embed|pos_embed", name) for name in names):
        return "a vision transformer; this converts ResNets"
    if branch == "target":
        return "holds no momentum encoder that is known; leave --branch out"
    if roots := sorted({name.split("layer1.0.conv1.weight")[0] for name in names if "layer1.0.conv1.weight" in name}):
        ways = " or ".join(f"--set prefix={root[:50]}" for root in roots[:4])
        return f"no layout that is known, but a ResNet lies there: {ways} reads it, with ImageNet's mean and std"
    return f"no ResNet in a layout that is known; it has {shown}, ..."
