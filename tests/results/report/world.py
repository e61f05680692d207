"""A folder of records with all that may lie beside them, and a row whose names want to be scripts."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from superinfo.artifacts import Cost, EncoderSpec, Manifest, Metric, Provenance, Record, What, Who

ROWS = ("random", "simclr_r18", "simclr+superinfo_r18")
EVIL = "<script>hacked=1</script><img src=x onerror=hacked=1>\"'$x_$`</style></title>{{7*7}}\x07\u202e"
SHOWN = EVIL.replace("\x07", "\\x07").replace("\u202e", "\\u202e")
"""What hides nothing of it."""
SEEDS = 3
ENCODER = EncoderSpec.parse({"arch": "resnet18", "stem": "stl", "width": 0.25}, "test")
COST = Cost(wall_seconds=3723.0, peak_memory_mib=1234.0, parameters=702096, flops=1.1e7, flops_input="1x3x64x64")
PROVENANCE = Provenance(
    created="2025-01-02T03:04:05+00:00",
    commit="0123456789abcdef+",
    versions={"python": "3.11.7", "torch": "2.14.1"},
    hardware={"cpu": "EPYC", "cores": 2},
)


def write(folder: Path) -> None:
    """Write detections of each row and seed with curves and pictures, factors and information, and manifests.

    And a run that failed, a truncated record and a truncated manifest.
    """
    for name in ("linear--byol_r18-s0-01234567/failed", "truncated/record.json", "truncated/manifest.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps({"reason": f"out of memory {EVIL}"}) if name.endswith("failed") else "{")
    for number, row in enumerate((*ROWS, EVIL)):
        for seed in range(SEEDS):
            who = _who(row, seed)
            detection = {
                f"{kind}/AP{part}": 20.0 + 5 * number + seed for kind in ("box", "mask") for part in ("", "50", "75")
            }
            detection |= {f"mask/AP-{name}": 10.0 * number + seed for name in ("disk", "ring", EVIL)}
            run = _write_record(folder, f"detect--{number}-s{seed}", who, "instance_segmentation", detection, "percent")
            _write_lines(run / "metrics.json", [{"iteration": 20 * k, "total_loss": 3 / k} for k in range(1, 9)])
            if seed == 0:
                Image.fromarray(np.full((80, 1600, 3), 60 * number, np.uint8)).save(run / "pictures.png")
            factors = {"view/R2": 0.4, "view/hue/R2": 0.1 * number, "view/crop/R2": 0.2, "image/shape/R2": 0.3}
            _write_record(folder, f"factors--{number}-s{seed}", who, "factors", factors, "R2")
            nats = {"superfluous": 9.0 - number, "predictive": 2.0 + 0.1 * seed, "superfluous_standard_error": 0.1}
            nats |= {"predictive_limit": 6.2, "predictive_standard_error": 0.1}
            _write_record(folder, f"information--{number}-s{seed}", who, "information", nats, "nats")
            if row in ROWS[1:]:
                _write_pretraining(folder / f"pretrain-{number}-s{seed}", row, who)


def _who(row: str, seed: int) -> Who:
    pretrained = row != "random"
    return Who(
        name=row,
        method="simclr" if pretrained else "random",
        term="superinfo" if "+" in row else "none",
        dataset="scenes objects (5,000)" if pretrained else None,
        epochs=6 if pretrained else None,
        seed=seed,
        encoder=ENCODER,
        recipe_hash=f"{ROWS.index(row) if row in ROWS else 9}" * 64 if pretrained else None,
        tensors_sha256=f"{ROWS.index(row) if row in ROWS else 9}{seed}" * 32 if pretrained else None,
    )


def _write_record(folder: Path, run: str, who: Who, task: str, figures: Mapping[str, float], unit: str) -> Path:
    Record(
        run=run,
        command=f"superinfo detect {task} --seed {who.seed}",
        seed=who.seed,
        who=who,
        what=What(task=task, dataset="scenes", split="test", samples=200, protocol=task, protocol_version=1),
        metrics={name: Metric(value=value, unit=unit, higher_is_better=True) for name, value in figures.items()},
        deviations=[f"half the schedule {who.name}"],
        recipe={"name": f"{task}_scenes", "solver": {"steps": 300}},
        recipe_hash="cd" * 32,
        protocol_hash="ef" * 32,
        cost=COST,
        provenance=PROVENANCE,
    ).write(folder / run / "record.json")
    return folder / run


def _write_pretraining(folder: Path, row: str, who: Who) -> None:
    assert who.recipe_hash is not None
    assert who.tensors_sha256 is not None
    Manifest(
        run=folder.name,
        command=f"superinfo pretrain {row}",
        recipe={
            "name": row,
            "data": {"kind": "scenes", "split": "train", "count": 5000},
            "encoder": ENCODER.model_dump(),
            "method": {"temperature": 0.2},
        },
        recipe_hash=who.recipe_hash,
        tensors_sha256=who.tensors_sha256,
        metrics={"loss": 1.0},
        cost=COST,
        provenance=PROVENANCE,
    ).write(folder / "manifest.json")
    logged = [{"step": 10 * k, "epoch": k / 2, "loss": 5 / k + who.seed, "alignment": 1 / k} for k in range(1, 12)]
    _write_lines(folder / "metrics.jsonl", logged)


def _write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
