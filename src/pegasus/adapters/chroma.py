"""Vectors in Chroma, in this process: one collection for each workspace, ids of passages and nothing else in it.

Tags and times are filtered in the relational store, not by Chroma's ``where``: that is slower (35 ms against 1.7 at
100,000 passages) and would be one more copy that can drift.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from pegasus.errors import Misconfigured, Unavailable
from pegasus.memory import clear_memory_before_use
from pegasus.ports import Vector, Vectors

# Chroma refuses more than 5,461 ids in one call (SQLite's limit of variables over the six that it uses for each).
_PAGE = 5_000
# With their embeddings, which take twelve kilobytes each on their way through Chroma.
_PAGE_OF_VECTORS = 2_000
_TURN_SECONDS = 30.0


class ChromaVectorStore:
    purges = True

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._collections: dict[str, Any] = {}
        self._turn = threading.Lock()
        self._failed = False
        _finish_exchange(directory)
        self._client: Any = _open(directory)

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
        self.close()
        if not self._directory.exists():  # An exchange of the directory that stopped half-way.
            _finish_exchange(self._directory)
        self._client = _open(self._directory)

    def _collection(self, workspace_id: str) -> Any:
        if workspace_id not in self._collections:
            self._collections[workspace_id] = _collection_of(self._client, workspace_id)
        return self._collections[workspace_id]

    def _stored(self, workspace_id: str) -> Any | None:
        """As ``_collection``, without making one: what only looks must not bring back what was dropped."""
        from chromadb.errors import NotFoundError

        if workspace_id not in self._collections:
            with suppress(NotFoundError):
                self._collections[workspace_id] = self._client.get_collection(
                    _name_of(workspace_id), embedding_function=None
                )
        return self._collections.get(workspace_id)

    def upsert(self, workspace_id: str, passage_ids: Sequence[str], vectors: Vectors) -> None:
        for first in range(0, len(passage_ids), _PAGE):
            some = slice(first, first + _PAGE)
            with self._calling():
                self._collection(workspace_id).upsert(ids=list(passage_ids[some]), embeddings=vectors[some])

    def delete(self, workspace_id: str, passage_ids: Sequence[str]) -> None:
        if passage_ids:
            with self._calling():
                if collection := self._stored(workspace_id):
                    collection.delete(ids=list(passage_ids))

    def drop(self, workspace_id: str) -> None:
        from chromadb.errors import NotFoundError

        with self._calling(), suppress(NotFoundError):
            self._collections.pop(workspace_id, None)
            self._client.delete_collection(_name_of(workspace_id))

    def query(self, workspace_id: str, vector: Vector, limit: int) -> list[tuple[str, float]]:
        with self._calling():
            collection = self._stored(workspace_id)
            if collection is None:
                return []
            found = collection.query(query_embeddings=[vector], n_results=limit, include=["distances"])
        return [(id_, 1.0 - distance) for id_, distance in zip(found["ids"][0], found["distances"][0], strict=True)]

    def existing(self, workspace_id: str, passage_ids: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for first in range(0, len(passage_ids), _PAGE):
            with self._calling():
                collection = self._stored(workspace_id)
                if collection is None:
                    return set()
                got = collection.get(ids=list(passage_ids[first : first + _PAGE]), include=[])
            found.update(got["ids"])
        return found

    def pages(self, workspace_id: str) -> Iterator[tuple[list[str], Vectors]]:
        offset = 0
        while True:
            with self._calling():
                collection = self._stored(workspace_id)
                if collection is None:
                    return
                found = collection.get(limit=_PAGE_OF_VECTORS, offset=offset, include=["embeddings"])
            if not found["ids"]:
                return
            yield list(found["ids"]), np.asarray(found["embeddings"], np.float32)
            offset += len(found["ids"])

    def holds_anything(self) -> bool:
        with self._calling():
            return any(collection.count() for collection in self._client.list_collections())

    def rebuild(self, pages: Iterable[tuple[str, Sequence[str], Vectors]]) -> None:
        # Deleting leaves ids and vectors in Chroma's files, even those of a collection that was dropped; only files
        # that were never written to are free of them.
        fresh = _beside(self._directory, "new")
        shutil.rmtree(fresh, ignore_errors=True)
        client = _open(fresh)
        try:
            for workspace_id, ids, vectors in pages:
                collection = _collection_of(client, workspace_id)
                for first in range(0, len(ids), _PAGE):
                    some = slice(first, first + _PAGE)
                    with _unavailable():
                        collection.upsert(ids=list(ids[some]), embeddings=vectors[some])
        except BaseException:
            client.close()
            shutil.rmtree(fresh, ignore_errors=True)
            raise
        client.close()
        with self._calling():
            self.close()
            self._directory.rename(_beside(self._directory, "old"))
            _finish_exchange(self._directory)
            self._client = _open(self._directory)

    def ping(self) -> None:
        with self._calling():
            self._client.heartbeat()

    def close(self) -> None:
        self._collections.clear()
        if self._client is not None:
            client, self._client = self._client, None
            client.close()


def _open(directory: Path) -> Any:
    import chromadb
    from chromadb.config import Settings

    # hnswlib's arrays have room for further vectors, which it does not clear and writes to its files as it is: with
    # what the process had there before, such as ids and texts of documents that have been erased since.
    clear_memory_before_use()
    try:
        return chromadb.PersistentClient(str(directory), settings=Settings(anonymized_telemetry=False))
    except Exception as error:  # Its engine raises its own kinds, and Python's, for a damaged database.
        raise Misconfigured(
            f"The vectors in {directory} cannot be opened: {error}.",
            hint="They can be made anew from the rows: remove that directory, then run: pegasus check --repair",
        ) from error


def _collection_of(client: Any, workspace_id: str) -> Any:
    return client.get_or_create_collection(
        _name_of(workspace_id), embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
    )


def _name_of(workspace_id: str) -> str:
    return f"workspace-{workspace_id}"


def _beside(directory: Path, which: str) -> Path:
    return directory.with_name(f"{directory.name}.{which}")


def _finish_exchange(directory: Path) -> None:
    """Put the rebuilt directory in the place of the old one, or, when it was not complete, remove what is there of it.

    It is complete once the old one was moved away, whatever process did that.
    """
    fresh, old = _beside(directory, "new"), _beside(directory, "old")
    if fresh.is_dir() and old.is_dir() and not directory.exists():
        fresh.rename(directory)
    for left_over in (fresh, old):
        shutil.rmtree(left_over, ignore_errors=True)


@contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # Chroma raises many kinds of its own and of Python's; to a caller each means the same.
        raise Unavailable(
            f"The vector store cannot do this now: {error}.",
            hint="Check the free space and the permissions of the data directory, then try again.",
        ) from error
