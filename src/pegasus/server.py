"""Serves the HTTP application, and lets the command line find the server that has a data directory."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI

from pegasus.api import create_api
from pegasus.application import Application
from pegasus.connections import GuardedProtocol
from pegasus.data_directory import SERVER_FILE
from pegasus.errors import Misconfigured, Unavailable

_DRAIN_SECONDS = 5
_START_SECONDS = 30.0


class Server(uvicorn.Server):
    """Uvicorn, which tells the application at the first signal that it stops, so that open streams end."""

    def __init__(
        self, application: Application, app: FastAPI | None = None, *, drain_seconds: float = _DRAIN_SECONDS,
        linger_seconds: float = 0,
    ) -> None:  # fmt: skip
        """``linger_seconds``: how long it goes on taking requests when it is told to stop."""
        super().__init__(
            uvicorn.Config(
                app or create_api(application),
                log_config=None,
                access_log=False,
                server_header=False,
                # By itself uvicorn believes whatever a process on this machine says of its client's address.
                proxy_headers=bool(application.settings.trusted_proxies),
                forwarded_allow_ips=application.settings.trusted_proxies,
                lifespan="off",
                ws="none",
                http=GuardedProtocol,
                # Not uvloop, which Chroma brings along: once in some hundred starts under load (make kills) its loop
                # slept on although a thread had handed back a result, and the request waited for minutes.
                loop="asyncio",
                timeout_graceful_shutdown=int(drain_seconds),
            )
        )
        self._application, self._linger_seconds = application, linger_seconds

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, but a signal is not raised again afterwards: that would end the process with stores open."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        lingers = self._linger_seconds and not self._application.stopping.is_set()
        self._application.stopping.set()
        if lingers:  # Whoever is told twice stops at once.
            timer = threading.Timer(self._linger_seconds, super().handle_exit, (sig, frame))
            timer.daemon = True
            timer.start()
        else:
            super().handle_exit(sig, frame)


def listen(host: str, port: int) -> socket.socket:
    """A bound socket. Raises ``Misconfigured`` where the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol by name: asyncio sends small answers at once only on sockets that say they are TCP. Otherwise a body
    # waits for its headers to be acknowledged, which takes 40 ms.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        # At once, though nobody answers yet: until then another process could still take the same address.
        bound.listen()
    except OSError as error:
        bound.close()
        raise Misconfigured(
            f"Cannot listen on {host}:{port}: {error.strerror or error}.",
            hint="Give another one with --port (0 takes a free one).",
        ) from error
    return bound


def address_of(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def announced(directory: Path, address: str) -> Iterator[None]:
    """Write the address where the command line looks for it, for as long as the block runs."""
    file = directory / SERVER_FILE
    temporary = file.with_suffix(".new")
    temporary.write_text(json.dumps({"address": address, "process": os.getpid()}))
    temporary.replace(file)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def serve(
    application: Application, bound: socket.socket, when_started: Callable[[], None], app: FastAPI | None = None,
    *, drain_seconds: float = _DRAIN_SECONDS, linger_seconds: float = 0,
) -> None:  # fmt: skip
    """Serve until a signal ends it; ``when_started`` runs on a thread of its own once requests are answered."""
    server = Server(application, app, drain_seconds=drain_seconds, linger_seconds=linger_seconds)
    threading.Thread(target=_call_when_started, args=(server, when_started), daemon=True).start()
    server.run(sockets=[bound])


def _call_when_started(server: Server, when_started: Callable[[], None]) -> None:
    waiter = threading.Event()
    while not server.started:
        waiter.wait(0.01)
    when_started()


@contextmanager
def serving_in_background(application: Application) -> Iterator[str]:
    """A server on a free loopback port for the length of the block; its address."""
    bound = listen("127.0.0.1", 0)
    server = Server(application)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, name="http", daemon=True)
    thread.start()
    try:
        waiter, waited = threading.Event(), 0.0
        while not server.started:
            if not thread.is_alive() or waited > _START_SECONDS:
                raise Unavailable("The local server did not start.", hint="Run: pegasus up")
            waiter.wait(0.01)
            waited += 0.01
        yield address_of(bound)
    finally:
        application.stopping.set()
        server.should_exit = True
        thread.join(_DRAIN_SECONDS + 5)
