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
    scope: str  # "document" or "workspace"
    subject_id: str
    requested_at: float
    removed: Mapping[str, int]
    looks: Sequence[Look]
    verified_at: float | None
    purged_at: float | None

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
    return _receipt_from(row)


def receipts(tx: Transaction, workspace_id: str, cursor: str | None, limit: int) -> Page[Receipt]:
    rows = repository.erasures(tx, workspace_id, cursor, limit + 1)
    return page_of([_receipt_from(row) for row in rows], limit)


def _receipt_from(row: Row) -> Receipt:
    return Receipt(
        id=row["id"],
        workspace_id=row["workspace_id"],
        scope=row["scope"],
        subject_id=row["subject_id"],
        requested_at=row["requested_at"],
        removed=json.loads(row["removed"]),
        looks=[Look(**look) for look in json.loads(row["checks"])],
        verified_at=row["verified_at"],
        purged_at=row["purged_at"],
    )


class Eraser:
    """Removes what an accepted erasure has left, looks for it everywhere, and only then says that it is done."""

    def __init__(self, relational: RelationalStore, files: FileStore, indexer: ingestion.Indexer) -> None:
        self._relational, self._files, self._indexer = relational, files, indexer

    def erase(self, job: Job, owner: str) -> None:
        """May be repeated at any point. Raises ``Unavailable`` when something is found that should be gone."""
        workspace_id, document_id = job.workspace_id, job.document_id or ""
        forgotten = self._indexer.forget_document(workspace_id, document_id)
        with self._relational.read() as tx:
            keys = documents.file_keys(tx, document_id)
        for key in keys:
            self._files.delete(key)
        files_left = sum(self._is_stored(key) for key in keys)
        with self._relational.write() as tx:
            contents = documents.contents(tx, document_id)
            documents.remove(tx, document_id)
            ingestion.forgotten(tx, forgotten.ids)
            looks = [
                *self._looks_at_rows(tx, job, contents),
                Look("vectors", f"{len(forgotten.ids['passage'])} passages by id", forgotten.vectors_left),
                Look("graph", "the document, its passages and entities by id", forgotten.nodes_left),
                Look("files", f"{len(keys)} original files by key", files_left),
            ]
            if found := [look for look in looks if look.left]:
                raise Unavailable(  # Rolls the transaction back: the erasure is not over, and can be tried again.
                    "After the erasure it was still found in: "
                    + ", ".join(f"{look.store} ({look.left})" for look in found),
                    hint="It is tried again; if it stays, run: pegasus check --repair",
                )
            removed = {**job.payload, "files": len(keys), "versions": len(contents)}
            self._record(tx, job, removed, looks)
            jobs.succeed(tx, job, owner, {"removed": removed})

    def _is_stored(self, key: str) -> bool:
        try:
            with self._files.path(key):
                return True
        except NotFound:
            return False

    @staticmethod
    def _looks_at_rows(tx: Transaction, job: Job, contents: Sequence[tuple[str, str]]) -> list[Look]:
        workspace_id, document_id = job.workspace_id, job.document_id or ""
        phrases = [phrase for _, text in contents for phrase in phrases_of(text)]
        found = [id_ for phrase in phrases for id_ in tx.search_phrase(workspace_id, phrase, _PHRASE_HITS)]
        # The same words in another document are that document's; words that are indexed for no passage are a trace.
        traces = sum(id_ is None for id_ in found)
        hashes = [sha256 for sha256, _ in contents]
        return [
            Look("rows", "the document's id in every table", sum(documents.rows_naming(tx, document_id).values())),
            Look(
                "rows", f"the SHA-256 of {len(hashes)} versions",
                documents.with_content(tx, workspace_id, hashes, job.created_at),
            ),
            Look("full text", f"{len(phrases)} phrases of its text", traces),
            Look("answers", "quotations of it in sessions", chat.count_citing(tx, workspace_id, document_id)),
            Look("replies", "its id in remembered replies", access.count_replies(tx, workspace_id, document_id)),
        ]  # fmt: skip

    @staticmethod
    def _record(tx: Transaction, job: Job, removed: Mapping[str, int], looks: Sequence[Look]) -> None:
        row = repository.erasure(tx, job.workspace_id, job.id)
        before: dict[str, Any] = json.loads(row["removed"]) if row else {}
        checks = [{"store": look.store, "looked_for": look.looked_for, "left": look.left} for look in looks]
        repository.verify_erasure(tx, job.id, json.dumps({**before, **removed}), json.dumps(checks), time.time())


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
