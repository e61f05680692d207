"""Recipe files: found by path or name, extended, varied and overridden; strict YAML in, plain data out.

A recipe may say `extends: NAME`, another one, beside it or shipped, whose fields it inherits; and `variants:`, a
mapping from a variant's name to the fields that it changes. Where there is no file `<head>+<variant>_<tail>.yaml`,
that name means the recipe `<head>_<tail>` with the variant's fields merged over it, and the name as its `name`. A
recipe inherits the variants of the one that it extends. Both rules hold for shipped recipes and, by path, for
anyone's: `mine/simclr+rc_birds.yaml` is the variant `rc` of `mine/simclr_birds.yaml`.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from superinfo.errors import UserError


def read_recipe(
    source: str | Path, shipped: Path, overrides: Sequence[str] = (), kind: str = "recipe"
) -> tuple[dict[str, Any], str]:
    """Return the fields of a recipe, named as for `load_recipe`, and what to call it in messages.

    `kind` is what messages call such a file. Raises UserError if it is not found or its YAML is wrong.
    """
    found = _find(source, shipped)
    if found is None:
        raise UserError(_absent(source, shipped, recipe_names(shipped), kind))
    data = _resolve(found, shipped)
    data.pop("variants", None)
    for override in overrides:
        _apply(data, override)
    return data, found.title


def recipe_names(folder: Path) -> list[str]:
    """Return the names of a folder's recipes, variants included; a file that cannot be read has none.

    A row's name ends in encoder, dataset and epochs: the variant stands before these, behind the first part at least.
    """
    names = set()
    for path in folder.glob("*.yaml"):
        names.add(path.stem)
        if "+" not in path.stem:
            head, *tail = path.stem.rsplit("_", 3)
            names |= {"_".join([f"{head}+{variant}", *tail]) for variant in _variants_or_none(path, folder)}
    return sorted(names)


def parse_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """Return the fields that `a.b=value` texts set. Raises UserError if one is no such text."""
    data: dict[str, Any] = {}
    for override in overrides:
        _apply(data, override)
    return data


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping: `1e-4` is a number, only true and false are booleans, a repeated key is an error."""
    try:
        return _mapping(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file in UTF-8") from None


def suggest(name: str, names: Sequence[str]) -> str:
    """Return, for a message, which of the names may have been meant; empty if none is close."""
    close = difflib.get_close_matches(name, names, n=1)
    return f" (did you mean `{close[0]}`?)" if close else ""


@dataclass(frozen=True)
class _Found:
    path: Path
    variant: str | None = None
    name: str = ""
    """Of the variant."""

    @property
    def title(self) -> str:
        return f"{self.path.name}, variant {self.variant}" if self.variant else self.path.name


def _find(source: str | Path, folder: Path) -> _Found | None:
    path = Path(source) if _is_path(source) else folder / f"{source}.yaml"
    if path.is_file():
        return _Found(path)
    if parts := re.fullmatch(r"([^+]+)\+([^+_]+)(_[^+]*)?", path.stem):
        head, variant, tail = parts.groups(default="")
        base = path.with_name(f"{head}{tail}{path.suffix}")
        if base.is_file():
            return _Found(base, variant, path.stem)
    return None


def _find_by_name(name: str, *folders: Path) -> _Found | None:
    return next(filter(None, (_find(name, folder) for folder in folders)), None)


def _is_path(source: str | Path) -> bool:
    return Path(source).suffix in {".yaml", ".yml"}


def _absent(source: str | Path, folder: Path, names: Sequence[str] = (), kind: str = "recipe") -> str:
    if _is_path(source):
        return f"{source}: no such {kind} file; check the path, or name a shipped {kind}"
    files = sorted(path.stem for path in folder.glob("*.yaml"))
    variants = [name for name in names if name not in files]
    more = f"; and variants, as {variants[0]}" if variants else ""
    if close := suggest(str(source), [*files, *variants]):
        return f"{source}: no {kind} of that name{close}"
    return f"{source}: no {kind} of that name; shipped: {', '.join(files)}{more}"


def _resolve(found: _Found, shipped: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return all fields of a recipe, `variants` still among them."""
    data = _read_extended(found.path, shipped, seen)
    if found.variant is None:
        return data
    variants = data.get("variants", {})
    if found.variant not in variants:
        has = f"its variants: {', '.join(variants)}" if variants else "it has no variants"
        close = suggest(found.variant, list(variants))
        raise UserError(f"{found.name}: no variant `{found.variant}` in {found.path}{close}; {has}")
    return _merge(data, variants[found.variant]) | {"name": found.name}


def _read_extended(path: Path, shipped: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    if path.resolve() in seen:
        raise UserError(f"{path}: `extends` comes back to this file; break the circle")
    data = read_yaml(path)
    _check_variants(data.get("variants", {}), path)
    parent = data.pop("extends", None)
    if parent is None:
        return data
    if not isinstance(parent, str):
        raise UserError(f"{path}: `extends` must be the name of a recipe beside this file, or of a shipped one")
    base = _find(path.parent / parent, path.parent) if _is_path(parent) else _find_by_name(parent, path.parent, shipped)
    if base is None:
        raise UserError(f"{path}: `extends`: {_absent(parent, shipped)}")
    return _merge(_resolve(base, shipped, (*seen, path.resolve())), data)


def _check_variants(variants: Any, path: Path) -> None:
    if not isinstance(variants, dict):
        raise UserError(f"{path}: `variants` must be a mapping from names to the fields that they change")
    for name, fields in variants.items():
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9.-]+", name):
            raise UserError(f"{path}: `variants`: a name is letters, digits, dots and hyphens, not {name!r}")
        if not isinstance(fields, dict):
            raise UserError(f"{path}: `variants.{name}` must be the fields that it changes, got {str(fields)[:80]!r}")
        if fixed := {"name", "extends", "variants"} & fields.keys():
            raise UserError(f"{path}: `variants.{name}` cannot change `{min(fixed)}`; write a recipe of its own")


def _variants_or_none(path: Path, folder: Path) -> list[str]:
    try:
        return list(_read_extended(path, folder).get("variants", {}))
    except UserError:
        return []


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
    except RecursionError:
        raise UserError(f"{where}: not valid YAML: values within values are too deep") from None
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


# A recipe is what JSON can hold.
_StrictLoader.yaml_constructors = {
    tag: construct
    for tag, construct in yaml.SafeLoader.yaml_constructors.items()
    if not str(tag).endswith((":binary", ":timestamp", ":set", ":omap", ":pairs"))
}

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
