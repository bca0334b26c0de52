"""API keys, workspaces and the audit log over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Response

from pegasus.access import audit, service
from pegasus.access.schemas import (
    AuditEventOut,
    ChainOut,
    KeyCreated,
    KeyIn,
    KeyOut,
    WorkspaceCreated,
    WorkspaceIn,
    WorkspaceOut,
)
from pegasus.documents.schemas import JobAccepted
from pegasus.integrity import workspaces
from pegasus.jobs.schemas import JobOut
from pegasus.pagination import checked_cursor
from pegasus.schemas import Cursor, Moment, PageOf, Sha256, seconds_of
from pegasus.web import Admin, App, Operator, Router, checked_id, problems

router = Router(prefix="/v1", tags=["access"])

Limit = Annotated[int, Query(ge=1, le=200)]


@router.post("/keys", status_code=201, responses=problems(422))
def create_key(app: App, caller: Admin, given: KeyIn) -> KeyCreated:
    """A further key for the caller's workspace, with no more than the caller's own has.

    No Idempotency-Key: a remembered reply would keep the key itself.
    """
    with app.relational.write(caller.workspace_id) as tx:
        key, secret = service.grant_key(
            tx, caller, given.name, given.scope, given.expiry(), given.rate(), given.max_body_bytes
        )
    return KeyCreated(**KeyOut.of(key).model_dump(), key=secret)


@router.get("/keys", responses=problems(422))
def list_keys(app: App, caller: Admin, cursor: Cursor = None, limit: Limit = 50) -> PageOf[KeyOut]:
    """Keys, newest first, the revoked and expired ones too."""
    with app.relational.read(caller.workspace_id) as tx:
        page = service.list_keys(tx, caller.workspace_id, checked_cursor(cursor), limit)
    return PageOf(items=[KeyOut.of(key) for key in page.items], next_cursor=page.next_cursor)


@router.delete("/keys/{key_id}", status_code=204, responses=problems(404, 422))
def revoke_key(app: App, caller: Admin, key_id: str) -> Response:
    """When this answers the key opens nothing any more, which takes a second where several processes serve."""
    with app.relational.write(caller.workspace_id) as tx:
        service.revoke_key(tx, caller, checked_id(key_id, "key"))
    app.doorkeeper.forget()
    return Response(status_code=204)


@router.get("/audit", responses=problems(422))
def list_audit_events(
    app: App,
    caller: Admin,
    since: Annotated[Moment | None, Query(description="Only events at this time or later")] = None,
    action: Annotated[str | None, Query(max_length=100, description="Only events of this action")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> PageOf[AuditEventOut]:
    """What was done in the workspace, newest first."""
    with app.relational.read(caller.workspace_id) as tx:
        page = audit.list_events(tx, caller.workspace_id, seconds_of(since), action, checked_cursor(cursor), limit)
    return PageOf(items=[AuditEventOut.of(event) for event in page.items], next_cursor=page.next_cursor)


@router.get("/audit/chain", responses=problems(422))
def verify_audit_chain(
    app: App, caller: Admin, noted: Annotated[Sha256 | None, Query(description="A head that was noted before")] = None
) -> ChainOut:
    """Whether the audit log is as it was written: each event carries a digest over the one before it."""
    with app.relational.read(caller.workspace_id) as tx:
        return ChainOut.of(audit.verify(tx, caller.workspace_id, noted))


@router.post("/workspaces", status_code=201, responses=problems(422))
def create_workspace(app: App, caller: Operator, given: WorkspaceIn) -> WorkspaceCreated:
    """A new, empty workspace and the first key to it, which is shown this once. No Idempotency-Key, as for keys."""
    with app.relational.write() as tx:
        workspace, key, secret = service.open_workspace(tx, caller, given.name)
    return WorkspaceCreated(
        workspace=WorkspaceOut.of(workspace), key=KeyCreated(**KeyOut.of(key).model_dump(), key=secret)
    )


@router.get("/workspaces", responses=problems(422))
def list_workspaces(app: App, _: Operator, cursor: Cursor = None, limit: Limit = 50) -> PageOf[WorkspaceOut]:
    """All workspaces of the installation, newest first."""
    with app.relational.read() as tx:
        page = service.list_workspaces(tx, checked_cursor(cursor), limit)
    return PageOf(items=[WorkspaceOut.of(workspace) for workspace in page.items], next_cursor=page.next_cursor)


@router.delete("/workspaces/{workspace_id}", status_code=202, responses=problems(404, 409, 422))
def erase_workspace(app: App, caller: Operator, workspace_id: str, response: Response) -> JobAccepted:
    """Erase a workspace with all that is in it. When this answers its keys open nothing any more; the job, which
    belongs to your own workspace, removes it from every store. Asked for again, it is the same job.

    `GET /v1/erasures/{id}`, with the id of the job or of the workspace, is the receipt.
    """
    with app.relational.write() as tx:
        job = workspaces.accept(tx, caller, checked_id(workspace_id, "workspace"))
    app.doorkeeper.forget()
    app.signal.notify(job.lane)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return JobAccepted(job=JobOut.of(job))
