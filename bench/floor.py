"""The floor of a request: FastAPI and psycopg with nothing between them, which reads one row by its key.

``python -m bench.floor PORT`` serves ``GET /{id}`` from the database that DATABASE_URL names: an endpoint on the event
loop, psycopg's asynchronous pool, no transaction, a statement that psycopg prepares, uvicorn on the same loop as ours.
The same with a thread for each request, as FastAPI makes them, costs twice as much.
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
from psycopg_pool import AsyncConnectionPool

_SELECT = "SELECT id, title, uri, media_type, version, sha256, size_bytes, state FROM documents WHERE id = %s"
_CONNECTIONS = 8


def create_api(url: str) -> FastAPI:
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


if __name__ == "__main__":
    uvicorn.run(
        create_api(os.environ["DATABASE_URL"]), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning",
        access_log=False, loop="asyncio",
    )  # fmt: skip
