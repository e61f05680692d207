"""What sets a row's pretraining apart from that of its base beside the term, as their manifests have it."""

from typing import Any

from results.cells import Slot
from results.manifests import Manifests, describe_changes

OF_NO_RESULT = (
    *("data.root", "data.subfolder", "data.download", "workers", "channels_last", "compile", "max_unreadable"),
    *("log_every", "save_minutes", "monitor.", "resources."),
)
"""Fields of a pretraining recipe, or their beginnings, that are not of its identity: they change no result."""
APART = ("name", "term.", "encoder.")
"""What is compared, and what records tell themselves."""


def beside_the_term(slot: Slot, base: Slot, label: str, manifests: Manifests) -> list[str]:
    """Return a footnote of what differs from the base, which has a label; none where either has no manifest."""
    ours, theirs = _recipe(slot, manifests), _recipe(base, manifests)
    if not ours or not theirs:
        return []
    # A field that one alone has came later, and is at its default in the other.
    both = ours.keys() & theirs.keys()
    shared = [{field: recipe[field] for field in both} for recipe in (ours, theirs)]
    said = describe_changes(shared[0], shared[1], (*APART, *OF_NO_RESULT))
    encoders = [side.runs[0].who.encoder.title for side in (slot, base)]
    if encoders[0] != encoders[1]:
        said.insert(0, f"encoder {encoders[0]} instead of {encoders[1]}")
    return [f"Differs from {label} in more than the term: {'; '.join(said)}."] if said else []


def _recipe(slot: Slot, manifests: Manifests) -> dict[str, Any]:
    """Return the recipe that all runs of a slot share."""
    recipes = (manifests.recipe_of(run.who.tensors_sha256) for run in slot.runs if run.who.recipe_hash is not None)
    return next(filter(None, recipes), {})
