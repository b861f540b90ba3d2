"""Where the allocator is glibc's, a step's memory is the next one's too."""

import os
import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys, torch
from seg import allocator
if "keep" in sys.argv:
    assert allocator.keep_freed_memory()
for _ in range(20):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    activations = [torch.ones(2**24) for _ in range(2)]
    del activations
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*arguments: str) -> int:
    """Pages that the kernel had to make for the last of several steps."""
    done = subprocess.run([sys.executable, "-c", FAULTS, *arguments], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or "LD_PRELOAD" in os.environ, reason="another allocator than glibc's"
)
def test_a_step_takes_what_the_one_before_has_freed() -> None:
    assert 10 * faults("keep") < faults()
