"""The HTTP application: routes, errors as problems, limits on bodies, the access log."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pegasus import __version__, metrics, tracing
from pegasus.access import endpoints as access
from pegasus.access.scopes import Principal
from pegasus.application import Application
from pegasus.browser import BrowserHeaders, add_docs_page, guard
from pegasus.chat import endpoints as chat
from pegasus.documents import endpoints as documents
from pegasus.errors import Invalid, PegasusError, TooLarge, TooSlow
from pegasus.graph import endpoints as graph
from pegasus.identifiers import new_id
from pegasus.integrity import endpoints as integrity
from pegasus.jobs import endpoints as jobs
from pegasus.schemas import Schema
from pegasus.search import endpoints as search
from pegasus.sources import endpoints as sources
from pegasus.threads import on_thread
from pegasus.uploads import endpoints as uploads
from pegasus.usage import endpoints as usage
from pegasus.web import KEY_SCHEMES, OF_ANY_REQUEST, PROBLEM_MEDIA_TYPE, App, KeyGate, problem_response, problems

log = structlog.get_logger("pegasus.access")

_FEATURES = (documents, uploads, search, chat, graph, jobs, sources, integrity, access, usage)
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
_MULTIPART_ROOM_BYTES = 2**20
# A body whose sender says nothing for so long is given up.
SILENCE_SECONDS = 30.0
_HUNG = ("workers", "rounds")  # Checks of threads of this process.
_UNLIMITED_PATHS = ("/v1/documents/batch",)  # It limits its lines itself.

DESCRIPTION = """Documents in, answers out, every citation checked.

Send your key in `X-API-Key`, or as a bearer token. Errors are `application/problem+json` with a stable `type`.
The `RateLimit-*` headers of an answer tell how much of the key's rate is left
(draft-ietf-httpapi-ratelimit-headers-06); a 429 says in `Retry-After` when to go on.
Offsets count Unicode code points of a document's stored text, `/v1/documents/{id}/content`.
"""


class Health(Schema):
    status: str = "ok"
    version: str = __version__


class DependencyState(Schema):
    name: str
    ready: bool
    latency_ms: float
    detail: str | None = None
    required: bool = True  # Without the others Pegasus serves as before, if less well.


class Readiness(Schema):
    ready: bool
    dependencies: list[DependencyState]


class Api(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """With the ways to send a key, which FastAPI looks for among dependencies."""
        described = super().openapi()
        described["components"].setdefault("securitySchemes", KEY_SCHEMES)
        return described


def create_api(application: Application) -> FastAPI:
    api = Api(title="Pegasus", version=__version__, description=DESCRIPTION, docs_url=None,
              redoc_url=None, responses=problems(*OF_ANY_REQUEST))  # fmt: skip
    api.state.application = application
    for feature in _FEATURES:
        # Not as routers: those are searched one after the other, which takes longer than all of their routes.
        api.router.routes.extend(feature.router.routes)
    api.add_api_route("/health", _health, tags=["service"], response_model=Health)
    api.add_api_route("/ready", _ready, tags=["service"], response_model=Readiness,
                      responses={503: {"model": Readiness, "description": "Something does not answer"}})  # fmt: skip
    add_docs_page(api)
    _handle_errors(api)
    limit = application.settings.max_upload_bytes + _MULTIPART_ROOM_BYTES
    api.add_middleware(BodyLimit, max_body_bytes=limit)
    api.add_middleware(KeyGate, application=application)
    guard(api, application.settings)
    api.add_middleware(Draining, application=application)
    api.add_middleware(AccessLog)
    if application.settings.otlp_endpoint:
        api.add_middleware(RequestSpans)
    api.add_middleware(BrowserHeaders)
    return api


def create_probes(application: Application) -> FastAPI:
    """What a process answers that serves no users: whether it is alive and well, and what it measures."""
    probes = FastAPI(title="Pegasus", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    probes.state.application = application
    probes.add_api_route("/health", _lively)
    probes.add_api_route("/ready", _ready)
    probes.add_api_route("/metrics", usage.read_metrics)
    _handle_errors(probes)
    guard(probes, application.settings)
    probes.add_middleware(AccessLog)
    return probes


def _lively(app: App, response: Response) -> Health:
    """Alive, and not hung: who works for nobody any more is better started again. Of dependencies nothing is asked."""
    for name in _HUNG:
        if name in app.checks and _state_of(name, app.checks[name]).detail:
            response.status_code = 503
            return Health(status="stuck")
    return Health()


async def _health() -> Health:
    """Alive, without touching a dependency, nor waiting for a thread that others hold."""
    return Health()


async def _ready(app: App, response: Response) -> Readiness:
    """Whether each dependency answers, and how fast."""
    states = await asyncio.gather(
        *(on_thread(_state_of, name, check) for name, check in app.checks.items()),
        *(on_thread(_state_of, name, check, required=False) for name, check in app.optional.items()),
    )
    ready = all(state.ready for state in states if state.required) and not app.stopping.is_set()
    response.status_code = 200 if ready else 503
    return Readiness(ready=ready, dependencies=states)


def _state_of(name: str, check: Any, *, required: bool = True) -> DependencyState:
    begun = time.perf_counter()
    detail = None
    try:
        check()
    except PegasusError as error:
        detail = error.detail
    except Exception as error:  # noqa: BLE001 - whatever it is, the dependency is not ready, and that is the answer.
        detail = f"{type(error).__name__}: {error}"
    latency_ms = round((time.perf_counter() - begun) * 1000, 2)
    return DependencyState(name=name, ready=detail is None, latency_ms=latency_ms, detail=detail, required=required)


def _handle_errors(api: FastAPI) -> None:
    @api.exception_handler(PegasusError)
    async def expected(_: Request, error: PegasusError) -> JSONResponse:
        return problem_response(error)

    @api.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        # The input itself is left out: it may be long, and it may be secret.
        errors = [{"loc": [str(part) for part in e["loc"]], "msg": e["msg"]} for e in error.errors()]
        first = errors[0] if errors else {"loc": [], "msg": "The request is not valid."}
        problem = Invalid(f"{'.'.join(first['loc'])}: {first['msg']}", hint="See /docs for the form of the request.")
        return JSONResponse({**problem.problem(), "errors": errors}, 422, media_type=PROBLEM_MEDIA_TYPE)

    @api.exception_handler(TimeoutError)
    async def too_slow(_: Request, __: TimeoutError) -> JSONResponse:
        return problem_response(
            TooSlow(f"Nothing of the body came for {SILENCE_SECONDS:g} s.", hint="Send the request again.")
        )

    @api.exception_handler(RecursionError)
    async def too_deep(_: Request, __: RecursionError) -> JSONResponse:
        return problem_response(Invalid("The request is nested too deeply."))

    @api.exception_handler(HTTPException)
    async def by_framework(request: Request, error: HTTPException) -> JSONResponse:
        body = {
            "type": "about:blank",
            "title": error.detail,
            "status": error.status_code,
            "detail": f"{request.method} {request.url.path[:200]}: {error.detail}",
            "hint": "See /docs for what there is.",
        }
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(_allowed(request))
        return JSONResponse(body, error.status_code, headers, PROBLEM_MEDIA_TYPE)


def _allowed(request: Request) -> list[str]:
    """The methods that a path has; the framework names only those of its first route."""
    fitting = [r for r in request.app.routes if isinstance(r, Route) and r.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for r in fitting if r.path == fitting[0].path for method in r.methods or ()})


class BodyLimit:
    """Refuses a body that is longer than the installation or the key allows, by its declared length or while it is
    read."""

    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        self._app, self._max_body_bytes = app, max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        most = self._limit_of(scope) if scope["type"] == "http" else None
        if most is None:
            await self._app(scope, receive, send)
            return
        error = TooLarge(
            f"The request is larger than {most:,} bytes.",
            hint="Split it, or raise PEGASUS_MAX_UPLOAD_BYTES."
            if most == self._max_body_bytes
            else "Split it, or use a key without a limit of its own.",
        )
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > most:
            await problem_response(error)(scope, receive, send)
            return
        read, expected = 0, True
        answered = False

        async def limited() -> Message:
            nonlocal read, expected
            # Once the body is in, waiting is for the end of the connection, which may be far off.
            message = await asyncio.wait_for(receive(), SILENCE_SECONDS if expected else None)
            expected = message.get("more_body", False)
            read += len(message.get("body", b""))
            if read > most:
                raise error
            return message

        async def truthful(message: Message) -> None:
            """Whatever the framework makes of a body that ended in an error, the answer is that it was too large."""
            nonlocal answered
            if read <= most:
                await send(message)
            elif not answered:
                answered = True
                await problem_response(error)(scope, receive, send)

        await self._app(scope, limited, truthful)

    def _limit_of(self, scope: Scope) -> int | None:
        """The lower of the installation's and the key's."""
        principal: Principal | None = scope.get("state", {}).get("principal")
        limits = (
            None if scope["path"] in _UNLIMITED_PATHS else self._max_body_bytes,
            principal.max_body_bytes if principal else None,
        )
        return min((limit for limit in limits if limit is not None), default=None)


class RequestSpans:
    """A span a request, where it is sampled; the access log then names its trace."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = [value.decode("latin-1") for name, value in scope["headers"] if name == b"traceparent"]
        with tracing.root("HTTP", "server", given[:1]) as span:
            if span is None:
                await self._app(scope, receive, send)
                return

            async def noting(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= 500:
                        tracing.fail(span, str(message["status"]))
                await send(message)

            try:
                with structlog.contextvars.bound_contextvars(trace_id=tracing.trace_id_of(span)):
                    await self._app(scope, receive, noting)
            finally:
                method, route = _route_of(scope)
                span.update_name(f"{method} {route}")
                span.set_attributes({"http.request.method": method, "http.route": route})


def _route_of(scope: Scope) -> tuple[str, str]:
    """By the route's template: paths and methods that callers make up must not each become a series."""
    method = scope["method"] if scope["method"] in _METHODS else "other"
    return method, getattr(scope.get("route"), "path", "none")


def _measure(scope: Scope, status: int, seconds: float) -> None:
    method, route = _route_of(scope)
    metrics.HTTP_SECONDS.labels(method, route, str(status)).observe(seconds)


class Draining:
    """Closes each connection with its answer once the process is to stop, so that its client goes to another one."""

    def __init__(self, app: ASGIApp, application: Application) -> None:
        self._app, self._application = app, application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def closing(message: Message) -> None:
            if message["type"] == "http.response.start" and self._application.stopping.is_set():
                message["headers"] = [*message.get("headers", []), (b"connection", b"close")]
            await send(message)

        await self._app(scope, receive, closing)


class AccessLog:
    """One line a request, with an id that the answer carries too; the last resort for what nobody expected."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id, begun, status = new_id(), time.perf_counter(), 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), (b"x-request-id", request_id.encode())]
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, noting)
            except ClientDisconnect:
                log.info("http.client_gone", method=scope["method"], path=scope["path"])
            except Exception:
                log.exception("http.unexpected_error", method=scope["method"], path=scope["path"])
                if status:
                    raise  # The answer has begun; all that is left is to cut it off.
                hint = f"Look for request_id {request_id} in the log."
                error = PegasusError("Something went wrong that should not have.", hint=hint)
                await problem_response(error)(scope, receive, noting)
            finally:
                took_ms = round((time.perf_counter() - begun) * 1000, 2)
                _measure(scope, status, took_ms / 1000)
                log.debug("http.request", method=scope["method"], path=scope["path"], status=status, took_ms=took_ms)
