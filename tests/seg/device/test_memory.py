"""Where the allocator is glibc's, a step's memory is the next one's too."""

import os
import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys, torch
from seg.device import memory
if "keep" in sys.argv:
    assert memory.keep_freed_memory()
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


GLIBCS = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or "LD_PRELOAD" in os.environ, reason="another allocator than glibc's"
)

HOLES = """
import sys, torch
from pathlib import Path
from seg.device import memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

assert memory.keep_freed_memory()
blocks = [torch.ones(2**20) for _ in range(100)]
blocks = blocks[::10] + blocks[-1:]
before, free = resident(), memory.free_bytes()
assert not memory.give_back(most=2**40) and resident() > before - 2**20
assert memory.give_back(most=2**20)
print(free, before - resident())
"""


@GLIBCS
def test_a_step_takes_what_the_one_before_has_freed() -> None:
    assert 10 * faults("keep") < faults()


@GLIBCS
def test_what_lies_between_other_blocks_can_be_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True, check=True)
    free, given_back = map(int, done.stdout.split())
    assert free > 85 * 2**22 and given_back > 85 * 2**22
