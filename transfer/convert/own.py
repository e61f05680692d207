"""Files of this project, which say themselves what they hold."""

import json
from pathlib import Path
from typing import Any, TypeVar

from superinfo.architectures import encoder_shapes
from superinfo.artifacts import CheckpointInfo, Pixels, Source
from superinfo.errors import UserError
from transfer.convert.architecture import compare_shapes
from transfer.convert.dialects import detectron2
from transfer.convert.formats import Opened
from transfer.convert.maps import Map
from transfer.convert.reading import NOTHING_GIVEN, Given, Reading
from transfer.convert.sources import Branch, Layout

OWN = "superinfo"
"""This project's own layout, and the key under which its files say what they are."""
OWN_CHECKPOINT = Layout(OWN, "this project", ())
OWN_WEIGHTS = Layout(OWN, "this project, converted to Detectron2", (), dialect=detectron2)
MOST_SAID = 20_000
"""Parts and letters of what a file says of itself."""
S = TypeVar("S", CheckpointInfo, Source)


def read_own(path: Path, opened: Opened, maps: dict[str, Map], branch: Branch | None, given: Given) -> Reading | None:
    """Return the reading of a file of this project; None for any other. Raises UserError if what it says is broken."""
    said = opened.content.get(OWN) if isinstance(opened.content, dict) else None
    info, source, layout = None, None, OWN_CHECKPOINT
    if isinstance(said, dict) and "encoder" in said and "state_dict" in maps:
        info = _parse(CheckpointInfo, said, path)
        where, encoder = "state_dict", info.encoder
        pixels = Pixels(mean=info.mean, std=info.std, channel_order=info.channel_order)
    elif isinstance(said, dict) and "pixels" in said and "model" in maps:
        source = read_source(said, path)
        where, layout, encoder, pixels = "model", OWN_WEIGHTS, source.encoder, source.pixels
    elif OWN in opened.metadata and "" in maps:
        source = read_source(opened.metadata[OWN], path)
        where, encoder, pixels = "", source.encoder, source.pixels
    else:
        return None
    if branch == "target":
        raise UserError(f"{path}: a file of this project, which holds one encoder; leave --branch out")
    if given.model_copy(update={"mean": None, "std": None, "channel_order": None}) != NOTHING_GIVEN:
        raise UserError(f"{path}: a file of this project, which says itself what its encoder is; leave --set out")
    table = layout.dialect()
    keys = {table.get(name, name): name for name in maps[where]}
    spelling = {ours: theirs for theirs, ours in table.items()}
    shapes = {key: tuple(maps[where][name].shape) for key, name in keys.items()}
    faults = compare_shapes(shapes, encoder_shapes(encoder))
    return Reading(
        layouts=(layout,),
        branch=source.branch if source else "online",
        map=where,
        tensors={key: maps[where][name] for key, name in keys.items()},
        keys=keys,
        left={},
        faults={keys.get(key, spelling.get(key, key)): problem for key, problem in faults.items()},
        encoder=encoder,
        found=f"{encoder.arch}, width {encoder.width:g}",
        pixels=given.pixels(pixels),
        info=source.checkpoint if source else info,
        said=source,
    )


def read_source(said: Any, path: Path) -> Source:
    """Return what a converted file says of where its encoder is from. Raises UserError if that is broken."""
    return _parse(Source, said, path)


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
        inner = (
            [*part.keys(), *part.values()]
            if isinstance(part, dict)
            else part
            if isinstance(part, (list, tuple))
            else []
        )
        parts += 1 + len(part if isinstance(part, str) else inner)
        if parts > MOST_SAID:
            return False
        waiting += inner
    return True
