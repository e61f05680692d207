"""Typed recipes: strict YAML in, a frozen model out, errors that name file and field."""

import difflib
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from superinfo.errors import UserError

S = TypeVar("S", bound="Spec")


class Spec(BaseModel):
    """A frozen, strictly typed part of a recipe; an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @classmethod
    def parse(cls, value: Any, where: str) -> Self:
        """Validate plain data. Raises UserError, one line, naming `where` and the field."""
        try:  # JSON mode: strict about types, yet a list is a tuple and a string a path
            return cls.model_validate_json(json.dumps(value))
        except ValidationError as error:
            raise UserError(f"{where}: {_explain(cls, error)}") from None


class NotIdentity:
    """Marks, in `Annotated`, a field that does not change a result: a path, workers, threads."""


def load_recipe(model: type[S], source: str | Path, shipped: Path, overrides: Sequence[str] = ()) -> S:
    """Read a recipe by path, or by name from the folder `shipped`, apply `a.b=c` overrides, and validate.

    Raises UserError on a missing file, bad YAML, an unknown field or a wrong type.
    """
    path = find_recipe(source, shipped)
    data = _read_extended(path, ())
    for override in overrides:
        _apply(data, override)
    return model.parse(data, path.name)


def find_recipe(source: str | Path, shipped: Path) -> Path:
    """Return the file that `source` names: a path to a YAML file, or the stem of one in `shipped`."""
    if Path(source).suffix in {".yaml", ".yml"}:
        if Path(source).is_file():
            return Path(source)
        raise UserError(f"{source}: no such recipe file; check the path, or name a shipped recipe")
    path = shipped / f"{source}.yaml"
    if path.is_file():
        return path
    names = sorted(p.stem for p in shipped.glob("*.yaml"))
    raise UserError(f"{source}: no recipe of that name{_suggest(str(source), names)}; shipped: {', '.join(names)}")


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping: `1e-4` is a number, only true and false are booleans, a repeated key is an error."""
    try:
        return _mapping(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file in UTF-8") from None


def identity_hash(spec: Spec, inputs: Sequence[str] = ()) -> str:
    """Return the SHA-256 of a resolved recipe without its NotIdentity fields, and of its input artifacts' hashes."""
    text = json.dumps([identity(spec), list(inputs)], sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def identity(value: Any) -> Any:
    """Return a recipe, or a part of one, as plain data without its NotIdentity fields."""
    if isinstance(value, Spec):
        return {
            name: identity(getattr(value, name))
            for name, field in type(value).model_fields.items()
            if NotIdentity not in field.metadata
        }
    if isinstance(value, Mapping):
        return {str(key): identity(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [identity(item) for item in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _read_extended(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in seen:
        raise UserError(f"{path}: `extends` comes back to this file; break the circle")
    data = read_yaml(path)
    parent = data.pop("extends", None)
    if parent is None:
        return data
    if not isinstance(parent, str):
        raise UserError(f"{path}: `extends` must be the name of a recipe beside this file")
    try:
        base = find_recipe(path.parent / parent if parent.endswith((".yaml", ".yml")) else parent, path.parent)
    except UserError as error:
        raise UserError(f"{path}: `extends`: {error}") from None
    return _merge(_read_extended(base, (*seen, path.resolve())), data)


def _merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in change.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        # Another kind has other fields: it replaces the parent's instead of inheriting them.
        same_kind = both and value.get("kind", merged[key].get("kind")) == merged[key].get("kind")
        merged[key] = _merge(merged[key], value) if same_kind else value
    return merged


def _apply(data: dict[str, Any], override: str) -> None:
    dotted, equals, text = override.partition("=")
    if not equals or not all(keys := dotted.split(".")):
        raise UserError(f"--set {override}: expected a.b=value")
    node = data
    for key in keys[:-1]:
        node = node.setdefault(key, {})
        if not isinstance(node, dict):
            raise UserError(f"--set {override}: `{key}` is a value, not a group of fields")
    node[keys[-1]] = _mapping(f"value: {text}", f"--set {override}")["value"]


def _mapping(text: str, where: str) -> dict[str, Any]:
    try:
        data = yaml.load(text, Loader=_StrictLoader)
    except (yaml.YAMLError, ValueError) as error:  # a tag such as !!int lets Python's own error through
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}:" if mark else ""
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise UserError(f"{where}:{line} not valid YAML: {problem}") from None
    if not isinstance(data, dict):
        raise UserError(f"{where}: expected fields with values, found {type(data).__name__}")
    return data


class _StrictLoader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for i, key in enumerate(keys):
            if key in keys[:i]:
                raise yaml.constructor.ConstructorError(
                    problem=f"`{key}` is given twice", problem_mark=node.value[i][0].start_mark
                )
        return super().construct_mapping(node, deep)


# YAML 1.1 reads 1e-4 as a string, and on, off, yes and no as booleans; this reads them as YAML 1.2 does.
_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":bool", ":float", ":timestamp"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_StrictLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\d+\.\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+)$"),
    list("-+.0123456789"),
)


def _explain(model: type[Spec], error: ValidationError) -> str:
    first = error.errors()[0]
    place, _ = _locate(model, first["loc"])
    field = ".".join(place) or "recipe"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        names = _locate(model, first["loc"][:-1])[1]
        return f"`{field}` is not a field{_suggest(place[-1], names)}; fields here: {', '.join(names)}{more}"
    if first["type"] == "missing":
        return f"`{field}` is missing; add it{more}"
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"`{field}` {message}, got {json.dumps(first['input'], default=str)[:80]}{more}"


def _locate(model: type[Spec], location: Sequence[int | str]) -> tuple[list[str], list[str]]:
    """Return pydantic's location as the file spells it, without the tags of unions, and the field names there."""
    place: list[str] = []
    members = [model]
    for part in location:
        if len(members) > 1 and (tagged := [member for member in members if part in _tags(member)]):
            members = tagged
            continue
        place.append(str(part))
        if members and part in members[0].model_fields:
            members = _specs(members[0].model_fields[str(part)].annotation)
    return place, list(members[0].model_fields) if members else []


def _specs(annotation: Any) -> list[type[Spec]]:
    """Return the models that a field's type speaks of: its own, a union's, a tuple's."""
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        return [annotation]
    return [member for part in get_args(annotation) for member in _specs(part)]


def _tags(model: type[Spec]) -> list[str]:
    return [tag for field in model.model_fields.values() for tag in get_args(field.annotation) if isinstance(tag, str)]


def _suggest(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    return f" (did you mean `{close[0]}`?)" if close else ""
