"""Memory that is freed stays with the process, for the next step to take.

glibc gives large blocks back to the kernel when they are freed, and has them made anew, page by page, when they are
asked for. On a CPU, every training step frees and asks for the same activations. What is freed may lie between what is
not, though, and fit nothing that is asked for later: over many models it adds up, and is given back now and then.
"""

import ctypes
import functools
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
"""Parameters of mallopt(3)."""
PAD_BYTES = 2**26
NEVER = -1
MOST_FREE_BYTES = 2**31
"""Free, but kept, when a run begins: a step of a large model frees about as much."""


MALLINFO2 = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"


class MallInfo2(ctypes.Structure):
    """As mallinfo2(3) gives it."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in MALLINFO2.split(" "))


@functools.cache
def keep_freed_memory() -> bool:
    """For this process, from now on; whether its C library can be told so (glibc can)."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return False
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, NEVER) and mallopt(M_TOP_PAD, PAD_BYTES))


def free_bytes() -> int:
    """Kept by the C library for this process; 0 where it does not say."""
    try:
        mallinfo2 = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError):
        return 0
    mallinfo2.restype = MallInfo2
    return int(mallinfo2().fordblks)


def give_back(most: int = MOST_FREE_BYTES) -> bool:
    """All that is free goes to the kernel, where it is more than `most`; whether it was."""
    return free_bytes() > most and bool(ctypes.CDLL(None).malloc_trim(0))
