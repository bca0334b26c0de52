"""A connection to PostgreSQL that notices when the server has fallen silent, and pools that know when there is none.

The server's own time limits end nothing when the server itself stands still: a stopped machine, a cut network, a
failover. So who waits for long asks in another way whether anybody is there. A statement that takes long goes on.
"""

from __future__ import annotations

import os
import re
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import DictRow
from psycopg_pool import ConnectionPool

from pegasus.errors import Misconfigured, Unavailable

RV = TypeVar("RV")

# How long nothing comes before it is asked whether somebody is there, and how long that may take.
SILENCE_SECONDS, ANSWER_SECONDS = 5.0, 5.0
# Whoever speaks the protocol answers this with one letter, before any key or database is named:
# postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL
_SSL_REQUEST, _ANSWERS = struct.pack(">ii", 8, 80_877_103), (b"S", b"N", b"E")
_CONNECT_SECONDS = 5
# A peer that has gone without a word, as in a failover, is noticed after a minute and not after two hours.
_CONNECTION: dict[str, str | int] = {
    "connect_timeout": _CONNECT_SECONDS,
    "application_name": "pegasus",
    "client_encoding": "utf8",
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
# libpq tells of a connection that failed only in words.
_REFUSED = re.compile("authentication failed|no password supplied|does not exist|no pg_hba.conf entry|not permitted")
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


def checked(url: str) -> str:
    """The address with what Pegasus asks of every connection. It may have a password: no error shows it."""
    try:
        given = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise Misconfigured(
            "DATABASE_URL is not an address of PostgreSQL.",
            hint="Write it as postgresql://user:password@host:5432/database, with %-codes for special characters.",
        ) from None
    # What the address says itself goes first.
    return make_conninfo(url, **{name: value for name, value in _CONNECTION.items() if name not in given})


@contextmanager
def opened(address: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection outside of any pool, each statement a transaction.

    Raises ``Misconfigured`` for what time does not mend, ``Unavailable`` for what it may.
    """
    place = place_of(address)
    try:
        with psycopg.connect(address, autocommit=True) as connection:
            yield connection
    except psycopg.OperationalError as error:
        if _REFUSED.search(str(error)):
            raise Misconfigured(
                f"PostgreSQL at {place} refuses: {first_line(error)}.", hint="Mend DATABASE_URL."
            ) from error
        raise Unavailable(
            f"PostgreSQL at {place} cannot be reached: {first_line(error)}.",
            hint="Is it running, is DATABASE_URL right, does a firewall stand between?",
        ) from error


def place_of(address: str) -> str:
    """Which server and database it is, without who logs in."""
    return "{host}:{port}/{dbname}".format_map({"host": "", "port": "5432", "dbname": "", **conninfo_to_dict(address)})


def first_line(error: BaseException | None) -> str:
    """What the server says, without the details, which quote rows."""
    said = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return (said or str(error).partition("\n")[0]).rstrip(".")
