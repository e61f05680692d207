"""What the manifests below a folder say of the pretrainings that its records measured."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from superinfo.artifacts import MANIFEST


def find_manifests(folder: Path) -> dict[str, Path]:
    """Return the manifests below a folder, by the SHA-256 of the encoder's tensors; unreadable ones vouch for none."""
    found = {}
    for path in manifests_below(folder):
        if isinstance(digest := _read(path).get("tensors_sha256"), str):
            found[digest] = path
    return found


def manifests_below(folder: Path) -> list[Path]:
    """Return every manifest's file, in path order."""
    return sorted(folder.rglob(MANIFEST))


def read_recipe_of(manifest: Path) -> dict[str, Any]:
    """Return the pretraining recipe in a manifest, flat: `term.compression` to its value."""
    return flatten(_read(manifest).get("recipe", {}))


def flatten(value: object, prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested mappings, by dotted name."""
    if not isinstance(value, Mapping):
        return {prefix.removesuffix("."): value}
    return {name: leaf for key, part in value.items() for name, leaf in flatten(part, f"{prefix}{key}.").items()}


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
