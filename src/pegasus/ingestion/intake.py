"""How documents come in: texts, files, archives; from the API, a batch or an archive's members."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from pegasus.documents import service as documents
from pegasus.documents.service import Added, NewDocument
from pegasus.domain import Document, Job, Lane
from pegasus.errors import Conflict, Invalid, NotFound
from pegasus.ingestion import service
from pegasus.jobs import service as jobs
from pegasus.ports import FileStore, Transaction
from pegasus.text import formats
from pegasus.text.markdown import read_markdown

_UNKNOWN_MEDIA_TYPE = "application/octet-stream"
_ZIP_START = b"PK\x03\x04"
# Up to so many characters a text is read while its sender waits (some 50 ms); longer ones are read by their job.
_READ_AT_ONCE_CHARACTERS = 500_000


@dataclass(frozen=True, slots=True)
class Upload:
    """What a caller says of a file; none of it is believed about the content."""

    filename: str | None
    content_type: str | None
    title: str | None
    uri: str | None
    tags: tuple[str, ...]
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StoredUpload:
    new: NewDocument
    file_key: str
    is_archive: bool


@dataclass(frozen=True, slots=True)
class TakenIn:
    added: Added | None  # None for an archive
    job: Job | None


def add_text(
    tx: Transaction, workspace_id: str, new: NewDocument, *, parent_id: str | None = None,
    priority: int = jobs.INTERACTIVE,
) -> Added:  # fmt: skip
    """Add a text document; it can be found by its words when this commits, unless it is very long."""
    at_once = len(new.text or "") <= _READ_AT_ONCE_CHARACTERS
    return _add(
        tx, workspace_id, new, store_text=_store_text if at_once else None, parent_id=parent_id, priority=priority
    )


def add_stored(tx: Transaction, workspace_id: str, new: NewDocument, *, parent_id: str, priority: int) -> Added:
    """Add a file that is stored already, as a member of an archive is."""
    return _add(tx, workspace_id, new, parent_id=parent_id, priority=priority)


def _add(tx: Transaction, workspace_id: str, new: NewDocument, **options: Any) -> Added:
    added = documents.add(tx, workspace_id, new, **options)
    if new.uri and added.outcome != "created":
        service.name_again(tx, added.document, new.uri)
    return added


def _store_text(tx: Transaction, document: Document, text: str) -> None:
    service.store_text(tx, document, read_markdown(text), document.media_type)


def store(files: FileStore, workspace_id: str, content: IO[bytes], upload: Upload, max_bytes: int) -> StoredUpload:
    """Check what is said of a file and keep its bytes, before any transaction: a slow disk must not hold one."""
    new = _as_told(upload)
    key, sha256, size = files.put(workspace_id, content, max_bytes)
    with files.path(key) as path:
        return _stored(new, key, sha256, size, path)


def adopt(files: FileStore, workspace_id: str, place: str, sha256: str, upload: Upload) -> StoredUpload:
    """As ``store``, of bytes that a client has put where files are kept by itself.

    Raises ``Conflict`` where none have come, ``Invalid`` where it is not these: not every bucket looks what it takes.
    """
    new = _as_told(upload)
    try:
        key = files.adopt(workspace_id, place)
    except NotFound as error:
        raise Conflict("The bytes of the upload have not come yet.", hint="Send them to its URL first.") from error
    try:
        with files.path(key) as path:
            _check_digest(path, sha256)
            return _stored(new, key, sha256, path.stat().st_size, path)
    except BaseException:
        files.delete(key)
        raise


def _check_digest(path: Path, sha256: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise Invalid("These are not the bytes that were announced.", hint="Send the file of that SHA-256.")


def _as_told(upload: Upload) -> NewDocument:
    content_type, charset = _split_content_type(upload.content_type)
    return NewDocument(
        title=documents.checked_title(upload.title),
        sha256="",
        size_bytes=0,
        media_type=content_type,
        uri=documents.checked_uri(upload.uri),
        tags=documents.checked_tags(upload.tags),
        metadata=upload.metadata,
        filename=_safe_filename(upload.filename),
        charset=charset,
    )


def _stored(new: NewDocument, key: str, sha256: str, size: int, path: Path) -> StoredUpload:
    new = replace(new, sha256=sha256, size_bytes=size, file_key=key)
    return StoredUpload(new, key, _is_archive(path, new.filename))


def _is_archive(path: Path, filename: str | None) -> bool:
    """Whether a file is a plain ZIP; documents that are ZIPs inside, or broken, are for the reader to tell."""
    with path.open("rb") as file:
        if file.read(len(_ZIP_START)) != _ZIP_START:
            return False
    try:
        return formats.detect_media_type(path.read_bytes(), filename, None) == formats.ZIP
    except Invalid:
        return False


def add_file(tx: Transaction, workspace_id: str, stored: StoredUpload) -> TakenIn:
    """Add a stored file as a document, or, for an archive, the job that adds each of its members."""
    if stored.is_archive:
        return TakenIn(None, _unpack_later(tx, workspace_id, stored))
    added = _add(tx, workspace_id, stored.new)
    return TakenIn(added, added.job)


def _unpack_later(tx: Transaction, workspace_id: str, stored: StoredUpload) -> Job:
    payload = {
        "file_key": stored.file_key,
        # Members of the same archive sent again are the same documents, whatever it is called.
        "uri": stored.new.uri or f"zip:{stored.new.filename or stored.new.sha256}",
        "tags": list(stored.new.tags),
    }
    return jobs.enqueue(tx, workspace_id, "unpack", Lane.READ, "unpack", priority=jobs.BULK, payload=payload)


def _split_content_type(value: str | None) -> tuple[str, str | None]:
    media_type, _, parameters = (value or "").partition(";")
    name, _, charset = parameters.strip().partition("=")
    declared = charset.strip(" \"'")[:40] if name.strip().lower() == "charset" else None
    return media_type.strip().lower()[:100] or _UNKNOWN_MEDIA_TYPE, declared or None


def _safe_filename(value: str | None) -> str | None:
    """The last part of a name, printable; it is shown and tells the format, and is never used as a path."""
    last = (value or "").replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(c for c in last if c.isprintable())[:255].strip() or None
