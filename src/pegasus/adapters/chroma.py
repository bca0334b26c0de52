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
from pegasus.ports import Vector, Vectors

_PAGE = 5_000
# Chroma refuses more ids in one call (SQLite's limit of variables over the six that it uses for each).
_MAX_UPSERT = 5_000
# So many calls at a time; an exchange of the directory waits for them all.
_CALLS = 16


class ChromaVectorStore:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        _finish_exchange(directory)
        self._client = _open(directory)
        self._collections: dict[str, Any] = {}
        self._permits = threading.Semaphore(_CALLS)
        self._exchange = threading.Lock()

    @contextmanager
    def _call(self) -> Iterator[None]:
        with self._permits, _unavailable():
            yield

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
        # Chroma takes 5,461 at a time at most.
        for first in range(0, len(passage_ids), _PAGE):
            some = slice(first, first + _PAGE)
            with self._call():
                self._collection(workspace_id).upsert(ids=list(passage_ids[some]), embeddings=vectors[some])

    def delete(self, workspace_id: str, passage_ids: Sequence[str]) -> None:
        if passage_ids:
            with self._call():
                if collection := self._stored(workspace_id):
                    collection.delete(ids=list(passage_ids))

    def drop(self, workspace_id: str) -> None:
        from chromadb.errors import NotFoundError

        with self._call(), suppress(NotFoundError):
            self._collections.pop(workspace_id, None)
            self._client.delete_collection(_name_of(workspace_id))

    def query(self, workspace_id: str, vector: Vector, limit: int) -> list[tuple[str, float]]:
        with self._call():
            collection = self._stored(workspace_id)
            if collection is None:
                return []
            found = collection.query(query_embeddings=[vector], n_results=limit, include=["distances"])
        return [(id_, 1.0 - distance) for id_, distance in zip(found["ids"][0], found["distances"][0], strict=True)]

    def existing(self, workspace_id: str, passage_ids: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for first in range(0, len(passage_ids), _PAGE):
            with self._call():
                collection = self._stored(workspace_id)
                if collection is None:
                    return set()
                got = collection.get(ids=list(passage_ids[first : first + _PAGE]), include=[])
            found.update(got["ids"])
        return found

    def pages(self, workspace_id: str) -> Iterator[tuple[list[str], Vectors]]:
        offset = 0
        while True:
            with self._call():
                collection = self._stored(workspace_id)
                if collection is None:
                    return
                found = collection.get(limit=_PAGE, offset=offset, include=["embeddings"])
            if not found["ids"]:
                return
            yield list(found["ids"]), np.asarray(found["embeddings"], np.float32)
            offset += len(found["ids"])

    def rebuild(self, pages: Iterable[tuple[str, Sequence[str], Vectors]]) -> None:
        # Deleting leaves ids and vectors in Chroma's files, even those of a collection that was dropped; only files
        # that were never written to are free of them.
        fresh = _beside(self._directory, "new")
        shutil.rmtree(fresh, ignore_errors=True)
        client = _open(fresh)
        try:
            for workspace_id, ids, vectors in pages:
                collection = _collection_of(client, workspace_id)
                for first in range(0, len(ids), _MAX_UPSERT):
                    some = slice(first, first + _MAX_UPSERT)
                    with _unavailable():
                        collection.upsert(ids=list(ids[some]), embeddings=vectors[some])
        except BaseException:
            client.close()
            shutil.rmtree(fresh, ignore_errors=True)
            raise
        client.close()
        with self._alone():
            self._client.close()
            self._collections.clear()
            self._directory.rename(_beside(self._directory, "old"))
            _finish_exchange(self._directory)
            self._client = _open(self._directory)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """While the block runs no call is under way."""
        with self._exchange:
            for _ in range(_CALLS):
                self._permits.acquire()
            try:
                yield
            finally:
                self._permits.release(_CALLS)

    def ping(self) -> None:
        with self._call():
            self._client.heartbeat()

    def close(self) -> None:
        self._collections.clear()
        self._client.close()


def _open(directory: Path) -> Any:
    import chromadb
    from chromadb.config import Settings

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
