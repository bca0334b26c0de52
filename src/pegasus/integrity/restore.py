"""Bring back what a backup holds: the rows and files as they were, and the derived stores made anew from the rows.

Everything is checked before the first row is loaded, and loaded into a place of its own; only what was checked once
more there takes the place of the (empty) data directory.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pegasus import __version__
from pegasus.access import service as access
from pegasus.application import Stores
from pegasus.errors import Invalid, PegasusError, Unavailable
from pegasus.integrity import rebuild, records
from pegasus.integrity.archive import ArchiveReader, Manifest, Member, check_seal, damaged
from pegasus.integrity.backup import MAX_PART_BYTES, counts_of
from pegasus.integrity.check import Check, Difference
from pegasus.integrity.encryption import Opened
from pegasus.migrations import HEAD, revisions
from pegasus.ports import FileStore, Progress, Table

_ROWS = re.compile(r"rows/([a-z_]+)/\d{6,}\.([a-z_]+)")
_FILES = "files/"
_MEBIBYTE = 2**20


OpenStores = Callable[[Path, str], Stores]  # In a folder, with the schema at a revision.


@dataclass(slots=True)
class Restored:
    manifest: Manifest
    seconds: dict[str, float] = field(default_factory=dict)  # by step

    def report(self) -> dict[str, Any]:
        return {"archive": asdict(self.manifest), "seconds": self.seconds}

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self.seconds[step] = round(time.monotonic() - begun, 3)


def check(archive: Opened, progress: Progress) -> Manifest:
    """Read an archive to its end. Raises ``Invalid`` when a byte of it is not as it was written, or when this version
    of Pegasus cannot restore it."""
    with archive.stream() as stream:
        check_seal(stream, lambda size: progress("Checking", size // _MEBIBYTE, archive.size // _MEBIBYTE))
    with archive.stream() as stream, ArchiveReader(stream) as reader:
        manifest = reader.manifest
    if manifest.schema not in revisions():
        raise Invalid(
            f"The archive was made by Pegasus {manifest.pegasus}, whose schema {manifest.schema!r} this version"
            f" ({__version__}) does not know.",
            hint="Restore it with that version of Pegasus or a newer one.",
        )
    return manifest


def restore(archive: Opened, manifest: Manifest, folder: Path, open_stores: OpenStores, progress: Progress) -> Restored:
    """Fill an empty folder from an archive that was checked, and see that all of it came."""
    restored = Restored(manifest)
    with closing(open_stores(folder, manifest.schema)) as stores, _taken_back(stores.files) as placed:
        with restored.timed("load"), archive.stream() as stream, ArchiveReader(stream) as reader:
            _load(reader, stores, placed, folder, progress)
        stores.relational.migrate(HEAD)
        with stores.relational.write() as tx:
            records.finish(tx, manifest.id, *_digest(archive.path), counts_of(manifest))
            access.note_for_installation(tx, "backup.restored", manifest.id)
        with restored.timed("full text"):
            rebuild.full_text(stores.relational, progress)
        with restored.timed("vectors"):
            rebuild.vectors(stores.relational, stores.vectors, progress)
        with restored.timed("graph"):
            rebuild.graph(stores.relational, stores.graph, progress)
        with restored.timed("verify"):
            _verify(stores)
    return restored


def _digest(path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), file.tell()


@contextmanager
def _taken_back(files: FileStore) -> Iterator[list[str]]:
    """Files that were put in place are deleted when the block raises: in a bucket they outlive the folder, and stand in
    the way of the next restore."""
    placed: list[str] = []
    try:
        yield placed
    except BaseException:
        with suppress(PegasusError):  # What went wrong first is what is to be told.
            for key in placed:
                files.delete(key)
        raise


def _load(reader: ArchiveReader, stores: Stores, placed: list[str], folder: Path, progress: Progress) -> None:
    tables = {table.name: table for table in stores.relational.tables()}
    loaded, files, binary = Counter[str](), 0, dict[str, bytes]()
    total = sum(reader.manifest.rows.values())
    for member in reader.members():
        _check_room(member, folder)
        if member.name.startswith(_FILES):
            progress("Files", files, reader.manifest.files)
            key = member.name.removeprefix(_FILES)
            stores.files.put_back(key, member)
            placed.append(key)
            files += 1
            continue
        match = _ROWS.fullmatch(member.name)
        table = tables.get(match[1]) if match else None
        if match is None or table is None:
            raise damaged(f"there is no place for its member {member.name!r}")
        content = member.whole(MAX_PART_BYTES)
        if match[2] in table.binary:
            binary[match[2]] = content
            continue
        rows = _rows(content, table, binary)
        with stores.relational.write() as tx:
            tx.load(table, rows)
        loaded[table.name] += len(rows)
        binary = {}
        progress("Rows", loaded.total(), total)
    found = ({name: n for name, n in reader.manifest.rows.items() if n}, reader.manifest.files)
    if found != (loaded, files):
        raise damaged("it does not hold as many rows and files as its manifest says")


def _check_room(member: Member, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if member.size > free:
        raise Unavailable(
            f"{member.name} needs {member.size:,} bytes, and {free:,} are free.", hint="Make room and restore again."
        )


def _rows(content: bytes, table: Table, binary: Mapping[str, bytes]) -> list[dict[str, Any]]:
    """The rows of a part, with their bytes from beside them."""
    columns, places = set(table.columns), dict.fromkeys(table.binary, 0)
    rows: list[dict[str, Any]] = []
    try:
        for line in content.split(b"\n")[:-1]:
            row = json.loads(line)
            if row.keys() != columns:
                raise damaged(f"the columns of {table.name} are others")
            for column in table.binary:
                if (length := row[column]) is not None:
                    begin, places[column] = places[column], places[column] + length
                    row[column] = binary[column][begin : begin + length]
            rows.append(row)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise damaged(f"rows of {table.name} cannot be read: {error}") from error
    if any(places[column] != len(held) for column, held in binary.items()):
        raise damaged(f"bytes of {table.name} are missing or left over")
    return rows


def _verify(stores: Stores) -> None:
    """That all stores agree. What was wrong when the backup was made is wrong again: that is told, and mended later."""
    check = Check(stores.relational, stores.vectors, stores.graph, stores.files, None)
    derived = [
        found
        for found in check.run()
        if isinstance(found, Difference) and found.kind.partition(":")[0] in ("full-text", "vectors", "graph")
    ]
    if derived:
        raise Unavailable(
            f"What was restored does not agree with itself: {'; '.join(found.detail for found in derived[:5])}",
            hint="Restore again.",
        )
