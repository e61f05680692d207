"""How much of the bare training step's speed does `superinfo pretrain` keep?

The limit is the demo's model on one batch that is already there: forward, backward, optimiser step, nothing else. The
verb's own loop runs the same steps with views made from images, metrics and progress. Run it alone:
`python -m benchmarks.perf.pretrain`.
"""

import json
import tempfile
import time
from pathlib import Path

import torch

from pretrain.engine import pretrain
from pretrain.model import build_model
from pretrain.optimizer import build_optimizer
from pretrain.recipe import RECIPES, PretrainRecipe
from superinfo.spec import load_recipe

STEPS = 40


def main() -> None:
    """Measure and print both recipes of the demo, and last a JSON line."""
    rows = {}
    for name in ("simclr_r18w25_scenes_6e", "simclr+superinfo_r18w25_scenes_6e"):
        recipe = load_recipe(PretrainRecipe, name, RECIPES, [f"data.count={STEPS * 128}", "epochs=1", "log_every=1"])
        rows[name] = (_bare(recipe), _verb(recipe))
        print(f"{name:36} step alone {rows[name][0]:6.0f} images/s   verb {rows[name][1]:6.0f} images/s")
    ratios = {name: verb / bare for name, (bare, verb) in rows.items()}
    print(json.dumps({"name": "pretrain", "ratio": min(ratios.values()), "images_per_second": rows, "ratios": ratios}))


def _bare(recipe: PretrainRecipe) -> float:
    model = build_model(recipe, seed=0).to(memory_format=torch.channels_last)
    optimizer = build_optimizer(recipe.optimizer, model)
    v1, v2 = torch.randn(2, recipe.batch_size, 3, recipe.view_size, recipe.view_size)
    noise = torch.Generator()
    for step in range(STEPS):
        if step == STEPS // 4:
            start = time.perf_counter()
        optimizer.zero_grad()
        model(v1, v2, noise).total.backward()
        optimizer.step()
    return (STEPS - STEPS // 4) * recipe.batch_size / (time.perf_counter() - start)


def _verb(recipe: PretrainRecipe) -> float:
    with tempfile.TemporaryDirectory() as folder:
        path = pretrain(recipe, seed=0, runs=Path(folder), device="cpu")
        lines = [json.loads(line) for line in (path.parent / "metrics.jsonl").read_text().splitlines()]
    rates: list[float] = [line["images_per_second"] for line in lines[STEPS // 4 :]]
    return len(rates) / sum(1 / rate for rate in rates)


if __name__ == "__main__":
    main()
