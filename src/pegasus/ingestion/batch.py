"""A stream of documents, one JSON object a line, taken in while it arrives."""

from __future__ import annotations

from pydantic import ValidationError

from pegasus.access.service import Principal, note
from pegasus.documents import service as documents
from pegasus.documents.schemas import DocumentIn, first_error
from pegasus.documents.service import NewDocument
from pegasus.domain import Job, Lane
from pegasus.errors import Conflict, Invalid, PegasusError, TooLarge
from pegasus.ingestion import intake
from pegasus.jobs import service as jobs
from pegasus.ports import JobSignal, RelationalStore

# Lines that are stored together: each transaction waits for the disk once.
_GROUP = 25


class BatchIntake:
    """Feed it blocks of bytes as they arrive; each line becomes a document, or an item that says why not."""

    def __init__(
        self,
        relational: RelationalStore,
        signal: JobSignal,
        workspace_id: str,
        max_text_characters: int,
        caller: Principal | None = None,
        lease_seconds: float = 60.0,
    ) -> None:
        """While it is open somebody has to call ``keep_open`` more often than each ``lease_seconds``."""
        self._relational, self._signal, self._workspace_id = relational, signal, workspace_id
        self._max_text_characters = max_text_characters
        # JSON may write a character as twelve bytes (two \u escapes); the rest is room for the other fields.
        self._max_line_bytes = 12 * max_text_characters + 2**20
        self._rest = bytearray()
        self._skipping = False
        self._lines: list[tuple[int, NewDocument | PegasusError]] = []
        self._line_number = 0
        self._stored = 0
        self._lease_seconds = lease_seconds
        with relational.write(workspace_id) as tx:
            self._job = jobs.open_batch(tx, workspace_id, lease_seconds)
            # One event for all of its documents, which its job names.
            note(tx, caller, "documents.imported", self._job.id, outcome="accepted", workspace_id=workspace_id)

    def feed(self, block: bytes) -> None:
        first, *others = block.split(b"\n")
        self._rest += first
        for start_of_next in others:
            self._take(bytes(self._rest))
            self._rest = bytearray(start_of_next)
        if len(self._rest) > self._max_line_bytes:  # Give up on the line, not on the batch.
            self._rest.clear()
            self._skipping = True

    def keep_open(self) -> None:
        """Say that the stream goes on, for all that nothing comes at the moment."""
        with self._relational.write(self._workspace_id) as tx:
            jobs.keep_batch(tx, self._job, self._lease_seconds)

    def close(self) -> Job:
        """Take the last line, and let the job end when its documents are indexed."""
        if self._rest or self._skipping:
            self._take(bytes(self._rest))
        self._store()
        with self._relational.write(self._workspace_id) as tx:
            jobs.close_batch(tx, self._job)
            return jobs.get(tx, self._workspace_id, self._job.id)

    def _take(self, line: bytes) -> None:
        self._line_number += 1
        if self._skipping:
            error = TooLarge(f"The line is longer than {self._max_line_bytes:,} bytes.", hint="Split it.")
            self._lines.append((self._line_number, error))
            self._skipping = False
        elif line.strip():
            self._lines.append((self._line_number, self._parsed(line)))
        if len(self._lines) >= _GROUP:
            self._store()

    def _parsed(self, line: bytes) -> NewDocument | PegasusError:
        try:
            given = DocumentIn.model_validate_json(line)
            return documents.new_text(
                given.text, given.title, given.uri, tuple(given.tags), given.metadata,
                max_characters=self._max_text_characters,
            )  # fmt: skip
        except ValidationError as error:
            return Invalid(first_error(error), hint='Each line is one JSON object with at least "text".')
        except PegasusError as error:
            return error

    def _store(self) -> None:
        if not self._lines:
            return
        with self._relational.write(self._workspace_id) as tx:
            if not jobs.keep_batch(tx, self._job, self._lease_seconds):
                raise Conflict(
                    "The batch was cancelled, or closed because nothing was heard of it.",
                    hint="See its results, and send what is missing as a new batch.",
                )
            for ordinal, (number, line) in enumerate(self._lines, start=self._stored + 1):
                name = f"line {number}"
                if isinstance(line, PegasusError):
                    jobs.add_item(tx, self._job, ordinal, name, "refused", error=line.problem())
                    continue
                added = intake.add_text(tx, self._workspace_id, line, parent_id=self._job.id, priority=jobs.BULK)
                jobs.add_item(
                    tx, self._job, ordinal, name, added.outcome, document_id=added.document.id,
                    item_job_id=added.job.id if added.job else None,
                )  # fmt: skip
        self._stored += len(self._lines)
        self._lines.clear()
        self._signal.notify(Lane.INDEX)
        self._signal.notify(Lane.READ)
