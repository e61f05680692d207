"""What a training step costs beside its encoder, and what the SuperInfo term adds to SimCLR.

The limit is the encoder's forward and backward pass on the same views, nothing else. A step is what
`superinfo pretrain` does with a batch that lies in memory: views normalised, noise, encoder, projector, loss, backward,
optimiser. On the CPU, in float32. Rounds alternate, so that other load hits all alike; each figure is the median. Run
it alone: `python -m benchmarks.perf.step`.
"""

import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from lightning_fabric import Fabric

from pretrain.batches import to_views
from pretrain.learner import Learner
from pretrain.recipe import RECIPES, PretrainRecipe
from pretrain.schedule import Moment
from superinfo.encoders import build_encoder
from superinfo.spec import load_recipe

ROUNDS = 7
LEAST_SHARE, MOST_TIME = 0.90, 1.15
"""What SimCLR's step keeps of the encoder's throughput, at least; what SuperInfo's takes of SimCLR's time, at most."""
SETTINGS = {
    "R18 at 64 px": ("stl10", "r18", 48),
    "R50 at 224 px": ("in1k", "r50", 8),
}
"""Data set and encoder of the recipes, and the images of a batch."""


def main() -> None:
    """Measure and print both settings, and last a JSON line."""
    results: dict[str, dict[str, Any]] = {}
    for title, (dataset, arch, batch_size) in SETTINGS.items():
        overrides = [f"batch_size={batch_size}", "chunk_size=null"]
        recipes = {
            name: load_recipe(PretrainRecipe, f"{name}_{arch}_{dataset}_200e", RECIPES, overrides)
            for name in ("simclr", "simclr+superinfo")
        }
        size = recipes["simclr"].view_size
        batch = torch.randint(256, (batch_size, 2, size, size, 3), dtype=torch.uint8)
        measured = _alternate(
            {
                "encoder": _encoder_step(recipes["simclr"], batch),
                **{name: _training_step(recipe, batch) for name, recipe in recipes.items()},
            }
        )
        ratios = {
            "step_throughput_over_encoder": measured["encoder"] / measured["simclr"],
            "superinfo_over_simclr_time": measured["simclr+superinfo"] / measured["simclr"],
        }
        results[title] = {"batch": batch_size, "seconds": measured, **ratios}
        for name, seconds in measured.items():
            print(f"{title:14} {name:18} {seconds:7.3f} s  {batch_size / seconds:7.1f} images/s")
        share, time_over = ratios.values()
        print(f"{title:14} step's share of the encoder's throughput {share:.3f} (at least {LEAST_SHARE})")
        print(f"{title:14} SuperInfo step over SimCLR step           {time_over:.3f} (at most {MOST_TIME})")
    ratio = min(row["step_throughput_over_encoder"] for row in results.values())
    print(json.dumps({"name": "step", "ratio": ratio, "threads": torch.get_num_threads(), "settings": results}))


def _encoder_step(recipe: PretrainRecipe, pixels: torch.Tensor) -> Callable[[], None]:
    encoder = build_encoder(recipe.encoder).to(memory_format=torch.channels_last)
    mean, std = torch.tensor(recipe.data.mean), torch.tensor(recipe.data.std)
    views = torch.cat(to_views(pixels, mean, std))

    def step() -> None:
        encoder.zero_grad()
        encoder(views).sum().backward()

    return step


def _training_step(recipe: PretrainRecipe, pixels: torch.Tensor) -> Callable[[], None]:
    learner = Learner(recipe, seed=0, fabric=Fabric(accelerator="cpu", devices=1, precision="32-true"))
    moment = Moment(step=0, steps_per_epoch=100, epochs=200)

    def step() -> None:
        learner.learn(pixels, moment)

    return step


def _alternate(steps: dict[str, Callable[[], None]]) -> dict[str, float]:
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for round_number in range(ROUNDS + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if round_number:  # the first one warms up
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


if __name__ == "__main__":
    main()
