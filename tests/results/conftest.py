"""A factory of records."""

from collections.abc import Callable

import pytest

from results.tables import METRICS
from superinfo.artifacts import Cost, EncoderSpec, Metric, Provenance, Record, What, Who


@pytest.fixture
def record() -> Callable[..., Record]:
    """Return a function that makes a record of a row with values of METRICS; a single one goes for all."""

    def make(
        name: str,
        *values: float | None,
        seed: int = 0,
        protocol: str = "mask_fpn",
        version: int = 1,
        dataset: str = "scenes (8 classes)",
        split: str = "test",
        arch: str = "resnet18",
        metrics: tuple[str, ...] = METRICS,
    ) -> Record:
        every = values if len(values) > 1 else values * len(metrics)
        encoder = EncoderSpec.parse({"arch": arch, "stem": "stl", "width": 0.5}, "test")
        return Record(
            run=f"{protocol}--{name}-s{seed}-01234567",
            command=None,
            seed=seed,
            who=Who(
                name=name,
                method="simclr",
                term="superinfo",
                dataset="scenes objects (8,000)",
                epochs=6,
                seed=seed + 100,
                encoder=encoder,
                recipe_hash="cd" * 32,
                tensors_sha256="ab" * 32,
            ),
            what=What(
                task="instance_segmentation",
                dataset=dataset,
                split=split,
                samples=1000,
                protocol=protocol,
                protocol_version=version,
            ),
            metrics={
                metric: Metric(value=value, unit="percent", higher_is_better=True)
                for metric, value in zip(metrics, every, strict=True)
            },
            deviations=["half the schedule", "one GPU"],
            recipe={},
            recipe_hash="cd" * 32,
            protocol_hash="ef" * 32,
            cost=Cost(wall_seconds=12.5, peak_memory_mib=300.5, parameters=11, flops=1e9, flops_input="1x3x128x128"),
            provenance=Provenance(created="2025-01-02T03:04:05+00:00", commit="abc+", versions={}, hardware={}),
        )

    return make
