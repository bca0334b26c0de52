"""What browsers may do here: by which names they reach Pegasus, from which pages, and what its answers may load."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import lru_cache
from urllib.parse import urlsplit

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pegasus.errors import Misdirected
from pegasus.settings import Settings
from pegasus.web import problem_response

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
# Nothing that is answered here is a page, but for /docs: whatever a browser takes it for, it may load nothing.
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
# No cache knows that X-API-Key decides who may have it.
_HEADERS_OF_API = (*_HEADERS, (b"cache-control", b"no-store"))


def guard(api: FastAPI, settings: Settings) -> None:
    """Put the checks for browsers before what is there already; call after the other middleware is added."""
    if settings.allowed_origins:
        api.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allowed_origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Accept", "Authorization", "Content-Type", "Idempotency-Key", "X-API-Key"],
            expose_headers=[
                "Location", "RateLimit-Limit", "RateLimit-Policy", "RateLimit-Remaining", "RateLimit-Reset",
                "Retry-After", "X-Request-Id",
            ],
        )  # fmt: skip
    api.add_middleware(HostGate, names=frozenset({*_LOOPBACK, _bare(settings.host), *settings.further_hosts}))


class HostGate:
    """Answers only to its own names.

    A page from elsewhere can make a browser on this machine take its own name for 127.0.0.1 (DNS rebinding), and then
    talk to Pegasus as if from here; but the browser says in ``Host`` whose page it is. An address as a name needs no
    DNS, so the one that the request arrived at is always right.
    """

    def __init__(self, app: ASGIApp, names: frozenset[str]) -> None:
        self._app, self._names = app, names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._is_ours(scope):
            await problem_response(_misdirected(scope))(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_ours(self, scope: Scope) -> bool:
        given = [value for name, value in scope["headers"] if name == b"host"]
        if len(given) != 1:
            return False
        name = _bare(given[0].decode("latin-1"))
        arrived_at = str((scope.get("server") or ("",))[0]).removeprefix("::ffff:")
        return "*" in self._names or name in self._names or (bool(name) and name == arrived_at)


@lru_cache(maxsize=1_000)
def _bare(host: str) -> str:
    """A host without its port and the brackets of an IPv6 address."""
    if host.count(":") > 1 and not host.startswith("["):
        return host.lower()
    return re.sub(r"\A\[?([^\]]*?)\]?(?::\d*)?\Z", r"\1", host).lower()


def _misdirected(scope: Scope) -> Misdirected:
    name = _bare(Headers(scope=scope).get("host", ""))[:100]
    return Misdirected(
        f"This server does not go by the name {name!r}.",
        hint=f"If it should, start it with PEGASUS_TRUSTED_HOSTS={name or 'NAME'}.",
    )


class BrowserHeaders:
    """Adds to each answer what keeps a browser from making more of it than it is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def adding(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = message["headers"]
                names = {name for name, _ in given}
                added = _HEADERS_OF_API if scope["path"].startswith("/v1/") else _HEADERS
                message["headers"] = [*given, *(header for header in added if header[0] not in names)]
            await send(message)

        await self._app(scope, receive, adding)


def add_docs_page(api: FastAPI) -> None:
    """FastAPI's page that lists and tries every call, with a policy that lets it load just what it names."""
    page = bytes(get_swagger_ui_html(openapi_url="/openapi.json", title=f"{api.title} API").body).decode()
    headers = {"Content-Security-Policy": _policy_of(page)}

    async def docs(_: Request) -> HTMLResponse:
        return HTMLResponse(page, headers=headers)

    api.add_route("/docs", docs, include_in_schema=False)


def _policy_of(page: str) -> str:
    loaded = re.findall(r'(?:src|href)="(https:[^"]+)"', page)
    sources = " ".join(sorted({f"https://{urlsplit(url).netloc}" for url in loaded}))
    scripts = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    )
    return (
        f"default-src 'none'; script-src {sources} {scripts}; style-src {sources} 'unsafe-inline';"
        f" img-src 'self' data: {sources}; connect-src 'self'; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    )
