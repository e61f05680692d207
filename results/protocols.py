"""What makes figures comparable, and what differs where they are not."""

import json
from typing import Any, NamedTuple

from results.manifests import describe_changes, flatten
from results.records import Run
from superinfo.artifacts import RECORD

NO_PROTOCOL = (
    *("encoder.", "mean", "std"),
    *("name", "protocol"),
    *("data.root", "data.download", "data.max_seen", "workers", "max_unreadable", "batch_size"),
    *("save_minutes", "task.save_minutes", "pictures", "evaluate_every", "images_per_device", "resources."),
)
"""Fields of a recipe, or their beginnings, that change no result or are told elsewhere: the encoder's, names, and those
that are for the machine."""


class Protocol(NamedTuple):
    """All that figures of one column must have in common."""

    task: str
    dataset: str
    split: str
    samples: int
    protocol: str
    version: int
    protocol_hash: str

    @classmethod
    def of(cls, run: Run) -> "Protocol":
        """Return what a run measured, and how."""
        what = run.what
        return cls(
            what.task,
            what.dataset,
            what.split,
            what.samples,
            what.protocol,
            what.protocol_version,
            run.protocol_hash,
        )

    @property
    def sentence(self) -> str:
        """Return it for a caption, without the final stop."""
        task = self.task.replace("_", " ")
        return (
            f"{task[:1].upper()}{task[1:]} on {self.dataset}, {self.split} split of {self.samples:,} images, "
            f"protocol {self.protocol} v{self.version}"
        )


def describe_difference(run: Run, other: Run) -> str:
    """Say in which respects `run` was measured otherwise than `other`."""
    ours, theirs = Protocol.of(run), Protocol.of(other)
    said = [
        f"{field.replace('_', ' ')} {value} instead of {instead}"
        for field, value, instead in zip(Protocol._fields[:-1], ours, theirs, strict=False)
        if value != instead
    ]
    if ours.protocol_hash != theirs.protocol_hash:
        fields = describe_changes(_recipe(run), _recipe(other), NO_PROTOCOL)
        said += fields or ([] if said else [f"another recipe, {run.recipe}"])
    return "; ".join(said)


def _recipe(run: Run) -> dict[str, Any]:
    """Return the recipe in a run's record, flat; nothing if the file is gone."""
    try:
        return flatten(json.loads((run.folder / RECORD).read_bytes())["recipe"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}
