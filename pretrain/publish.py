"""What a finished run leaves: manifest.json and checkpoint.pt."""

from pathlib import Path

from pretrain.recipe import PretrainRecipe, title
from superinfo.artifacts import (
    CHECKPOINT,
    MANIFEST,
    CheckpointInfo,
    Cost,
    Manifest,
    save_checkpoint,
    tensors_sha256,
)
from superinfo.encoders import ResNet, build_encoder, count_flops
from superinfo.runs import peak_memory_mib, provenance
from superinfo.spec import identity_hash
from superinfo.state import remove_states


def publish(
    folder: Path,
    command: str | None,
    recipe: PretrainRecipe,
    seed: int,
    encoder: ResNet,
    metrics: dict[str, float],
    execution: dict[str, str | int],
    seconds: float,
) -> None:
    """Write the manifest, then the checkpoint, whose existence says that the run is done; then remove its states."""
    state = {key: tensor.detach().cpu() for key, tensor in encoder.state_dict().items()}
    recipe_hash = identity_hash(recipe)
    Manifest(
        run=folder.name,
        command=command,
        recipe=recipe.model_dump(mode="json"),
        recipe_hash=recipe_hash,
        tensors_sha256=tensors_sha256(state),
        metrics=metrics,
        execution=execution,
        cost=Cost(
            wall_seconds=seconds,
            peak_memory_mib=peak_memory_mib(),
            parameters=sum(p.numel() for p in encoder.parameters()),
            flops=count_flops(build_encoder(recipe.encoder), recipe.view_size),
            flops_input=f"1x3x{recipe.view_size}x{recipe.view_size}",
        ),
        provenance=provenance(),
    ).write(folder / MANIFEST)
    info = CheckpointInfo(
        encoder=recipe.encoder,
        name=recipe.name,
        method=title(recipe.method),
        term=title(recipe.term),
        dataset=recipe.data.title,
        epochs=recipe.epochs,
        seed=seed,
        input_size=recipe.view_size,
        mean=recipe.data.mean,
        std=recipe.data.std,
        recipe_hash=recipe_hash,
    )
    save_checkpoint(folder / CHECKPOINT, info, state)
    remove_states(folder)
