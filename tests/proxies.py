"""What stands between Pegasus and a server in tests of faults: it delays, cuts, refuses, or speaks in its place."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(eq=False, slots=True)
class _Connection:
    ends: list[socket.socket]
    hushed: bool = False

    def cut(self) -> None:
        for end in self.ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class Proxy:
    """Passes bytes on to ``target``, a port, which may be changed: then everybody is cut off and comes again."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.delay_seconds = 0.0
        self.cut_after_bytes: int | None = None
        self._lock = threading.Lock()
        self._connections: list[_Connection] = []
        self._listener: socket.socket | None = None
        self.port = 0
        self.listen()

    def listen(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def refuse(self) -> None:
        """As if nobody were there, until ``listen``."""
        with self._lock:
            listener, self._listener = self._listener, None
        if listener:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # Else the thread that accepts would keep it open.
            listener.close()
        self.cut()

    def cut(self) -> None:
        with self._lock:
            connections, self._connections = self._connections, []
        for connection in connections:
            connection.cut()

    def hush(self) -> None:
        """Whoever is connected hears nothing more, not even an end, as when a machine loses its power."""
        with self._lock:
            for connection in self._connections:
                connection.hushed = True

    def lead_to(self, target: int) -> None:
        self.target = target
        self.cut()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                caller, _ = listener.accept()
                connection = _Connection([caller])
                with self._lock:
                    if self._listener is not listener:
                        caller.close()
                        return
                    self._connections.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: _Connection) -> None:
        (caller,) = connection.ends
        with caller, suppress(OSError), socket.create_connection(("127.0.0.1", self.target)) as server:
            with self._lock:
                if connection not in self._connections:
                    return  # Cut off before it was through.
                connection.ends.append(server)
            back = threading.Thread(target=self._pump, args=(connection, server, caller), daemon=True)
            back.start()
            self._pump(connection, caller, server)
            back.join()

    def _pump(self, connection: _Connection, source: socket.socket, sink: socket.socket) -> None:
        passed = 0
        with suppress(OSError):
            while data := source.recv(2**16):
                if connection.hushed:
                    continue
                passed += len(data)
                if self.cut_after_bytes is not None and passed > self.cut_after_bytes:
                    self.cut_after_bytes = None
                    break
                time.sleep(self.delay_seconds)
                sink.sendall(data)
        connection.cut()


@contextmanager
def proxy_to(target: int) -> Iterator[Proxy]:
    proxy = Proxy(target)
    yield proxy
    proxy.refuse()


@contextmanager
def silent_server() -> Iterator[int]:
    """It accepts connections, and that is all."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@contextmanager
def babbling_server(says: bytes) -> Iterator[int]:
    """Whatever it is told, it says this."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    caller, _ = listener.accept()
                    threading.Thread(target=babble, args=(caller,), daemon=True).start()

        def babble(caller: socket.socket) -> None:
            with caller, suppress(OSError):
                while caller.recv(2**16):
                    caller.sendall(says)

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


@contextmanager
def answering(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """A web server that answers everything so."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            with suppress(OSError):
                answer(self)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _answer  # noqa: N815

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def respond(request: BaseHTTPRequestHandler, status: int, body: bytes, length: int | None = None) -> None:
    request.send_response(status)
    request.send_header("Content-Length", str(len(body) if length is None else length))
    request.end_headers()
    request.wfile.write(body)
