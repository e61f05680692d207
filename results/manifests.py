"""What the manifests below a folder say of the pretrainings that its records measured."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Manifests:
    """The manifests below a folder; what is in them is read when it is first asked for."""

    paths: tuple[Path, ...]
    """In their order."""

    @cached_property
    def by_tensors(self) -> dict[str, Path]:
        """Return each by the SHA-256 of its encoder's tensors; unreadable ones vouch for none."""
        digests = ((_read(path).get("tensors_sha256"), path) for path in self.paths)
        return {digest: path for digest, path in digests if isinstance(digest, str)}

    def recipe_of(self, tensors: str | None) -> dict[str, Any]:
        """Return the recipe of the pretraining that an encoder's tensors are of, flat: `term.compression` to its value.

        Empty where no manifest vouches for them.
        """
        path = self.by_tensors.get(tensors or "")
        return {} if path is None else flatten(_read(path).get("recipe", {}))


def flatten(value: object, prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested mappings, by dotted name."""
    if not isinstance(value, Mapping):
        return {prefix.removesuffix("."): value}
    return {name: leaf for key, part in value.items() for name, leaf in flatten(part, f"{prefix}{key}.").items()}


def describe_changes(ours: Mapping[str, Any], theirs: Mapping[str, Any], without: tuple[str, ...]) -> list[str]:
    """Say of two flat recipes which fields differ, but for some, given in full or by their beginnings.

    Of a part that is of another kind, which has other fields, the kind alone is said.
    """
    changed = [field for field in sorted(ours.keys() | theirs.keys()) if ours.get(field) != theirs.get(field)]
    parts = [field.removesuffix("kind") for field in changed if field.endswith(".kind")]
    return [
        f"{field} {ours.get(field)} instead of {theirs.get(field)}"
        for field in changed
        if not field.startswith(without)
        and not any(field.startswith(part) and field != f"{part}kind" for part in parts)
    ]


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
