"""Processes that end with the tests, however these end: by kill -9, too."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# The program takes the shell's place and keeps its pid. What stays behind, no child of it, ends it by the signal $0 and
# removes what it leaves ($1) as soon as nobody holds the other end of its standard input.
_AS_LONG_AS_WE = """
leaves=$1; shift
exec 3<&0
( { read -r _ <&3 || { kill -$0 $$; n=0; while kill -0 $$ && [ $n -lt 200 ]; do sleep 0.1; n=$((n + 1)); done
  kill -KILL $$; rm -rf $leaves; }; } >/dev/null 2>&1 & )
exec "$@" 3<&- </dev/null
"""


def start(
    command: Sequence[str | Path], *, signal: str = "KILL", leaves: Sequence[str | Path] = (), **options: Any
) -> subprocess.Popen[bytes]:
    """``signal`` and ``leaves`` are for when the tests end, or nobody holds what is returned any more."""
    script = ["/bin/sh", "-c", _AS_LONG_AS_WE, signal, " ".join(map(str, leaves)), *map(str, command)]
    return subprocess.Popen(script, stdin=subprocess.PIPE, **options)


def ended(process: subprocess.Popen[bytes], timeout_seconds: float) -> None:
    """Wait for the end of a process that was sent away; what it leaves stays."""
    process.communicate(b"It has ended.\n", timeout_seconds)
