"""What a CPU's memory allocator does with what a step has freed: keeps it for the next one."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
KEPT = 2**30  # bytes: larger blocks than this still go back to the system at once


def keep_freed_memory() -> bool:
    """Let glibc keep freed blocks, where it is the allocator. Returns whether it does.

    It would give large ones back, and the system clear their pages anew in every step: a tenth of the time
    of training at full width. No number depends on it.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    return mallopt is not None and bool(mallopt(M_MMAP_THRESHOLD, KEPT) and mallopt(M_TRIM_THRESHOLD, KEPT))
