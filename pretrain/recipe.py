"""The typed recipe of a pretraining run."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from superinfo.artifacts import CHECKPOINT, EncoderSpec
from superinfo.custom import CustomSpec
from superinfo.datasets.images import AnyImages
from superinfo.resources import Resources
from superinfo.runs import run_id
from superinfo.spec import NotIdentity, Spec, identity_hash
from superinfo.views import ViewSpec

RECIPES = Path(__file__).parent / "recipes"


Weight = Annotated[float, Field(ge=0)]
Width = Annotated[int, Field(ge=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]


class SimCLRSpec(Spec):
    """SimCLR (arXiv 2002.05709)."""

    kind: Literal["simclr"]
    temperature: float = Field(default=0.5, gt=0)
    hidden_dim: Width = 2048
    output_dim: Width = 128
    projector_norm: bool = True
    """Batch norm in the projector."""


class MoCoSpec(Spec):
    """MoCo v2, symmetrised (arXiv 1911.05722, 2003.04297)."""

    kind: Literal["moco"]
    temperature: float = Field(default=0.2, gt=0)
    hidden_dim: Width = 2048
    output_dim: Width = 128
    queue_length: Width = 65536
    """Keys; each step brings two per image of the batch."""
    momentum: Momentum = 0.999
    norm_groups: Width = 8
    """Groups of the shuffled key batch that batch norm normalises one by one; one per process at least."""


class BYOLSpec(Spec):
    """BYOL (arXiv 2006.07733)."""

    kind: Literal["byol"]
    hidden_dim: Width = 4096
    output_dim: Width = 256
    prediction_dim: Width = 4096
    """Hidden width of the predictor."""
    momentum: Momentum = 0.996
    """Of the target at the start; it rises to 1."""


class BarlowTwinsSpec(Spec):
    """Barlow Twins (arXiv 2103.03230)."""

    kind: Literal["barlow_twins"]
    hidden_dim: Width = 8192
    output_dim: Width = 8192
    off_diagonal: float = Field(default=0.0051, gt=0)
    """The paper's lambda."""


class CustomMethodSpec(CustomSpec):
    """A base of the user's own: a `pretrain.methods.Method`, called with the encoder and its settings."""

    @model_validator(mode="after")
    def _is_a_method(self) -> Self:
        from pretrain.methods import Method

        return self.checked(Method)


ShippedMethod = SimCLRSpec | MoCoSpec | BYOLSpec | BarlowTwinsSpec
AnyMethod = ShippedMethod | CustomMethodSpec


class NoTermSpec(Spec):
    """The base alone."""

    kind: Literal["none"]


class TermSpec(Spec):
    """What every term has."""

    warmup_epochs: float = Field(default=0.0, ge=0)
    """Over which its weights rise linearly from 0."""


LogVariance = Annotated[float, Field(ge=-8, le=4)]


class SuperInfoSpec(TermSpec):
    """The SuperInfo term; coefficients per view, of losses in nats per image."""

    kind: Literal["superinfo"]
    compression: tuple[Weight, Weight]
    """c1, c2: the weights of KL(h1|v1) and KL(h2|v2)."""
    prediction: tuple[Weight, Weight]
    """p1, p2: the weights of NLL(v2|h1) and NLL(v1|h2)."""
    variance: Literal["fixed", "learned"] = "fixed"
    log_variance: LogVariance = -4.0
    """Of the posterior; where it is learned, its bias at the start."""
    decoder_channels: int = Field(default=64, ge=8)


class RCSpec(TermSpec):
    """Reconstruction of one's own view (arXiv 2203.07004)."""

    kind: Literal["rc"]
    weight: Weight
    size: Literal[4, 8, 16, 32, 64] = 32
    """Side of what is painted, in pixels; views are pooled to it."""
    decoder_channels: int = Field(default=64, ge=8)


class LBESpec(TermSpec):
    """InfoNCE between clean and noised features (arXiv 2203.07004)."""

    kind: Literal["lbe"]
    weights: tuple[Weight, Weight, Weight]
    """Of res3, res4 and res5."""
    divisor: float = Field(default=20.0, gt=0)
    """Of the squared distances."""


class IPSpec(TermSpec):
    """Squared difference of the views' features (arXiv 2203.07004)."""

    kind: Literal["ip"]
    weight: Weight


class MIBSpec(TermSpec):
    """Multi-view information bottleneck (arXiv 2002.07017)."""

    kind: Literal["mib"]
    weight: Weight
    divergence: Literal["skl", "mse"] = "skl"
    """skl: as its authors define it, in nats; mse: as the public code of arXiv 2203.07004 has it."""
    variance: Literal["fixed", "learned"] = "fixed"
    log_variance: LogVariance = -4.605
    """Of the posterior, sigma 0.1; where it is learned, its bias at the start."""


class CustomTermSpec(CustomSpec):
    """A term of the user's own: a `pretrain.terms.Term`, called with the encoder and its settings."""

    @model_validator(mode="after")
    def _is_a_term(self) -> Self:
        from pretrain.terms import Term

        return self.checked(Term)


ShippedTerm = NoTermSpec | SuperInfoSpec | RCSpec | LBESpec | IPSpec | MIBSpec
AnyTerm = ShippedTerm | CustomTermSpec


class OptimizerSpec(Spec):
    """Optimiser and schedule: linear warm-up, then cosine to zero, per step."""

    kind: Literal["adamw", "sgd", "lars"]
    lr: float = Field(gt=0)
    bias_lr: float | None = Field(default=None, gt=0)
    """Of biases and norms, on the same schedule; `lr` where it is not given."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Not applied to biases and norms."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Of SGD and LARS."""
    warmup_epochs: float = Field(default=0.0, ge=0)
    clip_norm: float | None = Field(default=None, gt=0)
    """Largest norm of the gradient of all parameters; larger ones are scaled down to it."""

    @model_validator(mode="after")
    def _lars_scales_decayed_parameters(self) -> Self:
        if self.kind == "lars" and self.weight_decay == 0:
            raise ValueError("weight_decay must be above 0: LARS scales the parameters that decay, and no others")
        return self


class KNNSpec(Spec):
    """Online kNN accuracy: gallery and queries pass the encoder in evaluation mode, each a centre crop."""

    queries: AnyImages
    """Labelled images that are not trained on; a validation split, if anything is chosen by this."""
    every_epochs: int = Field(default=10, ge=1)
    k: int = Field(default=20, ge=1)
    temperature: float = Field(default=0.07, gt=0)
    gallery: int = Field(default=10_000, ge=1)
    """Most images of the training set that vote, drawn at random."""

    def due(self, epoch: float, epochs: int) -> bool:
        """Whether it is time after a step at whose end `epoch` of `epochs` epochs are done."""
        return epoch == int(epoch) and (int(epoch) % self.every_epochs == 0 or int(epoch) == epochs)


class MonitorSpec(Spec):
    """What is watched beside the losses; it changes no result."""

    tensorboard: bool = True
    wandb: bool = False
    knn: KNNSpec | None = None


class PretrainRecipe(Spec):
    """One pretraining run, but for its seed."""

    name: str = Field(pattern=r"^[A-Za-z0-9+._-]+$")
    """`<method>[+<term>]_<encoder>_<dataset>_<epochs>e`."""
    data: AnyImages
    views: ViewSpec = ViewSpec()
    view_size: int = Field(ge=16)
    """Side of the views, in pixels."""
    encoder: EncoderSpec
    method: AnyMethod = Field(discriminator="kind")
    term: AnyTerm = Field(default=NoTermSpec(kind="none"), discriminator="kind")
    optimizer: OptimizerSpec
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=2)
    """Of the joint batch of all processes."""
    chunk_size: int | None = Field(default=None, ge=2)
    """Images that a process holds in memory at once, at most; the gradient stays that of the joint batch. Batch norm
    sees a chunk at a time, hence chunks of another size give another model."""
    sync_batch_norm: bool = True
    """Batch norm over the chunks of all processes; on GPUs alone, see the manifest for what ran."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    workers: Annotated[int, NotIdentity] = Field(default=0, ge=0)
    """Processes that make views, for each process that trains, at most as many as it has cores; 0 makes them in the
    training process."""
    channels_last: Annotated[bool, NotIdentity] = True
    compile: Annotated[bool, NotIdentity] = False
    """Compile the encoder, and a momentum target's (torch.compile)."""
    max_unreadable: Annotated[float, NotIdentity] = Field(default=0.01, ge=0, le=1)
    """Share of the images that may be unreadable: each gives its place to the next one, and is told."""
    log_every: Annotated[int, NotIdentity] = Field(default=10, ge=1)
    """Steps between two lines of metrics.jsonl."""
    save_minutes: Annotated[float, NotIdentity] = Field(default=10.0, gt=0)
    """Minutes between two saves of the training state that a killed run resumes from."""
    monitor: Annotated[MonitorSpec, NotIdentity] = MonitorSpec()
    resources: Annotated[Resources, NotIdentity] = Resources()

    @model_validator(mode="after")
    def _the_queue_holds_a_batch(self) -> Self:
        if isinstance(self.method, MoCoSpec) and self.method.queue_length < 2 * self.batch_size:
            raise ValueError(f"method.queue_length must be at least 2 x batch_size, {2 * self.batch_size}")
        return self


def title(part: AnyMethod | AnyTerm) -> str:
    """Return what a record calls a base or a term: its kind, or the name of the user's class."""
    return part.target.partition(":")[2] if isinstance(part, CustomSpec) else part.kind


def checkpoint_path(recipe: PretrainRecipe, seed: int, runs: Path) -> Path:
    """Return where a run's checkpoint lies, or will lie."""
    return runs / run_id(recipe.name, seed, identity_hash(recipe)) / CHECKPOINT
