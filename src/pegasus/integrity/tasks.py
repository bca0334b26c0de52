"""The jobs of integrity: erase and prove it, repair, rebuild derived stores, compact."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pegasus.domain import Job
from pegasus.errors import PegasusError
from pegasus.integrity import repository
from pegasus.integrity.check import Check, Difference
from pegasus.integrity.erasure import Eraser
from pegasus.integrity.repair import Repairer
from pegasus.jobs import service as jobs
from pegasus.ports import GraphContents, GraphStore, RelationalStore, Transaction, Vectors, VectorStore

VECTORS, GRAPH, FULL_TEXT = DERIVED = ("vectors", "graph", "fulltext")
_PAGE_PASSAGES = 5_000
_REPORT_EVERY = 20_000


class EraseTask:
    """Remove what an accepted erasure has left; its receipt is written with the last of it."""

    def __init__(self, eraser: Eraser) -> None:
        self._eraser = eraser

    def run(self, job_list: Sequence[Job], owner: str) -> None:
        for job in job_list:
            self._eraser.erase(job, owner)

    def gave_up(self, tx: Transaction, job: Job, problem: Mapping[str, Any]) -> None:
        """Nothing to take back: the document stays unfindable, and the job tells why the rest is still there."""


class RepairTask:
    """Compare all stores, and mend what differs as it is found; each difference is an item of the job."""

    def __init__(self, relational: RelationalStore, check: Callable[[], Check], repairer: Repairer) -> None:
        self._relational, self._check, self._repairer = relational, check, repairer

    def run(self, job_list: Sequence[Job], owner: str) -> None:
        for job in job_list:
            self._repair(job, owner)

    def _repair(self, job: Job, owner: str) -> None:
        with self._relational.read() as tx:
            ordinal = jobs.last_item(tx, job)
        for found in self._check().run(job.payload["workspace_id"]):
            if isinstance(found, Difference):
                ordinal += 1
                self._mend(job, ordinal, found)
                continue
            with self._relational.write() as tx:
                if not jobs.report_progress(tx, job, owner, found.comparing, found.done, found.total):
                    return  # Cancelled: what was mended stays mended.
        with self._relational.write() as tx:
            jobs.await_items(tx, job, owner)

    def _mend(self, job: Job, ordinal: int, difference: Difference) -> None:
        mended = self._repairer.mend(difference, job)
        with self._relational.write() as tx:
            jobs.add_item(
                tx, job, ordinal, f"{difference.kind}: {difference.detail} Done: {mended.done}.",
                "left" if mended.error else "repaired",
                document_id=difference.document_id,
                item_job_id=mended.job.id if mended.job else None,
                error=mended.error.problem() if mended.error else None,
            )  # fmt: skip

    def gave_up(self, tx: Transaction, job: Job, problem: Mapping[str, Any]) -> None:
        """What was mended stays mended; another repair begins anew."""


class RebuildTask:
    """Make derived stores anew from the rows; ``compact`` does so with all of them and with the rows themselves."""

    def __init__(self, relational: RelationalStore, vectors: VectorStore, graph: GraphStore) -> None:
        self._relational, self._vectors, self._graph = relational, vectors, graph

    def run(self, job_list: Sequence[Job], owner: str) -> None:
        for job in job_list:
            self._rebuild(job, owner)

    def _rebuild(self, job: Job, owner: str) -> None:
        begun = time.time()
        stores = DERIVED if job.kind == "compact" else job.payload["stores"]
        parts: dict[str, Callable[[Job, str], None]] = {
            FULL_TEXT: self._full_text, VECTORS: self._rebuild_vectors, GRAPH: self._rebuild_graph
        }  # fmt: skip
        for store in (name for name in parts if name in stores):
            parts[store](job, owner)
        result: dict[str, Any] = {"rebuilt": list(stores)}
        if job.kind == "compact":
            self._report(job, owner, "compact", 0, 1)
            self._relational.compact()
            with self._relational.write() as tx:
                result["erasures_purged"] = repository.mark_purged(tx, begun, time.time())
        with self._relational.write() as tx:
            jobs.succeed(tx, job, owner, result)

    def _full_text(self, job: Job, owner: str) -> None:
        with self._relational.read() as tx:
            workspaces = repository.workspaces(tx)
        for n, workspace_id in enumerate(workspaces):
            self._report(job, owner, FULL_TEXT, n, len(workspaces))
            with self._relational.write() as tx:
                tx.rebuild_words(workspace_id)

    def _rebuild_vectors(self, job: Job, owner: str) -> None:
        def pages(tx: Transaction) -> Iterator[tuple[str, Sequence[str], Vectors]]:
            after = done = 0
            total = repository.all_indexed(tx)
            while rows := repository.embeddings_after(tx, after, _PAGE_PASSAGES):
                after, done = rows[-1]["seq"], done + len(rows)
                for workspace_id in dict.fromkeys(row["workspace_id"] for row in rows):
                    some = [row for row in rows if row["workspace_id"] == workspace_id]
                    vectors = np.frombuffer(b"".join(row["vector"] for row in some), "<f4").reshape(len(some), -1)
                    yield workspace_id, [row["id"] for row in some], vectors
                self._report(job, owner, VECTORS, done, total)

        with self._relational.read() as tx:
            self._vectors.rebuild(pages(tx))

    def _rebuild_graph(self, job: Job, owner: str) -> None:
        def part(name: str) -> Iterator[Any]:
            for n, row in enumerate(repository.graph_rows(tx, name)):
                if n % _REPORT_EVERY == 0:
                    self._report(job, owner, f"{GRAPH} {name}", n, n)
                yield row

        with self._relational.read() as tx:
            self._graph.rebuild(GraphContents(*map(part, GraphContents.__dataclass_fields__)))

    def _report(self, job: Job, owner: str, step: str, done: int, total: int) -> None:
        with self._relational.write() as tx:
            if not jobs.report_progress(tx, job, owner, step, done, total):
                raise Cancelled("The rebuild was cancelled; the store is as it was before.")

    def gave_up(self, tx: Transaction, job: Job, problem: Mapping[str, Any]) -> None:
        """The stores are as they were, or new: a rebuild is put in place as a whole."""


class Cancelled(PegasusError):
    """Ends a rebuild whose job is not this worker's any more; nobody is told, for the job has its state already."""
