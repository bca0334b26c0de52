"""What all endpoints share: who is asking, how errors look, how events are streamed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import structlog
from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.security import APIKeyHeader, HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials
from pydantic import BaseModel
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from pegasus.access.service import Principal
from pegasus.application import Application
from pegasus.errors import NotFound, PegasusError
from pegasus.identifiers import is_id
from pegasus.schemas import Problem

log = structlog.get_logger(__name__)

PROBLEM_MEDIA_TYPE = "application/problem+json"
# Proxies and load balancers cut connections that stay silent; 15 s is well below their usual 60.
KEEP_ALIVE_SECONDS = 15.0

_api_key = APIKeyHeader(name="X-API-Key", auto_error=False, description="An API key, `pgs_...`")
_bearer = HTTPBearer(auto_error=False, description="The same key as a bearer token")


def application(request: Request) -> Application:
    found: Application = request.app.state.application
    return found


App = Annotated[Application, Depends(application)]


async def principal(
    request: Request,
    _key: Annotated[str | None, Depends(_api_key)],
    _bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Principal:
    """Who asks. ``KeyGate`` has checked the key before the body was read; the parameters are for the OpenAPI page."""
    found: Principal = request.state.principal
    return found


class KeyGate:
    """Lets only requests with a valid key through to /v1, before anything of their body is read or parsed."""

    def __init__(self, app: ASGIApp, application: Application) -> None:
        self._app, self._application = app, application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/v1/"):
            headers = Headers(scope=scope)
            scheme, _, token = headers.get("authorization", "").partition(" ")
            key = headers.get("x-api-key") or (token.strip() if scheme.lower() == "bearer" else None)
            try:
                found = await run_in_threadpool(self._application.doorkeeper.admit, key)
            except PegasusError as error:
                await problem_response(error)(scope, receive, send)
                return
            scope.setdefault("state", {})["principal"] = found
        await self._app(scope, receive, send)


Caller = Annotated[Principal, Depends(principal)]


def checked_id(value: str, what: str) -> str:
    """An id from a path; whatever is not a UUID names nothing, which is all that the caller need know."""
    if not is_id(value):
        raise NotFound(f"There is no {what} {value[:64]!r}.", hint="Ids are UUIDs, as the lists return them.")
    return value


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of an endpoint for the problems that it may answer with."""
    content = {PROBLEM_MEDIA_TYPE: {"schema": Problem.model_json_schema()}}
    return {status: {"description": "Problem", "content": content} for status in statuses}


def problem_response(error: PegasusError) -> JSONResponse:
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
    if error.retryable:
        headers["Retry-After"] = "1"
    return JSONResponse(error.problem(), error.status, headers, PROBLEM_MEDIA_TYPE)


def event(name: str, data: BaseModel | dict[str, Any]) -> bytes:
    """One server-sent event; JSON has no line breaks, so that one ``data`` line holds it."""
    text = data.model_dump_json() if isinstance(data, BaseModel) else json.dumps(data)
    return f"event: {name}\ndata: {text}\n\n".encode()


def wants_events(request: Request) -> bool:
    return "text/event-stream" in request.headers.get("accept", "")


def stream(events: Iterator[bytes]) -> StreamingResponse:
    """Send events as they come, with a comment at once and whenever nothing came for 15 s."""
    return StreamingResponse(
        _with_keep_alive(events), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
    )


async def _with_keep_alive(events: Iterator[bytes]) -> AsyncIterator[bytes]:
    yield b": connected\n\n"
    while True:
        step = asyncio.ensure_future(asyncio.to_thread(_next_event, events))
        while not (await asyncio.wait({step}, timeout=KEEP_ALIVE_SECONDS))[0]:
            yield b": keep-alive\n\n"
        item = step.result()
        if item is None:
            return
        yield item


def _next_event(events: Iterator[bytes]) -> bytes | None:
    """The headers are out, so that a failure can only be told as an event."""
    try:
        return next(events, None)
    except PegasusError as error:
        return event("error", error.problem())
    except Exception:
        log.exception("web.stream_failed")
        return event("error", PegasusError("The answer could not be completed.", hint="See the log.").problem())
