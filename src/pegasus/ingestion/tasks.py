"""The jobs of ingestion: read a file, index what was read, unpack an archive."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pegasus.documents import service as documents
from pegasus.domain import Document, DocumentState, Extraction, Job, Lane
from pegasus.errors import PegasusError, Unavailable, Unreadable
from pegasus.identifiers import sha256_hex
from pegasus.ingestion import archives, intake, repository, service
from pegasus.jobs import service as jobs
from pegasus.ports import FileStore, JobSignal, RelationalStore, TextExtractor, Transaction
from pegasus.text import formats
from pegasus.text.markdown import read_markdown

# Passages in one round of the index lane: enough to fill batches, few enough to stop, cancel and report progress.
_SLICE_PASSAGES = 128


class IngestTask:
    """Read a document in one lane, index it in the other; many small documents are indexed together."""

    def __init__(
        self, relational: RelationalStore, files: FileStore, extractor: TextExtractor, indexer: service.Indexer,
        signal: JobSignal, max_text_characters: int,
    ) -> None:  # fmt: skip
        self._relational, self._files, self._extractor = relational, files, extractor
        self._indexer, self._signal, self._max_text_characters = indexer, signal, max_text_characters

    def run(self, job_list: Sequence[Job], owner: str) -> None:
        reading = [job for job in job_list if job.lane is Lane.READ]
        for job in reading:
            self._read(job, owner)
        self._index([job for job in job_list if job.lane is Lane.INDEX], owner)

    def _read(self, job: Job, owner: str) -> None:
        document = self._current(job, owner)
        if document is None:
            return
        extraction, media_type = self._extract(document)
        if len(extraction.text) > self._max_text_characters:
            raise Unreadable(
                f"Its text has {len(extraction.text):,} characters; the limit is {self._max_text_characters:,}.",
                hint="Split the file, or raise PEGASUS_MAX_TEXT_CHARACTERS.",
            )
        with self._relational.write(document.workspace_id) as tx:
            latest = documents.find(tx, document.workspace_id, document.id)
            if latest and (latest.version, latest.state) == (document.version, document.state):
                service.store_text(tx, latest, extraction, media_type)
            jobs.hand_over(tx, job, owner, Lane.INDEX, "embed")
        self._signal.notify(Lane.INDEX)

    def _current(self, job: Job, owner: str) -> Document | None:
        """The job's document, unless a newer version or an erasure has overtaken it: then the job is done."""
        with self._relational.read(job.workspace_id) as tx:
            document = documents.find(tx, job.workspace_id, job.document_id or "")
        if document and document.version == job.version and document.state is not DocumentState.ERASING:
            return document
        with self._relational.write() as tx:
            jobs.succeed(tx, job, owner, {"superseded": True})
        return None

    def _extract(self, document: Document) -> tuple[Extraction, str]:
        with self._relational.read(document.workspace_id) as tx:
            source = documents.source(tx, document)
        if source.file_key is None:
            return read_markdown(source.text or ""), source.media_type
        with self._files.path(source.file_key) as path:
            content = path.read_bytes()
            if sha256_hex(content) != document.sha256:
                raise Unavailable(
                    "The store of files gives other bytes than it was given.",
                    hint="See what stands at PEGASUS_FILES_URL, and run: pegasus check",
                )
            media_type = formats.detect_media_type(content, source.filename, source.media_type)
            return self._extractor.extract(
                path, media_type, filename=source.filename, charset=source.charset
            ), media_type

    def _index(self, job_list: Sequence[Job], owner: str) -> None:
        with self._relational.read() as tx:
            passages = _slice_of(tx, job_list)
        self._indexer.index(passages)
        by_workspace: dict[str, list[Job]] = defaultdict(list)
        for job in job_list:
            self._indexer.forget(job.workspace_id, job.document_id or "")
            by_workspace[job.workspace_id].append(job)
        for workspace_id, some in by_workspace.items():
            self._conclude(workspace_id, some, owner)
        self._signal.notify(Lane.INDEX)

    def _conclude(self, workspace_id: str, job_list: Sequence[Job], owner: str) -> None:
        self._indexer.relink(workspace_id, job_list)
        with self._relational.write() as tx:
            for job in job_list:
                done, total = repository.progress(tx, job.document_id or "")
                if not jobs.report_progress(tx, job, owner, "embed" if done < total else "link", done, total):
                    continue
                if done < total:
                    jobs.hand_over(tx, job, owner, Lane.INDEX, "embed")
                elif jobs.succeed(tx, job, owner, {"passages": total}):
                    repository.delete_stale_keys(tx, job.document_id or "")
                    documents.mark_ready(tx, job.document_id or "", job.version or 0)

    def gave_up(self, tx: Transaction, job: Job, problem: Mapping[str, Any]) -> None:
        document = documents.find(tx, job.workspace_id, job.document_id or "")
        if document and document.version == job.version and document.state is not DocumentState.ERASING:
            documents.mark_failed(tx, document, problem)


def _slice_of(tx: Transaction, job_list: Sequence[Job]) -> list[repository.PendingPassage]:
    """The passages to index in this round: the more urgent jobs' first, then in equal shares by workspace, so that a
    long document lets those of others pass."""
    groups: dict[tuple[int, str], list[Job]] = defaultdict(list)
    for job in job_list:
        groups[job.priority, job.workspace_id].append(job)
    passages: list[repository.PendingPassage] = []
    for place, (priority, workspace_id) in enumerate(ordered := sorted(groups, key=lambda group: group[0])):
        peers = sum(other == priority for other, _ in ordered[place:])
        share = len(passages) + -(-(_SLICE_PASSAGES - len(passages)) // peers)
        for job in groups[priority, workspace_id]:
            if len(passages) < share:
                passages += repository.pending(tx, job.document_id or "", share - len(passages))
    return passages


class UnpackTask:
    """Take in each member of a ZIP as a document of its own; a member that cannot be read does not stop the rest."""

    def __init__(
        self, relational: RelationalStore, files: FileStore, signal: JobSignal, max_upload_bytes: int,
        max_archive_bytes: int,
    ) -> None:  # fmt: skip
        self._relational, self._files, self._signal = relational, files, signal
        self._max_upload_bytes = max_upload_bytes
        self._limits = archives.Limits(max_member_bytes=max_upload_bytes, max_total_bytes=max_archive_bytes)

    def run(self, job_list: Sequence[Job], owner: str) -> None:
        for job in job_list:
            self._unpack(job, owner)

    def _unpack(self, job: Job, owner: str) -> None:
        with self._relational.read(job.workspace_id) as tx:
            done = jobs.last_item(tx, job)
        with self._files.path(job.payload["file_key"]) as path:
            for ordinal, member in enumerate(archives.members(path, self._limits), start=1):
                # Items up to ``done`` are an earlier try's.
                if ordinal > done and not self._take_in(job, owner, ordinal, member):
                    return
        with self._relational.write(job.workspace_id) as tx:
            jobs.await_items(tx, job, owner)
        self._files.delete(job.payload["file_key"])

    def _take_in(self, job: Job, owner: str, ordinal: int, member: archives.ArchiveMember) -> bool:
        """Store one member and its item; False when the job is no longer this worker's."""
        try:
            if member.error:
                raise member.error
            with member.open() as content:
                key, sha256, size = self._files.put(job.workspace_id, content, self._max_upload_bytes)
        except Unavailable:
            raise
        except PegasusError as error:
            with self._relational.write(job.workspace_id) as tx:
                held = jobs.report_progress(tx, job, owner, "unpack", ordinal, ordinal)
                if held:
                    jobs.add_item(tx, job, ordinal, member.name, "refused", error=error.problem())
            return held
        new = documents.NewDocument(
            title=None,
            sha256=sha256,
            size_bytes=size,
            media_type="application/octet-stream",
            uri=f"{job.payload['uri']}!/{member.name}",
            tags=tuple(job.payload["tags"]),
            filename=Path(member.name).name,
            file_key=key,
        )
        with self._kept_only_if_stored(key), self._relational.write(job.workspace_id) as tx:
            # First of all: once the job was cancelled or taken over nothing more is taken in.
            added = None
            if jobs.report_progress(tx, job, owner, "unpack", ordinal, ordinal):
                added = intake.add_stored(tx, job.workspace_id, new, parent_id=job.id, priority=jobs.BULK)
                jobs.add_item(
                    tx, job, ordinal, member.name, added.outcome,
                    document_id=added.document.id, item_job_id=added.job.id if added.job else None,
                )  # fmt: skip
        unused = key if added is None or added.job is None else added.replaced_file
        if unused:
            self._files.delete(unused)
        self._signal.notify(Lane.READ)
        return added is not None

    @contextmanager
    def _kept_only_if_stored(self, key: str) -> Iterator[None]:
        """Nothing stays of a file that could not be taken in, as into a workspace that is being erased by now."""
        try:
            yield
        except BaseException:
            self._files.delete(key)
            raise

    def gave_up(self, tx: Transaction, job: Job, problem: Mapping[str, Any]) -> None:
        """What was taken in before stays; the archive's file is kept for a retry until the next start sweeps it."""
