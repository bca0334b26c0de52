"""Take documents in, by content and by name, and hand them out. Callers hold the transaction.

Two rules tell what a document is: the same content again is the same document, and changed content under the same
``uri`` is a new version of it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pegasus.documents import repository
from pegasus.domain import Document, DocumentState, DocumentText, Extraction, Job, Lane
from pegasus.errors import Conflict, Invalid, NotFound, TooLarge
from pegasus.identifiers import new_id, sha256_hex
from pegasus.jobs import service as jobs
from pegasus.pagination import Page, page_of
from pegasus.ports import Transaction
from pegasus.text.lines import printable

TEXT_MEDIA_TYPE = "text/plain"
_MAX_TITLE, _MAX_URI, _MAX_TAG, _MAX_TAGS = 500, 2_000, 100, 50


@dataclass(frozen=True, slots=True)
class NewDocument:
    """What a caller hands in: a text, or a file that is stored already under ``file_key``."""

    title: str | None
    sha256: str
    size_bytes: int
    media_type: str = TEXT_MEDIA_TYPE
    uri: str | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    text: str | None = None
    filename: str | None = None
    charset: str | None = None
    file_key: str | None = None


@dataclass(frozen=True, slots=True)
class Added:
    document: Document
    job: Job | None  # None: the content is known, there is nothing to do.
    created: bool
    replaced_file: str | None = None  # Key of a stored file that nothing names any more; for the caller to delete.

    @property
    def outcome(self) -> str:
        if self.job is None:
            return "unchanged"
        return "created" if self.created else "updated"


# Makes a text findable by its words at once, in the same transaction; ``ingestion`` provides it.
StoreText = Callable[[Transaction, Document, str], None]


def new_text(
    text: str,
    title: str | None,
    uri: str | None = None,
    tags: tuple[str, ...] = (),
    metadata: Mapping[str, Any] | None = None,
    *,
    max_characters: int,
) -> NewDocument:
    """A checked ``NewDocument`` from a text. Raises ``Invalid`` or ``TooLarge``."""
    if len(text) > max_characters:
        raise TooLarge(f"The text has {len(text):,} characters; the limit is {max_characters:,}.", hint="Split it.")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise Invalid("The text is empty.", hint="Send the document's content in `text`.")
    try:
        content = text.encode()
    except UnicodeEncodeError as error:
        raise Invalid(f"The text has a lone surrogate at character {error.start}.", hint="Remove it.") from error
    if b"\0" in content:
        raise Invalid(f"The text has a NUL character at character {text.index(chr(0))}.", hint="Remove it.")
    return NewDocument(
        title=checked_title(title),
        sha256=sha256_hex(content),
        size_bytes=len(content),
        uri=checked_uri(uri),
        tags=checked_tags(tags),
        metadata=metadata or {},
        text=text,
    )


def checked_title(title: str | None) -> str | None:
    folded = " ".join((title or "").split())
    return printable("title", folded, _MAX_TITLE) if folded else None


def checked_uri(uri: str | None) -> str | None:
    return printable("uri", uri, _MAX_URI) if uri else None


def checked_tags(tags: tuple[str, ...]) -> tuple[str, ...]:
    if len(tags) > _MAX_TAGS:
        raise Invalid(f"A document takes at most {_MAX_TAGS} tags.")
    return tuple(dict.fromkeys(printable("tag", tag.strip(), _MAX_TAG) for tag in tags if tag.strip()))


def _now() -> float:
    """Now, to the microsecond, which is what goes out and may come back as ``since``."""
    return round(time.time(), 6)


def add(
    tx: Transaction,
    workspace_id: str,
    new: NewDocument,
    *,
    store_text: StoreText | None = None,
    parent_id: str | None = None,
    priority: int = jobs.INTERACTIVE,
) -> Added:
    """Store a document and the job that reads and indexes it. With ``store_text``, a text is read at once: it can be
    found by its words when this commits, and the job has only to index it."""
    named = repository.find_by_uri(tx, workspace_id, new.uri) if new.uri else None
    known = named if named and named.sha256 == new.sha256 else None
    if named is None:
        known = repository.find_by_content(tx, workspace_id, new.sha256)
    if known:
        return _known_again(tx, known, new, parent_id, priority)
    if named and len(repository.uris(tx, named.id)) == 1:
        document = _next_version(tx, named, new)
    else:
        document = _first_version(tx, workspace_id, new)
        if named:  # The old content keeps its other names; this one now stands for the new document.
            repository.update(tx, named.id, {"uri": repository.uris(tx, named.id)[0]})
    lane, step = Lane.READ, "extract"
    if new.text is not None and store_text:
        store_text(tx, document, new.text)
        document = replace(document, state=DocumentState.SEARCHABLE)
        lane, step = Lane.INDEX, "embed"
    job = _enqueue(tx, document, lane, step, parent_id, priority)
    return Added(document, job, created=document.version == 1)


def _known_again(tx: Transaction, known: Document, new: NewDocument, parent_id: str | None, priority: int) -> Added:
    """Remember a further name and further tags; what has failed or was cancelled before is tried again."""
    if new.uri:
        repository.add_uri(tx, known.workspace_id, new.uri, known.id)
    if new.tags:
        repository.add_tags(tx, known.workspace_id, known.id, new.tags)
    document = get(tx, known.workspace_id, known.id)
    if document.state is DocumentState.READY or jobs.has_unfinished(tx, document.id):
        return Added(document, None, created=False)
    if document.state is DocumentState.SEARCHABLE:  # Its job was cancelled after it was read.
        repository.update(tx, document.id, {"error": None})
        document = replace(document, error=None)
        return Added(document, _enqueue(tx, document, Lane.INDEX, "embed", parent_id, priority), created=False)
    # A name or a charset that is right now, or the file itself, may be what made reading fail before.
    before = source(tx, document)
    repository.update_version(
        tx,
        document,
        {
            "filename": new.filename,
            "charset": new.charset,
            "media_type": new.media_type,
            "file_key": new.file_key or before.file_key,
        },
    )
    replaced = before.file_key if new.file_key else None
    repository.update(tx, document.id, {"state": DocumentState.RECEIVED.value, "error": None})
    job = _enqueue(tx, document, Lane.READ, "extract", parent_id, priority)
    return Added(
        replace(document, state=DocumentState.RECEIVED, error=None), job, created=False, replaced_file=replaced
    )


def _enqueue(tx: Transaction, document: Document, lane: Lane, step: str, parent_id: str | None, priority: int) -> Job:
    return jobs.enqueue(
        tx,
        document.workspace_id,
        "ingest",
        lane,
        step,
        document_id=document.id,
        version=document.version,
        parent_id=parent_id,
        priority=priority,
    )


def _first_version(tx: Transaction, workspace_id: str, new: NewDocument) -> Document:
    now = _now()
    document = Document(
        id=new_id(),
        workspace_id=workspace_id,
        title=new.title or new.filename or new.uri or "Untitled",
        uri=new.uri,
        media_type=new.media_type,
        version=1,
        sha256=new.sha256,
        size_bytes=new.size_bytes,
        state=DocumentState.RECEIVED,
        tags=tuple(sorted(new.tags)),
        metadata=new.metadata,
        created_at=now,
        updated_at=now,
    )
    repository.insert(tx, document)
    if new.uri:
        repository.add_uri(tx, workspace_id, new.uri, document.id)
    repository.add_tags(tx, workspace_id, document.id, new.tags)
    _insert_version(tx, document, new)
    return document


def _next_version(tx: Transaction, named: Document, new: NewDocument) -> Document:
    now = _now()
    repository.add_tags(tx, named.workspace_id, named.id, new.tags)
    document = replace(
        named,
        title=new.title or named.title,
        media_type=new.media_type,
        version=named.version + 1,
        sha256=new.sha256,
        size_bytes=new.size_bytes,
        state=DocumentState.RECEIVED,
        tags=tuple(sorted({*named.tags, *new.tags})),
        metadata={**named.metadata, **new.metadata},
        updated_at=now,
        error=None,
    )
    repository.update(
        tx,
        document.id,
        {
            "title": document.title,
            "title_key": repository.title_key(document.title),
            "media_type": document.media_type,
            "version": document.version,
            "sha256": document.sha256,
            "size_bytes": document.size_bytes,
            "state": document.state.value,
            "metadata": json.dumps(document.metadata),
            "error": None,
            "updated_at": now,
        },
    )
    _insert_version(tx, document, new)
    return document


def _insert_version(tx: Transaction, document: Document, new: NewDocument) -> None:
    repository.insert_version(
        tx,
        document,
        {
            "filename": new.filename,
            "charset": new.charset,
            "file_key": new.file_key,
            "text": new.text,
            "text_sha256": new.sha256 if new.text is not None else None,
            "title_given": int(new.title is not None),
        },
    )


def get(tx: Transaction, workspace_id: str, document_id: str) -> Document:
    document = repository.get(tx, workspace_id, document_id)
    if document is None:
        raise NotFound(f"There is no document {document_id}.", hint="List the documents with GET /v1/documents.")
    return document


def list_page(
    tx: Transaction, workspace_id: str, tag: str | None, uri: str | None, cursor: str | None, limit: int
) -> Page[Document]:
    return page_of(repository.list_page(tx, workspace_id, tag, uri, cursor, limit + 1), limit)


def read_text(tx: Transaction, workspace_id: str, document_id: str, version: int | None = None) -> DocumentText:
    """The stored text of the current version or of an older one, which citations may still name."""
    document = get(tx, workspace_id, document_id)
    if document.state is DocumentState.ERASING:
        raise NotFound(f"The document {document_id} is being erased.", hint="Its job tells when it is gone.")
    found = repository.text(tx, document_id, version or document.version)
    if found is None and (version or document.version) > document.version:
        raise NotFound(
            f"The document {document_id} has no version {version}; the newest is {document.version}.",
            hint="Leave `version` out for the newest.",
        )
    if found is None:
        reason = (document.error or {}).get("detail", "Its text has not been read yet.")
        raise Conflict(f"The document has no text: {reason}", hint="See the document's job.")
    return found


@dataclass(frozen=True, slots=True)
class Source:
    """Where a version's text comes from: a stored file, or the text that was handed in."""

    media_type: str
    filename: str | None
    charset: str | None
    file_key: str | None
    text: str | None
    title_given: bool


def find(tx: Transaction, workspace_id: str, document_id: str) -> Document | None:
    return repository.get(tx, workspace_id, document_id)


def source(tx: Transaction, document: Document) -> Source:
    row = repository.version_row(tx, document.id, document.version)
    if row is None:
        raise NotFound(f"Version {document.version} of the document {document.id} is gone.", hint="Add it again.")
    return Source(
        row["media_type"], row["filename"], row["charset"], row["file_key"], row["text"], bool(row["title_given"])
    )


def uris(tx: Transaction, document_id: str) -> list[str]:
    return repository.uris(tx, document_id)


def drop_uri(tx: Transaction, document: Document, uri: str) -> None:
    """Take one of several names from a document; its last one stays."""
    others = [name for name in repository.uris(tx, document.id) if name != uri]
    if others:
        repository.delete_uri(tx, document.workspace_id, uri, document.id)
        if document.uri == uri:
            repository.update(tx, document.id, {"uri": others[0]})


def store_extraction(tx: Transaction, document: Document, extraction: Extraction, media_type: str) -> Document:
    """Keep what was read out of the current version; the caller's title and metadata go before the file's own."""
    if extraction.title and not source(tx, document).title_given:
        document = replace(document, title=" ".join(extraction.title.split())[:_MAX_TITLE])
    metadata = {**extraction.metadata, **document.metadata}
    document = replace(document, media_type=media_type, metadata=metadata, state=DocumentState.SEARCHABLE)
    repository.set_text(tx, document.id, document.version, extraction.text, sha256_hex(extraction.text))
    repository.update(
        tx,
        document.id,
        {
            "title": document.title,
            "title_key": repository.title_key(document.title),
            "media_type": media_type,
            "metadata": json.dumps(metadata),
            "state": document.state.value,
            "error": None,
            "updated_at": _now(),
        },
    )
    return document


def mark_ready(tx: Transaction, document_id: str, version: int) -> None:
    """All stores have the version; without effect when there is a newer one or an erasure."""
    repository.set_ready(tx, document_id, version)


def mark_failed(tx: Transaction, document: Document, problem: Mapping[str, Any]) -> None:
    repository.update(tx, document.id, {"state": DocumentState.FAILED.value, "error": json.dumps(problem)})


@dataclass(frozen=True, slots=True)
class Holdings:
    by_state: Mapping[DocumentState, int]
    original_bytes: int
    text_characters: int


def holdings(tx: Transaction, workspace_id: str) -> Holdings:
    """How much a workspace has."""
    return Holdings(*repository.holdings(tx, workspace_id))


def mark_cancelled(tx: Transaction, workspace_id: str, document_id: str, version: int) -> None:
    """Its job was stopped: not read yet means failed; what was read is found by its words still, and says so."""
    document = repository.get(tx, workspace_id, document_id)
    if document is None or document.version != version:
        return
    if document.state is DocumentState.RECEIVED:
        problem = Conflict("Its job was cancelled before it was read.", hint="Retry the job, or add it again.")
        mark_failed(tx, document, problem.problem())
    elif document.state is DocumentState.SEARCHABLE:
        problem = Conflict(
            "Its job was cancelled: it is found by its words, not by its meaning.",
            hint="Retry the job, or add it again.",
        )
        repository.update(tx, document.id, {"error": json.dumps(problem.problem())})


def mark_erasing(tx: Transaction, document: Document) -> None:
    """From here on the document's names and content are free for new documents."""
    repository.delete_uris(tx, document.id)
    repository.update(tx, document.id, {"state": DocumentState.ERASING.value, "updated_at": _now()})


def file_keys(tx: Transaction, document_id: str) -> list[str]:
    return repository.file_keys(tx, document_id)


def replace_file(tx: Transaction, document_id: str, version: int, old_key: str, new_key: str | None) -> bool:
    """Let a version name another stored file, or none; False when it does not name the old one any more."""
    return repository.replace_file(tx, document_id, version, old_key, new_key)


def restore_text(tx: Transaction, document_id: str, version: int, text: str) -> None:
    """Put back the text that a version's SHA-256 was made of."""
    repository.set_text(tx, document_id, version, text, sha256_hex(text))


def contents(tx: Transaction, document_id: str) -> list[tuple[str, str]]:
    """(SHA-256 of what was handed in, text) of every version; the text is empty where it was never read."""
    return [(row["sha256"], row["text"] or "") for row in repository.contents(tx, document_id)]


def rows_naming(tx: Transaction, document_id: str) -> dict[str, int]:
    """How many rows name a document, by table."""
    return repository.naming(tx, document_id)


def with_content(tx: Transaction, workspace_id: str, sha256s: Sequence[str], before: float) -> int:
    """How many documents, taken in before a time, have any of these contents."""
    return repository.with_content(tx, workspace_id, sha256s, before) if sha256s else 0


def is_file_known(tx: Transaction, file_key: str) -> bool:
    return repository.is_file_known(tx, file_key)


def known_files(tx: Transaction) -> set[str]:
    """Keys of all stored files that a version names."""
    return repository.known_files(tx)


# For a backup, which takes whole tables: the rows of ``documents`` that it may take.
NOT_ERASING = "state <> 'erasing'"


def any_at_all(tx: Transaction) -> bool:
    return repository.any_at_all(tx)


def any_erasing(tx: Transaction) -> bool:
    return repository.any_erasing(tx)


def count_originals(tx: Transaction) -> int:
    return repository.count_originals(tx)


def originals(tx: Transaction) -> Iterator[tuple[str, str]]:
    """(key, SHA-256) of the stored files of all documents that are not being erased."""
    return repository.originals(tx)


def remove(tx: Transaction, document_id: str) -> None:
    repository.delete(tx, document_id)
