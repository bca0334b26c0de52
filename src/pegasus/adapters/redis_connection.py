"""A Redis that Pegasus can do without: nobody waits for it longer than a moment, whatever becomes of it.

A call that fails, or takes too long, is the last for a while: Redis is away then, every other call is told so at once,
and a thread of its own asks each second whether it is back. Threads that answer requests never connect, since looking
up a name, TLS and logging in take nobody knows how long; others do that for them while they wait the moment.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import structlog
from redis import Connection, ConnectionPool, Redis, SSLConnection
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from pegasus import metrics
from pegasus.errors import TimedOut, Unavailable
from pegasus.time_limits import LimitedCalls

log = structlog.get_logger(__name__)

T = TypeVar("T")
Client = Redis | RedisCluster

# Two machines of one region answer each other in a millisecond; a container that has used up its share of the
# processor is held still for a tenth of a second.
WAIT_SECONDS = 0.25
# Whoever answers in time, but so many times in a row only after a fifth of it, is not worth being asked either.
_SLOW, _SLOW_IN_A_ROW = 0.2, 3
_RETRY_SECONDS = 1.0
_START_SECONDS = 2.0
_CONNECTING_THREADS = 4
_MAX_REASON = 200
_HINT = "Check PEGASUS_CACHE_URL and its server. Until it answers each process counts on its own and caches nothing."
# What reads, writes and needs the same rights as the scripts do.
_PROBE = "return redis.call('SET', KEYS[1], redis.call('TIME')[1], 'PX', 1000)"


class _NotConnected(Exception):
    """A connection would have to be made, and not on this thread."""


class _Request(threading.local):
    until: float | None = None  # When who asks on this thread stops waiting; others have no such time.


_request = _Request()


class _Connection(Connection):
    def connect(self) -> None:
        if _request.until is not None and not self.is_connected:
            raise _NotConnected
        super().connect()  # type: ignore[no-untyped-call]

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        # The client of a cluster asks one node after the other when one fails.
        if _request.until is not None and time.monotonic() > _request.until:
            raise RedisTimeoutError("there was no answer in time")
        super().send_packed_command(command, check_health)  # type: ignore[no-untyped-call]


class _TlsConnection(_Connection, SSLConnection):
    pass


class RedisConnection:
    """One for a process, shared by its threads; it has as many connections to a node as calls go on at once."""

    def __init__(
        self, host: str, port: int, *, user: str | None = None, password: str | None = None, tls: bool = False,
        database: int = 0, cluster: bool = False, wait_seconds: float = WAIT_SECONDS,
        retry_seconds: float = _RETRY_SECONDS,
    ) -> None:  # fmt: skip
        """Never raises: a Redis that is away, or lets nobody in, is waited for while Pegasus runs."""
        self._options: dict[str, Any] = {
            "host": host, "port": port, "username": user, "password": password, "db": database, "protocol": 2,
            "connection_class": _TlsConnection if tls else _Connection,
            "socket_timeout": wait_seconds, "socket_connect_timeout": wait_seconds,
        }  # fmt: skip
        self._cluster, self._retry_seconds = cluster, retry_seconds
        self._wait_seconds, self._slow_seconds = wait_seconds, wait_seconds * _SLOW
        self._client: Client | None = None
        self._away: str | None = "It has not answered yet."
        self._away_since, self._slow_calls, self._last_key = 0.0, 0, b""
        self._lock = threading.Lock()
        self._closing, self._known, self._failed = threading.Event(), threading.Event(), threading.Event()
        self._calls = LimitedCalls("redis", _CONNECTING_THREADS, wait_seconds, _HINT)
        self._keeper = threading.Thread(target=self._keep, name="redis-keeper", daemon=True)
        self._keeper.start()
        self._known.wait(_START_SECONDS)

    def call(self, key: bytes, command: Callable[[Client], T]) -> T:
        """What ``command`` returns, which works on ``key`` alone, and raises for an answer that makes no sense.

        Raises ``Unavailable``: at once, or after ``wait_seconds`` for those that are the first to find it so.
        """
        client = self._client
        if self._away is not None or client is None:
            metrics.CACHE_CALLS_SKIPPED.inc()
            raise Unavailable(f"Redis is away: {self._away}", hint=_HINT)
        try:
            answer = self._answer(client, command)
        except Exception as error:
            self._give_up(key, _reason(error))
            raise Unavailable(f"Redis is away: {_reason(error)}", hint=_HINT) from error
        metrics.CACHE_CALLS_ANSWERED.inc()
        return answer

    def check(self) -> None:
        """Raises ``Unavailable`` with the reason."""
        self.call(b"", lambda client: _probe(client, b""))

    def close(self) -> None:
        self._closing.set()
        self._failed.set()
        self._keeper.join(1.0)
        self._calls.close()
        if self._client is not None:
            _close(self._client)

    def _answer(self, client: Client, command: Callable[[Client], T]) -> T:
        begun = time.monotonic()
        _request.until = begun + self._wait_seconds
        try:
            answer = command(client)
        except _NotConnected:
            return self._calls.result(self._calls.start(command, client))
        finally:
            _request.until = None
        self._slow_calls = self._slow_calls + 1 if time.monotonic() - begun > self._slow_seconds else 0
        if self._slow_calls >= _SLOW_IN_A_ROW:
            raise TimedOut(f"it takes more than {self._slow_seconds * 1000:g} ms to answer")
        return answer

    def _give_up(self, key: bytes, reason: str) -> None:
        metrics.CACHE_CALLS_FAILED.inc()
        with self._lock:
            if self._away is None:
                self._last_key = key
                self._is_away(reason)
        self._failed.set()

    def _is_away(self, reason: str) -> None:
        self._away, self._away_since = reason, time.monotonic()
        log.warning("redis.away", reason=reason, next="Each process counts on its own and caches nothing.")

    # --- The thread that looks whether it is back

    def _keep(self) -> None:
        while True:
            reason = self._trouble()
            with self._lock:
                if reason is None and self._away is not None:
                    self._is_back()
                elif reason is not None and not self._known.is_set():
                    self._is_away(reason)
                elif reason is not None:
                    self._away = reason
            self._known.set()
            if reason is None:
                self._failed.wait()
                self._failed.clear()
            if self._closing.wait(self._retry_seconds):
                return

    def _is_back(self) -> None:
        if self._known.is_set():
            log.info("redis.back", away_seconds=round(time.monotonic() - self._away_since, 1))
        self._away, self._slow_calls = None, 0

    def _trouble(self) -> str | None:
        try:
            self._probe_or_open()
        except Exception as error:  # noqa: BLE001 - whatever it is, there is no relying on Redis, and it is told.
            return _reason(error)
        return None

    def _probe_or_open(self) -> None:
        if self._client is not None:
            try:
                return self._probe(self._client)
            except Exception:
                # The nodes that a cluster had may all be gone, while its name stands for new ones.
                if not self._cluster:
                    raise
        client = self._open()
        try:
            self._probe(client)
        except BaseException:
            _close(client)
            raise
        before, self._client = self._client, client
        if before is not None:
            _close(before)
        return None

    def _probe(self, client: Client) -> None:
        _probe(client, self._last_key)  # With what it takes to connect
        begun = time.monotonic()
        _probe(client, self._last_key)
        if (took := time.monotonic() - begun) > self._slow_seconds:
            raise TimedOut(f"it takes {took * 1000:.0f} ms to answer")

    def _open(self) -> Client:
        # Nothing is sent twice: a request that was counted, with its answer lost, would be counted again.
        once = Retry(NoBackoff(), 0)
        if not self._cluster:
            return Redis.from_pool(ConnectionPool(**self._options, retry=once))
        options = {name: value for name, value in self._options.items() if name not in ("host", "port", "db")}
        # Only told by a URL does it take the class of its connections from us.
        url = f"redis://{self._options['host']}:{self._options['port']}"
        return RedisCluster(url=url, retry=once, **options)


def _close(client: Client) -> None:
    if isinstance(client, RedisCluster):
        # Its own end leaves them to whoever collects garbage.
        client.disconnect_connection_pools()  # type: ignore[no-untyped-call]
    client.close()


def _probe(client: Client, like: bytes) -> None:
    """On the node of a cluster that has the key ``like``, by the part of it that is in braces."""
    answer = client.eval(_PROBE, 1, b"pegasus:probe:" + like[like.find(b"{") :])
    if answer != b"OK":
        raise ValueError(f"{answer!r} is no answer")


def _reason(error: Exception) -> str:
    detail = error.detail if isinstance(error, Unavailable) else str(error) or type(error).__name__
    return detail[:_MAX_REASON]
