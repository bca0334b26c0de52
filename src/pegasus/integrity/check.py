"""Compares the stores in full: rows with themselves, with the files, the full text, the vectors and the graph.

It reads each store once, in pages, and holds no more than a page and a number for each document. It may run while
others write: what differs is looked at again before it is told, and documents that a job still works on are left out.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby, islice
from operator import itemgetter

import numpy as np

from pegasus.chat import service as chat
from pegasus.documents import service as documents
from pegasus.domain import DocumentState
from pegasus.errors import NotFound, Unavailable
from pegasus.identifiers import sha256_hex
from pegasus.ingestion import service as ingestion
from pegasus.integrity import repository
from pegasus.jobs import service as jobs
from pegasus.ports import Embedder, FileStore, GraphStore, RelationalStore, Row, Transaction, VectorStore

_PAGE_DOCUMENTS, _PAGE_PASSAGES = 500, 5_000
_BLOCK = 2**18
# An upload's file is there a moment before the row that names it.
_LOOK_AGAIN_SECONDS = 5.0
# Stores keep float32; what Chroma gives back has gone through a normalisation of its own.
_VECTOR_TOLERANCE = 1e-5


class Kind(StrEnum):
    """What can differ; the part before the colon is the store that is wrong."""

    DAMAGED = "rows:damaged"
    TEXT_CHANGED = "rows:text-changed"
    PASSAGE_CHANGED = "rows:passage-changed"
    EMBEDDING_STALE = "rows:embedding-stale"
    NOT_INDEXED = "rows:not-indexed"
    STUCK = "rows:stuck"
    ENTITY_UNMENTIONED = "rows:entity-unmentioned"
    NOT_FORGOTTEN = "rows:not-forgotten"
    CITES_GONE = "answers:cites-gone"
    FILE_MISSING = "files:missing"
    FILE_CHANGED = "files:changed"
    FILE_ORPHAN = "files:orphan"
    WORDS_MISSING = "full-text:missing"
    WORDS_DIFFER = "full-text:differs"
    VECTORS_DAMAGED = "vectors:damaged"
    VECTOR_MISSING = "vectors:missing"
    VECTOR_STALE = "vectors:stale"
    VECTOR_ORPHAN = "vectors:orphan"
    GRAPH_DAMAGED = "graph:damaged"
    GRAPH_DIFFERS = "graph:differs"
    ENTITY_DIFFERS = "graph:entity-differs"
    NODE_ORPHAN = "graph:orphan"


@dataclass(frozen=True, slots=True)
class Difference:
    kind: Kind
    workspace_id: str
    document_id: str | None
    ids: tuple[str, ...]  # Of the passages, files, messages or nodes that it is about.
    detail: str
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """How far a check is."""

    comparing: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class _Original:
    document_id: str
    version: int
    key: str
    sha256: str


_PASSAGES_THAT = {
    Kind.PASSAGE_CHANGED: "passages do not say what the text says at their place.",
    Kind.EMBEDDING_STALE: "passages have no embedding of their present text by the present model.",
    Kind.NOT_INDEXED: "passages were never indexed, though the document is said to be ready.",
}


@dataclass(slots=True)
class Check:
    """One comparison. ``counted`` tells, once it is over, how much was compared."""

    relational: RelationalStore
    vectors: VectorStore
    graph: GraphStore
    files: FileStore
    embedder: Embedder | None  # None: embeddings are taken as they are, whatever model made them.
    counted: Counter[str] = field(default_factory=Counter)

    def run(self, workspace_id: str | None = None) -> Iterator[Step | Difference]:
        """What differs in one workspace, or in all of them and in what belongs to none, as it is found."""
        with self.relational.read() as tx:
            chosen = [workspace_id] if workspace_id else repository.workspaces(tx)
        if workspace_id is None:
            yield Step("engine", 0, 1)
            for detail in self.relational.damage():
                yield Difference(Kind.DAMAGED, "", None, (), detail)
        for one in chosen:
            yield from self._rows(one)
            yield from self._words(one)
            yield from self._readable(self._vectors(one), Kind.VECTORS_DAMAGED, one)
            yield from self._readable(self._graph(one), Kind.GRAPH_DAMAGED, one)
        if workspace_id is None:
            yield from self._orphan_files()

    @staticmethod
    def _readable(
        comparison: Iterator[Step | Difference], kind: Kind, workspace_id: str
    ) -> Iterator[Step | Difference]:
        """A derived store that cannot be read to its end is damaged: Chroma so tells of vectors that it has lost."""
        try:
            yield from comparison
        except Unavailable as error:
            yield Difference(kind, workspace_id, None, (), f"The store cannot be read: {error.detail}")

    # --- Rows and files

    def _rows(self, workspace_id: str) -> Iterator[Step | Difference]:
        with self.relational.read() as tx:
            total = repository.counts(tx, workspace_id)[0]
        after, done = "", 0
        while True:
            with self.relational.read() as tx:
                page = repository.documents_after(tx, workspace_id, after, _PAGE_DOCUMENTS)
                if not page:
                    break
                found, originals = self._documents(tx, workspace_id, page)
            for version in originals:
                found += self._file(workspace_id, version)
            yield from found
            after, done = page[-1]["id"], done + len(page)
            self.counted["documents"] += len(page)
            yield Step("documents", done, total)
        with self.relational.read() as tx:
            yield from self._loose_ends(tx, workspace_id)

    def _documents(
        self, tx: Transaction, workspace_id: str, page: Sequence[Row]
    ) -> tuple[list[Difference], list[_Original]]:
        """What differs in the rows of these documents as of one moment, and which files they name."""
        ids = [row["id"] for row in page]
        busy = repository.busy_documents(tx, workspace_id)
        # One text at a time: they may be long.
        versions = _grouped(repository.versions_of(tx, ids))
        passages = _grouped(repository.passages_of(tx, ids))
        found: list[Difference] = []
        originals: list[_Original] = []
        for row in page:
            texts: dict[int, str] = {}
            settled = row["state"] != DocumentState.ERASING and row["id"] not in busy
            for version in versions(row["id"]):
                number, text = version["version"], version["text"]
                if version["file_key"]:
                    originals.append(_Original(row["id"], number, version["file_key"], version["sha256"]))
                if text is None:
                    continue
                texts[number] = text
                if settled and sha256_hex(text) != version["text_sha256"]:
                    detail = f"The text of version {number} is not the one that its SHA-256 was made of."
                    found.append(Difference(Kind.TEXT_CHANGED, workspace_id, row["id"], (), detail, number))
            wrong: dict[Kind, list[str]] = defaultdict(list)
            for passage in passages(row["id"]):
                self.counted["passages"] += 1
                for kind in self._passage(passage, texts.get(passage["version"]), ready=row["state"] == "ready"):
                    wrong[kind].append(passage["id"])
            if settled:
                found += [
                    Difference(kind, workspace_id, row["id"], tuple(some), f"{len(some)} {_PASSAGES_THAT[kind]}")
                    for kind, some in wrong.items()
                ]
        return found, originals

    def _passage(self, passage: Row, text: str | None, *, ready: bool) -> Iterator[Kind]:
        content = passage["text"]
        sound = (
            sha256_hex(content) == passage["sha256"]
            and ingestion.input_digest(passage["title"], passage["heading"], content) == passage["input_sha256"]
            and text is not None
            and text[passage["start_offset"] : passage["end_offset"]] == content
        )
        if not sound:
            yield Kind.PASSAGE_CHANGED
        if passage["indexed"]:
            if self.embedder and (passage["model"], passage["vector_bytes"]) != (
                self.embedder.name, 4 * self.embedder.dimensions,
            ):  # fmt: skip
                yield Kind.EMBEDDING_STALE
        elif ready:
            yield Kind.NOT_INDEXED

    def _file(self, workspace_id: str, original: _Original) -> list[Difference]:
        self.counted["files"] += 1
        try:
            with self.files.path(original.key) as path, path.open("rb") as stream:
                digest = hashlib.sha256()
                while block := stream.read(_BLOCK):
                    digest.update(block)
        except (NotFound, FileNotFoundError):
            kind, detail = Kind.FILE_MISSING, "is gone"
        else:
            if digest.hexdigest() == original.sha256:
                return []
            kind, detail = Kind.FILE_CHANGED, "has other bytes than were stored"
        with self.relational.read() as tx:  # It may have been erased or replaced while it was looked for.
            if not documents.is_file_known(tx, original.key) or repository.is_busy(tx, original.document_id):
                return []
        detail = f"The original file of version {original.version} {detail}."
        return [Difference(kind, workspace_id, original.document_id, (original.key,), detail, original.version)]

    def _loose_ends(self, tx: Transaction, workspace_id: str) -> Iterator[Difference]:
        for document_id in repository.left_removals(tx, workspace_id):
            detail = "The derived stores were never told to forget what it has lost."
            yield Difference(Kind.NOT_FORGOTTEN, workspace_id, document_id, (), detail)
        for row in repository.stuck_documents(tx, workspace_id):
            detail = f"It is {row['state']}, and no job is there to go on with it."
            yield Difference(Kind.STUCK, workspace_id, row["id"], (), detail, row["version"])
        if entities := repository.unmentioned_entities(tx, workspace_id):
            detail = f"{len(entities)} entities are mentioned nowhere."
            yield Difference(Kind.ENTITY_UNMENTIONED, workspace_id, None, tuple(entities), detail)
        for document_id, messages in chat.citing_gone_documents(tx, workspace_id).items():
            detail = f"{len(messages)} answers cite it, and it is gone."
            yield Difference(Kind.CITES_GONE, workspace_id, document_id, tuple(messages), detail)

    def _orphan_files(self) -> Iterator[Step | Difference]:
        yield Step("files", 0, 1)
        orphans = self._unnamed_files(self.files.stored_keys())
        if orphans:
            time.sleep(_LOOK_AGAIN_SECONDS)
            orphans = self._unnamed_files(orphans)
        if orphans:
            detail = f"{len(orphans)} stored files belong to no document."
            yield Difference(Kind.FILE_ORPHAN, "", None, tuple(orphans), detail)

    def _unnamed_files(self, keys: Iterable[str]) -> list[str]:
        with self.relational.read() as tx:
            known = documents.known_files(tx) | jobs.archive_files(tx)
        return [key for key in keys if key not in known]

    # --- Full text

    def _words(self, workspace_id: str) -> Iterator[Step | Difference]:
        yield Step("full text", 0, 1)
        with self.relational.write(workspace_id) as tx:  # In line with the writers: index and rows as of one moment.
            if tx.words_agree(workspace_id):
                return
            missing = tx.words_missing(workspace_id)
            by_document: dict[str, list[str]] = defaultdict(list)
            for id_, stored in repository.vectors(tx, missing).items():
                by_document[stored.document_id].append(id_)
        for document_id, ids in by_document.items():
            detail = f"{len(ids)} passages cannot be found by their words."
            yield Difference(Kind.WORDS_MISSING, workspace_id, document_id, tuple(ids), detail)
        if not missing:
            yield Difference(Kind.WORDS_DIFFER, workspace_id, None, (), "The index has other words than the passages.")

    # --- Vectors

    def _vectors(self, workspace_id: str) -> Iterator[Step | Difference]:
        with self.relational.read() as tx:
            total = repository.indexed_count(tx, workspace_id)
        matched = 0
        for ids, vectors in self.vectors.pages(workspace_id):
            with self.relational.read() as tx:
                rows = repository.vectors(tx, ids)
                busy = repository.busy_documents(tx, workspace_id)
            orphans = [id_ for id_ in ids if id_ not in rows]
            stale = _stale(ids, vectors, rows)
            matched += sum(row.indexed for row in rows.values())
            self.counted["vectors"] += len(ids)
            yield Step("vectors", matched, total)
            yield from self._by_document(
                Kind.VECTOR_STALE, workspace_id, {id_: rows[id_].document_id for id_ in stale}, busy,
                "passages have another vector than their row's embedding.",
            )  # fmt: skip
            if orphans := self._confirmed_orphans(workspace_id, "passages", orphans, self._vectors_still):
                detail = f"{len(orphans)} vectors belong to no passage."
                yield Difference(Kind.VECTOR_ORPHAN, workspace_id, None, tuple(orphans), detail)
        if matched < total:  # Something is missing, or was added meanwhile: a second pass tells what.
            yield from self._missing_vectors(workspace_id)

    def _vectors_still(self, workspace_id: str, ids: Sequence[str]) -> set[str]:
        return self.vectors.existing(workspace_id, ids)

    def _missing_vectors(self, workspace_id: str) -> Iterator[Difference]:
        after = 0
        while True:
            with self.relational.read() as tx:
                page = repository.indexed_after(tx, workspace_id, after, _PAGE_PASSAGES)
                busy = repository.busy_documents(tx, workspace_id)
            if not page:
                return
            after = page[-1]["seq"]
            there = self.vectors.existing(workspace_id, [row["id"] for row in page])
            missing = {row["id"]: row["document_id"] for row in page if row["id"] not in there}
            with self.relational.read() as tx:  # What was erased meanwhile is rightly missing.
                still = repository.vectors(tx, list(missing))
            yield from self._by_document(
                Kind.VECTOR_MISSING, workspace_id,
                {id_: document for id_, document in missing.items() if id_ in still and still[id_].indexed}, busy,
                "passages cannot be found by their meaning.",
            )  # fmt: skip

    @staticmethod
    def _by_document(
        kind: Kind, workspace_id: str, owners: Mapping[str, str], busy: set[str], detail: str
    ) -> Iterator[Difference]:
        grouped: dict[str, list[str]] = defaultdict(list)
        for id_, document_id in owners.items():
            if document_id not in busy:
                grouped[document_id].append(id_)
        for document_id, ids in grouped.items():
            yield Difference(kind, workspace_id, document_id, tuple(ids), f"{len(ids)} {detail}")

    def _confirmed_orphans(
        self, workspace_id: str, table: str, ids: Sequence[str],
        still_there: Callable[[str, Sequence[str]], set[str]],
    ) -> list[str]:  # fmt: skip
        """Those that have no row and are there all the same, also when it is asked in this order."""
        if not ids:
            return []
        with self.relational.read() as tx:
            ids = repository.unknown(tx, table, ids)
        there = still_there(workspace_id, ids) if ids else set()
        return [id_ for id_ in ids if id_ in there]

    # --- Graph

    def _graph(self, workspace_id: str) -> Iterator[Step | Difference]:
        yield Step("graph", 0, 1)
        for document_id in self._suspects(workspace_id):
            if document_id:
                yield from self._compared(workspace_id, document_id)
            else:
                yield from self._entities(workspace_id)
        for label, table in (("Passage", "passages"), ("Entity", "entities"), ("Document", "documents")):
            yield from self._orphan_nodes(workspace_id, label, table)

    def _suspects(self, workspace_id: str) -> list[str]:
        """Documents of which the graph has other facts than the rows; "" stands for the facts of no document.

        Hashes are added for what the rows say and taken off for what the graph has, in whatever order: where both say
        the same nothing is left, and hardly anywhere else.
        """
        sums: dict[str, int] = defaultdict(int)
        with self.relational.read() as tx:
            for fact in repository.facts(tx, workspace_id):
                sums[fact[0]] += hash(fact)
        count = 0
        for count, fact in enumerate(self.graph.facts(workspace_id), start=1):  # noqa: B007 - The last is all of them.
            sums[fact[0]] -= hash(fact)
        self.counted["graph facts"] += count
        return sorted(id_ for id_, left in sums.items() if left)

    def _entities(self, workspace_id: str) -> Iterator[Difference]:
        """Entities with another name or kind; one that is missing differs with the documents that mention it."""
        found = {fact[2]: fact for fact in self.graph.facts(workspace_id) if not fact[0]}
        with self.relational.read() as tx:
            wanted = {fact[2]: fact for fact in repository.entity_facts(tx, workspace_id)}
        if wrong := [id_ for id_, fact in found.items() if id_ in wanted and wanted[id_] != fact]:
            detail = f"{len(wrong)} entities have another name or kind in the graph."
            yield Difference(Kind.ENTITY_DIFFERS, workspace_id, None, tuple(wrong), detail)

    def _compared(self, workspace_id: str, document_id: str) -> Iterator[Difference]:
        """Fact by fact, afresh: the sums may differ because something happened between them."""
        with self.relational.read() as tx:
            undecided = self._undecided(tx, workspace_id)
        found = Counter(self.graph.facts(workspace_id, document_id))
        with self.relational.read() as tx:
            # Before and after: a job that ends in between has changed what the graph was asked for.
            undecided |= self._undecided(tx, workspace_id)
            wanted = Counter(repository.facts(tx, workspace_id, document_id))
            known = not repository.unknown(tx, "documents", [document_id])
        if not known or document_id in undecided:  # Without a row it is an orphan, which is told of as such.
            return
        off = [fact for fact in (wanted - found) + (found - wanted) if not (fact[1] == "link" and fact[2] in undecided)]
        if off:
            names = ", ".join(sorted({fact[1] for fact in off}))
            passages = tuple(sorted({fact[2] for fact in off if fact[1] in ("passage", "mention")}))
            yield Difference(
                Kind.GRAPH_DIFFERS, workspace_id, document_id, passages, f"The graph says other things of: {names}."
            )

    @staticmethod
    def _undecided(tx: Transaction, workspace_id: str) -> set[str]:
        return repository.busy_documents(tx, workspace_id) | repository.partly_indexed(tx, workspace_id)

    def _orphan_nodes(self, workspace_id: str, label: str, table: str) -> Iterator[Difference]:
        def still_there(workspace_id: str, ids: Sequence[str]) -> set[str]:
            return self.graph.existing(workspace_id, label, ids)

        ids = self.graph.node_ids(workspace_id, label)
        while page := list(islice(ids, _PAGE_PASSAGES)):
            self.counted["graph nodes"] += len(page)
            if orphans := self._confirmed_orphans(workspace_id, table, page, still_there):
                detail = f"{len(orphans)} {label} nodes have no row."
                yield Difference(Kind.NODE_ORPHAN, workspace_id, None, tuple(orphans), detail)


def _grouped(rows: Iterable[Row]) -> Callable[[str], Iterable[Row]]:
    """The rows of one document after the other, for documents in the order of the rows."""
    groups = groupby(rows, key=itemgetter("document_id"))
    at = next(groups, None)

    def of(document_id: str) -> Iterable[Row]:
        nonlocal at
        while at is not None and at[0] <= document_id:
            document, group = at
            if document == document_id:
                yield from group
            at = next(groups, None)

    return of


def _stale(ids: Sequence[str], vectors: np.ndarray, rows: Mapping[str, repository.StoredVector]) -> list[str]:
    """Ids whose vector is not their row's. One without an embedding is told of with the rows."""
    places, wanted = [], []
    stale = []
    for place, id_ in enumerate(ids):
        kept = rows[id_].vector if id_ in rows else None
        if kept is None:
            continue
        if len(kept) != 4 * vectors.shape[1]:
            stale.append(id_)
        else:
            places.append(place)
            wanted.append(kept)
    if places:
        expected = np.frombuffer(b"".join(wanted), "<f4").reshape(len(wanted), -1)
        off = ~(np.abs(vectors[places] - expected).max(axis=1) <= _VECTOR_TOLERANCE)  # True for NaN, too.
        stale += [ids[places[n]] for n in np.flatnonzero(off)]
    return stale
