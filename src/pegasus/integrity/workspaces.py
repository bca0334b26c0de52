"""The erasure of a whole workspace: closed at once, removed bit by bit, and proved by a receipt.

The receipt and the job belong to the workspace of the operator who asked, for the erased one keeps nothing. What was
removed so far is counted in the receipt, in the transaction that removes it: an erasure that was interrupted goes on
with what is left, and still tells of all.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pegasus.access import service as access
from pegasus.access.scopes import Principal
from pegasus.documents import service as documents
from pegasus.domain import Job, JobState, Lane
from pegasus.errors import Conflict
from pegasus.ingestion import service as ingestion
from pegasus.integrity import erasure, repository
from pegasus.integrity.erasure import Eraser, Look
from pegasus.jobs import service as jobs
from pegasus.ports import FileStore, GraphStore, RelationalStore, Transaction, VectorStore
from pegasus.sources import service as sources

JOB_KIND = "erase-workspace"
_DOCUMENTS, _ROWS, _END = "documents", "rows", "end"  # The steps of the job.
# After so long the lane is handed on, so that other workspaces' documents are indexed meanwhile.
_SLICE_SECONDS = 3.0
_DOCUMENTS_AT_ONCE, _ROWS_AT_ONCE, _NODES_AT_ONCE = 25, 5_000, 5_000


def accept(tx: Transaction, operator: Principal, workspace_id: str) -> Job:
    """From this commit on the workspace is closed to its keys and to its jobs. Asked for again it is the same job,
    which is tried again when it had given up.

    Raises ``NotFound``, and ``Conflict`` for a workspace that cannot go.
    """
    known = repository.erasure(tx, operator.workspace_id, workspace_id)
    if known and known["scope"] == "workspace":
        return _again(tx, operator.workspace_id, known["id"])
    if repository.is_erasing_another(tx, workspace_id):
        raise Conflict(
            "From this workspace the erasure of another one was asked for, which is not over.",
            hint="Wait until that is erased, then try again.",
        )
    access.close_workspace(tx, operator, workspace_id)
    jobs.cancel_all(tx, workspace_id)
    sources.suspend(tx, workspace_id)
    total = documents.mark_all_erasing(tx, workspace_id)
    repository.move_receipts(tx, workspace_id, operator.workspace_id)
    payload = {"workspace_id": workspace_id, "documents": total}
    job = jobs.enqueue(tx, operator.workspace_id, JOB_KIND, Lane.INDEX, _DOCUMENTS, payload=payload)
    repository.insert_erasure(
        tx,
        {
            "id": job.id,
            "workspace_id": operator.workspace_id,
            "scope": "workspace",
            "subject_id": workspace_id,
            "requested_at": job.created_at,
            "removed": "{}",
        },
    )
    access.note(tx, operator, "workspace.erased", workspace_id, outcome="accepted")
    return job


def _again(tx: Transaction, workspace_id: str, job_id: str) -> Job:
    job = jobs.get(tx, workspace_id, job_id)
    gave_up = job.state.finished and job.state is not JobState.SUCCEEDED
    return jobs.retry(tx, workspace_id, job_id) if gave_up else job


class _NotOurs(Exception):
    pass


class EraseWorkspaceTask:
    """Documents by the way of every erasure, then all other rows, then whatever is left in the stores beside them."""

    def __init__(
        self, relational: RelationalStore, vectors: VectorStore, graph: GraphStore, files: FileStore, eraser: Eraser
    ) -> None:
        self._relational, self._vectors, self._graph, self._files = relational, vectors, graph, files
        self._eraser = eraser

    def run(self, job_list: Sequence[Job], owner: str) -> None:
        for job in job_list:
            step = {_DOCUMENTS: self._documents, _ROWS: self._rows, _END: self._end}[job.step]
            try:
                step(job, job.payload["workspace_id"], owner)
            except _NotOurs:  # Another worker has taken it over, and does the rest.
                continue

    def gave_up(self, tx: Transaction, job: Job, problem: Mapping[str, Any]) -> None:
        """Nothing to take back: the workspace stays closed, and the job tells why the rest is still there."""

    def _documents(self, job: Job, workspace_id: str, owner: str) -> None:
        until = time.monotonic() + _SLICE_SECONDS
        while time.monotonic() < until:
            with self._held(job, owner) as tx:
                some = documents.some(tx, workspace_id, _DOCUMENTS_AT_ONCE)
                if not some:
                    jobs.hand_over(tx, job, owner, Lane.INDEX, _ROWS)
                    return
                for document in some:
                    ingestion.take_out(tx, document)
            cleared = self._eraser.clear(workspace_id, [document.id for document in some])
            with self._held(job, owner) as tx:
                done = erasure.remove(tx, workspace_id, cleared)
                erasure.refuse_what_is_left(done.looks)
                removed = _tally(tx, job, done.counts, done.phrases)
                jobs.report_progress(tx, job, owner, _DOCUMENTS, removed["documents"], job.payload["documents"])
        self._hand_over(job, owner, _DOCUMENTS)

    def _rows(self, job: Job, workspace_id: str, owner: str) -> None:
        until = time.monotonic() + _SLICE_SECONDS
        for table, condition in repository.rows_of_workspace(self._relational.tables()):
            deleted = _ROWS_AT_ONCE if table.name != "workspaces" else 0  # Its own row goes with the last of all.
            while deleted == _ROWS_AT_ONCE:
                if time.monotonic() > until:
                    self._hand_over(job, owner, _ROWS)
                    return
                with self._held(job, owner) as tx:
                    deleted = repository.delete_rows(tx, table, condition, workspace_id, _ROWS_AT_ONCE)
                    _tally(tx, job, {table.name: deleted})
        self._hand_over(job, owner, _END)

    def _end(self, job: Job, workspace_id: str, owner: str) -> None:
        """Take away what no row has named, let the workspace's own row go, and look for it everywhere."""
        self._drop(workspace_id)
        left = self._left_beside_the_rows(workspace_id)
        rows = repository.rows_of_workspace(self._relational.tables())
        with self._held(job, owner) as tx:
            # Requests and jobs that were under way when it was closed may have ended since with a last row.
            late = {table.name: repository.delete_rows(tx, table, condition, workspace_id) for table, condition in rows}
            tx.drop_words(workspace_id)
            removed = _tally(tx, job, late)
            looks = _looks(removed, _phrases(tx, job), repository.count_rows(tx, rows, workspace_id), left)
            erasure.refuse_what_is_left(looks)
            erasure.verify(tx, job.id, removed, looks)
            jobs.succeed(tx, job, owner, {"removed": removed})

    def _drop(self, workspace_id: str) -> None:
        self._vectors.drop(workspace_id)
        for label, delete in (
            ("Passage", self._graph.delete_passages),
            ("Entity", self._graph.delete_entities),
            ("Document", self._graph.delete_documents),
        ):
            ids = list(self._graph.node_ids(workspace_id, label))
            for first in range(0, len(ids), _NODES_AT_ONCE):
                delete(workspace_id, ids[first : first + _NODES_AT_ONCE])
        self._files.drop(workspace_id)

    def _left_beside_the_rows(self, workspace_id: str) -> dict[str, int]:
        labels = ("Passage", "Entity", "Document")
        return {
            "vectors": sum(len(ids) for ids, _ in self._vectors.pages(workspace_id)),
            "graph": sum(1 for label in labels for _ in self._graph.node_ids(workspace_id, label)),
            "files": sum(key.startswith(f"{workspace_id}/") for key in self._files.stored_keys()),
        }

    def _hand_over(self, job: Job, owner: str, step: str) -> None:
        with self._held(job, owner) as tx:
            jobs.hand_over(tx, job, owner, Lane.INDEX, step)

    @contextmanager
    def _held(self, job: Job, owner: str) -> Iterator[Transaction]:
        with self._relational.write() as tx:
            if not jobs.is_held(tx, job, owner, progressed=True):
                raise _NotOurs
            yield tx


def _tally(tx: Transaction, job: Job, removed: Mapping[str, int], phrases: int = 0) -> dict[str, int]:
    """Count what this transaction removes and what it has looked for; all that was removed so far."""
    row = repository.erasure(tx, job.workspace_id, job.id)
    before: dict[str, int] = json.loads(row["removed"]) if row else {}
    total = dict(Counter(before) + Counter(removed))
    looked = {"phrases": _phrases(tx, job) + phrases}
    repository.tally_erasure(tx, job.id, json.dumps(total), json.dumps(looked))
    return total


def _phrases(tx: Transaction, job: Job) -> int:
    row = repository.erasure(tx, job.workspace_id, job.id)
    looked = json.loads(row["checks"]) if row else {}
    return int(looked.get("phrases", 0)) if isinstance(looked, dict) else 0


def _looks(removed: Mapping[str, int], phrases: int, rows_left: int, left: Mapping[str, int]) -> list[Look]:
    """What was looked for with each document, in the transaction that removed it, and with the whole at the end."""
    n = Counter(removed)
    return [
        Look("rows", f"the ids of {n['documents']} documents in every table", 0),
        Look("rows", f"the SHA-256 of {n['versions']} versions", 0),
        Look("rows", "the workspace's id in every table, and what refers to it", rows_left),
        Look("full text", f"{phrases} phrases of the texts", 0),
        Look("vectors", f"{n['passages']} passages by id, and all others of the workspace", left["vectors"]),
        Look("graph", f"{n['entities']} entities by id, and all nodes of the workspace", left["graph"]),
        Look("files", f"{n['files']} original files by key, and all others of the workspace", left["files"]),
    ]
