"""Vectors in a Chroma server, over its HTTP interface: one collection for each workspace, only ids of passages in it.

A collection's name has a generation. A rebuild fills collections of a new one beside those that are read; one write to
the collection ``pegasus`` then exchanges them. Whoever has an old one in hand finds it gone and asks which is present.

Chroma's own client is not used: it waits without end, has no setting for that, and leaves connections open.
"""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from operator import itemgetter
from typing import Any, TypeVar

import httpx
import numpy as np
import structlog

from pegasus.errors import Misconfigured, PegasusError, Unavailable
from pegasus.ports import Vector, Vectors

log = structlog.get_logger(__name__)

T = TypeVar("T")

# The server takes 5,461 ids a request at most (GET /api/v2/pre-flight-checks).
_PAGE, _COLLECTIONS = 5_000, 500
# With their embeddings, which come as numbers in JSON: eight kilobytes each.
_PAGE_OF_VECTORS = 2_000
# A large write may take long; whoever asks has somebody waiting.
_TIMEOUT, _ASKING_TIMEOUT = httpx.Timeout(60.0, connect=5.0), httpx.Timeout(10.0, connect=5.0)
_DATABASES = "/api/v2/tenants/default_tenant/databases"
_DEFAULT_DATABASE = "default_database"
_POINTER, _PREFIX, _FIRST_GENERATION = "pegasus", "workspace-", "first"
# Each release of the server that has this interface names version 1; those before it 0.
_MAJOR = "1"
_AWAY_HINT = "Check that the server of PEGASUS_VECTORS_URL runs and can be reached, then try again."


class _Missing(Exception):
    """There is no such collection."""


class ChromaServerVectorStore:
    """A server that is away does not keep Pegasus from starting; one of another kind or version does."""

    purges = False  # Chroma keeps ids and vectors even of a dropped collection in its files.

    def __init__(self, url: str, database: str | None = None) -> None:
        """``url``: http(s)://host:port. The database is made where there is none; without a name it is the server's
        own. Raises ``Misconfigured`` when no Chroma of our version answers there."""
        self._url, self._database, self._checked = url, database, False
        self._place = f"{_DATABASES}/{database or _DEFAULT_DATABASE}/collections"
        self._collections: dict[str, str] = {}  # The id of each workspace's, as last seen.
        # Straight to the server: it is in a private network, whatever proxies the environment names.
        self._http = httpx.Client(base_url=url, timeout=_TIMEOUT, trust_env=False)
        try:
            self.ping()
        except Unavailable as error:
            log.warning("vectors.unavailable", error=error.detail)
        except BaseException:
            self.close()
            raise

    # --- Requests

    def _call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *,
        read: Callable[[Any], Any] | None = None, timeout: httpx.Timeout | None = None,
    ) -> Any:  # fmt: skip
        """What ``read`` makes of the answer's JSON. Raises ``_Missing``, ``Unavailable``, ``Misconfigured`` as the
        constructor does."""
        if not self._checked:
            self._check_version()
        answer = self._send(method, path, body, timeout)
        if answer.status_code == httpx.codes.NOT_FOUND:
            raise _Missing
        if not answer.is_success:
            raise self._unavailable(f"it answers {answer.status_code}: {answer.text[:200]}")
        try:
            return (read or _done)(json.loads(answer.content))
        except (ValueError, LookupError, TypeError) as error:
            raise self._unavailable("its answer was cut off, or is none of Chroma's") from error

    def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, timeout: httpx.Timeout | None = None
    ) -> httpx.Response:
        timeout = timeout or _TIMEOUT
        try:
            return self._http.request(method, path, json=body, timeout=timeout)
        except httpx.RemoteProtocolError as error:
            # Of a connection that the server closed while it was idle. Every call may be repeated.
            log.debug("vectors.reconnecting", error=str(error))
        except httpx.HTTPError as error:
            raise self._unavailable(str(error) or type(error).__name__) from error
        try:
            return self._http.request(method, path, json=body, timeout=timeout)
        except httpx.HTTPError as error:
            raise self._unavailable(str(error) or type(error).__name__) from error

    def _unavailable(self, reason: str) -> Unavailable:
        return Unavailable(f"The vector server {self._url} cannot do this now: {reason}.", hint=_AWAY_HINT)

    def _check_version(self) -> None:
        answer = self._send("GET", "/api/v2/version", timeout=_ASKING_TIMEOUT)
        if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise self._unavailable(f"it answers {answer.status_code}")
        version = re.fullmatch(r'\s*"((\d+)\.[\w.+-]+)"\s*', answer.text)
        if not answer.is_success or version is None:
            raise Misconfigured(
                f"{self._url} does not answer as Chroma does: GET /api/v2/version gives {answer.status_code}.",
                hint="Mend PEGASUS_VECTORS_URL, as http://host:port, or run Chroma 1.x there.",
            )
        if version[2] != _MAJOR:
            raise Misconfigured(
                f"The Chroma server {self._url} is of version {version[1]}; this Pegasus speaks with {_MAJOR}.x.",
                hint="Run the version of Chroma that this release is installed with.",
            )
        self._checked = True

    # --- Collections

    def _generation(self) -> str:
        try:
            generation: str = self._call(
                "GET", f"{self._place}/{_POINTER}", read=lambda found: str(found["metadata"]["generation"])
            )
        except _Missing:
            return _FIRST_GENERATION
        return generation

    def _make(self, workspace_id: str, generation: str) -> str:
        return self._make_collection(_name_of(workspace_id, generation), None)

    def _make_collection(self, name: str, metadata: Mapping[str, str] | None) -> str:
        """The id of the collection of a name, made where there was none."""
        self._make_database()
        body = {"name": name, "get_or_create": True, "configuration": {"hnsw": {"space": "cosine"}}}
        return str(self._call("POST", self._place, {**body, "metadata": metadata}, read=itemgetter("id")))

    def _make_database(self) -> None:
        """Not once at the start, but before each new collection: the server may have been emptied since."""
        if self._database is None:
            return
        answer = self._send("POST", _DATABASES, {"name": self._database})
        if not answer.is_success and answer.status_code != httpx.codes.CONFLICT:  # It is there already.
            raise self._unavailable(f"it answers {answer.status_code}: {answer.text[:200]}")

    def _in_collection(self, workspace_id: str, call: Callable[[str], T], *, make: bool = False) -> T | None:
        """What ``call`` makes of the path of the workspace's collection; None where it has none and none is made."""
        if known := self._collections.get(workspace_id):
            try:
                return call(f"{self._place}/{known}")
            except _Missing:  # Exchanged by a rebuild, or the server was emptied.
                self._collections.pop(workspace_id, None)
        generation = self._generation()
        try:
            if make:
                found = self._make(workspace_id, generation)
            else:
                name = _name_of(workspace_id, generation)
                found = str(self._call("GET", f"{self._place}/{name}", read=itemgetter("id")))
            result = call(f"{self._place}/{found}")
        except _Missing as error:
            if make:
                raise self._unavailable("its collections were exchanged just now") from error
            return None
        self._collections[workspace_id] = found
        return result

    # --- The port

    def upsert(self, workspace_id: str, passage_ids: Sequence[str], vectors: Vectors) -> None:
        for body in _bodies(passage_ids, vectors):
            self._in_collection(workspace_id, lambda path, b=body: self._call("POST", f"{path}/upsert", b), make=True)  # type: ignore[misc]

    def delete(self, workspace_id: str, passage_ids: Sequence[str]) -> None:
        for ids in _pages_of(passage_ids):
            self._in_collection(workspace_id, lambda path, i=ids: self._call("POST", f"{path}/delete", {"ids": i}))  # type: ignore[misc]

    def drop(self, workspace_id: str) -> None:
        self._collections.pop(workspace_id, None)
        self._delete_collection(_name_of(workspace_id, self._generation()))

    def query(self, workspace_id: str, vector: Vector, limit: int) -> list[tuple[str, float]]:
        asked = {"query_embeddings": [vector.tolist()], "n_results": limit, "include": ["distances"]}

        def read(found: Any) -> list[tuple[str, float]]:
            return [
                (str(id_), 1.0 - distance) for id_, distance in zip(found["ids"][0], found["distances"][0], strict=True)
            ]

        return (
            self._in_collection(
                workspace_id,
                lambda path: self._call("POST", f"{path}/query", asked, read=read, timeout=_ASKING_TIMEOUT),
            )
            or []
        )

    def existing(self, workspace_id: str, passage_ids: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for ids in _pages_of(passage_ids):
            found.update(self._get(workspace_id, {"ids": ids, "include": []})[0])
        return found

    def pages(self, workspace_id: str) -> Iterator[tuple[list[str], Vectors]]:
        offset = 0
        while True:
            asked = {"limit": _PAGE_OF_VECTORS, "offset": offset, "include": ["embeddings"]}
            ids, vectors = self._get(workspace_id, asked)
            if not ids:
                return
            yield ids, vectors
            offset += len(ids)

    def _get(self, workspace_id: str, asked: Mapping[str, Any]) -> tuple[list[str], Vectors]:
        def read(found: Any) -> tuple[list[str], Vectors]:
            return [str(id_) for id_ in found["ids"]], np.asarray(found.get("embeddings") or [], np.float32)

        found = self._in_collection(workspace_id, lambda path: self._call("POST", f"{path}/get", asked, read=read))
        return found or ([], np.empty((0, 0), np.float32))

    def holds_anything(self) -> bool:
        return any(name.startswith(_PREFIX) for name in self._names())

    def rebuild(self, pages: Iterable[tuple[str, Sequence[str], Vectors]]) -> None:
        fresh = uuid.uuid4().hex
        try:
            for workspace_id, ids, vectors in pages:
                found = self._make(workspace_id, fresh)
                for body in _bodies(ids, vectors):
                    self._call("POST", f"{self._place}/{found}/upsert", body)
            pointer = self._make_collection(_POINTER, {"generation": _FIRST_GENERATION})
            self._call("PUT", f"{self._place}/{pointer}", {"new_metadata": {"generation": fresh}})
        except BaseException:
            with suppress(PegasusError):  # The next rebuild sweeps, too.
                self._sweep()
            raise
        self._collections.clear()
        self._sweep()

    def _sweep(self) -> None:
        """Delete the collections of every generation but the one that is read."""
        present = f".{self._generation()}"
        for name in self._names():
            if name.startswith(_PREFIX) and not name.endswith(present):
                self._delete_collection(name)

    def _names(self) -> list[str]:
        def read(page: Any) -> list[str]:
            return [str(collection["name"]) for collection in page]

        names: list[str] = []
        try:
            while page := self._call("GET", f"{self._place}?limit={_COLLECTIONS}&offset={len(names)}", read=read):
                names += page
        except _Missing:  # The database is made with the first collection.
            return []
        return names

    def _delete_collection(self, name: str) -> None:
        try:
            self._call("DELETE", f"{self._place}/{name}")
        except _Missing:
            return

    def ping(self) -> None:
        self._call("GET", "/api/v2/heartbeat", read=itemgetter("nanosecond heartbeat"), timeout=_ASKING_TIMEOUT)

    def close(self) -> None:
        self._http.close()


def _done(content: Any) -> None:
    """What Chroma says of a change that it has made: nothing, or how much it deleted. What says anything else in its
    place has changed nothing."""
    if not isinstance(content, dict) or not content.keys() <= {"deleted"}:
        raise TypeError(content)


def _name_of(workspace_id: str, generation: str) -> str:
    return f"{_PREFIX}{workspace_id}.{generation}"


def _pages_of(ids: Sequence[str]) -> Iterator[list[str]]:
    for first in range(0, len(ids), _PAGE):
        yield list(ids[first : first + _PAGE])


def _bodies(ids: Sequence[str], vectors: Vectors) -> Iterator[dict[str, Any]]:
    """What is to be stored, with each embedding's bytes in base64: a quarter of the length of numbers, and exact."""
    for first, some in zip(range(0, len(ids), _PAGE), _pages_of(ids), strict=True):
        rows = np.ascontiguousarray(vectors[first : first + _PAGE], "<f4")
        yield {"ids": some, "embeddings": [base64.b64encode(row.tobytes()).decode() for row in rows]}
