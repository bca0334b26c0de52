"""What can be done with a source: add it, run it, remove it. Callers hold the transaction.

A run takes in what is new or changed and erases what is gone, but only documents that a source brought, and only when
nothing else names them: what a person added by hand stays.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pegasus.documents import service as documents
from pegasus.domain import DocumentState, Job, JobState, Lane, Source, SourceRun
from pegasus.errors import Conflict, Invalid, NotFound
from pegasus.identifiers import new_id
from pegasus.ingestion import service as ingestion
from pegasus.integrity import erasure
from pegasus.jobs import service as jobs
from pegasus.pagination import Page, page_of
from pegasus.ports import FoundItem, Transaction
from pegasus.sources import repository
from pegasus.sources.repository import Item
from pegasus.text.lines import printable

JOB_KIND = "source"
LIST, READ, ERASE, REMOVE = "list", "read", "erase", "remove"  # The steps of a run; removing is one of its own.
_MAX_NAME = 100
# So many at least before their sudden absence counts as a mistake at the source.
_GUARDED_FROM = 10
# Kinds that read this machine's disk, and those that may send one of its secrets.
_ON_DISK, _WITH_SECRETS = ("folder", "mbox", "chat"), ("mailbox", "bucket")


def create(
    tx: Transaction,
    workspace_id: str,
    name: str,
    origin: Mapping[str, Any],
    tags: Sequence[str],
    every_seconds: int | None,
    *,
    operator: bool,
    folders: Sequence[Path],
) -> Source:
    """``folders`` are those below which every caller may name files. With a schedule the first run is due at once.

    Raises ``Conflict`` when the name is taken, ``Invalid`` for what this caller may not read.
    """
    name = printable("name", " ".join(name.split()), _MAX_NAME)
    if not name:
        raise Invalid("A source needs a name.", hint="Name it after what it holds.")
    now = time.time()
    source = Source(
        id=new_id(),
        workspace_id=workspace_id,
        name=name,
        kind=origin["kind"],
        origin=_permitted(origin, operator=operator, folders=folders),
        tags=documents.checked_tags(tuple(tags)),
        every_seconds=every_seconds,
        created_at=now,
        next_run_at=now if every_seconds else None,
    )
    if not repository.insert(tx, source):
        raise Conflict(f"There is a source named {name!r} already.", hint="Take another name, or remove that one.")
    return source


def _permitted(origin: Mapping[str, Any], *, operator: bool, folders: Sequence[Path]) -> Mapping[str, Any]:
    if origin["kind"] in _ON_DISK:
        # As it is now: a link that is put in its place later leads nowhere.
        path = _resolved(origin["path"])
        if not operator and not any(path.is_relative_to(folder.resolve()) for folder in folders):
            raise Invalid(
                f"{origin['path']} is on the server's disk, and not below a folder that is open to this key.",
                hint="Ask the operator to add it, or to name its folder in PEGASUS_SOURCE_FOLDERS.",
            )
        return {**origin, "path": str(path)}
    if origin["kind"] in _WITH_SECRETS and not operator:
        raise Invalid(
            f"A source of the kind {origin['kind']} uses the server's secrets, which are not open to this key.",
            hint="Ask the operator to add it.",
        )
    return origin


def _resolved(given: str) -> Path:
    try:
        path = Path(given).expanduser()
        if path.is_absolute():
            return path.resolve()
    except (OSError, RuntimeError, ValueError) as error:  # Nobody's home, links in a circle.
        raise Invalid(f"{given!r} is no path: {error}.", hint="Check it.") from error
    raise Invalid(f"{given!r} is not absolute.", hint="Say where it is from the root on.")


def get(tx: Transaction, workspace_id: str, source_id: str) -> Source:
    source = repository.get(tx, workspace_id, source_id)
    if source is None:
        raise NotFound(f"There is no source {source_id}.", hint="List the sources with: pegasus sources list")
    return source


def list_page(tx: Transaction, workspace_id: str, name: str | None, cursor: str | None, limit: int) -> Page[Source]:
    return page_of(repository.list_page(tx, workspace_id, name, cursor, limit + 1), limit)


def count_documents(tx: Transaction, source: Source) -> int:
    return repository.count_documents(tx, source.id)


def runs(tx: Transaction, workspace_id: str, source_id: str, cursor: str | None, limit: int) -> Page[SourceRun]:
    source = get(tx, workspace_id, source_id)
    return page_of(repository.list_runs(tx, source.id, cursor, limit + 1), limit)


def start(tx: Transaction, workspace_id: str, source_id: str, *, confirm: bool = False) -> Job:
    """The job of a run: a new one, or the one that is under way. ``confirm``: erase even what the guard would hold."""
    source = get(tx, workspace_id, source_id)
    if source.removing:
        raise Conflict(f"The source {source.name!r} is being removed.", hint="See its job.")
    running = _unfinished(tx, source)
    if running is None:
        return _start(tx, source, confirm=confirm)
    if confirm and not running.payload.get("confirm"):
        raise Conflict(f"The source {source.name!r} is running already.", hint="Confirm when that run is done.")
    return running


def _start(tx: Transaction, source: Source, *, confirm: bool = False) -> Job:
    if source.job_id and jobs.get(tx, source.workspace_id, source.job_id).state is JobState.CANCELLED:
        # Its documents' jobs were cancelled with it; what was taken in but not read is taken up again.
        repository.read_again(tx, source.id, source.job_id)
        repository.set_listing_token(tx, source.id, None)
    payload = {"source_id": source.id, "confirm": confirm}
    job = jobs.enqueue(
        tx, source.workspace_id, JOB_KIND, Lane.FETCH, LIST, priority=jobs.BULK, payload=payload
    )  # fmt: skip
    repository.insert_run(tx, job.id, source.id)
    repository.set_job(tx, source.id, job.id, time.time() + source.every_seconds if source.every_seconds else None)
    return job


def _unfinished(tx: Transaction, source: Source) -> Job | None:
    job = jobs.get(tx, source.workspace_id, source.job_id) if source.job_id else None
    return job if job and not job.state.finished else None


def start_due(tx: Transaction, now: float) -> int:
    """Queue a run of each source whose time has come; one that is still running has its turn when it is done."""
    due = [source for source in repository.due(tx, now) if _unfinished(tx, source) is None]
    for source in due:
        _start(tx, source)
    return len(due)


def has_due(tx: Transaction, now: float) -> bool:
    return any(_unfinished(tx, source) is None for source in repository.due(tx, now))


def suspend(tx: Transaction, workspace_id: str) -> None:
    """No source of the workspace runs by itself any more."""
    repository.clear_schedules(tx, workspace_id)


def remove(tx: Transaction, workspace_id: str, source_id: str, *, erase: bool) -> Job | None:
    """Forget a source; with ``erase`` a job erases what only it names, and then forgets it."""
    source = get(tx, workspace_id, source_id)
    unfinished = _unfinished(tx, source)
    if source.removing and unfinished:
        return unfinished
    if unfinished:
        ingestion.cancel(tx, workspace_id, unfinished.id)
    if not erase:
        repository.delete(tx, source.id)
        return None
    job = jobs.enqueue(
        tx, workspace_id, JOB_KIND, Lane.FETCH, REMOVE, priority=jobs.BULK, payload={"source_id": source.id}
    )
    repository.set_removing(tx, source.id, job.id)
    return job


def source_of(tx: Transaction, job: Job) -> Source | None:
    """The source that a job runs; None when it is gone, or another job has taken its place."""
    source = repository.get(tx, job.workspace_id, job.payload["source_id"])
    return source if source and source.job_id == job.id else None


def run_of(tx: Transaction, job: Job) -> SourceRun:
    run = repository.get_run(tx, job.id)
    if run is None:
        raise NotFound(f"There is no run {job.id}.", hint="Run the source again.")
    return run


def note_found(tx: Transaction, source: Source, job: Job, found: Sequence[FoundItem]) -> list[FoundItem]:
    """Remember a part of a listing; those of it that cannot be had and were not noted before."""
    seen = repository.seen_in(tx, source.id, job.id, [item.key for item in found if item.error])
    repository.note_found(tx, source, job.id, found)
    refused = [item for item in found if item.error and item.key not in seen]
    for item in refused:
        repository.set_failed(tx, source.id, item.key)
    return refused


def note_nothing_new(tx: Transaction, source: Source, job: Job) -> None:
    repository.note_all_seen(tx, source.id, job.id)
    unchanged = repository.count_in_state(tx, source.id, job.id, "present")
    repository.set_listed(
        tx, job.id, complete=False, listing_token=source.listing_token, unchanged=unchanged
    )  # fmt: skip


def note_listed(tx: Transaction, source: Source, job: Job, *, complete: bool, listing_token: str | None) -> int:
    """The listing is through; how many items there are to read."""
    unchanged = repository.count_in_state(tx, source.id, job.id, "present")
    repository.set_listed(tx, job.id, complete=complete, listing_token=listing_token, unchanged=unchanged)
    return repository.count_in_state(tx, source.id, job.id, "pending")


def to_read(tx: Transaction, source: Source, limit: int) -> Sequence[Item]:
    return repository.pending(tx, source.id, limit)


def note_unchanged(tx: Transaction, job: Job, item: Item) -> None:
    repository.set_state(tx, item, "present")
    repository.count(tx, job.id, "unchanged")


def note_failed(tx: Transaction, item: Item) -> None:
    repository.set_state(tx, item, "failed")


def note_gone(tx: Transaction, item: Item) -> None:
    repository.set_state(tx, item, "missing")


def note_read(tx: Transaction, job: Job, item: Item, added: documents.Added, token: str | None) -> None:
    """Tie an item to the document that it became, and let go of the one that it was before."""
    document_id = added.document.id
    if document_id == item.document_id:
        brought = item.brought
    else:
        brought = added.outcome == "created" or repository.has_brought(tx, document_id)
    repository.set_read(tx, item, job.id, token=token, document_id=document_id, brought=brought)
    repository.count(tx, job.id, added.outcome)
    if item.document_id and item.document_id != document_id:
        _let_go(tx, item.workspace_id, item.document_id, None, brought=item.brought)


def held_back(tx: Transaction, source: Source, job: Job) -> int:
    """How many documents are not erased because so many at once look like a mistake at the source; else 0."""
    doomed = repository.count_doomed(tx, source.id, job.id)
    kept = repository.count_kept(tx, source.id, job.id)
    sudden = kept == 0 or (doomed + kept >= _GUARDED_FROM and 2 * doomed > doomed + kept)
    sudden = sudden or repository.has_held(tx, source.id, job.id)
    held = doomed if doomed and sudden and not job.payload.get("confirm") else 0
    repository.set_held(tx, source.id, job.id, held)
    return held


def missing(tx: Transaction, source: Source, job: Job, limit: int) -> Sequence[Item]:
    return repository.missing(tx, source.id, job.id, limit)


def remaining(tx: Transaction, source: Source, limit: int) -> Sequence[Item]:
    return repository.items(tx, source.id, limit)


def drop(tx: Transaction, item: Item) -> Job | None:
    """Forget an item; the job of the erasure, if nothing else names its document."""
    repository.delete_item(tx, item)
    if item.document_id is None:
        return None
    return _let_go(tx, item.workspace_id, item.document_id, item.uri, brought=item.brought)


def note_erased(tx: Transaction, job: Job) -> None:
    repository.count(tx, job.id, "erased")


def _let_go(tx: Transaction, workspace_id: str, document_id: str, uri: str | None, *, brought: bool) -> Job | None:
    """``uri`` no longer stands for the document. It is erased when a source brought it and it has no other name."""
    document = documents.find(tx, workspace_id, document_id)
    if document is None or document.state is DocumentState.ERASING:
        return None
    if uri is not None and repository.has_uri(tx, workspace_id, uri):
        return None
    if uri is not None:
        documents.drop_uri(tx, document, uri)
    names = [name for name in documents.uris(tx, document_id) if name != uri]
    if not brought or names or repository.has_document(tx, document_id):
        return None
    return erasure.accept(tx, workspace_id, document_id)


def finish(tx: Transaction, source: Source, run: SourceRun) -> None:
    """What the source said of its listing saves the next run from asking again, once all of it is here."""
    failed = repository.count_in_state(tx, source.id, run.id, "failed")
    repository.set_listing_token(tx, source.id, None if failed or run.held else run.listing_token)


def forget(tx: Transaction, source: Source) -> None:
    repository.delete(tx, source.id)


def forget_document(tx: Transaction, workspace_id: str, document_id: str) -> None:
    """A person erased a document: its item stays, without it, so that it only comes back when it changes."""
    repository.forget_document(tx, workspace_id, document_id)
