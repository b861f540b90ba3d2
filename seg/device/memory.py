"""Freed memory stays with the process, so that the next step can reuse it.

glibc returns large freed blocks to the kernel, and requests them anew, page by page. On a CPU, every training step
frees and requests the same activations.

A freed block may lie between used ones and fit no later request. Over many models such blocks add up, so free memory is
given back now and then.
"""

import ctypes
import functools
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
"""The parameters of mallopt(3)."""
PAD_BYTES = 2**26
NEVER = -1
MAX_FREE_BYTES = 2**31
"""The most free bytes that are kept when a run begins; a step of a large model frees about as much."""


MALLINFO2 = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"


class MallInfo2(ctypes.Structure):
    """The structure that mallinfo2(3) returns."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in MALLINFO2.split(" "))


@functools.cache
def keep_freed_memory() -> bool:
    """Keep freed memory in this process from now on; return whether its C library can do so (glibc can)."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return False
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, NEVER) and mallopt(M_TOP_PAD, PAD_BYTES))


def free_bytes() -> int:
    """Return the free bytes that the C library keeps for this process; 0 if it does not say."""
    try:
        mallinfo2 = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError):
        return 0
    mallinfo2.restype = MallInfo2
    return int(mallinfo2().fordblks)


def give_back(most: int = MAX_FREE_BYTES) -> bool:
    """Give all free memory back to the kernel if it is more than `most` bytes; return whether it was given back."""
    return free_bytes() > most and bool(ctypes.CDLL(None).malloc_trim(0))
