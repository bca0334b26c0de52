"""The jobs of integrity: erase and prove it, repair."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pegasus.domain import Job
from pegasus.integrity.check import Check, Difference
from pegasus.integrity.erasure import Eraser
from pegasus.integrity.repair import Repairer
from pegasus.jobs import service as jobs
from pegasus.ports import RelationalStore, Transaction


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
