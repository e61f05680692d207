"""Artifacts of one JSON file, and their versions: what an older version of this program wrote is migrated on reading.

`superinfo.record/2` names a schema and its version. Raising a version takes one migration from the version before.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from superinfo.errors import UserError
from superinfo.files import write_json
from superinfo.spec import Spec, protocol_hash

Fields = dict[str, Any]


class JsonArtifact(Spec):
    """A schema that is stored as one JSON file."""

    def write(self, path: Path) -> None:
        """Write the artifact atomically."""
        write_json(path, self.model_dump(mode="json"))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and validate. Raises UserError if the file is missing, or as `from_json` does."""
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise UserError(f"{path}: no such file") from None
        return cls.from_json(content, str(path))

    @classmethod
    def from_json(cls, content: bytes, where: str) -> Self:
        """Validate a file's content, migrated if it is of an older version.

        Raises UserError, naming `where`, if it is broken, of another schema or of a newer version.
        """
        try:
            return cls.model_validate_json(content)
        except ValidationError as error:
            if (migrated := cls._migrated(content, where)) is None:
                raise cls._refusal(error, where) from None
        try:
            return cls.model_validate_json(migrated)
        except ValidationError as error:
            raise cls._refusal(error, where) from None

    @classmethod
    def _migrated(cls, content: bytes, where: str) -> bytes | None:
        """Return the content of an older version in this one's terms; None of anything else."""
        try:
            data = json.loads(content)
            migrated = migrate(data, cls.model_fields["format"].default, where)
        except (ValueError, RecursionError):
            return None
        return None if migrated is data else json.dumps(migrated).encode()

    @classmethod
    def _refusal(cls, error: ValidationError, where: str) -> UserError:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))  # none where it is no JSON at all
        said = [where, f"not a {cls.__name__} of this version", *filter(None, [field]), first["msg"]]
        return UserError(": ".join(said))


def migrate(data: Any, current: str, where: str) -> Any:
    """Return an artifact's JSON as the version `current` of its schema has it.

    What is no artifact of that schema comes back as it is, for its validation to refuse. Raises UserError, naming
    `where`, for a version newer than `current`.
    """
    schema, newest = _version(current)
    while isinstance(data, dict):
        name, version = _version(data.get("format"))
        if name == schema and version > newest:
            told = f"{name}/{version}: newer than this version reads ({newest}): update superinfo"
            raise UserError(f"{where}: {told}")
        step = MIGRATIONS.get(f"{name}/{version}") if name == schema and version < newest else None
        if step is None:
            break
        data = step(data)
    return data


def _version(format: object) -> tuple[str, int]:
    """Return schema and version; of anything else an empty name."""
    parts = re.fullmatch(r"(superinfo\.[a-z]+)/([1-9][0-9]{0,8})", format) if isinstance(format, str) else None
    return (parts[1], int(parts[2])) if parts else ("", 0)


def _manifest_from_1(data: Fields) -> Fields:
    return data | {"format": "superinfo.manifest/2", "command": None}


def _record_from_1(data: Fields) -> Fields:
    recipe = data.get("recipe")
    how = protocol_hash(_identity_in_record_1(recipe if isinstance(recipe, dict) else {}))
    return data | {"format": "superinfo.record/2", "command": None, "protocol_hash": how}


MIGRATIONS: dict[str, Callable[[Fields], Fields]] = {
    "superinfo.manifest/1": _manifest_from_1,
    "superinfo.record/1": _record_from_1,
}
"""Each by the version that it leads from, to the next one."""

NOT_IDENTITY_OF_DETECTION = (
    "data.root",
    "save_minutes",
    "pictures",
    "evaluate_every",
    "images_per_device",
    "resources",
)
NOT_IDENTITY_OF_PROBES = (
    *("data.root", "data.download", "data.max_seen", "task.save_minutes", "batch_size", "workers", "max_unreadable"),
    "resources",
    *(f"data.{part}.{name}" for part in ("train", "validation", "test") for name in ("root", "subfolder", "download")),
)
LATER_IN_DETECTION = {
    "data.max_seen": 0,
    **{f"data.{part}.{name}": value for part in ("train", "test") for name, value in (("share", 1), ("share_seed", 0))},
}
"""Fields that count for a recipe's identity at other values than these alone."""


def _identity_in_record_1(recipe: Mapping[str, Any]) -> Fields:
    """Return what `superinfo.spec.identity` makes of a recipe, from the plain data that records of version 1 have."""
    detection = "config" in recipe
    later = LATER_IN_DETECTION if detection else {}

    def counted(value: Any, place: str) -> Any:
        if not isinstance(value, Mapping):
            return value
        places = {name: f"{place}.{name}".removeprefix(".") for name in value}
        left_out = NOT_IDENTITY_OF_DETECTION if detection else NOT_IDENTITY_OF_PROBES
        return {
            name: counted(part, places[name])
            for name, part in value.items()
            if places[name] not in left_out and not (places[name] in later and part == later[places[name]])
        }

    fields: Fields = counted(recipe, "")
    return fields
