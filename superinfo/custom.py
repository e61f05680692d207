"""What a recipe or an option names by import path: a class, a function or a value of the user's own."""

import importlib
import inspect
import os
import sys
from collections.abc import Callable
from typing import Any, Literal, Self

from pydantic import Field, JsonValue, create_model

from superinfo.errors import UserError
from superinfo.recipes import suggest
from superinfo.spec import Spec


class CustomSpec(Spec):
    """A class or function of the user's own, and its arguments."""

    kind: Literal["custom"]
    target: str = Field(pattern=r"^[\w.]+:\w+$")
    """`module:Name`; the module is installed, or lies in the working directory."""
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    """Arguments by name, those after the first one. They are checked against the types in its signature, and the
    defaults of the others are filled in: all of them are in the run's hash, as the target is."""

    def checked(self, base: type[object] | None = None) -> Self:
        """Return the spec with all settings; `base` is what the target is a class of, None for a function.

        Raises ValueError, for pydantic, if the target is not there, is something else, or takes other arguments.
        """
        try:
            target = imported(self.target)
            if base is not None and not (isinstance(target, type) and issubclass(target, base)):
                raise UserError(f"{self.target} is no class of {base.__module__}:{base.__name__}; inherit from it")
            settings = self._arguments(target)
        except UserError as error:
            raise ValueError(str(error)) from None
        return self.model_copy(update={"settings": settings.model_dump(mode="json")})

    def called(self, first: object) -> Any:
        """Return what the target makes of its first argument and the settings."""
        target = imported(self.target)
        arguments = self._arguments(target)
        return target(first, **{name: getattr(arguments, name) for name in type(arguments).model_fields})

    def _arguments(self, target: Any) -> Spec:
        if not callable(target):
            raise UserError(f"{self.target} can not be called; name a class or a function")
        return _signature(target, self.target).parse(self.settings, self.target)


def imported(target: str) -> Any:
    """Return what `module:name` names. Raises UserError, one line, if there is none."""
    place, _, name = target.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        module = importlib.import_module(place)
    except ModuleNotFoundError as error:
        where = f"neither installed nor in {os.getcwd()}" if error.name in _above(place) else f"which {place} imports"
        raise UserError(f"{target}: no module {error.name}, {where}; correct the name, or install it") from None
    except Exception as error:  # whatever a stranger's module does
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{target}: {place} cannot be imported: {what}; mend it") from None
    if not hasattr(module, name):
        public = [each for each in vars(module) if not each.startswith("_")]
        raise UserError(f"{target}: {module.__file__} has no {name}{suggest(name, public)}")
    return getattr(module, name)


def _above(module: str) -> set[str]:
    """Return the names of a module and of the packages that it is in."""
    parts = module.split(".")
    return {".".join(parts[: count + 1]) for count in range(len(parts))}


def _signature(target: Callable[..., Any], name: str) -> type[Spec]:
    """Return a model of the arguments after the first one."""
    _, *parameters = inspect.signature(target, eval_str=True).parameters.values()
    fields: dict[str, Any] = {}
    for each in parameters:
        if each.kind not in {each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY}:
            raise UserError(f"{name}: takes any arguments by `{each}`; name each, so that a recipe can be checked")
        if each.annotation is each.empty:
            raise UserError(f"{name}: its argument `{each.name}` has no type; annotate it")
        fields[each.name] = (each.annotation, ... if each.default is each.empty else each.default)
    return create_model(name, __base__=Spec, **fields)
