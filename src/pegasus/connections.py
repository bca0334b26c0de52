"""HTTP with limits on what comes before a request is known: uvicorn itself bounds neither its time nor its size."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Far above what any client needs for a request line and headers, and far below what hurts.
HEADER_SECONDS = 20.0
MAX_HEADER_BYTES = 128 * 2**10


class GuardedProtocol(HttpToolsProtocol):
    """Refuses a request whose headers do not end, and a connection that sends none: either would be held for good."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._header_bytes = 0
        self._header_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_headers()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._await_headers()

    def data_received(self, data: bytes) -> None:
        if self._header_timer is not None:
            if self._header_bytes > MAX_HEADER_BYTES:
                self._refuse(f"The request line and headers are longer than {MAX_HEADER_BYTES} bytes.")
                return
            self._header_bytes += len(data)
        super().data_received(data)

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _await_headers(self) -> None:
        self._stop_waiting()
        self._header_bytes = 0
        self._header_timer = self.loop.call_later(HEADER_SECONDS, self._give_up)

    def _stop_waiting(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _give_up(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._await_headers()  # The answer to the request before is still on its way.
        else:
            self._refuse(f"No whole request came within {HEADER_SECONDS:g} seconds.")

    def _refuse(self, reason: str) -> None:
        self._stop_waiting()
        self.send_400_response(reason)
