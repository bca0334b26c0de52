"""Makes derived stores anew from the rows, as a job; a compaction does so with all of them and with the rows, too."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pegasus.access.service import ensure_workspace, note_for_installation
from pegasus.domain import Job, Lane
from pegasus.errors import PegasusError
from pegasus.integrity import repository
from pegasus.jobs import service as jobs
from pegasus.ports import GraphContents, GraphStore, RelationalStore, Transaction, Vectors, VectorStore

VECTORS, GRAPH, FULL_TEXT = DERIVED = ("vectors", "graph", "fulltext")
_PAGE_PASSAGES = 5_000
_REPORT_EVERY = 20_000


def enqueue(tx: Transaction, asked_by: str, stores: Sequence[str], parent_id: str | None = None) -> Job:
    """The job that makes these stores of the installation anew; it is seen by the workspace that asked for it."""
    chosen = [store for store in DERIVED if store in stores]
    return jobs.enqueue(tx, asked_by, "rebuild", Lane.INDEX, "rebuild", payload={"stores": chosen}, parent_id=parent_id)


def enqueue_compaction(tx: Transaction, asked_by: str) -> Job:
    """The job after which no byte of what was erased before is left in any store's free space."""
    return jobs.enqueue(tx, asked_by, "compact", Lane.INDEX, "rebuild")


def compact_when_due(tx: Transaction, after_seconds: float) -> int:
    """Queue a compaction once something was erased so long ago and is not purged yet; how many were queued.

    One that failed is not followed by another before the same time has passed again.
    """
    before = time.time() - after_seconds
    since = repository.unpurged_since(tx)
    if since is None or since > before or (repository.last_compaction(tx) or 0) > before:
        return 0
    job = enqueue_compaction(tx, ensure_workspace(tx))
    note_for_installation(tx, "compaction.started", job.id)
    return 1


Report = Callable[[str, int, int], None]  # Which store, how much of it is done, how much there is. It may raise.


def full_text(relational: RelationalStore, report: Report) -> None:
    with relational.read() as tx:
        workspaces = repository.workspaces(tx)
    for n, workspace_id in enumerate(workspaces):
        report(FULL_TEXT, n, len(workspaces))
        with relational.write() as tx:
            tx.rebuild_words(workspace_id)


def vectors(relational: RelationalStore, store: VectorStore, report: Report) -> None:
    """From the embeddings in the rows, without the model, in the order in which the passages came."""

    def pages(tx: Transaction) -> Iterator[tuple[str, Sequence[str], Vectors]]:
        after = done = 0
        total = repository.all_indexed(tx)
        while rows := repository.embeddings_after(tx, after, _PAGE_PASSAGES):
            after, done = rows[-1]["seq"], done + len(rows)
            for workspace_id in dict.fromkeys(row["workspace_id"] for row in rows):
                some = [row for row in rows if row["workspace_id"] == workspace_id]
                embeddings = np.frombuffer(b"".join(row["vector"] for row in some), "<f4").reshape(len(some), -1)
                yield workspace_id, [row["id"] for row in some], embeddings
            report(VECTORS, done, total)

    with relational.read() as tx:
        store.rebuild(pages(tx))


def graph(relational: RelationalStore, store: GraphStore, report: Report) -> None:
    def part(name: str) -> Iterator[Any]:
        for n, row in enumerate(repository.graph_rows(tx, name)):
            if n % _REPORT_EVERY == 0:
                report(f"{GRAPH} {name}", n, n)
            yield row

    with relational.read() as tx:
        store.rebuild(GraphContents(*map(part, GraphContents.__dataclass_fields__)))


class RebuildTask:
    """Make derived stores anew from the rows; ``compact`` does so with all of them and with the rows themselves."""

    def __init__(self, relational: RelationalStore, vectors: VectorStore, graph: GraphStore) -> None:
        self._relational, self._vectors, self._graph = relational, vectors, graph
        self._purges = {VECTORS: vectors.purges, GRAPH: graph.purges}

    def run(self, job_list: Sequence[Job], owner: str) -> None:
        for job in job_list:
            self._rebuild(job, owner)

    def _rebuild(self, job: Job, owner: str) -> None:
        begun = time.time()
        stores = DERIVED if job.kind == "compact" else job.payload["stores"]

        def report(step: str, done: int, total: int) -> None:
            self._report(job, owner, step, done, total)

        parts: dict[str, Callable[[], None]] = {
            FULL_TEXT: lambda: full_text(self._relational, report),
            VECTORS: lambda: vectors(self._relational, self._vectors, report),
            GRAPH: lambda: graph(self._relational, self._graph, report),
        }
        for store in (name for name in parts if name in stores):
            parts[store]()
        result: dict[str, Any] = {"rebuilt": list(stores)}
        if job.kind == "compact":
            self._report(job, owner, "compact", 0, 1)
            self._relational.compact()
            # A server keeps what was deleted in its files for as long as it likes: no receipt may then say otherwise.
            if kept := [name for name, purges in self._purges.items() if not purges]:
                result["left_to_servers"] = kept
            else:
                with self._relational.write() as tx:
                    result["erasures_purged"] = repository.mark_purged(tx, begun, time.time())
        with self._relational.write() as tx:
            jobs.succeed(tx, job, owner, result)

    def _report(self, job: Job, owner: str, step: str, done: int, total: int) -> None:
        with self._relational.write() as tx:
            if not jobs.report_progress(tx, job, owner, step, done, total):
                raise Cancelled("The rebuild was cancelled; the store is as it was before.")

    def gave_up(self, tx: Transaction, job: Job, problem: Mapping[str, Any]) -> None:
        """The stores are as they were, or new: a rebuild is put in place as a whole."""


class Cancelled(PegasusError):
    """Ends a rebuild whose job is not this worker's any more; nobody is told, for the job has its state already."""
