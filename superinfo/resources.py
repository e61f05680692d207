"""What a run asks of a machine: for schedulers, and for an estimate before it starts."""

from pydantic import Field

from superinfo.spec import Spec


class Resources(Spec):
    """Estimated, not measured, where a recipe's header does not say so; docs/suites.md tells what by."""

    gpus: int = Field(default=0, ge=0)
    """0 where the recipe is for CPU cores; it uses one GPU where there is one."""
    memory_gb: float = Field(default=8.0, gt=0)
    """Of the machine, not of the GPUs."""
    hours: float = Field(default=0.1, gt=0)
    """On so many GPUs, or on 2 CPU cores where it asks for none."""
    disk_gb: float = Field(default=0.1, ge=0)
    """What a finished run leaves."""
