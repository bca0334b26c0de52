"""The data directory: what its files are called, and the lock that keeps it to one process."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pegasus.errors import Conflict, Misconfigured

KEY_FILE = "key"
SERVER_FILE = "server.json"
_LOCK_FILE = "lock"


@contextmanager
def data_directory(path: Path) -> Iterator[Path]:
    """Hold a data directory for this process alone; made, for its owner only, where it is missing.

    Two processes on one Chroma directory silently lose embeddings, so there is no second one.
    Raises ``Conflict`` when another process has it, ``Misconfigured`` when it cannot be used.
    """
    os.umask(0o077)  # Whatever this process makes from here on is somebody's documents: for their owner only.
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = (path / _LOCK_FILE).open("a+")
    except OSError as error:
        raise Misconfigured(
            f"The data directory {path} cannot be used: {error.strerror}.", hint="Give another one with --data."
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise Conflict(
                f"Another Pegasus (process {lock.read().strip() or 'unknown'}) is using {path}.",
                hint="Stop it, or give another directory with --data.",
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield path


def holder(directory: Path) -> str | None:
    """The process that holds the directory, as it wrote it there; None when none does."""
    file = directory / _LOCK_FILE
    if not file.is_file():
        return None
    with file.open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return lock.read().strip()
    return None
