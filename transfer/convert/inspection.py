"""What a checkpoint holds, and whether a converted folder is still proven: `superinfo inspect`."""

import math
from pathlib import Path
from typing import Literal

from superinfo.artifacts import EncoderSpec, Loaded, Pixels, tensors_sha256
from superinfo.errors import EvidenceRefused, UserError
from superinfo.listing import listed
from superinfo.spec import Spec
from transfer.convert.export import load_reading
from transfer.convert.formats import open_checkpoint
from transfer.convert.maps import all_maps
from transfer.convert.reading import NOTHING_GIVEN, Given, Reading
from transfer.convert.recognition import choose
from transfer.convert.sources import Branch
from transfer.convert.targets import TARGETS
from transfer.convert.verify import prove_again


class Part(Spec):
    """Tensors of a file that have one purpose."""

    purpose: str
    tensors: int
    elements: int
    dtypes: list[str]


class FoundCheckpoint(Spec):
    """A checkpoint."""

    kind: Literal["checkpoint"] = "checkpoint"
    file: str
    file_format: str
    layouts: list[str]
    titles: list[str]
    branch: str
    architecture: str
    encoder: EncoderSpec | None
    """None where the stem's stride does not follow from the file."""
    pixels: Pixels
    parts: list[Part]
    problem: str | None
    """Why it does not convert; None if nothing is wrong."""
    tensors_sha256: str | None
    """Of the encoder."""
    targets: dict[str, str]
    """By name, `yes` or why not."""


class FoundConversion(Spec):
    """A converted folder, proven again."""

    kind: Literal["conversion"] = "conversion"
    folder: str
    target: str
    layouts: list[str]
    branch: str
    encoder: EncoderSpec
    pixels: Pixels
    tensors_sha256: str
    loaded: dict[str, Loaded]
    feature_difference: dict[str, float]


Found = FoundCheckpoint | FoundConversion


def inspect(path: Path, source: str | None = None, branch: Branch | None = None, given: Given = NOTHING_GIVEN) -> Found:
    """Return what lies at a path.

    Raises UserError for what is neither a checkpoint nor a converted folder, and for a checkpoint that can be read in
    two ways; EvidenceRefused for a converted folder that is no longer what its evidence says.
    """
    if path.is_dir():
        return _conversion(path)
    return _checkpoint(path, source, branch, given)


def render(found: Found) -> str:
    """Return a listing for people."""
    return listed(_rows(found))


def _conversion(folder: Path) -> FoundConversion:
    recorded, found = prove_again(folder)
    source = recorded.source
    return FoundConversion(
        folder=str(folder),
        target=recorded.target,
        layouts=source.layouts,
        branch=source.branch,
        encoder=source.encoder,
        pixels=source.pixels,
        tensors_sha256=source.tensors_sha256,
        loaded=found.loaded,
        feature_difference=found.difference,
    )


def _checkpoint(path: Path, source: str | None, branch: Branch | None, given: Given) -> FoundCheckpoint:
    opened = open_checkpoint(path)
    reading = choose(path, opened, source, branch, given)
    problem, digest = None, None
    try:
        digest = tensors_sha256(load_reading(path, reading).state_dict())
    except (UserError, EvidenceRefused) as error:
        problem = str(error).removeprefix(f"{path}: ")
    encoder = reading.encoder
    return FoundCheckpoint(
        file=str(path),
        file_format=opened.format,
        layouts=reading.names,
        titles=[layout.title for layout in reading.layouts],
        branch=reading.branch,
        architecture=reading.found,
        encoder=encoder,
        pixels=reading.pixels,
        parts=_parts(reading, opened.content),
        problem=problem,
        tensors_sha256=digest,
        targets={
            name: (target.refuse(encoder) or "yes") if encoder and problem is None else "not as it is"
            for name, target in TARGETS.items()
        },
    )


def _parts(reading: Reading, content: object) -> list[Part]:
    """Group all tensors of the file by what they are: of the encoder, of the rest of its map, of other maps."""
    groups: dict[str, list[tuple[tuple[int, ...], str]]] = {}

    def add(purpose: str, tensor: object) -> None:
        shape, dtype = getattr(tensor, "shape", ()), str(getattr(tensor, "dtype", ""))
        groups.setdefault(purpose, []).append((tuple(shape), dtype.removeprefix("torch.")))

    used = set(reading.keys.values())
    for where, tensors in all_maps(content).items():
        for name, tensor in tensors.items():
            if where == reading.map and name in used:
                add(f"the encoder, {_where(used)}", tensor)
            elif where == reading.map:
                add(reading.left.get(name) or f"wrong: {reading.faults.get(name, 'not read')}", tensor)
            else:
                add(f"in `{where}`", tensor)
    return [
        Part(
            purpose=purpose,
            tensors=len(found),
            elements=sum(math.prod(shape) for shape, _ in found),
            dtypes=sorted({dtype for _, dtype in found}),
        )
        for purpose, found in groups.items()
    ]


def _where(names: set[str]) -> str:
    """Say which dotted prefix all names share."""
    shared = []
    for column in zip(*(name.split(".") for name in sorted(names)), strict=False):
        if len(set(column)) > 1:
            break
        shared.append(column[0])
    return f"below `{'.'.join(shared)}.`" if shared else "at the top"


def _rows(found: Found) -> list[tuple[str, str]]:
    encoder = found.encoder.title if found.encoder else "its 3x3 stem does not show its stride"
    pixels = found.pixels
    mean, std = (", ".join(f"{value:.4g}" for value in values) for values in (pixels.mean, pixels.std))
    shared = [("encoder", encoder), ("pixels", f"{pixels.channel_order}, mean {mean}; std {std}")]
    if isinstance(found, FoundConversion):
        return [
            ("converted", f"{found.folder}, to {found.target}"),
            ("from", f"{' or '.join(found.layouts)}, {found.branch} encoder"),
            *shared,
            *((name, f"{part.matched} of {part.tensors} tensors matched") for name, part in found.loaded.items()),
            *((stage, f"features differ by {value:.1e}") for stage, value in found.feature_difference.items()),
            ("sha256", found.tensors_sha256),
            ("proven", "yes, again"),
        ]
    return [
        ("file", f"{found.file} ({found.file_format})"),
        ("written by", "; ".join(f"{name}: {title}" for name, title in zip(found.layouts, found.titles, strict=True))),
        ("branch", found.branch),
        *shared,
        *((f"{part.tensors} tensors", _describe(part)) for part in found.parts),
        ("sha256", found.tensors_sha256 or "none"),
        *((f"to {name}", answer) for name, answer in found.targets.items()),
        *([("problem", found.problem)] if found.problem else []),
    ]


def _describe(part: Part) -> str:
    return f"{part.purpose}: {part.elements:,} values, {', '.join(part.dtypes)}"
