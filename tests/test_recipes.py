"""Every shipped recipe opens with its claim, parses, builds, and is what its name and its sources say."""

import re
from functools import cache
from pathlib import Path

import pytest
import torch

from benchmarks.suite import SUITES
from pretrain.model import Pretraining
from pretrain.model import build_model as build_pretraining
from pretrain.optimizer import build_optimizer
from pretrain.recipe import RECIPES as PRETRAIN
from pretrain.recipe import PretrainRecipe, SuperInfoSpec
from superinfo.artifacts import EncoderSpec
from superinfo.datasets.images import SPLITS as STANDARD_SPLITS
from superinfo.datasets.images import Standard
from superinfo.encoders import build_encoder, count_flops
from superinfo.recipes import recipe_names
from superinfo.spec import load_recipe
from transfer.probing.recipe import RECIPES as PROBING
from transfer.probing.recipe import LinearSpec, ProbeRecipe
from transfer.recipe import RECIPES as TRANSFER

BASES = ("simclr", "moco", "byol", "barlow_twins")
TERMS = ("superinfo", "rc", "lbe", "ip", "mib")
SETTINGS = {  # encoder, dataset: its title and its number of images
    "r18_cifar10": ("cifar10 train", 50_000),
    "r18_stl10": ("stl10 unlabeled", 100_000),
    "r50_in100": ("ImageNet-100 train", 126_689),
    "r50_in1k": ("ImageNet-1k train", 1_281_167),
}


@cache
def load(name: str) -> PretrainRecipe:
    return load_recipe(PretrainRecipe, name, PRETRAIN)


def opening(path: Path) -> list[str]:
    """Return the comment with which a file begins."""
    lines = path.read_text().splitlines()
    comments = [line for line in lines if line.startswith("# ")]
    assert lines[: len(comments)] == comments
    return comments


MODELS: dict[tuple[EncoderSpec, str, str], Pretraining] = {}


def model_of(recipe: PretrainRecipe) -> Pretraining:
    """Build on the meta device; recipes that differ in neither encoder, base nor term share the model."""
    parts = (recipe.encoder, recipe.method.model_dump_json(), recipe.term.model_dump_json())
    if parts not in MODELS:
        with torch.device("meta"):
            MODELS[parts] = build_pretraining(recipe, seed=0)
    return MODELS[parts]


@cache
def forward_giga(encoder: EncoderSpec, size: int) -> float:
    return count_flops(build_encoder(encoder), size) / 1e9


@pytest.mark.parametrize(
    "path", [p for f in (PRETRAIN, TRANSFER, PROBING, SUITES) for p in sorted(f.glob("*.yaml"))], ids=str
)
def test_a_recipe_opens_with_its_claim_cost_and_command(path: Path) -> None:
    lines = opening(path)
    words = ("Claim", "Cost", "Command")
    assert [word for word in words if any(line.startswith(f"# {word}: ") for line in lines)] == list(words)
    (command,) = [line for line in lines if line.startswith("# Command: superinfo ")]
    assert command.split()[4] == path.stem


def test_the_matrix_of_bases_terms_and_settings_is_complete() -> None:
    names = recipe_names(PRETRAIN)
    terms = ("", *(f"+{term}" for term in TERMS))
    matrix = {f"{base}{term}_{setting}_200e" for base in BASES for term in terms for setting in SETTINGS}
    assert len(matrix) == 96
    assert matrix == {name for name in names if name.endswith("_200e")}


@pytest.mark.parametrize("name", [name for name in recipe_names(PRETRAIN) if "+superinfo-" in name])
def test_a_recipe_of_the_ablation_has_the_coefficients_that_its_name_says(name: str) -> None:
    said = re.search(r"\+superinfo-c([0-9e-]+)p([0-9e-]+)_", name)
    assert said
    compression, prediction = map(float, said.groups())
    term = load(name).term
    assert isinstance(term, SuperInfoSpec)
    assert (*term.compression, *term.prediction) == (compression, compression, prediction, prediction)


@pytest.mark.parametrize("name", recipe_names(PRETRAIN))
def test_a_pretraining_recipe_is_what_its_name_says_and_builds(name: str) -> None:
    recipe = load(name)
    assert recipe.name == name
    said = re.fullmatch(r"([a-z_]+)(?:\+([a-z]+)(?:-[a-z0-9-]+)?)?_(r(\d+)(?:w(\d+))?_([a-z0-9]+))_(\d+)e", name)
    assert said, "<method>[+<term>]_<encoder>_<dataset>_<epochs>e"
    method, term, setting, depth, width, _, epochs = said.groups()
    assert (recipe.method.kind, recipe.term.kind, recipe.epochs) == (method, term or "none", int(epochs))
    assert (recipe.encoder.arch, recipe.encoder.width) == (f"resnet{depth}", int(width or 100) / 100)
    if setting in SETTINGS:
        assert recipe.data.title == SETTINGS[setting][0]
    assert build_optimizer(recipe.optimizer, model_of(recipe)).param_groups[0]["lr"] == recipe.optimizer.lr


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("term", TERMS)
def test_a_variant_differs_from_its_base_in_name_and_term_alone(base: str, term: str, setting: str) -> None:
    plain, varied = load(f"{base}_{setting}_200e"), load(f"{base}+{term}_{setting}_200e")
    assert plain.model_copy(update={"name": varied.name, "term": varied.term}) == varied


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("base", BASES)
def test_the_weights_of_terms_are_those_published(base: str, setting: str) -> None:
    """InfoCL's, by base; see the headers for where they are taken over to what it does not have."""
    terms = {term: load(f"{base}+{term}_{setting}_200e").term.model_dump() for term in TERMS}
    on_imagenet = "in1" in setting
    assert terms["rc"]["weight"] == (0.1 if base == "byol" or (on_imagenet and base in {"simclr", "moco"}) else 1.0)
    factor = 0.1 if base == "byol" else 1.0
    weights = (0.0, 0.0, 1.0) if on_imagenet else (0.25, 0.5, 1.0)
    assert terms["lbe"]["weights"] == pytest.approx([factor * weight for weight in weights])
    assert terms["lbe"]["divisor"] == (80 if on_imagenet else 20)
    assert (terms["ip"]["weight"], terms["mib"]["weight"], terms["mib"]["divergence"]) == (5e-4, 5e-4, "mse")
    compression, prediction = terms["superinfo"]["compression"], terms["superinfo"]["prediction"]
    assert compression == prediction == (1e-3, 1e-3), "a first guess; c = p bounds the penalty"


@pytest.mark.parametrize("setting", ["r50_in100", "r50_in1k"])
@pytest.mark.parametrize(("base", "rate"), [("simclr", 0.3), ("moco", 0.03), ("byol", 0.3), ("barlow_twins", 0.2)])
def test_a_rate_on_imagenet_is_the_published_one_times_batch_over_256(base: str, rate: float, setting: str) -> None:
    recipe = load(f"{base}_{setting}_200e")
    assert recipe.optimizer.lr == pytest.approx(rate * recipe.batch_size / 256)
    assert recipe.chunk_size is not None
    assert recipe.batch_size % recipe.chunk_size == 0


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("base", BASES)
def test_the_count_of_its_cost_can_be_done_again(base: str, setting: str) -> None:
    name = f"{base}_{setting}_200e"
    recipe = load(name)
    text = " ".join(line.removeprefix("# ") for line in opening(PRETRAIN / f"{name}.yaml"))
    assert " Expected: " in text
    said = re.search(
        r"Cost: not measured. By count: (\d+) epochs x ([\d,]+) images x 2 views x (\d) passes x ([\d.]+) G = (\S+) ",
        text,
    )
    assert said
    epochs, images, passes = (int(number.replace(",", "")) for number in said.groups()[:3])
    assert (epochs, images) == (recipe.epochs, SETTINGS[setting][1])
    model = model_of(recipe)
    chunks_twice = recipe.chunk_size is not None and not model.separable
    assert passes == 3 + hasattr(model.method, "target") + chunks_twice
    giga, total = (float(number) for number in said.groups()[3:])
    assert giga == pytest.approx(forward_giga(recipe.encoder, recipe.view_size), rel=0.02)
    assert total == pytest.approx(epochs * images * 2 * passes * giga * 1e9, rel=0.02)


@pytest.mark.parametrize("name", recipe_names(PROBING))
def test_a_probe_recipe_is_what_its_name_says_and_its_encoder_sees_its_images(name: str) -> None:
    recipe = load_recipe(ProbeRecipe, name, PROBING)
    assert recipe.name == name
    kind = name.split("_", maxsplit=1)[0]
    assert recipe.task.kind == ("linear" if kind == "logistic" else kind)
    if isinstance(recipe.task, LinearSpec):
        assert recipe.task.solver.kind == {"linear": "sgd", "logistic": "lbfgs"}[kind]
    with torch.device("meta"):
        encoder = build_encoder(recipe.encoder)
        seen = encoder(torch.zeros(2, 3, recipe.input_size, recipe.input_size))
        assert torch.nn.Linear(encoder.feature_dim, 10)(seen).shape == (2, 10)


@pytest.mark.parametrize("kind", ["linear", "logistic", "knn"])
def test_every_set_has_every_classifying_probe(kind: str) -> None:
    folders = {"imagenet", "cifar10folder", "flowers5", "mnistfolder", "tinyimagenet20"}
    assert {f"{kind}_{name}" for name in {*STANDARD_SPLITS, *folders}} <= set(recipe_names(PROBING))


@pytest.mark.parametrize("name", [name for name in recipe_names(PROBING) if name.split("_")[-1] in STANDARD_SPLITS])
def test_a_probe_never_chooses_or_trains_on_the_test_split(name: str) -> None:
    data = load_recipe(ProbeRecipe, name, PROBING).data
    used = [spec.split for spec in (data.train, data.validation) if isinstance(spec, Standard)]
    assert isinstance(data.test, Standard)
    assert data.test.split == "test"
    assert used == (["train", "val"] if data.validation else [used[0]])
    assert used[0] in {"train", "train+val"}


def test_rows_of_the_demo_differ_in_the_term_alone() -> None:
    plain, weighed = (load(f"simclr{term}_r18w25_scenes_6e") for term in ("", "+superinfo"))
    assert plain.model_copy(update={"name": weighed.name, "term": weighed.term}) == weighed
