"""A recipe's `options`: changes to a Detectron2 config by dotted names, each of the type that is there."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from detectron2.config import CfgNode
from pydantic import JsonValue

from superinfo.errors import UserError
from superinfo.recipes import suggest

REFUSALS = (
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    OverflowError,
    TypeError,
    ValueError,
    ZeroDivisionError,
)
"""What Detectron2 raises where the parts of a config do not fit together; none of it is a failure of the machine."""
REMEDY = "correct the recipe's `options` or `config`"
NUMBER = "a number"


def apply_options(cfg: CfgNode, options: Mapping[str, Any]) -> None:
    """Change a config by dotted names. Raises UserError for an unknown option or one of the wrong type."""
    for name, value in options.items():
        node, key = _find(cfg, name)
        node[key] = _converted(value, node[key], name)


def flatten(cfg: CfgNode, prefix: str = "") -> dict[str, Any]:
    """Return a config's options by dotted name."""
    found: dict[str, Any] = {}
    for name, value in cfg.items():
        found |= flatten(value, f"{prefix}{name}.") if isinstance(value, CfgNode) else {f"{prefix}{name}": value}
    return found


def refusal(what: str, error: BaseException, remedy: str = REMEDY) -> UserError:
    """Return what to tell of one of the REFUSALS: `what` went wrong, and the last line of Detectron2's reason."""
    reason = (str(error).strip().splitlines() or [""])[-1].strip().strip("'\"")
    told = f"{type(error).__name__}: {reason[:200]}" if reason else type(error).__name__
    return UserError(f"{what} ({told}); {remedy}")


@contextmanager
def refused(what: str, remedy: str = REMEDY) -> Iterator[None]:
    """Within the context each of the REFUSALS is a UserError: `what` could not be done with this config."""
    try:
        yield
    except REFUSALS as error:
        raise refusal(what, error, remedy) from error


def _find(cfg: CfgNode, name: str) -> tuple[CfgNode, str]:
    *groups, key = name.split(".")
    node: Any = cfg
    for group in groups:
        node = node.get(group) if isinstance(node, CfgNode) else None
    if not isinstance(node, CfgNode) or key not in node:
        raise UserError(f"options: {name} is no option of Detectron2{suggest(name, list(flatten(cfg)))}")
    if isinstance(node[key], CfgNode):
        raise UserError(f"options: {name} is a group of options: name one of them, {', '.join(sorted(node[key]))}")
    return node, key


def _converted(value: Any, before: JsonValue | tuple[Any, ...], name: str) -> Any:
    """Return a value as the type of the one before; a whole number is a fraction too, and a list a tuple."""
    if isinstance(before, (list, tuple)):
        wanted = {_kind(leaf) for leaf in _leaves(before)}
        fits = isinstance(value, (list, tuple)) and (not wanted or {_kind(leaf) for leaf in _leaves(value)} <= wanted)
        told = "a list of numbers" if wanted == {NUMBER} else "a list"
    elif isinstance(before, float):
        fits, told = _kind(value) == NUMBER, NUMBER
    elif isinstance(before, int) and not isinstance(before, bool):
        fits, told = isinstance(value, int) and not isinstance(value, bool), "a whole number"
    else:
        fits, told = before is None or _kind(value) == _kind(before), _kind(before)
    if not fits:
        raise UserError(f"options: {name} must be {told}, as {before!r}, got {str(value)[:80]!r}")
    return value if before is None else type(before)(value)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple)):
        for part in value:
            yield from _leaves(part)
    else:
        yield value


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return NUMBER if math.isfinite(value) else "no number"
    return "a text" if isinstance(value, str) else type(value).__name__
