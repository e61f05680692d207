"""Where the encoder of a row is from, for one seed, and what is known of it once it is there."""

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.suite import Row, overrides
from pretrain.recipe import RECIPES, PretrainRecipe, checkpoint_path, title
from superinfo.artifacts import CONVERSION, MANIFEST, Conversion, EncoderSpec, Manifest, Who
from superinfo.files import file_sha256
from superinfo.spec import load_recipe
from transfer.convert.reading import row_name
from transfer.who import random_who, who_from

CONVERTED = "detectron2"
"""Folder beside a checkpoint."""


@dataclass(frozen=True)
class Pretrained:
    """A recipe's encoder."""

    row: Row
    recipe: PretrainRecipe
    seed: int
    checkpoint: Path

    @property
    def name(self) -> str:
        """Return what records call it."""
        return self.recipe.name

    @property
    def id(self) -> str:
        """Return the run's id."""
        return self.checkpoint.parent.name

    @property
    def weights(self) -> Path:
        """Return where the converted weights lie, or will lie."""
        return self.checkpoint.parent / CONVERTED

    def who(self) -> Who | None:
        """Return what records say of it; None before its run is done. A manifest, as it lies beside committed
        records, is enough."""
        if not (self.checkpoint.parent / MANIFEST).exists():
            return None
        manifest, recipe = Manifest.read(self.checkpoint.parent / MANIFEST), self.recipe
        return Who(
            name=recipe.name,
            method=title(recipe.method),
            term=title(recipe.term),
            dataset=recipe.data.title,
            epochs=recipe.epochs,
            seed=self.seed,
            encoder=recipe.encoder,
            recipe_hash=manifest.recipe_hash,
            tensors_sha256=manifest.tensors_sha256,
        )


@dataclass(frozen=True)
class Found:
    """A file from anywhere, read as its row says; the same for every seed."""

    row: Row
    file: Path
    folder: Path
    """Of its conversions, named by the file's content and how it is read."""

    @property
    def name(self) -> str:
        """Return what records call it: as the file says, or after the file."""
        who = self.who()
        return who.name if who else row_name(self.file)

    @property
    def id(self) -> str:
        """Return the name of the folder."""
        return self.folder.name

    @property
    def weights(self) -> Path:
        """Return where the weights converted to Detectron2 lie, or will lie."""
        return self.folder / CONVERTED

    @property
    def checkpoint(self) -> Path:
        """Return where the encoder lies, or will lie, in a file that says itself how it is to be read."""
        return self.folder / "safetensors" / "encoder.safetensors"

    def who(self) -> Who | None:
        """Return what records say of it; None before it is converted."""
        for folder in (self.weights, self.checkpoint.parent):
            if (folder / CONVERSION).exists():
                return who_from(Conversion.read(folder / CONVERSION).source)
        return None


@dataclass(frozen=True)
class Random:
    """No weights: each task initialises its own encoder."""

    row: Row
    seed: int
    name: str = "random"
    """What records call it."""
    id: str = "random"

    def who_with(self, encoder: EncoderSpec) -> Who:
        """Return what the records of a task say of it."""
        return random_who(encoder, self.seed)


Origin = Pretrained | Found | Random


def origin_of(row: Row, seed: int, runs: Path) -> Origin:
    """Return where a row's encoder is from. Raises UserError if its recipe or its file cannot be read."""
    if row.pretrain is not None:
        recipe = load_row(row)
        return Pretrained(row, recipe, seed, checkpoint_path(recipe, seed, runs))
    if row.checkpoint is not None:
        said = json.dumps([_sha256(row.checkpoint), row.source, row.branch, row.set], sort_keys=True)
        name = f"{row_name(row.checkpoint)}-{hashlib.sha256(said.encode()).hexdigest()[:8]}"
        return Found(row, row.checkpoint, runs / "checkpoints" / name)
    return Random(row, seed)


def load_row(row: Row) -> PretrainRecipe:
    """Return the recipe of a pretrained row. Raises UserError as `load_recipe` does."""
    assert row.pretrain is not None
    return _load(row.pretrain, tuple(overrides(row.set)))


@cache
def _load(name: str, changes: tuple[str, ...]) -> PretrainRecipe:
    return load_recipe(PretrainRecipe, name, RECIPES, changes)


@cache
def _sha256(path: Path) -> str:
    return file_sha256(path)
