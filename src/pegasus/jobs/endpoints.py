"""Jobs over HTTP."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Annotated

from fastapi import Query
from fastapi.responses import StreamingResponse

from pegasus.access.service import note
from pegasus.application import Application
from pegasus.domain import JobState
from pegasus.ingestion import service as ingestion
from pegasus.jobs import service
from pegasus.jobs.schemas import JobDetail, JobOut, JobsRetried
from pegasus.pagination import checked_cursor
from pegasus.schemas import Cursor, PageOf
from pegasus.threads import on_thread
from pegasus.web import KEEP_ALIVE_SECONDS, App, Reader, Router, Writer, checked_id, event, problems

router = Router(prefix="/v1/jobs", tags=["jobs"])

_LOOK_SECONDS = 0.25
_RESULTS_PAGE = 500


@router.get("", responses=problems(422))
def list_jobs(
    app: App,
    caller: Reader,
    state: JobState | None = None,
    document_id: str | None = None,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> PageOf[JobOut]:
    """Jobs, newest first; `state=dead` are those whose attempts are spent."""
    with app.relational.read(caller.workspace_id) as tx:
        page = service.list_page(tx, caller.workspace_id, state, document_id, checked_cursor(cursor), limit)
    return PageOf(items=[JobOut.of(job) for job in page.items], next_cursor=page.next_cursor)


@router.post("/retry", responses=problems(422))
def retry_dead_jobs(
    app: App,
    caller: Writer,
    kind: Annotated[str | None, Query(description="Only jobs of this kind", max_length=100)] = None,
) -> JobsRetried:
    """Queue all dead letters again, once what killed them is mended."""
    with app.relational.write(caller.workspace_id) as tx:
        retried = service.retry_dead(tx, caller.workspace_id, kind)
        for job in retried:
            note(tx, caller, "job.retried", job.id)
    app.signal.notify_all()
    return JobsRetried(retried=len(retried))


@router.get("/{job_id}", responses=problems(404, 422))
def read_job(app: App, caller: Reader, job_id: str) -> JobDetail:
    """A job, with its state, its progress and those of its attempts that ended badly."""
    with app.relational.read(caller.workspace_id) as tx:
        job = service.get(tx, caller.workspace_id, checked_id(job_id, "job"))
        return JobDetail.with_history(job, service.attempts(tx, job))


@router.get(
    "/{job_id}/results",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "One line of JSON for each item of a batch or archive, in order",
            "content": {
                "application/x-ndjson": {
                    "schema": {"type": "string"},
                    "example": '{"ordinal": 1, "name": "line 1", "outcome": "created", "document_id": "0198...",'
                    ' "job_id": "0198...", "state": "succeeded", "error": null}\n',
                }
            },
        },
        **problems(404, 422),
    },
)
def job_results(app: App, caller: Reader, job_id: str) -> StreamingResponse:
    """What became of each document of a batch or archive."""
    with app.relational.read(caller.workspace_id) as tx:
        service.get(tx, caller.workspace_id, checked_id(job_id, "job"))

    def lines() -> Iterator[str]:
        after = 0
        while True:
            with app.relational.read(caller.workspace_id) as tx:
                items = service.items(tx, caller.workspace_id, job_id, after, _RESULTS_PAGE)
            if not items:
                return
            yield "".join(json.dumps(item) + "\n" for item in items)
            after = items[-1]["ordinal"]

    return StreamingResponse(lines(), media_type="application/x-ndjson")


@router.get(
    "/{job_id}/events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "`progress` events with the job whenever it changes, then `done` with its last state",
            "content": {
                "text/event-stream": {"example": 'event: done\ndata: {"id": "0198...", "state": "succeeded"}\n\n'}
            },
        },
        **problems(404, 422),
    },
)
def job_events(app: App, caller: Reader, job_id: str) -> StreamingResponse:
    """Follow a job: `progress` whenever it changes, then `done`."""
    with app.relational.read(caller.workspace_id) as tx:
        service.get(tx, caller.workspace_id, checked_id(job_id, "job"))
    events = _events(app, caller.workspace_id, job_id)
    return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def _events(app: Application, workspace_id: str, job_id: str) -> AsyncIterator[bytes]:
    def look() -> JobDetail:
        with app.relational.read(workspace_id) as tx:
            job = service.get(tx, workspace_id, job_id)
            return JobDetail.with_history(job, service.attempts(tx, job))

    yield b": connected\n\n"
    seen, spoke = None, time.monotonic()
    while not app.stopping.is_set():
        job = await on_thread(look)
        if job != seen:
            seen, spoke = job, time.monotonic()
            yield event("done" if job.state.finished else "progress", job)
            if job.state.finished:
                return
        elif time.monotonic() - spoke > KEEP_ALIVE_SECONDS:
            spoke = time.monotonic()
            yield b": keep-alive\n\n"
        await asyncio.sleep(_LOOK_SECONDS)


@router.post("/{job_id}/retry", responses=problems(404, 409, 422))
def retry_job(app: App, caller: Writer, job_id: str) -> JobOut:
    """Queue a failed, dead or cancelled job again."""
    with app.relational.write(caller.workspace_id) as tx:
        job = service.retry(tx, caller.workspace_id, checked_id(job_id, "job"))
        note(tx, caller, "job.retried", job.id)
    app.signal.notify(job.lane)
    return JobOut.of(job)


@router.post("/{job_id}/cancel", responses=problems(404, 409, 422))
def cancel_job(app: App, caller: Writer, job_id: str) -> JobOut:
    """Stop a queued or running job, of a batch also its items; what earlier steps have stored stays."""
    with app.relational.write(caller.workspace_id) as tx:
        job = ingestion.cancel(tx, caller.workspace_id, checked_id(job_id, "job"))
        note(tx, caller, "job.cancelled", job.id)
        return JobOut.of(job)
