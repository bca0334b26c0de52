"""Sends the same request again and again over some kept connections of 127.0.0.1, and tells how long each answer took.

In a process of its own, so that the server's CPU time is the server's alone:
``python -m bench.load PORT CONNECTIONS REQUESTS`` reads one request's bytes from its standard input, several with an
empty line of ``%%`` between them, which are sent by turns.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[1]
_BETWEEN = b"\n%%\n"
_SECONDS = 240


@dataclass(frozen=True)
class Answers:
    """Of each request, in milliseconds; by status how many there were."""

    seconds: float
    milliseconds: list[float]
    statuses: dict[str, int]


def request_of(method: str, path: str, key: str | None = None, body: Any = None) -> bytes:
    content = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"X-API-Key: {key}"] if key else []
    lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"] if content else []
    return "\r\n".join([*lines, "", ""]).encode() + content


def load(port: int, requests: Sequence[bytes], *, connections: int, count: int) -> Answers:
    """Send so many in all, from another process."""
    command = [sys.executable, "-m", "bench.load", str(port), str(connections), str(count)]
    done = subprocess.run(
        command, cwd=_ROOT, input=_BETWEEN.join(requests), capture_output=True, check=False, timeout=_SECONDS
    )
    if done.returncode:
        raise RuntimeError(f"the load ended early:\n{done.stderr.decode()}")
    return Answers(**json.loads(done.stdout))


class _Connection(asyncio.Protocol):
    """Sends a request when the answer to the one before is in. Answers have a Content-Length."""

    def __init__(self, load: _Load) -> None:
        self._load = load
        self._received = b""
        self._begun = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if len(body) < int(length):
            return
        self._load.note(head[9:12].decode(), (time.perf_counter() - self._begun) * 1000)
        self._received = b""
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.failed(exc or ConnectionError("the server closed the connection"))

    def _send(self) -> None:
        request = self._load.next()
        if request is not None:
            self._begun = time.perf_counter()
            self._transport.write(request)  # type: ignore[attr-defined]


class _Load:
    def __init__(self, requests: Sequence[bytes], count: int) -> None:
        self._requests, self._left, self._awaited = cycle(requests), count, count
        self._milliseconds: list[float] = []
        self._statuses: dict[str, int] = {}
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def next(self) -> bytes | None:
        self._left -= 1
        return next(self._requests) if self._left >= 0 else None

    def note(self, status: str, milliseconds: float) -> None:
        self._milliseconds.append(milliseconds)
        self._statuses[status] = self._statuses.get(status, 0) + 1
        self._awaited -= 1
        if not self._awaited:
            self._done.set_result(None)

    def failed(self, error: Exception) -> None:
        if not self._done.done():
            self._done.set_exception(error)

    async def run(self, port: int, connections: int) -> dict[str, Any]:
        loop, begun = asyncio.get_running_loop(), time.perf_counter()
        for _ in range(connections):
            await loop.create_connection(lambda: _Connection(self), "127.0.0.1", port)
        await self._done
        return {
            "seconds": time.perf_counter() - begun, "milliseconds": self._milliseconds, "statuses": self._statuses
        }  # fmt: skip


async def _main(port: int, connections: int, count: int) -> None:
    print(json.dumps(await _Load(sys.stdin.buffer.read().split(_BETWEEN), count).run(port, connections)))


if __name__ == "__main__":
    asyncio.run(_main(*map(int, sys.argv[1:])))
