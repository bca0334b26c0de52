"""What Python leaves to the C library: memory that was freed goes back to the system, and what was in it is cleared."""

from __future__ import annotations

import ctypes
import sys

# mallopt(3): M_ARENA_MAX. Each thread that allocates would otherwise get an arena, and each keeps its own leftovers.
_M_ARENA_MAX = -8
_ARENAS = 2
# M_PERTURB: blocks are filled with this byte when freed, and with its complement, here zero, when handed out.
_M_PERTURB = -6
_FREED = 0xFF


def limit_arenas() -> None:
    """Call before threads start. Without effect where the C library is another one."""
    libc = _glibc()
    if libc:
        libc.mallopt(_M_ARENA_MAX, _ARENAS)


def clear_memory_before_use() -> None:
    """Have what is handed out from now on cleared, for libraries that write to a file what they never set.

    Not the smallest blocks, up to a kilobyte, which each thread keeps for itself. macOS clears what is freed anyway.
    """
    libc = _glibc()
    if libc:
        libc.mallopt(_M_PERTURB, _FREED)


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
