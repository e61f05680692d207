"""Typed recipes: strict YAML in, a frozen model out, errors that name file and field."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from superinfo.errors import UserError
from superinfo.recipes import read_recipe, suggest

S = TypeVar("S", bound="Spec")


class Spec(BaseModel):
    """A frozen, strictly typed part of a recipe; an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @classmethod
    def parse(cls, value: Any, where: str) -> Self:
        """Validate plain data. Raises UserError, one line, naming `where` and the field."""
        try:
            text = json.dumps(value)
        except (ValueError, RecursionError):  # by an alias of YAML's, or very deep
            raise UserError(f"{where}: a value holds itself, or too many others within others") from None
        try:  # JSON mode: strict about types, yet a list is a tuple and a string a path
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise UserError(f"{where}: {_explain(cls, error)}") from None


class NotIdentity:
    """Marks, in `Annotated`, a field that does not change a result: a path, workers, threads."""


class Later:
    """Marks, in `Annotated`, a field that came later: at its default it is not hashed, so older runs stay valid."""


def load_recipe(
    model: type[S], source: str | Path, shipped: Path, overrides: Sequence[str] = (), kind: str = "recipe"
) -> S:
    """Read a recipe by path, or by name from the folder `shipped`, apply `a.b=c` overrides, and validate.

    A name, or a path, may be that of a variant: see `superinfo.recipes`. `kind` is what messages call such a file.
    Raises UserError on a missing file, bad YAML, an unknown field or a wrong type.
    """
    data, where = read_recipe(source, shipped, overrides, kind)
    return model.parse(data, where)


def identity_hash(spec: Spec, inputs: Sequence[str] = ()) -> str:
    """Return the SHA-256 of a resolved recipe without its NotIdentity fields, and of its input artifacts' hashes."""
    text = json.dumps([identity(spec), list(inputs)], sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


OF_WHOM = ("name", "encoder", "mean", "std", "weights")
"""Fields of a recipe that measures which are its name, or say what is measured where the encoder does not."""


def protocol_hash(fields: Mapping[str, Any]) -> str:
    """Return the SHA-256 of how a recipe measures, from `identity(recipe)`: equal hashes make figures comparable."""
    how = {name: value for name, value in fields.items() if name not in OF_WHOM}
    return hashlib.sha256(json.dumps(how, sort_keys=True, allow_nan=False).encode()).hexdigest()


def identity(value: Any) -> Any:
    """Return a recipe, or a part of one, as plain data without its NotIdentity fields."""
    if isinstance(value, Spec):
        return {
            name: identity(getattr(value, name))
            for name, field in type(value).model_fields.items()
            if NotIdentity not in field.metadata
            and not (Later in field.metadata and getattr(value, name) == field.default)
        }
    if isinstance(value, Mapping):
        return {str(key): identity(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [identity(item) for item in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _explain(model: type[Spec], error: ValidationError) -> str:
    first = error.errors()[0]
    place, members = _locate(model, first["loc"])
    field = ".".join(place)[:100] or "recipe"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        names = [name for member in _locate(model, first["loc"][:-1])[1][:1] for name in member.model_fields]
        return f"`{field}` is not a field{suggest(place[-1], names)}; fields here: {', '.join(names)}{more}"
    if first["type"] == "union_tag_not_found":
        name = first["ctx"]["discriminator"].strip("'")
        tags = [tag for member in members for tag in get_args(member.model_fields[name].annotation)]
        return f"`{field}.{name}` is missing; choose {', '.join(tags)}{more}"
    if first["type"] == "missing":
        return f"`{field}` is missing; add it{more}"
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"`{field}` {message}, got {json.dumps(first['input'], default=str)[:80]}{more}"


def _locate(model: type[Spec], location: Sequence[int | str]) -> tuple[list[str], list[type[Spec]]]:
    """Return pydantic's location as the file spells it, without its own tags, and the models that may be there."""
    place: list[str] = []
    members = [model]
    for part in location:
        if len(members) > 1 and (tagged := [member for member in members if part in _tags(member)]):
            members = tagged
            continue
        if part != "[key]":
            place.append(str(part))
        if members and part in members[0].model_fields:
            members = _specs(members[0].model_fields[str(part)].annotation)
    return place, members


def _specs(annotation: Any) -> list[type[Spec]]:
    """Return the models that a field's type speaks of: its own, a union's, a tuple's."""
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        return [annotation]
    return [member for part in get_args(annotation) for member in _specs(part)]


def _tags(model: type[Spec]) -> list[str]:
    return [tag for field in model.model_fields.values() for tag in get_args(field.annotation) if isinstance(tag, str)]
