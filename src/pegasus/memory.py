"""Gives memory that was freed back to the system, which glibc by itself keeps for later."""

from __future__ import annotations

import ctypes
import sys

# mallopt(3): M_ARENA_MAX. Each thread that allocates would otherwise get an arena, and each keeps its own leftovers.
_M_ARENA_MAX = -8
_ARENAS = 2


def limit_arenas() -> None:
    """Call before threads start. Without effect where the C library is another one."""
    libc = _glibc()
    if libc:
        libc.mallopt(_M_ARENA_MAX, _ARENAS)


def release_freed_memory() -> None:
    """Worth some milliseconds after a burst of work: loading the model leaves 60 MB, embedding 50."""
    libc = _glibc()
    if libc:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "malloc_trim") else None
