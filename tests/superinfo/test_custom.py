"""What a recipe names by import path is found, checked before anything is trained, and part of the run's hash."""

from pathlib import Path
from typing import Any

import pytest

from superinfo.custom import CustomSpec, imported
from superinfo.datasets.images import CustomImages, open_images
from superinfo.errors import UserError
from superinfo.spec import Spec, identity_hash

MODULE = """
from typing import Annotated, Literal
import numpy as np
from pydantic import Field
from superinfo.datasets.images import InMemory

Share = Annotated[float, Field(ge=0, le=1)]

class Base:
    pass

class Own(Base):
    def __init__(self, first: object, share: Share, sides: tuple[int, int] = (1, 2), name: str = "a") -> None:
        self.given = (first, share, sides, name)

def anything(first, *rest: int): ...
def untyped(first, share): ...
def nothing(first): return None
def short(first): return InMemory(np.zeros((3, 2, 2, 3), np.uint8), np.zeros(2, np.int64), ("a",))
VALUE = 3
"""


@pytest.fixture(autouse=True)
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A module in the working directory, of a name that no other test has imported."""
    name = f"mine_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    (tmp_path / f"{name}_broken.py").write_text("1 / 0")
    (tmp_path / f"{name}_needy.py").write_text("import quite_absent")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def spec(target: str, **settings: Any) -> CustomSpec:
    return CustomSpec.parse({"kind": "custom", "target": target, "settings": settings}, "test")


def checked(target: str, base: type[object] | None = None, **settings: Any) -> CustomSpec:
    return spec(target, **settings).checked(base)


def test_a_class_is_called_with_its_settings_as_its_types_have_them(mine: str) -> None:
    made = spec(f"{mine}:Own", share=1, sides=[3, 4]).called("first")
    assert made.given == ("first", 1.0, (3, 4), "a")


def test_defaults_are_filled_in_and_everything_is_in_the_hash(mine: str) -> None:
    found = checked(f"{mine}:Own", imported(f"{mine}:Base"), share=0.5)
    assert found.settings == {"share": 0.5, "sides": [1, 2], "name": "a"}
    same = checked(f"{mine}:Own", share=0.5, name="a")
    assert identity_hash(found) == identity_hash(same)
    others: list[Spec] = [checked(f"{mine}:Own", share=0.25), spec(f"{mine}:Base", **found.settings)]
    assert len({identity_hash(each) for each in [found, *others]}) == 3


@pytest.mark.parametrize(
    ("target", "settings", "message"),
    [
        ("{mine}:Own", {}, r"`share` is missing; add it"),
        ("{mine}:Own", {"share": 2}, r"`share` should be less than or equal to 1, got 2"),
        (
            "{mine}:Own",
            {"share": 1, "names": "b"},
            r"`names` is not a field \(did you mean `name`\?\); fields here: share,",
        ),
        ("{mine}:Owm", {}, r"has no Owm \(did you mean `Own`\?\)"),
        ("{mine}:VALUE", {}, r"VALUE can not be called; name a class or a function"),
        ("{mine}:anything", {}, r"takes any arguments by `\*rest: int`; name each"),
        ("{mine}:untyped", {}, r"its argument `share` has no type; annotate it"),
        ("{mine}_absent:Own", {}, r"no module \w+_absent, neither installed nor in /\S+; correct the name, or install"),
        ("{mine}.inner:Own", {}, r"no module \w+\.inner, neither installed nor in"),
        ("{mine}_needy:Own", {}, r"no module quite_absent, which \w+_needy imports; correct the name, or install it"),
        ("{mine}_broken:Own", {}, r"_broken cannot be imported: ZeroDivisionError: division by zero; mend it"),
    ],
)
def test_a_mistake_is_one_line(mine: str, target: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        checked(target.format(mine=mine), **settings)
    assert "\n" not in str(caught.value)


def test_a_class_of_another_kind_is_refused_with_the_one_to_inherit_from(mine: str) -> None:
    with pytest.raises(ValueError, match=r":Own is no class of \S+:Path; inherit from it"):
        checked(f"{mine}:Own", Path, share=1)


def test_a_target_that_is_no_path_is_refused_where_it_stands() -> None:
    with pytest.raises(UserError, match=r"test: `target` String should match pattern"):
        spec("Own")


def test_an_image_set_is_looked_at_before_it_is_used(mine: str, tmp_path: Path) -> None:
    for name, message in (
        ("nothing", r":nothing: returns NoneType, not an ImageSet; return ListedFiles, say"),
        ("short", r":short: 3 images and 2 labels; give each one, or -1"),
    ):
        fields = {"kind": "custom", "name": "set", "target": f"{mine}:{name}", "root": str(tmp_path)}
        with pytest.raises(UserError, match=message):
            open_images(CustomImages.parse(fields, "test"), tmp_path)
