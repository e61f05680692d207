"""The processes that train together, with Lightning Fabric."""

import os

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy

from pretrain.precision import precision_of
from pretrain.recipe import PretrainRecipe
from superinfo import processes
from superinfo.device import pick_device
from superinfo.errors import UserError
from superinfo.orphans import die_with_parent


def build_fabric(recipe: PretrainRecipe, device: str, devices: int) -> Fabric:
    """Return the Fabric of torchrun's or srun's processes, or of `devices` that it will start itself.

    Raises UserError if the batch cannot be shared out among them and cut into chunks.
    """
    kind = pick_device(device).type
    launched = processes.started_by_a_launcher()
    here, machines = launched or (devices, 1)
    world = here * machines
    if kind == "cuda" and here > torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise UserError(
            f"{here} processes see {found} GPUs: use one for each GPU at most, and let each process see all"
        )
    if recipe.batch_size % world:
        raise UserError(f"batch_size {recipe.batch_size} is not divisible by {world} processes; change either")
    share = recipe.batch_size // world
    if share < 2:
        raise UserError(f"batch_size {recipe.batch_size} leaves {world} processes one image each; batch norm needs two")
    if share % min(recipe.chunk_size or share, share):
        raise UserError(f"chunk_size {recipe.chunk_size} does not divide the {share} images of a process; change it")
    if launched is None and not processes.is_main_process():
        die_with_parent()
    if kind == "cpu" and recipe.precision == "16-mixed":
        raise UserError("precision 16-mixed needs a GPU; use bf16-mixed or 32-true")
    if processes.started_by_srun():
        os.environ.setdefault("SLURM_NTASKS_PER_NODE", str(here))  # which Lightning asks for, and srun need not set
    # Lightning would take any process in a Slurm job for one that srun started.
    environment = [] if launched else [LightningEnvironment()]
    return Fabric(
        accelerator=kind,
        devices=here,
        num_nodes=machines,
        strategy=_data_parallel() if world > 1 else "auto",
        plugins=[*environment, precision_of(recipe.precision, kind)],
    )


def _data_parallel() -> DDPStrategy:
    # A queue is the same in every process, and of the statistics the first process's are exported.
    left_alone = processes.buffers_left_alone()
    return DDPStrategy(timeout=processes.PATIENCE, gradient_as_bucket_view=True, **left_alone)
