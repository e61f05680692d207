"""Which device a stage runs on."""

import torch

from superinfo.errors import UserError


def pick_device(name: str) -> torch.device:
    """Return the device for `auto`, `cpu` or `cuda`. Raises UserError if there is no such device."""
    if name not in {"auto", "cpu", "cuda"}:
        raise UserError(f"--device {name}: choose auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch finds no GPU here; use --device cpu, or auto")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
