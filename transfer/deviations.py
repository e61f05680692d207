"""What a run changes of the shipped recipe of its name: the deviations that its record states."""

from pathlib import Path
from typing import Any

from superinfo.recipes import recipe_names
from superinfo.spec import Spec, identity, load_recipe

OF_THE_ENCODER = ("encoder.", "mean", "std")
"""Fields that say who starts from random weights, as the record does elsewhere: no part of a protocol."""

UNSAID = "the default"
"""What holds where a recipe does not have the field: an option that it leaves to its config."""


def deviations(recipe: Spec, name: str, shipped: Path) -> list[str]:
    """Say what a recipe changes of the one of its name in the folder `shipped`; nothing for one of the user's own."""
    if name not in recipe_names(shipped):
        return []
    protocol = _flatten(identity(load_recipe(type(recipe), name, shipped)))
    changed = _flatten(identity(recipe))
    return [
        f"{field}: {changed.get(field, UNSAID)} instead of {protocol.get(field, UNSAID)}"
        for field in sorted(protocol.keys() | changed.keys())
        if protocol.get(field, UNSAID) != changed.get(field, UNSAID) and not field.startswith(OF_THE_ENCODER)
    ]


def _flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix.removesuffix("."): value}
    return {key: leaf for name, part in value.items() for key, leaf in _flatten(part, f"{prefix}{name}.").items()}
