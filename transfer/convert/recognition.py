"""From a checkpoint of anyone to an encoder: which tensors, of which ResNet, fed with which pixels."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from superinfo.architectures import ARCHITECTURES
from superinfo.artifacts import EncoderSpec
from superinfo.custom import imported
from superinfo.errors import UserError
from superinfo.recipes import suggest
from transfer.convert.architecture import Found, find_architecture
from transfer.convert.formats import Opened, open_checkpoint
from transfer.convert.leftovers import why_left
from transfer.convert.maps import Map, all_maps, facts_of
from transfer.convert.own import OWN, read_own
from transfer.convert.reading import NOTHING_GIVEN, Ambiguous, Given, Reading
from transfer.convert.sources import LAYOUTS, WRAPPERS, Branch, Layout, Place


def read_encoder(
    path: Path, source: str | None = None, branch: Branch | None = None, given: Given = NOTHING_GIVEN
) -> Reading:
    """Open a checkpoint and find the encoder in it, faults and all.

    Raises UserError for a file that cannot be read and one in which no known layout is found, and Ambiguous for one
    that can be read in two ways; the message says which, and how to choose.
    """
    return choose(path, open_checkpoint(path), source, branch, given)


def choose(path: Path, opened: Opened, source: str | None, branch: Branch | None, given: Given) -> Reading:
    """Find the only reading of an opened file, or raise as `read_encoder` does."""
    maps = all_maps(opened.content)
    layouts = _layouts(source)
    if source in {None, OWN} and (own := read_own(path, opened, maps, branch, given)) is not None:
        return own
    if not any(maps.values()):
        raise UserError(f"{path}: holds no tensors by name; save a state_dict")
    facts = {name for names in maps.values() for name in names} | facts_of(opened)
    if given.prefix is not None:
        if source is not None:
            raise UserError(f"{path}: --source {source} knows where the encoder lies; leave --set prefix out")
        where = f"below `{given.prefix}`" if given.prefix else "at the top"
        layouts = [Layout("given", f"{where}, as given", (Place(given.prefix, tuple(maps)),))]
    readings = [
        reading
        for layout in layouts
        if source is not None or given.prefix is not None or (_is_marked(layout, facts) and not layout.only_named)
        for reading in _readings(layout, maps, branch or layout.default, given)
    ]
    if not readings:
        raise UserError(f"{path}: {_unknown(maps, source, branch)}")
    fewest = min(len(reading.faults) for reading in readings)
    readings = [reading for reading in readings if len(reading.faults) == fewest]
    groups = _grouped([reading for reading in readings if not reading.layouts[0].generic] or readings)
    if len(groups) > 1:
        ways = "; ".join(f"{' or '.join(reading.names)} ({reading.describe()})" for reading in groups)
        sources = {reading.layouts for reading in groups}
        remedy = "choose by --source NAME" if len(sources) == len(groups) else "save the one that you mean by itself"
        raise Ambiguous(f"{path}: can be read in {len(groups)} ways: {ways}; {remedy}")
    return groups[0]


def _layouts(source: str | None) -> Sequence[Layout]:
    """Return the layouts that a file may be of: the one that is named, or all that are known."""
    if source is not None and ":" in source:
        layout = imported(source)
        if not isinstance(layout, Layout):
            raise UserError(f"--source {source}: is no Layout of transfer.convert.sources; make it one")
        return [layout]
    names = [OWN, *(layout.name for layout in LAYOUTS)]
    if source is not None and source not in names:
        raise UserError(f"--source {source}: unknown{suggest(source, names)}; choose from {', '.join(names)}")
    return [layout for layout in LAYOUTS if source is None or layout.name == source]


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
        keys = {table[key]: name for name, key in inside.items() if key in table}
        if any(key.startswith("layer") and "conv" in key for key in keys):
            break
    else:
        return None
    used = set(keys.values())
    twice = {name for name, key in inside.items() if key in table and name not in used}
    spelling = {ours: theirs for theirs, ours in table.items()}
    shapes = {key: tuple(tensors[name].shape) for key, name in keys.items()}
    made = _left_out_statistics(shapes) if layout.norms_may_be_affine else {}
    found = find_architecture(shapes | made)
    faults = {keys.get(key, prefix + spelling.get(key, key)): problem for key, problem in found.faults.items()}
    heads, zero = re.compile(layout.heads or r"(?!)"), re.compile(layout.zeros or r"(?!)")
    zeros = {name: tensors[name] for name, key in inside.items() if zero.match(key)}
    faults |= dict.fromkeys(twice, "is there under another name too")
    faults |= {
        name: "is in no ResNet of this layout"
        for name, key in inside.items()
        if key not in table and not heads.match(key) and name not in zeros
    }
    if given.stem is not None and (given.stem == "imagenet") != (found.kernel == 7):
        raise UserError(
            f"--set stem={given.stem}: the stem's convolution is {found.kernel}x{found.kernel}; leave it out"
        )
    if given.stride_in_1x1 and not ARCHITECTURES[found.arch].bottleneck:
        raise UserError(f"--set stride_in_1x1=true: {found.arch} has no 1x1 convolution to stride in; leave it out")
    stem = given.stem or ("imagenet" if found.kernel == 7 else layout.small_stem)
    stride = layout.stride_in_1x1 if given.stride_in_1x1 is None else given.stride_in_1x1
    return Reading(
        layouts=(layout,),
        branch=branch,
        map=path,
        tensors={key: tensors[name] for key, name in keys.items()},
        keys=keys,
        left=dict.fromkeys(zeros, "a bias of zeros")
        | {name: why_left(name, prefix) for name in tensors if name not in used | faults.keys() | zeros.keys()},
        zeros=zeros,
        faults=faults,
        encoder=_spec(found, stem, stride),
        found=f"{found.arch}, width {found.width:g}",
        pixels=given.pixels(layout.pixels),
        refused=layout.refused or (layout.refused_small if found.kernel == 3 else ""),
        made=tuple(made),
    )


def _inside(tensors: Map, prefix: str, place: Place, wrapper: str) -> dict[str, str]:
    """Return the names below a place's prefixes, each with what comes after."""
    inside = {name: name.removeprefix(prefix) for name in tensors if name.startswith(prefix)}
    for further, beginning in place.also:
        start = wrapper + further
        inside |= {name: name.removeprefix(start) for name in tensors if name.startswith(start + beginning)}
    return inside


def _spec(found: Found, stem: Literal["imagenet", "small", "stl"] | None, stride_in_1x1: bool) -> EncoderSpec | None:
    if stem is None:
        return None
    strides = stride_in_1x1 and ARCHITECTURES[found.arch].bottleneck
    return EncoderSpec(arch=found.arch, stem=stem, width=found.width, stride_in_1x1=strides)


def _left_out_statistics(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the statistics of batch norms that are affine maps; none if any norm has statistics."""
    if any(key.endswith(("running_mean", "running_var")) for key in shapes):
        return {}
    norms = {key.removesuffix(".bias"): shape for key, shape in shapes.items() if key.endswith(".bias")}
    return {f"{norm}.{leaf}": shape for norm, shape in norms.items() for leaf in ("running_mean", "running_var")}


def _grouped(readings: list[Reading]) -> list[Reading]:
    """Join the readings that differ in nothing but their layouts' names."""
    groups: dict[object, list[Reading]] = {}
    for one in readings:
        what = (one.map, tuple(sorted(one.keys.items())), one.encoder, one.pixels, one.refused)
        groups.setdefault(what, []).append(one)
    return [replace(group[0], layouts=tuple(one.layouts[0] for one in group)) for group in groups.values()]


def _unknown(maps: dict[str, Map], source: str | None, branch: Branch | None) -> str:
    names = [name for tensors in maps.values() for name in tensors]
    shown = ", ".join(name[:50] for name in names[:3])
    if source is not None:
        wanted = "holds no momentum encoder" if branch == "target" else "not"
        return f"{wanted} as {source} writes it; it has {shown}, ..."
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
