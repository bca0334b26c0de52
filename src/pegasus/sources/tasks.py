"""The job of a source: list what is there, read what is new, erase what is gone; in slices, from where it was left.

What a listing names is written down before anything is read, so that a run that was killed goes on instead of starting
again. Each item is read in a transaction of its own, with the document that it becomes and the count of the run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from typing import Any, TypeVar

from pegasus.documents import service as documents
from pegasus.domain import Job, Lane, Source
from pegasus.errors import Conflict, NotFound, PegasusError, Unavailable, UnsupportedFormat
from pegasus.ingestion import intake
from pegasus.jobs import service as jobs
from pegasus.ports import FileStore, FoundItem, ItemContent, JobSignal, RelationalStore, SourceReader, Transaction
from pegasus.sources import service
from pegasus.sources.repository import Item

T = TypeVar("T")

# After so long the lane is handed on: other sources have their turn, a cancellation is seen, a stop is quick.
_SLICE_SECONDS = 3.0
_LISTED_AT_ONCE = 500
_READ_AT_ONCE = 50
# A source that fails so often without one success is away; its run is tried again later.
_MAX_FAILURES_IN_A_ROW = 5


class _NotOurs(Exception):
    pass


class SourceTask:
    """Takes in what sources have, and keeps it in step with them."""

    def __init__(
        self, relational: RelationalStore, files: FileStore, open_reader: Callable[[Source], SourceReader],
        signal: JobSignal, max_upload_bytes: int,
    ) -> None:  # fmt: skip
        self._relational, self._files, self._open_reader = relational, files, open_reader
        self._signal, self._max_upload_bytes = signal, max_upload_bytes
        # A reader that has parsed a mailbox or a feed is kept from slice to slice; a lost one is opened again.
        self._readers: dict[str, SourceReader] = {}
        self._failures_in_a_row: dict[str, int] = {}

    def run(self, job_list: Sequence[Job], owner: str) -> None:
        for job in job_list:
            try:
                self._run(job, owner)
            except _NotOurs:
                self._forget(job)
            except BaseException:  # The next try opens the source afresh.
                self._forget(job)
                raise

    def gave_up(self, tx: Transaction, job: Job, problem: Mapping[str, Any]) -> None:
        """What was taken in before stays; the next run goes on with the rest."""

    def _run(self, job: Job, owner: str) -> None:
        with self._relational.read(job.workspace_id) as tx:
            source = service.source_of(tx, job)
        if source is None:
            with self._relational.write() as tx:
                jobs.succeed(tx, job, owner, {"superseded": True})
            self._forget(job)
            return
        step = {
            service.LIST: self._list,
            service.READ: self._read,
            service.ERASE: self._erase,
            service.REMOVE: self._remove,
        }[job.step]
        step(source, job, owner)

    def _list(self, source: Source, job: Job, owner: str) -> None:
        # Who confirms wants what is gone erased, which takes a whole listing.
        listing = self._reader(source, job).listing(None if job.payload.get("confirm") else source.listing_token)
        if listing is None:
            with self._held(job, owner) as tx:
                service.note_nothing_new(tx, source, job)
                jobs.hand_over(tx, job, owner, Lane.FETCH, service.READ)
            return
        for found in _batches(listing.items, _LISTED_AT_ONCE):
            with self._held(job, owner) as tx:
                for item in service.note_found(tx, source, job, found):
                    self._note_refused(tx, job, item)
        with self._held(job, owner) as tx:
            for gap in listing.gaps:
                self._add_item(tx, job, source.name, "refused", gap)
            complete = listing.names_all and not listing.gaps
            total = service.note_listed(tx, source, job, complete=complete, listing_token=listing.token)
            jobs.report_progress(tx, job, owner, service.LIST, 0, total)
            jobs.hand_over(tx, job, owner, Lane.FETCH, service.READ)

    def _note_refused(self, tx: Transaction, job: Job, item: FoundItem) -> None:
        if item.error:
            self._add_item(tx, job, item.key, "refused", item.error)

    def _add_item(self, tx: Transaction, job: Job, name: str, outcome: str, error: PegasusError) -> None:
        jobs.add_item(tx, job, jobs.last_item(tx, job) + 1, name, outcome, error=error.problem())

    def _read(self, source: Source, job: Job, owner: str) -> None:
        until = time.monotonic() + _SLICE_SECONDS
        while time.monotonic() < until:
            with self._relational.read(job.workspace_id) as tx:
                items = service.to_read(tx, source, _READ_AT_ONCE)
            for item in items:
                self._take_in(source, job, owner, item)
                if time.monotonic() > until:
                    break
            if not items:
                self._hand_over(job, owner, service.ERASE)
                return
        self._hand_over(job, owner, service.READ)

    def _take_in(self, source: Source, job: Job, owner: str, item: Item) -> None:
        """Store one item as a document; an item that cannot be had is told in the report, and the rest goes on."""
        try:
            content = self._reader(source, job).open(item.key, item.token)
        except NotFound:
            with self._held(job, owner, progressed=True) as tx:
                service.note_gone(tx, item)
            return
        except PegasusError as error:
            self._refuse(job, owner, item, error)
            self._count_failure(job, error)
            return
        self._failures_in_a_row.pop(job.id, None)
        if content is None:
            with self._held(job, owner, progressed=True) as tx:
                service.note_unchanged(tx, job, item)
            return
        with closing(content.stream):
            self._store(source, job, owner, item, content)

    def _count_failure(self, job: Job, error: PegasusError) -> None:
        if not error.retryable:
            return
        self._failures_in_a_row[job.id] = self._failures_in_a_row.get(job.id, 0) + 1
        if self._failures_in_a_row[job.id] >= _MAX_FAILURES_IN_A_ROW:
            raise error

    def _refuse(self, job: Job, owner: str, item: Item, error: PegasusError) -> None:
        # A source that is away is no progress, or its run would never come to the end of its attempts.
        with self._held(job, owner, progressed=not error.retryable) as tx:
            service.note_failed(tx, item)
            self._add_item(tx, job, item.key, "refused", error)

    def _store(self, source: Source, job: Job, owner: str, item: Item, content: ItemContent) -> None:
        about = intake.Upload(
            filename=content.filename,
            content_type=content.content_type,
            title=None,
            uri=item.uri,
            tags=source.tags,
            metadata=content.metadata,
        )
        try:
            stored = intake.store(self._files, source.workspace_id, content.stream, about, self._max_upload_bytes)
        except Unavailable:
            raise  # The disk is full, or the connection broke: the rest would fare no better.
        except PegasusError as error:
            self._refuse(job, owner, item, error)
            return
        unused: list[str] = [stored.file_key]
        try:
            if stored.is_archive:
                self._refuse(job, owner, item, _archive_refusal(item))
            else:
                unused = self._add(job, owner, item, content, stored)
        finally:
            for key in unused:
                self._files.delete(key)

    def _add(self, job: Job, owner: str, item: Item, content: ItemContent, stored: intake.StoredUpload) -> list[str]:
        """The files that nothing names afterwards."""
        token = item.found_token or content.token
        with self._held(job, owner, progressed=True) as tx:
            added = intake.add_stored(tx, item.workspace_id, stored.new, parent_id=job.id, priority=jobs.BULK)
            service.note_read(tx, job, item, added, token)
            if added.job:
                jobs.add_item(
                    tx, job, jobs.last_item(tx, job) + 1, item.key, added.outcome,
                    document_id=added.document.id, item_job_id=added.job.id,
                )  # fmt: skip
            kept = documents.is_file_known(tx, stored.file_key)
        self._signal.notify(Lane.READ)
        return [key for key in (added.replaced_file, None if kept else stored.file_key) if key]

    def _erase(self, source: Source, job: Job, owner: str) -> None:
        """Let go of what is gone at the source, if its listing was whole and the loss does not look like a mistake."""
        until = time.monotonic() + _SLICE_SECONDS
        with self._held(job, owner) as tx:
            run = service.run_of(tx, job)
            # What an earlier slice has erased is gone already: only the first one sees how much there was.
            held = service.held_back(tx, source, job) if run.complete and not run.erased else 0
            if held and not run.held:
                self._add_item(tx, job, source.name, "held", _held_problem(source, held))
        while run.complete and not held:
            with self._relational.read(job.workspace_id) as tx:
                items = service.missing(tx, source, job, _READ_AT_ONCE)
            if not items:
                break
            self._drop(job, owner, items)
            if time.monotonic() > until:
                self._hand_over(job, owner, service.ERASE)
                return
        with self._held(job, owner) as tx:
            service.finish(tx, source, service.run_of(tx, job))
            jobs.await_items(tx, job, owner)
        self._forget(job)

    def _drop(self, job: Job, owner: str, items: Sequence[Item]) -> None:
        for item in items:
            with self._held(job, owner, progressed=True) as tx:
                erasure = service.drop(tx, item)
                if erasure:
                    service.note_erased(tx, job)
                    # Without the document's id, of which nothing is to stay.
                    jobs.add_item(
                        tx, job, jobs.last_item(tx, job) + 1, item.key, "erased", item_job_id=erasure.id
                    )  # fmt: skip
        self._signal.notify(Lane.INDEX)

    def _remove(self, source: Source, job: Job, owner: str) -> None:
        until = time.monotonic() + _SLICE_SECONDS
        while time.monotonic() < until:
            with self._relational.read(job.workspace_id) as tx:
                items = service.remaining(tx, source, _READ_AT_ONCE)
            if not items:
                with self._held(job, owner) as tx:
                    service.forget(tx, source)
                    jobs.await_items(tx, job, owner)
                return
            for item in items:
                with self._held(job, owner, progressed=True) as tx:
                    erasure = service.drop(tx, item)
                    if erasure:
                        jobs.add_item(
                            tx, job, jobs.last_item(tx, job) + 1, item.key, "erased", item_job_id=erasure.id
                        )  # fmt: skip
            self._signal.notify(Lane.INDEX)
        self._hand_over(job, owner, service.REMOVE)

    def _hand_over(self, job: Job, owner: str, step: str) -> None:
        with self._held(job, owner) as tx:
            if step == service.ERASE:  # All is read: from here on only what it made is still to be done.
                jobs.report_progress(tx, job, owner, service.READ, 0, 0)
            jobs.hand_over(tx, job, owner, Lane.FETCH, step)

    @contextmanager
    def _held(self, job: Job, owner: str, *, progressed: bool = False) -> Iterator[Transaction]:
        """A transaction in which the job is this worker's; raises ``_NotOurs`` when it was cancelled meanwhile."""
        with self._relational.write(job.workspace_id) as tx:
            if not jobs.is_held(tx, job, owner, progressed=progressed):
                raise _NotOurs
            yield tx

    def _reader(self, source: Source, job: Job) -> SourceReader:
        if job.id not in self._readers:
            self._readers[job.id] = self._open_reader(source)
        return self._readers[job.id]

    def _forget(self, job: Job) -> None:
        self._failures_in_a_row.pop(job.id, None)
        if reader := self._readers.pop(job.id, None):
            reader.close()


def _archive_refusal(item: Item) -> UnsupportedFormat:
    return UnsupportedFormat(
        f"{item.key!r} is an archive, and those are not opened at a source.",
        hint="Unpack it there, or add it once with: pegasus add",
    )


def _held_problem(source: Source, held: int) -> Conflict:
    return Conflict(
        f"{held} documents are gone from {source.name!r} all at once, which looks like a mistake; they were kept.",
        hint=f'If it is none: pegasus sources run "{source.name}" --confirm',
    )


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
