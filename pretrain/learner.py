"""A model, its optimiser, and what a training step does with them."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from pretrain.batches import to_views
from pretrain.gradients import Gradients
from pretrain.methods import Embedded
from pretrain.model import Losses, build_model
from pretrain.noise import Noise
from pretrain.optimizer import build_optimizer, set_rate
from pretrain.recipe import PretrainRecipe
from pretrain.schedule import Moment, learning_rate
from superinfo.encoders import ResNet


class Learner:
    """Learns from this process's share of each batch, together with the others."""

    def __init__(self, recipe: PretrainRecipe, seed: int, fabric: Fabric) -> None:
        self.recipe, self.seed, self.fabric = recipe, seed, fabric
        self.bare = build_model(recipe, seed)
        if recipe.channels_last:
            self.bare = self.bare.to(memory_format=torch.channels_last)
        self.synchronised = recipe.sync_batch_norm and fabric.world_size > 1 and fabric.device.type == "cuda"
        if self.synchronised:
            self.bare.synchronise_batch_norm()
        if recipe.compile:
            for module in self.bare.modules():
                if isinstance(module, ResNet):  # a momentum target's too
                    module.stages = torch.compile(module.stages)  # type: ignore[method-assign]
        self.model, self.optimizer = fabric.setup(self.bare, build_optimizer(recipe.optimizer, self.bare))
        self.share = recipe.batch_size // fabric.world_size
        chunk_size = min(recipe.chunk_size or self.share, self.share)
        without_sync = partial(fabric.no_backward_sync, self.model) if fabric.world_size > 1 else None
        self.gradients = Gradients(self.model, self.bare, chunk_size, fabric.backward, without_sync)
        self._mean, self._std = (fabric.to_device(torch.tensor(v)) for v in (recipe.data.mean, recipe.data.std))
        self._losses_are_finite = torch.tensor(True, device=fabric.device)

    def learn(self, pixels: Tensor, moment: Moment) -> tuple[Losses, Embedded]:
        """Do a step on this process's images, uint8 `(b, 2, S, S, 3)`; return its losses and their embedding."""
        set_rate(self.optimizer, learning_rate(self.recipe.optimizer, moment))
        noise = Noise(self.seed, moment.step, self.recipe.batch_size, self.fabric.device)
        self.optimizer.zero_grad()
        losses, embedded = self.gradients(partial(self._views, pixels), self.share, noise, moment)
        if (clip_norm := self.recipe.optimizer.clip_norm) is not None:
            # Overflow in half precision is the scaler's business, and divergence that of `is_finite`.
            self.fabric.clip_gradients(self.model, self.optimizer, max_norm=clip_norm, error_if_nonfinite=False)
        self.optimizer.step()
        self.bare.after_step(embedded, moment)
        self._losses_are_finite &= losses.total.detach().isfinite()
        return losses, embedded

    def is_finite(self) -> bool:
        """Whether all losses so far and the encoder's tensors are finite."""
        tensors = [tensor.isfinite().all() for tensor in self.bare.encoder.state_dict().values()]
        return bool(torch.stack([self._losses_are_finite, *tensors]).all())

    def state(self) -> dict[str, Any]:
        """Return all that a step changes."""
        return {
            "model": self.bare.state_dict(),
            "optimizer": self.optimizer.optimizer.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned."""
        self.bare.load_state_dict(state["model"])
        self.optimizer.optimizer.load_state_dict(state["optimizer"])
        self.fabric.strategy.precision.load_state_dict(state["precision"])

    def execution(self) -> dict[str, str | int]:
        """Say how it runs, where that may differ between runs of one recipe."""
        return {
            "processes": self.fabric.world_size,
            "batch_norm": "synchronised" if self.synchronised else f"over {self.gradients.chunk_size} images",
            "device": self.fabric.device.type,
            "precision": str(self.fabric.strategy.precision.precision),
        }

    def _views(self, pixels: Tensor, chunk: slice) -> tuple[Tensor, Tensor]:
        v1, v2 = to_views(self.fabric.to_device(pixels[chunk]), self._mean, self._std)
        return (v1, v2) if self.recipe.channels_last else (v1.contiguous(), v2.contiguous())
