"""Vectors in Chroma, in this process: one collection for each workspace, ids of passages and nothing else in it.

Tags and times are filtered in the relational store, not by Chroma's ``where``: that is slower (35 ms against 1.7 at
100,000 passages) and would be one more copy that can drift.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pegasus.errors import Misconfigured, Unavailable
from pegasus.ports import Vector, Vectors

_PAGE = 5_000
_TURN_SECONDS = 30.0


class ChromaVectorStore:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._collections: dict[str, Any] = {}
        self._turn = threading.Lock()
        self._failed = False
        try:
            self._client: Any = self._open()
        except Exception as error:  # Its engine raises its own kinds, and Python's, for a damaged database.
            raise Misconfigured(
                f"The vectors in {directory} cannot be opened: {error}.",
                hint="Restore the data directory from a backup, or give another one with --data.",
            ) from error

    def _open(self) -> Any:
        import chromadb
        from chromadb.config import Settings

        return chromadb.PersistentClient(str(self._directory), settings=Settings(anonymized_telemetry=False))

    @contextmanager
    def _calling(self) -> Iterator[None]:
        """Around each call: one at a time, and after one that failed the client is opened anew before the next.

        A call that fails, as on a full disk, leaves a connection in the engine's pool with the lock of its database.
        Whatever else is at work then waits for that lock for ever, and a write keeps Python's interpreter lock while
        it waits: the whole process would stand still, so that no time limit could help. Taking turns costs little, as
        a query takes a millisecond or two and no other Python runs during a write anyway.
        """
        with _unavailable():
            if not self._turn.acquire(timeout=_TURN_SECONDS):
                raise TimeoutError("an earlier call has not come back")
            try:
                if self._failed:
                    self._reopen()
                self._failed = True  # Until it has gone well.
                yield
                self._failed = False
            finally:
                self._turn.release()

    def _reopen(self) -> None:
        self._collections.clear()
        if self._client is not None:
            client, self._client = self._client, None
            client.close()
        self._client = self._open()

    def _collection(self, workspace_id: str) -> Any:
        if workspace_id not in self._collections:
            self._collections[workspace_id] = self._client.get_or_create_collection(
                f"workspace-{workspace_id}", embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
            )
        return self._collections[workspace_id]

    def upsert(self, workspace_id: str, passage_ids: Sequence[str], vectors: Vectors) -> None:
        if passage_ids:
            with self._calling():
                self._collection(workspace_id).upsert(ids=list(passage_ids), embeddings=vectors)

    def delete(self, workspace_id: str, passage_ids: Sequence[str]) -> None:
        if passage_ids:
            with self._calling():
                self._collection(workspace_id).delete(ids=list(passage_ids))

    def query(self, workspace_id: str, vector: Vector, limit: int) -> list[tuple[str, float]]:
        with self._calling():
            found = self._collection(workspace_id).query(
                query_embeddings=[vector], n_results=limit, include=["distances"]
            )
        return [(id_, 1.0 - distance) for id_, distance in zip(found["ids"][0], found["distances"][0], strict=True)]

    def passage_ids(self, workspace_id: str) -> Iterator[str]:
        offset = 0
        while page := self._page(workspace_id, offset):
            yield from page
            offset += len(page)

    def _page(self, workspace_id: str, offset: int) -> list[str]:
        with self._calling():
            found = self._collection(workspace_id).get(limit=_PAGE, offset=offset, include=[])
        return list(found["ids"])

    def ping(self) -> None:
        with self._calling():
            self._client.heartbeat()

    def close(self) -> None:
        self._collections.clear()
        if self._client is not None:
            self._client.close()


@contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # Chroma raises many kinds of its own and of Python's; to a caller each means the same.
        raise Unavailable(
            f"The vector store cannot do this now: {error}.",
            hint="Check the free space and the permissions of the data directory, then try again.",
        ) from error
