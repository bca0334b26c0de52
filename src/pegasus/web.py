"""What all endpoints share: who is asking and what for, how errors look, how events are streamed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from functools import wraps
from inspect import Parameter, iscoroutinefunction, signature
from math import ceil
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Depends, Request, Response, Security
from fastapi.params import Security as SecurityMarker
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader, HTTPBearer, SecurityScopes
from fastapi.security.http import HTTPAuthorizationCredentials
from pydantic import BaseModel
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pegasus.access.doorkeeper import refusal
from pegasus.access.scopes import Principal
from pegasus.access.scopes import Scope as KeyScope
from pegasus.application import Application
from pegasus.domain import Allowance
from pegasus.errors import NotFound, PegasusError
from pegasus.identifiers import is_id
from pegasus.schemas import Problem
from pegasus.threads import on_thread

log = structlog.get_logger(__name__)

PROBLEM_MEDIA_TYPE = "application/problem+json"
# Proxies and load balancers cut connections that stay silent; 15 s is well below their usual 60.
KEEP_ALIVE_SECONDS = 15.0

_api_key = APIKeyHeader(name="X-API-Key", auto_error=False, description="An API key, `pgs_...`")
_bearer = HTTPBearer(auto_error=False, description="The same key as a bearer token")


KEY_SCHEMES = {
    scheme.scheme_name: scheme.model.model_dump(mode="json", by_alias=True, exclude_none=True)
    for scheme in (_api_key, _bearer)
}


async def application(request: Request) -> Application:
    found: Application = request.app.state.application
    return found


App = Annotated[Application, Depends(application)]


async def principal(
    request: Request,
    needed: SecurityScopes,
    _key: Annotated[str | None, Depends(_api_key)],
    _bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Principal:
    """Who asks. ``KeyGate`` has checked the key before the body was read; its scope is checked here.

    ``Route`` does the same quicker; this is for whatever else FastAPI makes a route of. The parameters but the first
    two are for the OpenAPI page.
    """
    found: Principal = request.state.principal
    (scope,) = needed.scopes  # Without one it is a fault of ours, and closed.
    found.require(KeyScope(scope))
    return found


# An endpoint declares the scope that it needs by the type of its caller; a test fails for one that does not.
Reader = Annotated[Principal, Security(principal, scopes=[KeyScope.READ.value])]
Writer = Annotated[Principal, Security(principal, scopes=[KeyScope.WRITE.value])]
Admin = Annotated[Principal, Security(principal, scopes=[KeyScope.ADMIN.value])]
Operator = Annotated[Principal, Security(principal, scopes=[KeyScope.OPERATOR.value])]


class Route(APIRoute):
    """Fills in the application and the caller by itself, and runs what waits for stores on a thread of ours.

    What FastAPI does for each dependency, and anyio for each thread, costs as much as reading a row. The caller's scope
    is checked before the body is read.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        parameters = signature(endpoint, eval_str=True).parameters.values()
        self._scopes = [scope for scope in (_scope_of(parameter.annotation) for parameter in parameters) if scope]
        if self._scopes:
            ways = [{scheme.scheme_name: [scope.value]} for scope in self._scopes for scheme in (_api_key, _bearer)]
            options["openapi_extra"] = {"security": ways, **(options.get("openapi_extra") or {})}
        super().__init__(path, _filled(endpoint), **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def checked(request: Request) -> Response:
            for scope in self._scopes:
                request.state.principal.require(scope)
            return await handle(request)

        return checked


def _filled(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """The endpoint as FastAPI is to see it: a coroutine without the parameters that are filled in here."""
    given = signature(endpoint, eval_str=True)
    apps = [p.name for p in given.parameters.values() if p.annotation == App]
    callers = [p.name for p in given.parameters.values() if _scope_of(p.annotation)]
    requests = [p.name for p in given.parameters.values() if p.annotation is Request]
    waits = not iscoroutinefunction(endpoint)

    @wraps(endpoint)
    async def run(_request: Request, **values: Any) -> Any:
        values.update(dict.fromkeys(requests, _request))
        values.update((name, _request.app.state.application) for name in apps)
        values.update((name, _request.state.principal) for name in callers)
        return await (on_thread(endpoint, **values) if waits else endpoint(**values))

    request = Parameter("_request", Parameter.KEYWORD_ONLY, annotation=Request)
    filled = {*apps, *callers, *requests}
    others = [p.replace(kind=Parameter.KEYWORD_ONLY) for p in given.parameters.values() if p.name not in filled]
    run.__signature__ = given.replace(parameters=[request, *others])  # type: ignore[attr-defined]
    return run


def _scope_of(annotation: Any) -> KeyScope | None:
    """The scope that a caller's type asks for; None for other types."""
    for marker in getattr(annotation, "__metadata__", ()):
        if isinstance(marker, SecurityMarker) and marker.dependency is principal:
            (scope,) = marker.scopes or ()
            return KeyScope(scope)
    return None


class Router(APIRouter):
    def __init__(self, **options: Any) -> None:
        super().__init__(route_class=Route, responses=problems(*OF_ANY_REQUEST), **options)


async def counted_ask(request: Request, app: App) -> None:
    """For endpoints that answer questions: those are counted by themselves, too."""
    allowance = await on_thread(app.doorkeeper.count_ask, request.state.principal)
    request.state.allowance = allowance
    if not allowance.granted:
        raise refusal(allowance)


class KeyGate:
    """Lets only requests with a valid key through to /v1, and only so many, before their body is read or parsed."""

    def __init__(self, app: ASGIApp, application: Application) -> None:
        self._app, self._application = app, application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/v1/"):
            headers = Headers(scope=scope)
            scheme, _, token = headers.get("authorization", "").partition(" ")
            key = headers.get("x-api-key") or (token.strip() if scheme.lower() == "bearer" else None)
            address = scope["client"][0] if scope.get("client") else ""
            try:
                doorkeeper = self._application.doorkeeper
                admission = doorkeeper.admit_at_once(key)
                if admission is None:
                    admission = await on_thread(doorkeeper.admit, key, address)
            except PegasusError as error:
                await problem_response(error)(scope, receive, send)
                return
            state = scope.setdefault("state", {})
            state["principal"], state["allowance"] = admission.principal, admission.allowance
            send = _telling_the_rate(state, send)
            if not admission.allowance.granted:
                await problem_response(refusal(admission.allowance))(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _telling_the_rate(state: Mapping[str, Any], send: Send) -> Send:
    """Add where the key stands to the headers: the fields of draft-ietf-httpapi-ratelimit-headers-06, the last one
    that has a field for each number."""

    async def telling(message: Message) -> None:
        if message["type"] == "http.response.start":
            allowance: Allowance = state["allowance"]
            amount = b"%d" % allowance.rate.amount
            message["headers"] = [
                *message["headers"],
                (b"ratelimit-limit", amount),
                (b"ratelimit-remaining", b"%d" % allowance.remaining),
                (b"ratelimit-reset", b"%d" % ceil(allowance.reset_seconds)),
                (b"ratelimit-policy", b"%b;w=%d" % (amount, allowance.rate.seconds)),
            ]
        await send(message)

    return telling


def checked_id(value: str, what: str) -> str:
    """An id from a path; whatever is not a UUID names nothing, which is all that the caller need know."""
    if not is_id(value):
        raise NotFound(f"There is no {what} {value[:64]!r}.", hint="Ids are UUIDs, as the lists return them.")
    return value


_EVERYWHERE = (401, 403, 429)
# What is no proper HTTP or form, what never ends, and what is too large.
OF_ANY_REQUEST = (400, 408, 413)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of an endpoint for the problems that it may answer with, besides those that all may."""
    content = {PROBLEM_MEDIA_TYPE: {"schema": Problem.model_json_schema()}}
    return {status: {"description": "Problem", "content": content} for status in sorted({*_EVERYWHERE, *statuses})}


def problem_response(error: PegasusError, status: int | None = None) -> JSONResponse:
    """``status``: where somebody else's protocol has another for it."""
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
    if error.retryable:
        headers["Retry-After"] = str(error.retry_after_seconds)
    body = error.problem() | ({"status": status} if status else {})
    return JSONResponse(body, status or error.status, headers, PROBLEM_MEDIA_TYPE)


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
