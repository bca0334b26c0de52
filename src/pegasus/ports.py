"""What the application needs of the world. The docstrings are the contract that each adapter's tests check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pegasus.domain import Citation, Entity, Extraction, Filters, FoundPassage

Vector = NDArray[np.float32]  # float32[dim], unit length
Vectors = NDArray[np.float32]  # float32[n, dim], rows of unit length
Parameters = Mapping[str, Any]


class Row(Protocol):
    def __getitem__(self, column: str, /) -> Any: ...


class Transaction(Protocol):
    """One unit of work. SQL is the portable subset of SQLite and PostgreSQL, with ``:name`` parameters."""

    def execute(self, sql: str, parameters: Parameters = ...) -> int:
        """Run a statement; the number of rows that it touched."""
        ...

    def execute_many(self, sql: str, rows: Sequence[Parameters]) -> None: ...

    def all(self, sql: str, parameters: Parameters = ...) -> Sequence[Row]: ...

    def one(self, sql: str, parameters: Parameters = ...) -> Row | None:
        """The first row, or None."""
        ...

    def each(self, sql: str, parameters: Parameters = ...) -> Iterator[Row]:
        """As ``all``, but row by row, for what is too much to hold; use it up before the transaction ends."""
        ...

    def load(self, table: Table, rows: Sequence[Parameters]) -> None:
        """Insert whole rows, as a backup has them. Raises ``Invalid`` when they do not fit the table."""
        ...

    def index_words(self, workspace_id: str, passage_ids: Sequence[str]) -> None:
        """Make stored passages findable by their words; call once for each, in the transaction that stores it."""
        ...

    def unindex_words(self, workspace_id: str, passage_ids: Sequence[str]) -> None:
        """The reverse; call before the rows of the passages are deleted."""
        ...

    def search_words(
        self, workspace_id: str, terms: Sequence[str], limit: int, filters: Filters
    ) -> Sequence[tuple[str, float]]:
        """Passage ids with a relevance (BM25, more is better), best first. A term is a word; any may match."""
        ...


@dataclass(frozen=True, slots=True)
class Table:
    """What a stored table is made of, so that its rows can be copied without knowing what they mean."""

    name: str
    columns: Sequence[str]
    key: Sequence[str]  # the columns of the primary key
    binary: frozenset[str]  # the columns that hold bytes
    references: Sequence[tuple[str, str, str]]  # (column, other table, its column) of each foreign key


class RelationalStore(Protocol):
    """The truth. A transaction is committed when its block ends, rolled back when the block raises."""

    def migrate(self, revision: str) -> None:
        """Bring the schema forward to a revision of ``pegasus.migrations``."""
        ...

    def tables(self) -> Sequence[Table]:
        """Every table of the schema, each after those that it references; without what the store adds for itself."""
        ...

    def write(self) -> AbstractContextManager[Transaction]: ...

    def read(self) -> AbstractContextManager[Transaction]:
        """A consistent snapshot; never waits for a writer."""
        ...

    def ping(self) -> None:
        """Raises ``Unavailable`` when the store cannot answer."""
        ...

    def close(self) -> None: ...


class VectorStore(Protocol):
    """Derived: passage id -> embedding, by workspace. Every call may be repeated without further effect."""

    def upsert(self, workspace_id: str, passage_ids: Sequence[str], vectors: Vectors) -> None: ...

    def delete(self, workspace_id: str, passage_ids: Sequence[str]) -> None:
        """Unknown ids are passed over."""
        ...

    def query(self, workspace_id: str, vector: Vector, limit: int) -> Sequence[tuple[str, float]]:
        """Passage ids with their cosine similarity (-1..1), best first; approximate."""
        ...

    def passage_ids(self, workspace_id: str) -> Iterator[str]: ...

    def ping(self) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class GraphPassage:
    """A passage's node, its document and the ids of the entities that it mentions."""

    id: str
    document_id: str
    mentions: Sequence[str]


@dataclass(frozen=True, slots=True)
class GraphNeighbour:
    entity: Entity
    passages: int  # how many passages mention both


class GraphStore(Protocol):
    """Derived: passages, entities and documents as nodes; mentions and links as edges. Calls may be repeated."""

    def upsert_documents(self, workspace_id: str, titles: Mapping[str, str]) -> None: ...

    def upsert_passages(self, workspace_id: str, entities: Sequence[Entity], passages: Sequence[GraphPassage]) -> None:
        """Nodes and edges of these passages, whose documents exist. Entities that already exist are left alone."""
        ...

    def set_links(self, workspace_id: str, links: Mapping[str, Sequence[str]]) -> None:
        """For each source document, exactly these target documents; targets without a node are passed over."""
        ...

    def delete_passages(self, workspace_id: str, passage_ids: Sequence[str]) -> None: ...

    def delete_entities(self, workspace_id: str, entity_ids: Sequence[str]) -> None: ...

    def delete_documents(self, workspace_id: str, document_ids: Sequence[str]) -> None:
        """The documents' own nodes and links; their passages go by ``delete_passages`` before."""
        ...

    def co_mentioned(self, workspace_id: str, entity_ids: Sequence[str], limit: int) -> Sequence[GraphNeighbour]:
        """Entities in the same passages as any of these, those of most shared passages first."""
        ...

    def mentioning(self, workspace_id: str, entity_ids: Sequence[str], limit: int) -> Sequence[tuple[str, int]]:
        """(passage id, how many of these entities it mentions), most first. Of an entity with very many passages a
        store may take a part."""
        ...

    def linked(self, workspace_id: str, document_ids: Sequence[str]) -> Sequence[tuple[str, str]]:
        """(source, target) of every link from or to one of these documents."""
        ...

    def node_ids(self, workspace_id: str, label: str) -> Iterator[str]:
        """Ids of all nodes of a label: "Document", "Passage" or "Entity"."""
        ...

    def ping(self) -> None: ...

    def close(self) -> None: ...


class ByteSource(Protocol):
    def read(self, size: int, /) -> bytes: ...


class FileStore(Protocol):
    """The original files, by a key that the store makes."""

    def put(self, workspace_id: str, source: IO[bytes], max_bytes: int) -> tuple[str, str, int]:
        """Store a stream durably: (key, SHA-256, size). Raises ``TooLarge`` and keeps nothing beyond max_bytes."""
        ...

    def put_back(self, key: str, source: ByteSource) -> str:
        """Store a stream durably under a key that such a store made before; its SHA-256. Raises ``Invalid`` for a key
        that none can have made, or that is taken."""
        ...

    def path(self, key: str) -> AbstractContextManager[Path]:
        """The file as a local path, for the length of the block. Raises ``NotFound``."""
        ...

    def delete(self, key: str) -> None:
        """Unknown keys are passed over."""
        ...

    def stored_keys(self) -> Iterator[str]: ...

    def ping(self) -> None: ...


class TextExtractor(Protocol):
    """Turns a file into plain text. Raises ``Unreadable`` or ``UnsupportedFormat`` with the reason for a person."""

    def extract(
        self, path: Path, media_type: str, *, filename: str | None = None, charset: str | None = None
    ) -> Extraction: ...

    def close(self) -> None: ...


class Embedder(Protocol):
    """Text to vectors of unit length; the same text gives the same vector, alone or in a batch (within 1e-3)."""

    @property
    def name(self) -> str:
        """Model and version; a stored embedding of another name is stale."""
        ...

    @property
    def dimensions(self) -> int: ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """float32[len(texts), dimensions]; long texts are cut to what the model takes in."""
        ...


class JobSignal(Protocol):
    """Tells workers that a lane has work; losing a signal only delays it."""

    def notify(self, lane: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Draft:
    """What an agent proposes before its citations are checked."""

    parts: Sequence[tuple[str, Citation | None]]  # text, and the citation that backs it
    found: bool


class Agent(Protocol):
    @property
    def name(self) -> str: ...

    def answer(self, question: str, passages: Sequence[FoundPassage]) -> Draft:
        """Answer from the passages alone; ``found`` is False where they do not answer the question."""
        ...
