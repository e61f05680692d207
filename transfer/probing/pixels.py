"""What an encoder sees of an image when it is evaluated."""

import torch
from torch import Tensor

from superinfo.views import Pixels, centre_view, squeezed_view
from transfer.probing.encoder import Channels, Subject
from transfer.probing.recipe import ProbeRecipe


def evaluated(image: Pixels, recipe: ProbeRecipe) -> Pixels:
    """Return an image `(H, W, 3)` as the recipe's `transform` has it, `(S, S, 3)`."""
    size = recipe.input_size
    if recipe.transform == "resize":
        return squeezed_view(image, size)
    if recipe.transform == "centre":
        return centre_view(image, size)
    larger = centre_view(image, round(size * 8 / 7))
    start = (len(larger) - size) // 2
    return larger[start : start + size, start : start + size]


def normalisation(subject: Subject, recipe: ProbeRecipe) -> tuple[Channels, Channels]:
    """Return the mean and std that the encoder's input is normalised by."""
    if recipe.normalisation == "encoder" and subject.normalisation is not None:
        return subject.normalisation
    return recipe.data.train.mean, recipe.data.train.std


def normalised(pixels: Tensor, mean: Channels, std: Channels) -> Tensor:
    """Turn uint8 `(B, S, S, 3)` into the encoder's input `(B, 3, S, S)`, channels last in memory."""
    channels = pixels.new_tensor(mean, dtype=torch.float32), pixels.new_tensor(std, dtype=torch.float32)
    return ((pixels / 255 - channels[0]) / channels[1]).permute(0, 3, 1, 2)
