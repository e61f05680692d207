"""How a machine is shared out among jobs."""

import pytest

from benchmarks.machine import Machine, describe_machine
from superinfo.errors import UserError
from superinfo.resources import Resources

EIGHT, NONE = Resources(gpus=8), Resources(gpus=0)


@pytest.mark.parametrize(
    ("machine", "resources", "gpus", "threads"),
    [
        (Machine("local", "cpu", 8, 1, ()), EIGHT, 0, 8),
        (Machine("local", "cpu", 8, 4, ()), EIGHT, 0, 2),
        (Machine("local", "cpu", 2, 4, ()), EIGHT, 0, 1),
        (Machine("local", "auto", 16, 2, ("0", "1")), EIGHT, 2, 16),
        (Machine("local", "auto", 16, 1, ("0", "1")), NONE, 1, 16),
        (Machine("local", "auto", 64, 8, tuple("01234567")), EIGHT, 8, 64),
        (Machine("local", "auto", 64, 8, tuple("01234567")), NONE, 1, 8),
        (Machine("local", "auto", 16, 2, ("0", "1")), NONE, 1, 8),
        (Machine("slurm", "auto", None, 100, ()), EIGHT, 8, 64),
        (Machine("slurm", "auto", None, 100, ()), NONE, 0, 4),
        (Machine("slurm", "auto", 12, 100, ()), EIGHT, 8, 12),
        (Machine("slurm", "cpu", None, 100, ()), EIGHT, 0, 4),
    ],
)
def test_a_job_gets_its_share(machine: Machine, resources: Resources, gpus: int, threads: int) -> None:
    assert machine.gpus_for(resources) == gpus
    assert machine.threads_for(gpus) == threads


def test_one_job_runs_at_a_time_where_there_is_no_gpu() -> None:
    assert describe_machine("local", "cpu", None, None).at_once == 1
    assert describe_machine("local", "cpu", 6, 3).at_once == 3


@pytest.mark.parametrize(
    ("executor", "device", "told"),
    [("sge", "cpu", "--executor sge: choose local, slurm, kubernetes"), ("slurm", "tpu", "--device tpu: choose auto")],
)
def test_an_unknown_machine_is_refused(executor: str, device: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        describe_machine(executor, device, None, None)
