"""The typed recipe of a pretraining run."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from superinfo.artifacts import CHECKPOINT, EncoderSpec
from superinfo.datasets.images import AnyImages
from superinfo.runs import run_id
from superinfo.spec import NotIdentity, Spec, identity_hash
from superinfo.views import ViewSpec

RECIPES = Path(__file__).parent / "recipes"


class SimCLRSpec(Spec):
    """SimCLR (arXiv 2002.05709)."""

    kind: Literal["simclr"]
    temperature: float = Field(default=0.5, gt=0)
    hidden_dim: int = Field(default=2048, ge=1)
    output_dim: int = Field(default=128, ge=1)


class NoTermSpec(Spec):
    """The base alone."""

    kind: Literal["none"]


class SuperInfoSpec(Spec):
    """The SuperInfo term; coefficients per view, of losses in nats per image."""

    kind: Literal["superinfo"]
    compression: tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]]
    """c1, c2: the weights of KL(h1|v1) and KL(h2|v2)."""
    prediction: tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]]
    """p1, p2: the weights of NLL(v2|h1) and NLL(v1|h2)."""
    variance: Literal["fixed", "learned"] = "fixed"
    log_variance: float = Field(default=-4.0, ge=-8, le=4)
    """Of the posterior; where it is learned, its bias at the start."""
    decoder_channels: int = Field(default=64, ge=8)


class OptimizerSpec(Spec):
    """Optimiser and schedule: linear warm-up, then cosine to zero, per step."""

    kind: Literal["adamw", "sgd", "lars"]
    lr: float = Field(gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    """Not applied to biases and norms."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Of SGD and LARS."""
    warmup_epochs: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _lars_scales_decayed_parameters(self) -> Self:
        if self.kind == "lars" and self.weight_decay == 0:
            raise ValueError("weight_decay must be above 0: LARS scales the parameters that decay, and no others")
        return self


class PretrainRecipe(Spec):
    """One pretraining run, but for its seed."""

    name: str = Field(pattern=r"^[A-Za-z0-9+._-]+$")
    """`<method>[+<term>]_<encoder>_<dataset>_<epochs>e`."""
    data: AnyImages
    views: ViewSpec = ViewSpec()
    view_size: int = Field(ge=16)
    """Side of the views, in pixels."""
    encoder: EncoderSpec
    method: SimCLRSpec
    term: NoTermSpec | SuperInfoSpec = Field(default=NoTermSpec(kind="none"), discriminator="kind")
    optimizer: OptimizerSpec
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=2)
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    workers: Annotated[int, NotIdentity] = Field(default=0, ge=0)
    """Processes that make views; 0 makes them in the training process."""
    log_every: Annotated[int, NotIdentity] = Field(default=10, ge=1)
    """Steps between two lines of metrics.jsonl."""
    save_minutes: Annotated[float, NotIdentity] = Field(default=10.0, gt=0)
    """Minutes between two saves of the training state that a killed run resumes from."""


def checkpoint_path(recipe: PretrainRecipe, seed: int, runs: Path) -> Path:
    """Return where a run's checkpoint lies, or will lie."""
    return runs / run_id(recipe.name, seed, identity_hash(recipe)) / CHECKPOINT
