"""The data directory: what its files are called, and the lock that keeps it to one process."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pegasus.errors import Conflict, Misconfigured

KEY_FILE = "key"
SERVER_FILE = "server.json"
_LOCK_FILE = "lock"
# What is being restored, and what was restored in full and is only to be put in its place.
_RESTORING, _RESTORED = "restoring", "restored"


@contextmanager
def data_directory(path: Path) -> Iterator[Path]:
    """Hold a data directory for this process alone; made, for its owner only, where it is missing.

    Raises ``Conflict`` when another process has it, ``Misconfigured`` when it cannot be used.
    """
    with locked(path):
        _settle(path)
        yield path


def locked(path: Path) -> IO[str]:
    """The open file by which this process alone has a directory, until it is closed. Raises as ``data_directory``.

    Two processes on one Chroma directory silently lose embeddings, so there is no second one.
    """
    os.umask(0o077)  # Whatever this process makes from here on is somebody's documents: for their owner only.
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = (path / _LOCK_FILE).open("a+")
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        with lock:
            lock.seek(0)
            raise Conflict(
                f"Another Pegasus (process {lock.read().strip() or 'unknown'}) is using {path}.",
                hint="Stop it, or give another directory with --data.",
            ) from error
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def holder(directory: Path) -> str | None:
    """The process that holds the directory, as it wrote it there; None when none does. Raises ``Misconfigured`` for a
    directory that may not be looked into."""
    try:
        lock = (directory / _LOCK_FILE).open()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unusable(directory, error) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return lock.read().strip()
    return None


def is_abandoned(path: Path) -> bool:
    """Whether a process once held this as its data directory and none does so now."""
    try:
        return (path / _LOCK_FILE).is_file() and holder(path) is None
    except (OSError, Misconfigured):  # It is somebody else's.
        return False


def _unusable(path: Path, error: OSError) -> Misconfigured:
    return Misconfigured(
        f"The data directory {path} cannot be used: {error.strerror}.",
        hint="Check whose it is and its permissions, or give another one with --data.",
    )


@contextmanager
def replacing(directory: Path) -> Iterator[Path]:
    """An empty folder, whose content takes the place of the directory's own when the block ends well.

    The directory must be held. A process killed at any moment leaves either the old content or, from the one rename
    on, all of the new: whoever opens the directory next finishes putting it in place. It is inside of the directory,
    because that may be a mount, which nothing can be renamed over.
    """
    folder = directory / _RESTORING
    folder.mkdir()
    try:
        yield folder
        os.sync()  # All of it is on the disk before it counts as restored.
        folder.replace(directory / _RESTORED)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    _settle(directory)


def _settle(directory: Path) -> None:
    """Drop what a restore left unfinished; put in place what it finished."""
    shutil.rmtree(directory / _RESTORING, ignore_errors=True)
    restored = directory / _RESTORED
    if not restored.is_dir():
        return
    for part in restored.iterdir():
        # With what an engine keeps beside its file: a write-ahead log must never be replayed into another database.
        for old in directory.iterdir():
            if old.name == part.name or old.name.startswith((f"{part.name}-", f"{part.name}.")):
                shutil.rmtree(old) if old.is_dir() else old.unlink()
        part.replace(directory / part.name)
    restored.rmdir()
