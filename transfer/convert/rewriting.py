"""Files of weights for another library to load, written anew: its unpickler sees nothing that a stranger wrote."""

import math
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from superinfo.errors import UserError
from transfer.convert.formats import Opened, open_checkpoint
from transfer.convert.maps import is_tensor
from transfer.convert.tensors import FileTensor, Malformed

TIED = 2
"""How many times the size of their file tensors may take: some are there under two names."""


@contextmanager
def rewritten(weights: Path) -> Iterator[Path]:
    """Yield a file of the same name, tensors, texts and numbers, of this process's writing, removed in the end.

    Dictionaries are kept where they hold these, as Detectron2's `model` does, but none within them. A file of
    safetensors, in which nothing can be run, is yielded as it is. Raises UserError for one that cannot be read.
    """
    opened = open_checkpoint(weights)
    if opened.format == "safetensors":
        yield weights
        return
    if not isinstance(opened.content, dict):
        raise UserError(f"{weights}: holds no tensors by name; save a state_dict")
    with TemporaryDirectory(prefix="superinfo-") as folder:
        copy = Path(folder) / weights.name
        try:
            _write(copy, opened, most=TIED * weights.stat().st_size)
        except Malformed as error:
            raise UserError(f"{weights}: a tensor {error}; convert the checkpoint anew") from None
        yield copy


def _write(copy: Path, opened: Opened, most: int) -> None:
    if opened.format != "pickle":
        torch.save(_copied(opened.content, _tensor, most), copy)
        return
    with copy.open("wb") as file:
        pickle.dump(_copied(opened.content, lambda stored: stored.read().numpy(), most), file, protocol=4)


def _tensor(stored: FileTensor) -> torch.Tensor:
    return stored.read().clone(memory_format=torch.contiguous_format)  # of a view, torch would save all that it views


def _copied(content: dict[Any, Any], make: Callable[[FileTensor], Any], most: int) -> dict[str, Any]:
    """Return what is kept of a file's content, its tensors made by `make`; what is there twice is made once.

    Raises Malformed if tensors take more than `most` bytes: many may be views of one storage.
    """
    made: dict[int, Any] = {}
    total = 0

    def tensor(stored: FileTensor) -> Any:
        nonlocal total
        total += math.prod(stored.shape) * stored.dtype.itemsize
        if total > most:
            raise Malformed("is one too many: together they are larger than their file")
        return make(stored)

    def once(part: Any, copy: Callable[[Any], Any]) -> Any:
        if id(part) not in made:
            made[id(part)] = copy(part)
        return made[id(part)]

    def flat(part: dict[Any, Any]) -> dict[str, Any]:
        kept = {name: value for name, value in part.items() if isinstance(name, str)}
        return {
            name: once(value, tensor) if is_tensor(value) else value
            for name, value in kept.items()
            if is_tensor(value) or value is None or isinstance(value, (str, int, float))
        }

    groups = {name: part for name, part in content.items() if isinstance(name, str) and isinstance(part, dict)}
    return flat(content) | {name: once(part, flat) for name, part in groups.items()}
