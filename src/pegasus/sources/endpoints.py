"""Sources over HTTP."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Query, Response
from fastapi.responses import JSONResponse

from pegasus.access.scopes import Scope
from pegasus.access.service import Reply, note, once
from pegasus.documents.endpoints import IdempotencyKey
from pegasus.documents.schemas import JobAccepted
from pegasus.domain import Lane, Source, SourceRun
from pegasus.identifiers import sha256_hex
from pegasus.jobs import service as jobs
from pegasus.jobs.schemas import JobOut
from pegasus.pagination import checked_cursor
from pegasus.ports import Transaction
from pegasus.schemas import Cursor, PageOf
from pegasus.sources import service
from pegasus.sources.schemas import RunOut, SourceIn, SourceOut, SourceRemoved
from pegasus.web import App, Reader, Router, Writer, checked_id, problems

router = Router(prefix="/v1/sources", tags=["sources"])

_SHOWN_ERRORS = 20


def _shown(tx: Transaction, source: Source) -> SourceOut:
    job = jobs.get(tx, source.workspace_id, source.job_id) if source.job_id else None
    return SourceOut.of(source, service.count_documents(tx, source), job)


def _shown_run(tx: Transaction, workspace_id: str, run: SourceRun) -> RunOut:
    job = jobs.get(tx, workspace_id, run.id)
    return RunOut.of(run, job, jobs.failed_items(tx, job, _SHOWN_ERRORS))


@router.post("", status_code=201, response_model=SourceOut, responses=problems(409, 422))
def create_source(app: App, caller: Writer, given: SourceIn, idempotency_key: IdempotencyKey = None) -> JSONResponse:
    """Say where documents come from. With `every_seconds` the first run is due at once, else when it is asked for."""

    def act() -> Reply:
        source = service.create(
            tx, caller.workspace_id, given.name, given.origin.model_dump(), given.tags, given.every_seconds,
            operator=caller.scope.covers(Scope.OPERATOR), folders=app.settings.open_folders,
        )  # fmt: skip
        note(tx, caller, "source.added", source.id)
        return Reply(201, _shown(tx, source).model_dump(mode="json"))

    with app.relational.write(caller.workspace_id) as tx:
        fingerprint = sha256_hex(f"sources\0{given.model_dump_json()}")
        reply = once(tx, caller.workspace_id, idempotency_key, fingerprint, act)
    return JSONResponse(reply.body, reply.status)


@router.get("", responses=problems(422))
def list_sources(
    app: App,
    caller: Reader,
    name: str | None = None,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> PageOf[SourceOut]:
    """Sources, newest first."""
    with app.relational.read(caller.workspace_id) as tx:
        page = service.list_page(tx, caller.workspace_id, name, checked_cursor(cursor), limit)
        return PageOf(items=[_shown(tx, source) for source in page.items], next_cursor=page.next_cursor)


@router.get("/{source_id}", responses=problems(404, 422))
def read_source(app: App, caller: Reader, source_id: str) -> SourceOut:
    """A source, with its newest run."""
    with app.relational.read(caller.workspace_id) as tx:
        return _shown(tx, service.get(tx, caller.workspace_id, checked_id(source_id, "source")))


@router.get("/{source_id}/runs", responses=problems(404, 422))
def list_runs(
    app: App, caller: Reader, source_id: str, cursor: Cursor = None, limit: Annotated[int, Query(ge=1, le=50)] = 20
) -> PageOf[RunOut]:
    """Reports of the runs, newest first."""
    with app.relational.read(caller.workspace_id) as tx:
        id_ = checked_id(source_id, "source")
        page = service.runs(tx, caller.workspace_id, id_, checked_cursor(cursor), limit)
        items = [_shown_run(tx, caller.workspace_id, run) for run in page.items]
    return PageOf(items=items, next_cursor=page.next_cursor)


@router.post("/{source_id}/run", status_code=202, response_model=JobAccepted, responses=problems(404, 409, 422))
def run_source(
    app: App,
    caller: Writer,
    source_id: str,
    confirm: Annotated[bool, Query(description="Erase also what an earlier run has held back")] = False,
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Bring the documents in step with the source now. While a run is under way this answers with that one."""
    id_ = checked_id(source_id, "source")

    def act() -> Reply:
        job = service.start(tx, caller.workspace_id, id_, confirm=confirm)
        return Reply(202, JobAccepted(job=JobOut.of(job)).model_dump(mode="json"))

    with app.relational.write(caller.workspace_id) as tx:
        reply = once(tx, caller.workspace_id, idempotency_key, sha256_hex(f"run\0{id_}\0{confirm}"), act)
    app.signal.notify(Lane.FETCH)
    return JSONResponse(reply.body, reply.status)


@router.delete("/{source_id}", status_code=202, responses=problems(404, 409, 422))
def remove_source(
    app: App, caller: Writer, source_id: str, response: Response, documents: Literal["keep", "erase"] = "keep"
) -> SourceRemoved:
    """Remove a source. `documents=erase` erases every document that a source brought and only this one names."""
    id_ = checked_id(source_id, "source")
    with app.relational.write(caller.workspace_id) as tx:
        job = service.remove(tx, caller.workspace_id, id_, erase=documents == "erase")
        note(tx, caller, "source.removed", id_, outcome=f"documents {documents}")
    if job:
        app.signal.notify(Lane.FETCH)
        response.headers["Location"] = f"/v1/jobs/{job.id}"
    return SourceRemoved(job=JobOut.of(job) if job else None)
