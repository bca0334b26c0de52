"""Checks, repairs and receipts over HTTP."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import Query, Request, Response
from fastapi.responses import StreamingResponse

from pegasus.access.scopes import Principal, Scope
from pegasus.access.service import note
from pegasus.documents.schemas import JobAccepted
from pegasus.domain import Job
from pegasus.integrity import erasure, service
from pegasus.integrity import rebuild as rebuilding
from pegasus.integrity.check import Step
from pegasus.integrity.schemas import ErasureOut, IntegrityOut, RebuildIn
from pegasus.integrity.service import Report
from pegasus.jobs.schemas import JobOut
from pegasus.pagination import checked_cursor
from pegasus.schemas import Cursor, PageOf
from pegasus.web import Admin, App, Operator, Router, checked_id, event, problems, stream, wants_events

router = Router(prefix="/v1", tags=["integrity"])


@router.get("/integrity", responses=problems(422), response_model=IntegrityOut)
def check_integrity(request: Request, app: App, caller: Admin) -> IntegrityOut | StreamingResponse:
    """Compare rows, full text, vectors, graph and files, and tell what differs, by document.

    A key with the scope operator is told of the whole installation, any other of its own workspace.

    It reads all stores once and may take a while; with `Accept: text/event-stream` it tells by `progress` events how
    far it is, and the report comes with `done`. What a job is still working on is no difference.
    """
    if wants_events(request):
        return stream(map(_encoded, app.integrity.follow(_extent(caller))))
    return IntegrityOut.of(app.integrity.check(_extent(caller)))


def _extent(caller: Principal) -> str | None:
    """The caller's workspace; for who runs the installation all of them, and what belongs to none."""
    return None if caller.scope.covers(Scope.OPERATOR) else caller.workspace_id


def _encoded(item: Step | Report) -> bytes:
    return event("progress", asdict(item)) if isinstance(item, Step) else event("done", IntegrityOut.of(item))


@router.post("/integrity/repair", status_code=202, responses=problems(422))
def repair(app: App, caller: Admin, response: Response) -> JobAccepted:
    """Compare, and mend what differs: the job's results tell of each difference what was done about it."""
    with app.relational.write() as tx:
        job = service.repair(tx, caller.workspace_id, _extent(caller))
        note(tx, caller, "repair.started", job.id, outcome="accepted")
    return _accepted(app, job, response)


@router.post("/integrity/rebuild", status_code=202, responses=problems(422))
def rebuild(app: App, caller: Operator, given: RebuildIn, response: Response) -> JobAccepted:
    """Make derived stores of the installation anew from the rows. Until it is done the old ones answer."""
    with app.relational.write() as tx:
        job = rebuilding.enqueue(tx, caller.workspace_id, given.stores)
        note(tx, caller, "rebuild.started", job.id, outcome="accepted")
    return _accepted(app, job, response)


@router.post("/integrity/compact", status_code=202, responses=problems(422))
def compact(app: App, caller: Operator, response: Response) -> JobAccepted:
    """Write every store of the installation anew, so that no byte of what was erased is left in their free space."""
    with app.relational.write() as tx:
        job = rebuilding.enqueue_compaction(tx, caller.workspace_id)
        note(tx, caller, "compaction.started", job.id, outcome="accepted")
    return _accepted(app, job, response)


def _accepted(app: App, job: Job, response: Response) -> JobAccepted:
    app.signal.notify(job.lane)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return JobAccepted(job=JobOut.of(job))


@router.get("/erasures", responses=problems(422))
def list_erasures(
    app: App, caller: Admin, cursor: Cursor = None, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> PageOf[ErasureOut]:
    """Receipts of erasures, newest first."""
    with app.relational.read(caller.workspace_id) as tx:
        page = erasure.receipts(tx, caller.workspace_id, checked_cursor(cursor), limit)
    return PageOf(items=[ErasureOut.of(receipt) for receipt in page.items], next_cursor=page.next_cursor)


@router.get("/erasures/{erasure_id}", responses=problems(404, 422))
def read_erasure(app: App, caller: Admin, erasure_id: str) -> ErasureOut:
    """The receipt of an erasure, by the id of its job or of what was erased: what was removed, where was looked, and
    which backups may still hold it."""
    with app.relational.read(caller.workspace_id) as tx:
        return ErasureOut.of(erasure.receipt(tx, caller.workspace_id, checked_id(erasure_id, "erasure")))
