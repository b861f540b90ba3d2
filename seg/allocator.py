"""Memory that is freed stays with the process, for the next step to take.

glibc gives large blocks back to the kernel when they are freed, and has them made anew, page by page, when they are
asked for. On a CPU, every training step frees and asks for the same activations.
"""

import ctypes
import functools
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
"""Parameters of mallopt(3)."""
PAD_BYTES = 2**26
NEVER = -1


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
