"""A connection to PostgreSQL that notices when the server has fallen silent, and pools that know when there is none.

The server's own time limits end nothing when the server itself stands still: a stopped machine, a cut network, a
failover. So who waits for long asks in another way whether anybody is there. A statement that takes long goes on.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.rows import DictRow
from psycopg_pool import ConnectionPool

RV = TypeVar("RV")

# How long nothing comes before it is asked whether somebody is there, and how long that may take.
SILENCE_SECONDS, ANSWER_SECONDS = 5.0, 5.0
# Whoever speaks the protocol answers this with one letter, before any key or database is named:
# postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL
_SSL_REQUEST, _ANSWERS = struct.pack(">ii", 8, 80_877_103), (b"S", b"N", b"E")
_POOL_SECONDS, _AWAY_SECONDS, _RECONNECT_SECONDS = 5.0, 0.1, 1.0


class WatchedConnection(psycopg.Connection[DictRow]):
    """Closes itself, and raises ``OperationalError``, when the server has fallen silent."""

    def wait(self, gen: PQGen[RV], *arguments: Any, **options: Any) -> RV:
        return super().wait(self._watched(gen), *arguments, **options)

    def _watched(self, gen: PQGen[RV]) -> PQGen[RV]:
        ask_at = time.monotonic() + SILENCE_SECONDS
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if not ready and time.monotonic() > ask_at:
                    self._check_peer()
                    ask_at = time.monotonic() + SILENCE_SECONDS
                wanted = gen.send(ready)
        except StopIteration as end:
            result: RV = end.value
            return result

    def _check_peer(self) -> None:
        if not _is_there(self.pgconn.socket):
            self.close()
            raise psycopg.OperationalError("the server has fallen silent")


def _is_there(connected: int) -> bool:
    """Whether whoever a socket is connected to answers a new caller."""
    try:
        with socket.socket(fileno=os.dup(connected)) as same:
            family, address = same.family, same.getpeername()
        with socket.socket(family) as caller:
            caller.settimeout(ANSWER_SECONDS)
            caller.connect(address)
            caller.sendall(_SSL_REQUEST)
            return caller.recv(1) in _ANSWERS
    except OSError:
        return False


class Pool(ConnectionPool[WatchedConnection]):
    """Makes callers wait for a connection while there may be one, and not while the server is known to be away."""

    def __init__(self, address: str, name: str, connections: int, options: dict[str, Any]) -> None:
        self._away = False
        super().__init__(
            address,
            connection_class=WatchedConnection,
            name=name,
            min_size=1,
            max_size=connections,
            timeout=_POOL_SECONDS,
            # Its waits grow with each failure: given up soon, it begins anew with the next caller.
            reconnect_timeout=_RECONNECT_SECONDS,
            reconnect_failed=self._failed,
            configure=self._connected,
            open=True,
            kwargs=options,
        )

    @property
    def patience_seconds(self) -> float:
        return _AWAY_SECONDS if self._away else _POOL_SECONDS

    def _failed(self, _pool: Any) -> None:
        self._away = True

    def _connected(self, _connection: Any) -> None:
        self._away = False
