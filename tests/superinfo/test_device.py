"""What picking a device does to the process."""

import ctypes
import subprocess
import sys

import pytest

FAULTS = """
import resource
import torch
from superinfo.device import pick_device
pick_device("cpu")
def step():
    torch.ones(2**24)  # 64 MiB, which malloc by itself gives back at once
for _ in range(10):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_on_a_cpu_the_memory_of_a_step_is_kept_for_the_next() -> None:
    ran = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 1000  # where one such tensor is 16,384 pages
