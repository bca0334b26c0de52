"""Erasures: accepted at once, carried out by a job, and proved by a receipt of what was removed and looked for.

A receipt has counts and ids, never words or digests of the content: it must not keep what it says is gone.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pegasus.access import service as access
from pegasus.chat import service as chat
from pegasus.documents import service as documents
from pegasus.domain import Document, Job, Lane
from pegasus.errors import NotFound, Unavailable
from pegasus.ingestion import service as ingestion
from pegasus.integrity import repository
from pegasus.integrity.backup import backups_holding
from pegasus.integrity.records import BackupRecord
from pegasus.jobs import service as jobs
from pegasus.pagination import Page, page_of
from pegasus.ports import FileStore, RelationalStore, Row, Transaction

# Enough words in a row to be a document's own, enough places to notice a part that stayed.
_PHRASE_WORDS, _PHRASE_CHARACTERS, _PHRASES, _PHRASE_HITS = 8, 200, 5, 20
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Look:
    """A place that was searched when all was removed. ``left`` is what was found, and is 0 in every receipt."""

    store: str
    looked_for: str
    left: int


@dataclass(frozen=True, slots=True)
class Receipt:
    id: str  # Also its job's.
    workspace_id: str
    scope: Literal["document", "workspace"]
    subject_id: str
    requested_at: float
    removed: Mapping[str, int]
    looks: Sequence[Look]
    verified_at: float | None
    purged_at: float | None
    backups: Sequence[BackupRecord]  # Made before the erasure and not yet expired: it may still be in them.

    @property
    def state(self) -> Literal["accepted", "verified", "purged"]:
        """accepted: unfindable; verified: removed, and not found by any look; purged: no byte left in free space."""
        return "purged" if self.purged_at else "verified" if self.verified_at else "accepted"


def accept(tx: Transaction, workspace_id: str, document_id: str) -> Job:
    """From this commit on nothing finds, quotes or repeats the document; the job removes the rest and proves it."""
    job = ingestion.erase(tx, workspace_id, document_id)
    removed = {
        **job.payload,
        # Its words were quoted elsewhere, too.
        "answers": chat.forget_document(tx, workspace_id, document_id),
        "replies": access.forget_replies(tx, workspace_id, document_id),
    }
    jobs.forget_document(tx, document_id)
    repository.insert_erasure(
        tx,
        {
            "id": job.id,
            "workspace_id": workspace_id,
            "scope": "document",
            "subject_id": document_id,
            "requested_at": job.created_at,
            "removed": json.dumps(removed),
        },
    )
    return job


def resume(tx: Transaction, document: Document, parent_id: str) -> Job:
    """The job of an erasure that was accepted and whose own job gave up."""
    row = repository.erasure(tx, document.workspace_id, document.id)
    if row is not None:
        return jobs.retry(tx, document.workspace_id, row["id"])
    return jobs.enqueue(
        tx, document.workspace_id, "erase", Lane.INDEX, "erase", document_id=document.id, parent_id=parent_id
    )


def receipt(tx: Transaction, workspace_id: str, id_: str) -> Receipt:
    """By the id of the erasure's job, or of the document that was erased."""
    row = repository.erasure(tx, workspace_id, id_)
    if row is None:
        raise NotFound(f"There is no erasure {id_}.", hint="List them with GET /v1/erasures.")
    return _receipt_from(tx, row)


def receipts(tx: Transaction, workspace_id: str, cursor: str | None, limit: int) -> Page[Receipt]:
    rows = repository.erasures(tx, workspace_id, cursor, limit + 1)
    return page_of([_receipt_from(tx, row) for row in rows], limit)


def _receipt_from(tx: Transaction, row: Row) -> Receipt:
    return Receipt(
        id=row["id"],
        workspace_id=row["workspace_id"],
        scope=row["scope"],
        subject_id=row["subject_id"],
        requested_at=row["requested_at"],
        removed=json.loads(row["removed"]),
        # Until then there is at most what the erasure of a workspace has looked for so far.
        looks=[Look(**look) for look in json.loads(row["checks"])] if row["verified_at"] else [],
        verified_at=row["verified_at"],
        purged_at=row["purged_at"],
        backups=backups_holding(tx, row["requested_at"]),
    )


@dataclass(frozen=True, slots=True)
class Cleared:
    """What the stores beside the rows have lost of documents, and how much of it is there all the same."""

    document_ids: Sequence[str]
    gone: Mapping[str, Sequence[str]]  # ids by "passage" and "entity"
    files: int
    vectors_left: int
    nodes_left: int
    files_left: int


@dataclass(frozen=True, slots=True)
class Removed:
    """What was removed with the rows of documents, and where it was looked for in the same transaction."""

    counts: Mapping[str, int]
    phrases: int
    looks: Sequence[Look]


class Eraser:
    """Removes what an accepted erasure has left, looks for it everywhere, and only then says that it is done."""

    def __init__(self, relational: RelationalStore, files: FileStore, indexer: ingestion.Indexer) -> None:
        self._relational, self._files, self._indexer = relational, files, indexer

    def erase(self, job: Job, owner: str) -> None:
        """May be repeated at any point. Raises ``Unavailable`` when something is found that should be gone."""
        workspace_id, document_id = job.workspace_id, job.document_id or ""
        cleared = self.clear(workspace_id, [document_id])
        with self._relational.write() as tx:
            done = remove(tx, workspace_id, cleared)
            looks = [
                *done.looks,
                Look("answers", "quotations of it in sessions", chat.count_citing(tx, workspace_id, document_id)),
                Look("replies", "its id in remembered replies", access.count_replies(tx, workspace_id, document_id)),
            ]
            refuse_what_is_left(looks)
            removed = {**job.payload, "files": done.counts["files"], "versions": done.counts["versions"]}
            self._record(tx, job, removed, looks)
            jobs.succeed(tx, job, owner, {"removed": removed})

    def clear(self, workspace_id: str, document_ids: Sequence[str]) -> Cleared:
        """Take documents out of vectors, graph and files; their rows, which name what that is, stay until then."""
        forgotten = [self._indexer.forget_document(workspace_id, document_id) for document_id in document_ids]
        with self._relational.read(workspace_id) as tx:
            keys = [key for document_id in document_ids for key in documents.file_keys(tx, document_id)]
        for key in keys:
            self._files.delete(key)
        return Cleared(
            document_ids,
            {kind: [id_ for some in forgotten for id_ in some.ids[kind]] for kind in ("passage", "entity")},
            files=len(keys),
            vectors_left=sum(some.vectors_left for some in forgotten),
            nodes_left=sum(some.nodes_left for some in forgotten),
            files_left=sum(self._is_stored(key) for key in keys),
        )

    def _is_stored(self, key: str) -> bool:
        try:
            with self._files.path(key):
                return True
        except NotFound:
            return False

    @staticmethod
    def _record(tx: Transaction, job: Job, removed: Mapping[str, int], looks: Sequence[Look]) -> None:
        row = repository.erasure(tx, job.workspace_id, job.id)
        before: dict[str, Any] = json.loads(row["removed"]) if row else {}
        verify(tx, job.id, {**before, **removed}, looks)


def remove(tx: Transaction, workspace_id: str, cleared: Cleared) -> Removed:
    """Delete the rows of documents that were cleared, and look for them where they have been."""
    ids = cleared.document_ids
    contents = [content for document_id in ids for content in documents.contents(tx, document_id)]
    for document_id in ids:
        documents.remove(tx, document_id)
    ingestion.forgotten(tx, cleared.gone)
    passages = len(cleared.gone["passage"])
    counts = {
        "documents": len(ids),
        "versions": len(contents),
        "passages": passages,
        "vectors": passages,
        "entities": len(cleared.gone["entity"]),
        "files": cleared.files,
    }
    phrases = [phrase for _, text in contents for phrase in phrases_of(text)]
    found = [id_ for phrase in phrases for id_ in tx.search_phrase(workspace_id, phrase, _PHRASE_HITS)]
    # The same words in another document are that document's; words that are indexed for no passage are a trace.
    traces = sum(id_ is None for id_ in found)
    rows = sum(sum(documents.rows_naming(tx, document_id).values()) for document_id in ids)
    hashes = [sha256 for sha256, _ in contents]
    looks = [
        Look("rows", "the document's id in every table", rows),
        Look("rows", f"the SHA-256 of {len(hashes)} versions", documents.stray_contents(tx, hashes)),
        Look("full text", f"{len(phrases)} phrases of its text", traces),
        Look("vectors", f"{passages} passages by id", cleared.vectors_left),
        Look("graph", "the document, its passages and entities by id", cleared.nodes_left),
        Look("files", f"{cleared.files} original files by key", cleared.files_left),
    ]
    return Removed(counts, len(phrases), looks)


def refuse_what_is_left(looks: Sequence[Look]) -> None:
    """Raises ``Unavailable`` if something was found, which rolls back the transaction: the erasure is not over."""
    if found := [look for look in looks if look.left]:
        raise Unavailable(
            "After the erasure it was still found in: " + ", ".join(f"{look.store} ({look.left})" for look in found),
            hint="It is tried again; if it stays, run: pegasus check --repair",
        )


def verify(tx: Transaction, id_: str, removed: Mapping[str, int], looks: Sequence[Look]) -> None:
    """Write the receipt: all is removed, and was not found."""
    checks = [{"store": look.store, "looked_for": look.looked_for, "left": look.left} for look in looks]
    repository.verify_erasure(tx, id_, json.dumps(removed), json.dumps(checks), time.time())


def phrases_of(text: str) -> list[list[str]]:
    """Some runs of words from all over a text, by which it would be found again."""
    last = max(0, len(text) - _PHRASE_CHARACTERS)
    starts = sorted({last * n // (_PHRASES - 1) for n in range(_PHRASES)})
    runs = []
    for start in starts:
        words = _WORD.findall(text[start : start + _PHRASE_CHARACTERS])
        # The first and the last may be cut.
        runs.append(words[int(start > 0) : _PHRASE_WORDS + 1][:_PHRASE_WORDS])
    return [run for run in runs if run]
