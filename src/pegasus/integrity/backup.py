"""Make a backup: every row and every original file of one moment, in one archive, while the application runs.

The derived stores are left out, because they can be made again from the rows; embeddings are rows. What is being
erased is left out too, with all that hangs on it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from io import BufferedRandom
from pathlib import Path
from typing import IO, Any

from pegasus import __version__
from pegasus.access import service as access
from pegasus.documents import service as documents
from pegasus.errors import Conflict, Invalid, NotFound, Unavailable
from pegasus.identifiers import new_id
from pegasus.integrity import records
from pegasus.integrity.archive import FORMAT, ArchiveWriter, Manifest
from pegasus.integrity.encryption import Lock, encrypting
from pegasus.integrity.records import BackupRecord
from pegasus.jobs import service as jobs
from pegasus.ports import FileStore, Progress, RelationalStore, Row, Table, Transaction
from pegasus.schemas import moment

# Rows are written in parts of about this size, which is what a reader holds of them at a time.
_PART_BYTES = 4 * 2**20
# The longest text of one document is far below this, unless its limit was raised a lot.
MAX_PART_BYTES = 2**29
# A file that is erased while it is being saved costs a fresh start; one that is gone for good shows at the second.
_TRIES = 10
_DAY_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Backup:
    id: str
    path: Path
    sha256: str
    size_bytes: int
    counts: Mapping[str, int]
    created_at: float
    expires_at: float | None
    seconds: float

    def report(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "file": str(self.path),
            "sha256": self.sha256,
            "size_bytes": self.size_bytes,
            "counts": dict(self.counts),
            "created_at": moment(self.created_at).isoformat(),
            "expires_at": None if self.expires_at is None else moment(self.expires_at).isoformat(),
            "seconds": round(self.seconds, 3),
        }


class _Vanished(Exception):
    """A file went while it was being saved, because its document did."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def backups_holding(tx: Transaction, created_before: float) -> list[BackupRecord]:
    """Backups begun before a moment and not yet expired: what was erased then may still be in them."""
    return records.kept(tx, created_before, time.time())


def back_up(
    relational: RelationalStore, files: FileStore, path: Path, *, lock: Lock | None = None,
    keep_days: int | None = None, force: bool = False, progress: Progress,
) -> Backup:  # fmt: skip
    """Write an archive of all there is. Raises ``Conflict`` when the file exists, unless ``force`` replaces it, and
    ``Unavailable`` when it cannot be written; then nothing is left of it."""
    if path.exists() and not force:
        raise Conflict(f"{path} exists already.", hint="Give another name, or replace it with --force.")
    begun, now, backup_id = time.monotonic(), time.time(), new_id()
    # Not this code's: on a newer schema the rows have what newer code put there.
    schema = relational.schema().revision or ""
    manifest = Manifest(FORMAT, backup_id, __version__, schema, moment(now).isoformat(), {}, 0)
    expires_at = None if keep_days is None else now + keep_days * _DAY_SECONDS
    _remove_left_overs(relational, path)
    # Before the first byte is saved: an erasure from here on has to count with this backup.
    with relational.write() as tx:
        records.insert(tx, backup_id, path.name, now, expires_at)
    try:
        with _fresh_file(path) as file:
            counts = _until_consistent(relational, files, file, lock, manifest, progress)
            file.seek(0)
            sha256, size = hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
            with relational.write() as tx:
                records.finish(tx, backup_id, sha256, size, counts)
                access.note_for_installation(tx, "backup.made", backup_id)
    except BaseException:
        # Where even that fails the record stays: an erasure then names a backup too many, never one too few.
        with suppress(Unavailable), relational.write() as tx:
            records.delete(tx, backup_id)
        raise
    return Backup(backup_id, path, sha256, size, counts, now, expires_at, time.monotonic() - begun)


def _remove_left_overs(relational: RelationalStore, path: Path) -> None:
    """What killed backups left in this folder, whatever they were called: it has documents that were erased since."""
    with relational.read() as tx:
        names = records.names(tx)
    killed = [name for name in names if _removed_left_over(_partial(path.with_name(name)))]
    if path.name in names and not _partial(path).exists():
        killed.append(path.name)  # Killed before it had a file.
    with relational.write() as tx:
        for name in killed:
            records.delete_unfinished(tx, name)


def _removed_left_over(partial: Path) -> bool:
    try:
        with partial.open("r+b") as file:
            _hold(file, partial)
            partial.unlink()
    except (OSError, Conflict):  # There is none, or somebody is writing it.
        return False
    return True


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".partial")


@contextmanager
def _fresh_file(path: Path) -> Iterator[BufferedRandom]:
    """A file beside ``path`` for its owner only, which takes that name when the block ends well, or is gone."""
    partial = _partial(path)
    try:
        with os.fdopen(os.open(partial, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
            _hold(file, partial)
            try:
                yield file
                file.flush()
                os.fsync(file.fileno())
                partial.replace(path)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
        _sync_folder(path.parent)
    except OSError as error:
        raise Unavailable(
            f"{path} cannot be written: {error.strerror or error}.",
            hint="Check the folder, its permissions and its free space; nothing was left there.",
        ) from error


def _hold(file: IO[bytes], partial: Path) -> None:
    """Keep other backups off the file; what a killed one left in it goes."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held = partial.stat().st_ino == os.fstat(file.fileno()).st_ino  # Or it was finished and renamed just now.
    except (BlockingIOError, FileNotFoundError):
        held = False
    if not held:
        raise Conflict(f"Another backup is writing {partial}.", hint="Wait for it, or give another name.")
    os.fchmod(file.fileno(), 0o600)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _until_consistent(
    relational: RelationalStore, files: FileStore, file: IO[bytes], lock: Lock | None, manifest: Manifest,
    progress: Progress,
) -> Mapping[str, int]:  # fmt: skip
    """Begin again with a fresh snapshot when a file of the last one went before it was saved."""
    tables, vanished = relational.tables(), None
    for _ in range(_TRIES):
        file.seek(0)
        file.truncate()
        try:
            with relational.read() as tx:
                return _save(tx, tables, files, file, lock, manifest, progress)
        except _Vanished as error:
            if error.key == vanished:
                raise NotFound(
                    f"The stored file {vanished} is gone, though a document has it.",
                    hint="See whose it is with: pegasus check",
                ) from error
            vanished = error.key
    raise Unavailable(
        f"Files were erased during each of {_TRIES} tries.", hint="Try again when fewer documents are being erased."
    )


def _save(
    tx: Transaction, tables: Sequence[Table], files: FileStore, file: IO[bytes], lock: Lock | None,
    manifest: Manifest, progress: Progress,
) -> Mapping[str, int]:  # fmt: skip
    conditions = _conditions(tx, tables)
    counts = {table.name: _count(tx, table, conditions[table.name]) for table in tables}
    unpacking = jobs.files_to_unpack(tx)
    manifest = replace(manifest, rows=counts, files=documents.count_originals(tx) + len(unpacking))
    with _stream_into(file, lock) as stream, ArchiveWriter(stream, manifest) as archive:
        # Files first: the sooner after the snapshot, the fewer of them have gone.
        for number, (key, sha256) in enumerate(documents.originals(tx)):
            progress("Saving files", number, manifest.files)
            _save_file(archive, files, key, sha256)
        for key in sorted(unpacking):
            _save_file(archive, files, key, None)
        done, total = 0, sum(counts.values())
        for table in tables:
            for part in _parts(tx, table, conditions[table.name]):
                progress("Saving rows", done, total)
                part.add_to(archive)
                done += part.rows
        archive.finish()
    progress("Saving rows", total, total)
    return counts_of(manifest)


def counts_of(manifest: Manifest) -> Mapping[str, int]:
    """What is told of a backup, of all that is in it."""
    return {name: manifest.rows.get(name, 0) for name in ("documents", "passages")} | {"files": manifest.files}


@contextmanager
def _stream_into(file: IO[bytes], lock: Lock | None) -> Iterator[IO[bytes]]:
    if lock is None:
        yield file
        return
    with encrypting(file, lock) as stream:
        yield stream


def _conditions(tx: Transaction, tables: Sequence[Table]) -> Mapping[str, str]:
    """By table, which of its rows are saved: all but workspaces and documents that are being erased, and what refers
    to these."""
    kept = {table.name: "" for table in tables}
    if documents.any_erasing(tx):
        kept["documents"] = documents.NOT_ERASING
    if access.any_workspace_erasing(tx):
        kept["workspaces"] = access.WORKSPACE_NOT_ERASING
    for table in tables:
        references = {*table.references}
        if "workspace_id" in table.columns:  # Some tables name it without a reference.
            references.add(("workspace_id", "workspaces", "id"))
        clauses = [
            f"({column} IS NULL OR {column} IN (SELECT {key} FROM {other} WHERE {kept[other]}))"
            for column, other, key in sorted(references)
            if other != table.name and kept[other]
        ]
        kept[table.name] = " AND ".join([*filter(None, [kept[table.name]]), *clauses])
    return kept


def _where(condition: str) -> str:
    return f" WHERE {condition}" if condition else ""


def _count(tx: Transaction, table: Table, condition: str) -> int:
    row = tx.one(f"SELECT count(*) AS n FROM {table.name}{_where(condition)}")
    return row["n"] if row else 0


def _save_file(archive: ArchiveWriter, files: FileStore, key: str, sha256: str | None) -> None:
    try:
        with files.path(key) as path, path.open("rb") as source:
            found = archive.add_file(f"files/{key}", os.fstat(source.fileno()).st_size, source)
    except (NotFound, FileNotFoundError) as error:
        raise _Vanished(key) from error
    if sha256 is not None and found != sha256:
        raise Invalid(
            f"The stored file {key} is not what was added: its SHA-256 is {found}.",
            hint="See whose it is with: pegasus check",
        )


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows of a table, as lines of JSON; of bytes only the length stands there, the bytes are beside them."""

    name: str
    rows: int
    lines: bytes
    binary: Mapping[str, bytes]

    def add_to(self, archive: ArchiveWriter) -> None:
        for column, content in self.binary.items():
            archive.add(f"{self.name}.{column}", content, compress=False)
        archive.add(f"{self.name}.ndjson", self.lines)


def _parts(tx: Transaction, table: Table, condition: str) -> Iterator[_Part]:
    sql = f"SELECT {', '.join(table.columns)} FROM {table.name}{_where(condition)} ORDER BY {', '.join(table.key)}"
    number, lines = 0, list[bytes]()
    binary = {column: bytearray() for column in sorted(table.binary)}
    size = 0
    for row in tx.each(sql):
        line = _line(row, table, binary)
        size += len(line)
        lines.append(line)
        if size + sum(map(len, binary.values())) >= _PART_BYTES:
            yield _part(table, number, lines, binary)
            number, size, lines = number + 1, 0, []
            binary = {column: bytearray() for column in binary}
    if lines:
        yield _part(table, number, lines, binary)


def _part(table: Table, number: int, lines: Sequence[bytes], binary: Mapping[str, bytearray]) -> _Part:
    content = b"".join(lines)
    if len(content) > MAX_PART_BYTES:
        raise Invalid(
            f"A row of {table.name} has {len(content):,} bytes; an archive takes {MAX_PART_BYTES:,}.",
            hint="Split the document that it belongs to.",
        )
    name = f"rows/{table.name}/{number:06}"
    return _Part(name, len(lines), content, {column: bytes(held) for column, held in binary.items()})


def _line(row: Row, table: Table, binary: Mapping[str, bytearray]) -> bytes:
    values: dict[str, Any] = {column: row[column] for column in table.columns}
    for column, held in binary.items():
        if values[column] is not None:
            held += values[column]
            values[column] = len(values[column])
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
