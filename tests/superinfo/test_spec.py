"""Recipes: YAML that means what it says, and errors that name file and field."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, model_validator

from superinfo.errors import UserError
from superinfo.recipes import read_yaml, recipe_names
from superinfo.spec import NotIdentity, Spec, identity_hash, load_recipe


class Circle(Spec):
    kind: Literal["circle"]
    radius: float


class Box(Spec):
    kind: Literal["box"]
    width: int
    colour: Literal["red", "blue"] = "red"
    height: int = 1

    @model_validator(mode="after")
    def _is_no_square(self) -> "Box":
        if self.width == self.height:
            raise ValueError("width must differ from height")
        return self


class Part(Spec):
    label: str
    shape: Annotated[Circle | Box, Field(discriminator="kind")] = Circle(kind="circle", radius=1)


class Recipe(Spec):
    name: str
    rate: float = 0.1
    steps: int = 1
    place: Annotated[Path | None, NotIdentity] = None
    shape: Annotated[Circle | Box, Field(discriminator="kind")] = Circle(kind="circle", radius=1)
    parts: tuple[Part, ...] = ()
    options: dict[str, Any] = Field(default_factory=dict)
    weights: dict[str, float] = Field(default_factory=dict)


def write(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def load(folder: Path, text: str, *overrides: str) -> Recipe:
    return load_recipe(Recipe, write(folder, text), folder, overrides)


def refusal(folder: Path, text: str, *overrides: str) -> str:
    """Return the one line with which a recipe is refused."""
    with pytest.raises(UserError) as caught:
        load(folder, text, *overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("-2E3", -2000.0),
        ("+1.5e+2", 150.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("7", 7),
        ("true", True),
        ("false", False),
        ("null", None),
        ("no", "no"),
        ("off", "off"),
        ("yes", "yes"),
        ("True", "True"),
        ("2024-01-01", "2024-01-01"),
        ("1e-4x", "1e-4x"),
        ("e5", "e5"),
        ("'1e-4'", "1e-4"),
    ],
)
def test_a_plain_word_in_yaml_is_read_as_yaml_1_2_reads_it(tmp_path: Path, text: str, value: object) -> None:
    found = read_yaml(write(tmp_path, f"a: {text}"))["a"]
    assert found == value
    assert type(found) is type(value)


def test_a_repeated_key_is_refused_with_file_and_line_at_any_depth(tmp_path: Path) -> None:
    path = write(tmp_path, "a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n")
    with pytest.raises(UserError, match=r"mine\.yaml: line 5: .*`c` is given twice"):
        read_yaml(path)


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words", "3"])
def test_only_a_mapping_is_a_recipe(tmp_path: Path, text: str) -> None:
    assert "mine.yaml: expected fields with values" in refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"a: [1,\n", "line 2"),
        (b"a:\n\tb: 1\n", "line 2"),
        (b"a: !!python/object/apply:os.getcwd []\n", "line 1"),
        (b"a: 1\n---\nb: 2\n", "line 2"),
        (b"a: \x00\n", "not valid YAML"),
        (b"a: !!int many\n", "not valid YAML"),
        (b"a: !!binary aGk=\n", "line 1: not valid YAML"),
        (b"a: !!set {b}\n", "line 1: not valid YAML"),
        (b"a: " + b"[" * 3000 + b"]" * 3000, "not valid YAML: values within values are too deep"),
        (b"a: \xff\xfe\n", "UTF-8"),
    ],
)
def test_what_is_no_yaml_is_refused_in_one_line(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(data)
    with pytest.raises(UserError, match=reason) as caught:
        read_yaml(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_value_that_holds_itself_is_refused(tmp_path: Path) -> None:
    assert "mine.yaml: a value holds itself" in refusal(tmp_path, "epochs: &a [*a]")


def test_extends_merges_groups_of_fields_and_replaces_values(tmp_path: Path) -> None:
    write(tmp_path, "name: a\nrate: 0.5\noptions: {x: {p: 1, q: 2}, l: [1, 2]}\n", "oldest.yaml")
    write(tmp_path, "extends: oldest\nname: b\noptions: {x: {q: 3}}\n", "older.yaml")
    found = load(tmp_path, "extends: older.yaml\nsteps: 9\noptions: {x: {r: 4}, l: [5]}\n")
    assert found == Recipe(name="b", rate=0.5, steps=9, options={"x": {"p": 1, "q": 3, "r": 4}, "l": [5]})


def test_extends_is_looked_up_beside_the_recipe_that_says_it(tmp_path: Path) -> None:
    for folder, rate in (("here", "1.0"), ("shipped", "2.0")):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder, f"name: parent\nrate: {rate}\n", "parent.yaml")
    child = write(tmp_path / "here", "extends: parent\n", "child.yaml")
    assert load_recipe(Recipe, child, tmp_path / "shipped").rate == 1.0


@pytest.mark.parametrize(("parent", "kind"), [("ball_small_blue", "circle"), ("ball+ip_small_blue", "box")])
def test_a_recipe_of_ones_own_extends_a_shipped_one_by_name(tmp_path: Path, parent: str, kind: str) -> None:
    for folder in ("here", "shipped"):
        (tmp_path / folder).mkdir()
    write(tmp_path / "shipped", VARIED, "ball_small_blue.yaml")
    child = write(tmp_path / "here", f"extends: {parent}\nname: mine\n", "child.yaml")
    found = load_recipe(Recipe, child, tmp_path / "shipped")
    assert found.name == "mine"
    assert found.shape is not None
    assert found.shape.kind == kind


def test_a_shipped_recipe_is_suggested_to_one_that_extends_what_is_not_there(tmp_path: Path) -> None:
    for folder in ("here", "shipped"):
        (tmp_path / folder).mkdir()
    write(tmp_path / "shipped", VARIED, "ball_small_blue.yaml")
    child = write(tmp_path / "here", "extends: ball_smal_blue\n", "child.yaml")
    with pytest.raises(UserError, match=re.escape("no recipe of that name (did you mean `ball_small_blue`?)")):
        load_recipe(Recipe, child, tmp_path / "shipped")


def test_extends_in_a_circle_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "extends: mine\n", "other.yaml")
    assert "comes back to this file" in refusal(tmp_path, "extends: other\n")
    assert "comes back to this file" in refusal(tmp_path, "extends: mine.yaml\n")


@pytest.mark.parametrize("parent", ["patent", "patent.yaml"])
def test_extending_what_does_not_exist_is_refused_naming_both_files(tmp_path: Path, parent: str) -> None:
    write(tmp_path, "name: a\n", "parent.yaml")
    message = refusal(tmp_path, f"extends: {parent}\n")
    assert "patent" in message
    assert "mine.yaml" in message
    assert "extends" in message


def test_extends_takes_one_name(tmp_path: Path) -> None:
    assert "mine.yaml: `extends` must be the name" in refusal(tmp_path, "extends: [a, b]\n")


def test_overrides_change_fields_at_any_depth_and_the_last_one_wins(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        "name: a\nshape: {kind: box, width: 3}\n",
        "rate=1e-4",
        "shape.height=7",
        "options.deep.er=[1, no]",
        "steps=4",
        "steps=5",
        "name=a=b",
    )
    assert found.shape == Box(kind="box", width=3, height=7)
    assert (found.name, found.rate, found.steps) == ("a=b", 1e-4, 5)
    assert found.options == {"deep": {"er": [1, "no"]}}


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("steps", "expected a.b=value"),
        ("=3", "expected a.b=value"),
        ("shape..width=3", "expected a.b=value"),
        ("steps.more=3", "`steps` is a value"),
        ("steps={", "not valid YAML"),
    ],
)
def test_an_override_that_cannot_be_applied_is_quoted(tmp_path: Path, override: str, reason: str) -> None:
    message = refusal(tmp_path, "name: a\nsteps: 2\n", override)
    assert message.startswith(f"--set {override}: ")
    assert reason in message


@pytest.mark.parametrize(
    ("override", "field", "suggestion"),
    [
        ("stesp=3", "stesp", "did you mean `steps`?"),
        ("zzz=3", "zzz", "fields here: name, rate, steps"),
        ("shape={kind: box, wodth: 3, width: 2}", "shape.wodth", "did you mean `width`?"),
        ("shape={kind: circle, radius: 1, width: 2}", "shape.width", "fields here: kind, radius"),
        ("parts=[{label: a}, {label: b, labul: c}]", "parts.1.labul", "did you mean `label`?"),
        ("parts=[{label: a, shape: {kind: circle, radius: 1, radios: 2}}]", "parts.0.shape.radios", "`radius`?"),
    ],
)
def test_an_unknown_field_is_refused_as_the_file_spells_it_with_a_close_name(
    tmp_path: Path, override: str, field: str, suggestion: str
) -> None:
    message = refusal(tmp_path, "name: a\n", override)
    assert message.startswith(f"mine.yaml: `{field}` is not a field")
    assert suggestion in message


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("steps=many", '`steps` should be a valid integer, got "many"'),
        ("steps=3.0", "`steps` should be a valid integer, got 3.0"),
        ("steps=true", "`steps` should be a valid integer, got true"),
        ("rate=no", '`rate` should be a valid number, got "no"'),
        ("rate=1e400", "`rate` should be a finite number"),
        ("name=3", "`name` should be a valid string, got 3"),
        ("place=3", "`place`"),
        ("weights={name: x}", '`weights.name` should be a valid number, got "x"'),
        ("parts=[{label: 3}]", "`parts.0.label` should be a valid string, got 3"),
        ("shape={kind: box, width: x}", '`shape.width` should be a valid integer, got "x"'),
        ("shape={kind: box}", "`shape.width` is missing; add it"),
        ("shape={kind: box, width: 1}", "`shape` width must differ from height"),
        ("shape={kind: cone}", "'circle', 'box'"),
    ],
)
def test_a_wrong_value_is_refused_naming_file_field_and_value(tmp_path: Path, override: str, said: str) -> None:
    message = refusal(tmp_path, "name: a\n", override)
    assert message.startswith("mine.yaml: ")
    assert said in message


@pytest.mark.parametrize(
    ("override", "field"), [("shape={radius: 3}", "shape"), ("parts=[{label: a, shape: {radius: 3}}]", "parts.0.shape")]
)
def test_a_kind_that_is_not_given_may_be_chosen(tmp_path: Path, override: str, field: str) -> None:
    expected = f"mine.yaml: `{field}.kind` is missing; choose circle, box"
    assert refusal(tmp_path, "name: a\n", override) == expected


def test_further_faults_are_counted(tmp_path: Path) -> None:
    assert refusal(tmp_path, "steps: a\nrate: b\n").endswith("(and 2 more)")


def test_a_recipe_is_found_by_the_name_of_a_shipped_one(tmp_path: Path) -> None:
    write(tmp_path, "name: a\n", "first.yaml")
    assert load_recipe(Recipe, "first", tmp_path).name == "a"


def test_an_unknown_recipe_name_lists_the_shipped_ones(tmp_path: Path) -> None:
    for name in ("first", "second"):
        write(tmp_path, "name: a\n", f"{name}.yaml")
    with pytest.raises(UserError, match=r"fyrst: no recipe of that name \(did you mean `first`\?\)$"):
        load_recipe(Recipe, "fyrst", tmp_path)
    with pytest.raises(UserError, match=r"gone\.yaml: no such recipe file"):
        load_recipe(Recipe, tmp_path / "gone.yaml", tmp_path)


VARIED = """
name: ball_small_blue
shape: {kind: circle, radius: 2}
options: {x: {p: 1}}
variants:
  rc: {shape: {radius: 3}, options: {x: {q: 2}}}
  ip: {shape: {kind: box, width: 5}}
"""


def test_a_variant_merges_its_fields_over_the_recipe_and_bears_the_full_name(tmp_path: Path) -> None:
    write(tmp_path, VARIED, "ball_small_blue.yaml")
    base = Recipe(name="ball_small_blue", shape=Circle(kind="circle", radius=2), options={"x": {"p": 1}})
    rc = base.model_copy(
        update={
            "name": "ball+rc_small_blue",
            "shape": Circle(kind="circle", radius=3),
            "options": {"x": {"p": 1, "q": 2}},
        }
    )
    ip = base.model_copy(update={"name": "ball+ip_small_blue", "shape": Box(kind="box", width=5)})
    for recipe in (base, rc, ip):
        assert load_recipe(Recipe, recipe.name, tmp_path) == recipe
        assert load_recipe(Recipe, tmp_path / f"{recipe.name}.yaml", Path("elsewhere")) == recipe, "a user's own file"


def test_a_variant_of_a_name_without_parts_stands_at_its_end(tmp_path: Path) -> None:
    write(tmp_path, "name: mine\nvariants: {fast: {rate: 2.0}}\n")
    assert load_recipe(Recipe, tmp_path / "mine+fast.yaml", tmp_path) == Recipe(name="mine+fast", rate=2.0)


def test_a_file_of_its_own_goes_before_a_variant(tmp_path: Path) -> None:
    write(tmp_path, VARIED, "ball_small_blue.yaml")
    write(tmp_path, "name: own\n", "ball+rc_small_blue.yaml")
    assert load_recipe(Recipe, "ball+rc_small_blue", tmp_path).name == "own"


def test_overrides_change_a_variant(tmp_path: Path) -> None:
    write(tmp_path, VARIED, "ball_small_blue.yaml")
    found = load_recipe(Recipe, "ball+ip_small_blue", tmp_path, ["shape.height=7", "steps=3"])
    assert (found.shape, found.steps) == (Box(kind="box", width=5, height=7), 3)


def test_a_recipe_inherits_variants_and_may_change_them(tmp_path: Path) -> None:
    write(tmp_path, VARIED, "ball_small_blue.yaml")
    write(
        tmp_path,
        "extends: ball_small_blue\nname: ball_big_red\nvariants: {ip: {shape: {height: 9}}, lbe: {steps: 8}}\n",
        "ball_big_red.yaml",
    )
    assert load_recipe(Recipe, "ball_big_red", tmp_path).shape == Circle(kind="circle", radius=2)
    assert load_recipe(Recipe, "ball+rc_big_red", tmp_path).shape == Circle(kind="circle", radius=3)
    assert load_recipe(Recipe, "ball+ip_big_red", tmp_path).shape == Box(kind="box", width=5, height=9)
    assert load_recipe(Recipe, "ball+lbe_big_red", tmp_path).steps == 8
    assert load_recipe(Recipe, "ball+ip_small_blue", tmp_path).shape == Box(kind="box", width=5)


@pytest.mark.parametrize("parent", ["ball+ip_small_blue", "ball+ip_small_blue.yaml"])
def test_a_recipe_may_extend_a_variant(tmp_path: Path, parent: str) -> None:
    write(tmp_path, VARIED, "ball_small_blue.yaml")
    found = load(tmp_path, f"extends: {parent}\nname: mine\nshape: {{height: 4}}\n")
    assert (found.name, found.shape) == ("mine", Box(kind="box", width=5, height=4))


def test_the_names_of_a_folder_are_those_of_files_and_variants(tmp_path: Path) -> None:
    write(tmp_path, VARIED, "big_ball_r18_tiny_6e.yaml")
    write(tmp_path, "extends: big_ball_r18_tiny_6e\n", "ball_blue.yaml")
    write(tmp_path, "extends: big_ball_r18_tiny_6e\n", "ball+own_blue.yaml")
    write(tmp_path, "name: [", "broken.yaml")
    names = recipe_names(tmp_path)
    assert names == [
        "ball+ip_blue",
        "ball+own_blue",
        "ball+rc_blue",
        "ball_blue",
        "big_ball+ip_r18_tiny_6e",
        "big_ball+rc_r18_tiny_6e",
        "big_ball_r18_tiny_6e",
        "broken",
    ]
    for name in set(names) - {"broken"}:
        load_recipe(Recipe, name, tmp_path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ball+rcc_small_blue", r"no variant `rcc` in .*did you mean `rc`.*its variants: rc, ip"),
        ("plain+rc", r"no variant `rc` in .*plain\.yaml; it has no variants"),
        ("ball+rc_smol_blue", r"no recipe of that name \(did you mean `ball\+rc_small_blue`\?\)$"),
        ("cube", r"no recipe of that name; shipped: ball_small_blue, plain; and variants, as ball\+ip_small_blue$"),
    ],
)
def test_a_variant_that_does_not_exist_is_refused_with_those_that_do(tmp_path: Path, name: str, said: str) -> None:
    write(tmp_path, VARIED, "ball_small_blue.yaml")
    write(tmp_path, "name: plain\n", "plain.yaml")
    with pytest.raises(UserError, match=rf"^{re.escape(name)}: {said}") as caught:
        load_recipe(Recipe, name, tmp_path)
    assert "\n" not in str(caught.value)
    assert name in refusal(tmp_path, f"extends: {name}\n")


@pytest.mark.parametrize(
    ("variants", "said"),
    [
        ("[rc]", "`variants` must be a mapping"),
        ("null", "`variants` must be a mapping"),
        ("{rc: 3}", "`variants.rc` must be the fields that it changes, got '3'"),
        ("{rc: null}", "`variants.rc` must be the fields"),
        ("{a_b: {}}", "a name is letters, digits, dots and hyphens, not 'a_b'"),
        ("{3: {}}", "not 3"),
        ("{rc: {name: b}}", "`variants.rc` cannot change `name`"),
        ("{rc: {variants: {}}}", "`variants.rc` cannot change `variants`"),
        ("{rc: {extends: b}}", "`variants.rc` cannot change `extends`"),
    ],
)
def test_variants_that_are_none_are_refused_naming_the_file(tmp_path: Path, variants: str, said: str) -> None:
    text = f"name: a\nvariants: {variants}\n"
    assert "mine.yaml: " in refusal(tmp_path, text)
    assert said in refusal(tmp_path, text)


def test_a_wrong_field_of_a_variant_is_refused_naming_file_and_variant(tmp_path: Path) -> None:
    write(tmp_path, "name: a\nvariants: {rc: {stesp: 3}}\n", "mine_x.yaml")
    assert load_recipe(Recipe, "mine_x", tmp_path).name == "a"
    with pytest.raises(UserError, match=r"^mine_x\.yaml, variant rc: `stesp` is not a field"):
        load_recipe(Recipe, "mine+rc_x", tmp_path)


def test_a_recipe_cannot_be_changed_once_it_is_read() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Recipe(name="a").steps = 3  # type: ignore[misc]


BASE: dict[str, Any] = {"name": "a", "shape": {"kind": "box", "width": 3}, "parts": [{"label": "x"}]}


def hash_of(*inputs: str, **changes: object) -> str:
    return identity_hash(Recipe.parse(BASE | changes, "test"), inputs)


def test_the_hash_is_that_of_the_resolved_recipe() -> None:
    assert hash_of(steps=1, rate=0.1) == hash_of(), "a default spelt out is no change"
    assert hash_of(rate=1) == hash_of(rate=1.0)
    assert hash_of(options={"p": 1, "q": 2}) == hash_of(options={"q": 2, "p": 1})
    assert len(hash_of()) == 64


def test_the_hash_leaves_out_what_does_not_change_a_result() -> None:
    assert hash_of(place="/data") == hash_of(place="/other") == hash_of()


@pytest.mark.parametrize(
    "change",
    [
        {"name": "b"},
        {"rate": 0.2},
        {"steps": 2},
        {"shape": {"kind": "box", "width": 4}},
        {"shape": {"kind": "circle", "radius": 3}},
        {"parts": []},
        {"parts": [{"label": "y"}]},
        {"parts": [{"label": "x"}, {"label": "x"}]},
        {"options": {"p": 1}},
    ],
)
def test_the_hash_changes_with_every_other_field(change: dict[str, object]) -> None:
    assert hash_of(**change) != hash_of()


def test_the_hash_changes_with_the_inputs() -> None:
    assert len({hash_of(), hash_of("a"), hash_of("b"), hash_of("a", "b"), hash_of("ab")}) == 5
