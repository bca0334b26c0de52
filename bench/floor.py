"""The floor of a request: FastAPI and psycopg with nothing between them, which reads one row by its key.

``python -m bench.floor PORT FORM`` serves ``GET /{id}`` from the database that DATABASE_URL names. The form is "async",
with psycopg's asynchronous pool on the event loop, or "sync", with its other pool and an endpoint that FastAPI runs on a
thread.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool

_SELECT = "SELECT id, title, uri, media_type, version, sha256, size_bytes, state FROM documents WHERE id = %s"
_CONNECTIONS = 8


def _async_api(url: str) -> FastAPI:
    pool: Any = AsyncConnectionPool(
        url, min_size=_CONNECTIONS, open=False, kwargs={"autocommit": True, "row_factory": dict_row}
    )

    @asynccontextmanager
    async def opened(_: FastAPI) -> AsyncIterator[None]:
        async with pool:
            yield

    api = FastAPI(lifespan=opened)

    @api.get("/{id_}")
    async def read(id_: str) -> dict[str, Any] | None:
        async with pool.connection() as connection:
            cursor = await connection.execute(_SELECT, (id_,))
            row: dict[str, Any] | None = await cursor.fetchone()
            return row

    return api


def _sync_api(url: str) -> FastAPI:
    pool: Any = ConnectionPool(
        url, min_size=_CONNECTIONS, open=True, kwargs={"autocommit": True, "row_factory": dict_row}
    )
    api = FastAPI()

    @api.get("/{id_}")
    def read(id_: str) -> dict[str, Any] | None:
        with pool.connection() as connection:
            row: dict[str, Any] | None = connection.execute(_SELECT, (id_,)).fetchone()
            return row

    return api


def main(port: str, form: str, loop: str = "asyncio") -> None:
    url = os.environ["DATABASE_URL"]
    api = _async_api(url) if form == "async" else _sync_api(url)
    uvicorn.run(api, host="127.0.0.1", port=int(port), log_level="warning", access_log=False, loop=loop)


if __name__ == "__main__":
    main(*sys.argv[1:])
