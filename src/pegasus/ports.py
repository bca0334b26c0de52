"""What the application needs of the world. The docstrings are the contract that each adapter's tests check."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pegasus.domain import Allowance, Citation, Entity, Extraction, Filters, FoundPassage, Rate
from pegasus.errors import PegasusError

Vector = NDArray[np.float32]  # float32[dim], unit length
Vectors = NDArray[np.float32]  # float32[n, dim], rows of unit length
Parameters = Mapping[str, Any]


class Row(Protocol):
    def __getitem__(self, column: str, /) -> Any: ...


class Transaction(Protocol):
    """One unit of work. SQL is the portable subset of SQLite and PostgreSQL, with ``:name`` parameters.

    Texts compare by their code points; LIKE takes no notice of the case of ASCII letters; a truth is 0 or 1. A text
    with a NUL character raises ``Invalid``.
    """

    skip_locked: str
    """Ends a SELECT of rows to be changed, so that several writers who are not alone take different ones."""

    def execute(self, sql: str, parameters: Parameters = ...) -> int:
        """Run a statement; the number of rows that it touched."""
        ...

    def execute_many(self, sql: str, rows: Sequence[Parameters]) -> None: ...

    def all(self, sql: str, parameters: Parameters = ...) -> Sequence[Row]: ...

    def each(self, sql: str, parameters: Parameters = ...) -> Iterator[Row]:
        """The rows one by one, for results that are too long to be held; the transaction must stay open meanwhile."""
        ...

    def one(self, sql: str, parameters: Parameters = ...) -> Row | None:
        """The first row, or None."""
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

    def search_phrase(self, workspace_id: str, words: Sequence[str], limit: int) -> Sequence[str | None]:
        """Passages that have these words one after the other; None for each that is indexed but has no row."""
        ...

    def words_missing(self, workspace_id: str) -> Sequence[str]:
        """Ids of passages that the full text index does not know."""
        ...

    def words_agree(self, workspace_id: str) -> bool:
        """Whether the full text index is sound, and says of every passage what its row says, and nothing else."""
        ...

    def rebuild_words(self, workspace_id: str) -> None:
        """Make the full text index anew from the rows of the passages."""
        ...

    def drop_words(self, workspace_id: str) -> None:
        """Take the whole index away, as when the workspace goes."""
        ...


@dataclass(frozen=True, slots=True)
class Table:
    """What a stored table is made of, so that its rows can be copied without knowing what they mean."""

    name: str
    columns: Sequence[str]
    key: Sequence[str]  # the columns of the primary key
    binary: frozenset[str]  # the columns that hold bytes
    references: Sequence[tuple[str, str, str]]  # (column, other table, its column) of each foreign key


def referenced_first(tables: Sequence[Table]) -> list[Table]:
    """Tables in an order in which each comes after those that it references."""
    ordered: dict[str, Table] = {}
    while waiting := [table for table in tables if table.name not in ordered]:
        ready = [t for t in waiting if {other for _, other, _ in t.references} <= {*ordered, t.name}]
        ordered.update((table.name, table) for table in ready)
        if not ready:
            raise ValueError(f"the tables {[table.name for table in waiting]} reference each other in a circle")
    return list(ordered.values())


Progress = Callable[[str, int, int], None]  # what is being done, how much of it is done, how much there is


def unseen(_what: str, _done: int, _total: int, /) -> None:
    """Progress that nobody looks at."""


@dataclass(frozen=True, slots=True)
class SchemaState:
    """The revision that a store's schema is at, None where there is no schema yet, and the oldest revision whose code
    runs on it, None where nobody noted it."""

    revision: str | None
    compatible_from: str | None


@dataclass(frozen=True, slots=True)
class ConnectionBudget:
    """What one process may take of a server's connections, and how many there are for all processes together."""

    each: int
    available: int
    pooled: bool  # A pooler stands between: it shares out fewer connections among more clients.

    def suffices(self, processes: int) -> bool:
        return self.pooled or self.each * processes <= self.available


class RelationalStore(Protocol):
    """The truth. A transaction is committed when its block ends, rolled back when the block raises."""

    def migrate(self, revision: str, progress: Progress = ..., /) -> None:
        """Bring the schema forward to a revision of ``pegasus.migrations``, step by step.

        Whoever works with the store goes on meanwhile, several may do it at once, and one that was killed is finished
        by the next. A schema of newer code is left alone; raises ``Misconfigured`` where this code cannot run on it.
        Raises ``Unavailable`` when the store is too busy: the steps before that are done.
        """
        ...

    def schema(self) -> SchemaState: ...

    def drift(self) -> Sequence[str]:
        """What of the schema is not as the steps up to its revision, which this code has to know, make it."""
        ...

    def tables(self) -> Sequence[Table]:
        """Every table of the schema, each after those that it references; without what the store adds for itself."""
        ...

    def write(self, workspace_id: str | None = None, /, *, alone: bool = True) -> AbstractContextManager[Transaction]:
        """Rows of one workspace or, with None, of all.

        Where a store can, it shows and takes no rows but the workspace's: a second wall behind the conditions of the
        statements. Who writes is ``alone``: others wait, those of other workspaces only where the store has to make
        them. Not alone are statements that are right whatever others write meanwhile, such as to claim and lease jobs.
        """
        ...

    def read(self, workspace_id: str | None = None, /) -> AbstractContextManager[Transaction]:
        """A consistent snapshot, of one workspace or of all as in ``write``; never waits for a writer."""
        ...

    def damage(self) -> Sequence[str]:
        """What the engine itself finds broken in its files and references; empty when all is sound."""
        ...

    def compact(self) -> None:
        """Write the store anew, so that no byte of what was deleted before is left in its files."""
        ...

    def connection_budget(self) -> ConnectionBudget | None:
        """None where connections are not what there is too little of."""
        ...

    def ping(self) -> None:
        """Raises ``Unavailable`` when the store cannot answer."""
        ...

    def close(self) -> None: ...


class VectorStore(Protocol):
    """Derived: passage id -> embedding, by workspace. Every call may be repeated without further effect."""

    # Whether a rebuild leaves no byte of what was here before; a server's files are not ours to write anew.
    purges: bool

    def upsert(self, workspace_id: str, passage_ids: Sequence[str], vectors: Vectors) -> None: ...

    def delete(self, workspace_id: str, passage_ids: Sequence[str]) -> None:
        """Unknown ids are passed over."""
        ...

    def drop(self, workspace_id: str) -> None:
        """Take away all that is stored for a workspace, and the place where it was."""
        ...

    def query(self, workspace_id: str, vector: Vector, limit: int) -> Sequence[tuple[str, float]]:
        """Passage ids with their cosine similarity (-1..1), best first; approximate."""
        ...

    def existing(self, workspace_id: str, passage_ids: Sequence[str]) -> set[str]:
        """Which of these passages have an embedding here."""
        ...

    def pages(self, workspace_id: str) -> Iterator[tuple[Sequence[str], Vectors]]:
        """All that is stored, some thousand passages at a time: their ids and, row by row, their embeddings."""
        ...

    def holds_anything(self) -> bool:
        """Whether there is something of any workspace in it."""
        ...

    def rebuild(self, pages: Iterable[tuple[str, Sequence[str], Vectors]]) -> None:
        """Hold these (workspace, passage ids, embeddings) and nothing else; where it ``purges``, not a byte either.

        Queries are answered from the old contents until the new are complete. Nobody else may write meanwhile.
        """
        ...

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


# What a graph says, in a form that two sides can be compared in: (document id, "title", title), (document id,
# "passage", passage id), (document id, "mention", passage id, entity id), (document id, "link", target's id), and, of
# no document, ("", "entity", entity id, name, kind).
GraphFact = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GraphContents:
    """A whole graph, each part in the order of its fields. Each is read once, nodes first."""

    documents: Iterable[tuple[str, str, str]]  # id, workspace, title
    passages: Iterable[tuple[str, str]]  # id, workspace
    entities: Iterable[tuple[str, str, str, str]]  # id, workspace, name, kind
    contains: Iterable[tuple[str, str]]  # document, passage
    mentions: Iterable[tuple[str, str]]  # passage, entity
    links: Iterable[tuple[str, str]]  # source, target


class GraphStore(Protocol):
    """Derived: passages, entities and documents as nodes; mentions and links as edges. Calls may be repeated."""

    purges: bool  # As ``VectorStore.purges``.

    @property
    def lost_its_end(self) -> bool:
        """Whether it may have lacked, when it was opened, what was written last, as after a kill: rebuild it."""

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

    def existing(self, workspace_id: str, label: str, ids: Sequence[str]) -> set[str]:
        """Which of these ids have a node of the label."""
        ...

    def facts(self, workspace_id: str, document_id: str | None = None) -> Iterator[GraphFact]:
        """Everything that the graph says of documents and entities, or of one document; in no order."""
        ...

    def holds_anything(self) -> bool:
        """Whether there is something of any workspace in it."""
        ...

    def rebuild(self, contents: GraphContents) -> None:
        """Hold these nodes and edges and nothing else; where it ``purges``, not a byte of what was here before either.

        Questions are answered from the old contents until the new are complete. Nobody else may write meanwhile.
        """
        ...

    def ping(self) -> None: ...

    def close(self) -> None: ...


class ByteSource(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A PUT that a client may send to a store itself, with these headers."""

    url: str
    headers: Mapping[str, str]


class FileStore(Protocol):
    """The original files, by a key that the store makes; and uploads, by ``upload_key``, that are no files yet."""

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

    def drop(self, workspace_id: str) -> None:
        """Delete every file of a workspace, and the place where they were."""
        ...

    def stored_keys(self) -> Iterator[str]:
        """Of files; uploads are not among them."""
        ...

    def offer(self, upload: str, size_bytes: int, sha256: str, seconds: int) -> SignedRequest | None:
        """Lets whoever has it put an upload, and no other bytes than these, for so many seconds. None where nothing but
        ``receive`` can take it."""
        ...

    def receive(self, upload: str, source: ByteSource, size_bytes: int, sha256: str) -> None:
        """Store an upload, in place of what was there. Raises ``Invalid`` and keeps none but these bytes."""
        ...

    def adopt(self, workspace_id: str, upload: str) -> str:
        """Make a file with the bytes of an upload, which stays; its key. Raises ``NotFound`` where there is none."""
        ...

    def discard(self, upload: str) -> None:
        """Unknown ones are passed over."""
        ...

    def sweep(self, before: float) -> int:
        """Discard the uploads that came before a time; how many those were."""
        ...

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
    """Tells workers that a lane has work; losing a signal only delays it. Never waits, never fails."""

    def notify(self, lane: str) -> None: ...

    def notify_all(self) -> None: ...


@dataclass(frozen=True, slots=True)
class QueueLength:
    """Messages of one lane that are with the broker, by what has become of them."""

    waiting: int  # in all of the lists that the broker keeps for the lane
    unacknowledged: int  # handed out, and not confirmed yet
    scheduled: int  # of these: such as wait at a worker for their time


class JobQueue(Protocol):
    """Carries wake-ups to workers in other processes. It may lose, double and delay them: jobs are rows, and no message
    names one. Calls raise ``Unavailable`` while the broker is away, ``Misconfigured`` where it can never serve."""

    def publish(self, lane: str) -> None:
        """Wake one worker of a lane."""
        ...

    def consume(self, lanes: Sequence[str], wake: Callable[[str], None]) -> AbstractContextManager[None]:
        """For the length of the block call ``wake`` with the lane of each message, whenever the broker is there."""
        ...

    def lengths(self, lanes: Sequence[str]) -> Mapping[str, QueueLength]: ...

    def ping(self) -> None: ...

    def close(self) -> None: ...


class ScaleInProtection(Protocol):
    """Asks whoever ends processes to spare this one. What it asks for ends by itself after some minutes."""

    def protect(self, minutes: int) -> None:
        """Raises ``Unavailable`` where that cannot be asked for now."""
        ...

    def release(self) -> None: ...


class RateLimiter(Protocol):
    """Counts requests. It may forget; it then allows more, never less."""

    at_once: bool  # Whether ``take`` waits for nothing, so that an event loop may call it.

    def take(self, subject: str, rate: Rate) -> Allowance:
        """Take one request of what ``subject`` has at this rate, if there is one left."""
        ...


class Cache(Protocol):
    """Small values that are kept for a while, for all processes. It may forget any of them at any time."""

    def get(self, name: str) -> bytes | None: ...

    def put(self, name: str, value: bytes, seconds: int) -> None: ...


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


class Dialer(Protocol):
    """Connects to hosts that a person named: public ones, and those that the installation allows by name."""

    def check(self, host: str, port: int, usual_ports: Collection[int]) -> None:
        """Raises ``Invalid`` for a host or port that may not be reached, ``Unavailable`` when it has no address."""
        ...

    def connect(self, host: str, port: int, usual_ports: Collection[int], timeout_seconds: float) -> socket.socket:
        """A connection to the very address that was checked. Raises as ``check`` does, and ``Unavailable``."""
        ...


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a web server sent, decoded; ``token`` tells it the next time which version is here already."""

    url: str  # after redirects
    content: IO[bytes]
    content_type: str | None
    token: str


class Fetcher(Protocol):
    """Gets what a URL of a person's names, under limits of size and time."""

    def get(self, url: str, *, token: str | None = None, max_bytes: int) -> Fetched | None:
        """None when it is as ``token`` says. Raises ``Invalid`` for a URL that may not be fetched or is refused,
        ``NotFound`` for one that is gone, ``TooLarge``, ``Unreadable``, and ``Unavailable`` when later may help."""
        ...


@dataclass(frozen=True, slots=True)
class FoundItem:
    """One thing that a source has now. ``token`` changes with its content; None: only opening it can tell."""

    key: str
    uri: str
    token: str | None = None
    error: PegasusError | None = None  # It is there, and is not to be had.


@dataclass(frozen=True, slots=True)
class Listing:
    """What a source has. ``gaps`` is filled while ``items`` are taken, with what could not be looked into."""

    items: Iterator[FoundItem]
    gaps: list[PegasusError] = field(default_factory=list)
    token: str | None = None  # for the next listing
    names_all: bool = True  # False for a source that drops what is old: nothing is gone for being left out.


@dataclass(frozen=True, slots=True)
class ItemContent:
    stream: IO[bytes]
    filename: str | None
    content_type: str | None = None
    token: str | None = None  # where the listing has none
    metadata: Mapping[str, Any] = field(default_factory=dict)


class SourceReader(Protocol):
    """One source of one kind: what it has, and the bytes of each. Raises ``Unavailable`` when later may help."""

    def listing(self, token: str | None) -> Listing | None:
        """None when nothing has changed since the listing that gave ``token``."""
        ...

    def open(self, key: str, token: str | None) -> ItemContent | None:
        """An item; None when it is as ``token`` says. A fresh reader opens what an earlier one listed.

        Raises ``NotFound`` when the item is gone, another error when it cannot be read.
        """
        ...

    def close(self) -> None: ...
