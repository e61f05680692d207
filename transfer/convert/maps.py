"""The dictionaries of a checkpoint that hold tensors by name."""

from collections.abc import Iterator
from typing import Any

from transfer.convert.formats import Opened
from transfer.convert.tensors import FileTensor

MOST_DEPTH = 6
MOST_NODES = 1_000_000
LONGEST_KEY = 100
"""Of a dictionary within."""

Map = dict[str, FileTensor]
"""Tensors by name."""


def all_maps(content: Any) -> dict[str, Map]:
    """Return the dictionaries with tensors by name, by their path of keys; an optimiser's do not count."""
    return dict(_maps(content))


def _maps(content: Any) -> Iterator[tuple[str, Map]]:
    waiting, seen, nodes = [("", content, 0)], set(), 0
    while waiting:
        path, node, depth = waiting.pop()
        if not isinstance(node, dict) or id(node) in seen or depth > MOST_DEPTH:
            continue
        seen.add(id(node))
        nodes += len(node)
        if nodes > MOST_NODES:
            return
        tensors = {key: value for key, value in node.items() if isinstance(key, str) and is_tensor(value)}
        if tensors:
            yield path, tensors
        waiting += [
            (f"{path}/{key}".strip("/"), value, depth + 1)
            for key, value in node.items()
            if isinstance(value, dict) and isinstance(key, str) and len(key) <= LONGEST_KEY and "optimizer" not in key
        ]


def is_tensor(value: Any) -> bool:
    """Whether a part of a file is a tensor."""
    return hasattr(value, "read") and hasattr(value, "shape")


def facts_of(opened: Opened) -> set[str]:
    """Return the names of a file's top level, and who it says that its author is."""
    content = opened.content
    if not isinstance(content, dict):
        return set()
    names = {key for key in content if isinstance(key, str)}
    author = content.get("__author__")
    return names | {f"__author__={author}"} if isinstance(author, str) else names
