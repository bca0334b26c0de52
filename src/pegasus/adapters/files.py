"""Original files in a folder, each under a name of its own below its workspace."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from pegasus.errors import Invalid, NotFound, TooLarge, Unavailable
from pegasus.identifiers import UPLOADS, is_file_key, is_id, new_file_key, new_id
from pegasus.ports import ByteSource

_BLOCK = 2**18


class FolderFileStore:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def put(self, workspace_id: str, source: IO[bytes], max_bytes: int) -> tuple[str, str, int]:
        key = new_file_key(workspace_id)
        digest, size = self._write(key, source, max_bytes)
        return key, digest, size

    def put_back(self, key: str, source: ByteSource) -> str:
        if not is_file_key(key) or (self._directory / key).exists():
            raise Invalid(f"No file can be put under the key {key[:200]!r}.")
        return self._write(key, source, None)[0]

    def _write(self, key: str, source: ByteSource, max_bytes: int | None) -> tuple[str, int]:
        target = self._directory / key
        digest, size = hashlib.sha256(), 0
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                while block := source.read(_BLOCK):
                    size += len(block)
                    if max_bytes is not None:
                        _check_size(size, max_bytes)
                    digest.update(block)
                    file.write(block)
                file.flush()
                # The row that names this file is committed next; the file must not be behind it.
                os.fsync(file.fileno())
        except BaseException as error:  # Whatever broke the stream off, nothing of it stays.
            target.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise Unavailable(
                    f"The file could not be stored: {error}.", hint="Check the free disk space."
                ) from error
            raise
        return digest.hexdigest(), size

    @contextmanager
    def path(self, key: str) -> Iterator[Path]:
        file = self._directory / key
        if not file.is_file():
            raise NotFound(f"The stored file {key} is gone.", hint="Add the document again.")
        yield file

    def delete(self, key: str) -> None:
        (self._directory / key).unlink(missing_ok=True)

    def drop(self, workspace_id: str) -> None:
        if not is_id(workspace_id):  # A restored row may say anything, and this becomes a path.
            raise Invalid(f"{workspace_id[:100]!r} is not the id of a workspace.")
        for folder in (self._directory / workspace_id, self._directory / UPLOADS / workspace_id):
            try:
                shutil.rmtree(folder)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise Unavailable(
                    f"The files of the workspace {workspace_id} could not be deleted: {error}.",
                    hint="Check the permissions of the data directory.",
                ) from error

    def stored_keys(self) -> Iterator[str]:
        for file in self._directory.glob("*/*/*"):
            if is_file_key(key := file.relative_to(self._directory).as_posix()):
                yield key

    def offer(self, upload: str, size_bytes: int, sha256: str, seconds: int) -> None:
        """A folder has no address."""

    def receive(self, upload: str, source: ByteSource, size_bytes: int, sha256: str) -> None:
        # Under a name of its own until it is whole: the same upload may come twice at once.
        part = f"{upload}.{new_id()}"
        if self._write(part, source, None) != (sha256, size_bytes):
            self.discard(part)
            raise Invalid("These are not the bytes that were announced.", hint="Send the file of that SHA-256.")
        (self._directory / part).replace(self._directory / upload)

    def adopt(self, workspace_id: str, upload: str) -> str:
        key = new_file_key(workspace_id)
        with self.path(upload) as path, path.open("rb") as source:
            self._write(key, source, None)
        return key

    def discard(self, upload: str) -> None:
        self.delete(upload)

    def sweep(self, before: float) -> int:
        swept = 0
        for file in self._directory.glob(f"{UPLOADS}/*/*"):
            with suppress(FileNotFoundError):  # Somebody was quicker.
                if file.stat().st_mtime < before:
                    file.unlink()
                    swept += 1
        return swept

    def ping(self) -> None:
        if not os.access(self._directory, os.W_OK):
            raise Unavailable(f"The file folder {self._directory} cannot be written.")


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise TooLarge(
            f"The file is larger than the limit of {max_bytes:,} bytes.",
            hint="Split it, or raise PEGASUS_MAX_UPLOAD_BYTES.",
        )
