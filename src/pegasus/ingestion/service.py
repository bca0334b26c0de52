"""The steps from a stored document to one that is found by words, by meaning and in the graph.

Each step reads what it needs afresh and may be run again at any point without changing the outcome: rows are the
truth, ``indexed`` tells which passages the derived stores have, ``removals`` what they still have to forget.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pegasus.documents import service as documents
from pegasus.domain import Document, DocumentState, Entity, Extraction, Filters, Job, Lane, Passage
from pegasus.errors import Conflict
from pegasus.ingestion import repository
from pegasus.ingestion.chunking import chunk_text
from pegasus.ingestion.links import document_keys, outgoing
from pegasus.jobs import service as jobs
from pegasus.ports import Embedder, GraphPassage, GraphStore, RelationalStore, Transaction, Vector, VectorStore
from pegasus.text.entities import Mention


class EntityFinder(Protocol):
    def __call__(self, text: str, *, limit: int = ...) -> list[Mention]: ...


def store_text(tx: Transaction, document: Document, extraction: Extraction, media_type: str) -> None:
    """Make a document findable by its words: passages with their offsets, full text, links."""
    document = documents.store_extraction(tx, document, extraction, media_type)
    repository.replace_passages(tx, document, chunk_text(extraction.text, extraction.headings))
    filename = documents.source(tx, document).filename
    keys = document_keys(document.title, filename, documents.uris(tx, document.id))
    repository.replace_links(tx, document, outgoing(extraction.links, document.uri), keys)


def erase(tx: Transaction, workspace_id: str, document_id: str) -> Job:
    """Accept an erasure: from this commit on nothing of the document is found; the job removes the rest."""
    document = documents.get(tx, workspace_id, document_id)
    if document.state is DocumentState.ERASING:
        raise Conflict("The document is being erased already.", hint="See its jobs.")
    take_out(tx, document)
    # Counted now: an erasure that is interrupted goes on with what is left, and still has to tell of all.
    gone = repository.removals(tx, document.id)
    counts = {"passages": len(gone["passage"]), "vectors": len(gone["passage"]), "entities": len(gone["entity"])}
    return jobs.enqueue(tx, workspace_id, "erase", Lane.INDEX, "erase", document_id=document.id, payload=counts)


@dataclass(frozen=True, slots=True)
class IndexSize:
    passages: int
    indexed: int
    entities: int


def index_size(tx: Transaction, workspace_id: str) -> IndexSize:
    """How much of a workspace can be found."""
    passages, waiting, entities = repository.index_size(tx, workspace_id)
    return IndexSize(passages, passages - waiting, entities)


def cancel(tx: Transaction, workspace_id: str, job_id: str) -> Job:
    """Stop a job, and the items of a batch; the documents whose reading or indexing that ends say so."""
    job, *items = jobs.cancel(tx, workspace_id, job_id)
    for one in (job, *items):
        if one.kind == "ingest" and one.document_id:
            documents.mark_cancelled(tx, workspace_id, one.document_id, one.version or 0)
    return job


def take_out(tx: Transaction, document: Document) -> None:
    """Nothing finds the document any more; what the derived stores have to forget is noted."""
    repository.delete_passages(tx, document, repository.passage_ids(tx, document.id))
    documents.mark_erasing(tx, document)


def name_again(tx: Transaction, document: Document, uri: str) -> None:
    """Let links to a further name of a known document find it; what already links there is linked by a job."""
    repository.add_link_keys(tx, document, document_keys(document.title, None, [uri]))
    if repository.has_links(tx, document.id):
        jobs.enqueue(
            tx, document.workspace_id, "ingest", Lane.INDEX, "link", document_id=document.id, version=document.version
        )


def input_digest(title: str, heading: str, text: str) -> str:
    """What ``input_sha256`` of a passage with this title, heading and text is."""
    return repository.input_digest(title, heading, text)


def index_later(tx: Transaction, workspace_id: str, document_id: str, version: int, parent_id: str | None) -> Job:
    """The job that puts a document's passages into the derived stores, those that are not marked as indexed."""
    return jobs.enqueue(
        tx, workspace_id, "ingest", Lane.INDEX, "embed", document_id=document_id, version=version,
        parent_id=parent_id, priority=jobs.BULK,
    )  # fmt: skip


def read_later(tx: Transaction, workspace_id: str, document_id: str, version: int, parent_id: str | None) -> Job:
    """The job that reads a document anew from its file or its text, and then indexes it."""
    return jobs.enqueue(
        tx, workspace_id, "ingest", Lane.READ, "extract", document_id=document_id, version=version,
        parent_id=parent_id, priority=jobs.BULK,
    )  # fmt: skip


def drop_passages(tx: Transaction, document: Document, passage_ids: Sequence[str]) -> None:
    """Take passages out of the rows and the full text, and have the derived stores forget them."""
    repository.delete_passages(tx, document, passage_ids)


def passages(tx: Transaction, workspace_id: str, passage_ids: Sequence[str]) -> dict[str, Passage]:
    """Stored passages by id; those that are gone or another workspace's are left out."""
    return repository.passages(tx, workspace_id, passage_ids)


def samples(tx: Transaction, count: int) -> list[tuple[str, Passage]]:
    """(workspace, passage) of some indexed passages, from all over the store."""
    return repository.samples(tx, count)


def filtered_passages(tx: Transaction, workspace_id: str, filters: Filters) -> list[str]:
    return repository.filtered_passages(tx, workspace_id, filters)


def most_similar(tx: Transaction, vector: Vector, passage_ids: Sequence[str], limit: int) -> list[tuple[str, float]]:
    """The exact nearest of these passages by cosine, best first."""
    found = repository.embeddings(tx, passage_ids)
    if not found:
        return []
    ids = list(found)
    similarities = np.stack([found[id_] for id_ in ids]) @ vector
    best = np.argsort(-similarities, kind="stable")[:limit]
    return [(ids[n], float(similarities[n])) for n in best]


def entities_by_key(tx: Transaction, workspace_id: str, keys: Sequence[str]) -> dict[str, Entity]:
    return repository.entities_by_key(tx, workspace_id, keys)


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What the derived stores have forgotten, ids by kind, and how much of it is there all the same."""

    ids: Mapping[str, Sequence[str]]
    vectors_left: int
    nodes_left: int


def forgotten(tx: Transaction, ids: Mapping[str, Sequence[str]]) -> None:
    """The derived stores have forgotten these: it need not be done again."""
    for kind, some in ids.items():
        repository.delete_removals(tx, kind, some)


class Indexer:
    """Brings the derived stores, vectors and graph, in step with the rows."""

    def __init__(
        self, relational: RelationalStore, vectors: VectorStore, graph: GraphStore, embedder: Embedder,
        find_mentions: EntityFinder,
    ) -> None:  # fmt: skip
        self._relational, self._vectors, self._graph = relational, vectors, graph
        self._embedder, self._find_mentions = embedder, find_mentions

    def index(self, passages: Sequence[repository.PendingPassage]) -> None:
        """Embed passages and put them into vectors and graph. They may be of many documents and workspaces."""
        for workspace_id in dict.fromkeys(passage.workspace_id for passage in passages):
            self._index(workspace_id, [p for p in passages if p.workspace_id == workspace_id])

    def _index(self, workspace_id: str, passages: Sequence[repository.PendingPassage]) -> None:
        fresh = [passage for passage in passages if passage.vector is None]
        vectors = self._embedder.embed([passage.embedding_input for passage in fresh])
        by_id = dict(zip((passage.id for passage in fresh), vectors, strict=True))
        by_id |= {p.id: repository.vector_from(p.vector) for p in passages if p.vector is not None}
        mentions = {passage.id: self._find_mentions(passage.text) for passage in passages}
        with self._relational.write(workspace_id) as tx:
            present = repository.existing(tx, list(by_id))
            repository.save_embeddings(tx, self._embedder.name, [(p.id, by_id[p.id]) for p in fresh if p.id in present])
            entities = _save_mentions(tx, workspace_id, {id_: mentions[id_] for id_ in present})
        # The rows above are committed before the derived stores change, so that whatever is in those has a row, or
        # is named in ``removals`` because the row went meanwhile.
        kept = [passage for passage in passages if passage.id in present]
        if kept:
            self._vectors.upsert(workspace_id, [p.id for p in kept], np.stack([by_id[p.id] for p in kept]))
            self._graph.upsert_documents(workspace_id, {p.document_id: p.title for p in kept})
            nodes = [GraphPassage(p.id, p.document_id, [entities[m.key].id for m in mentions[p.id]]) for p in kept]
            self._graph.upsert_passages(workspace_id, list(entities.values()), nodes)
        with self._relational.write(workspace_id) as tx:
            repository.mark_indexed(tx, list(present))
        self._forget_late(workspace_id, kept, entities)

    def _forget_late(
        self, workspace_id: str, passages: Sequence[repository.PendingPassage], entities: Mapping[str, Entity]
    ) -> None:
        """Take out again what was put in after its rows had gone, as by a worker that hung until its job was others'.

        While a worker holds its job nothing of the document goes; whoever came later may be through by now.
        """
        with self._relational.read(workspace_id) as tx:
            there = repository.existing(tx, [passage.id for passage in passages])
            late = [passage for passage in passages if passage.id not in there]
            if not late:
                return
            known = {entity.id for entity in repository.entities_by_key(tx, workspace_id, list(entities)).values()}
            homeless = {p.document_id for p in late} - {p.document_id for p in passages if p.id in there}
            erased = [id_ for id_ in homeless if not repository.has_passages(tx, id_)]
        self._vectors.delete(workspace_id, [passage.id for passage in late])
        self._graph.delete_passages(workspace_id, [passage.id for passage in late])
        self._graph.delete_entities(workspace_id, [e.id for e in entities.values() if e.id not in known])
        for document_id in erased:
            self.forget_document(workspace_id, document_id)

    def relink_document(self, workspace_id: str, document_id: str) -> None:
        """Set the links in the graph from and to a document as the rows have them."""
        self._relink(workspace_id, [document_id])

    def relink(self, workspace_id: str, jobs_done: Sequence[Job]) -> None:
        """Set the links in the graph from and to the jobs' documents as the rows have them."""
        with self._relational.read(workspace_id) as tx:
            # A first version without links, which most documents are, has none in the graph to take back.
            ids = [job.document_id for job in jobs_done if job.document_id and (
                job.version != 1 or repository.has_links(tx, job.document_id))]  # fmt: skip
        if ids:
            self._relink(workspace_id, ids)

    def _relink(self, workspace_id: str, document_ids: Sequence[str]) -> None:
        """Until the rows say after it what they said before: another worker may have set newer links meanwhile, and
        whoever writes last must have read what it writes since."""
        links: dict[str, list[str]] | None = None
        while links != (found := self._links(workspace_id, document_ids)):
            links = found
            self._graph.set_links(workspace_id, links)

    def _links(self, workspace_id: str, document_ids: Sequence[str]) -> dict[str, list[str]]:
        with self._relational.read(workspace_id) as tx:
            return {
                source: targets
                for document_id in document_ids
                for source, targets in repository.resolved_links(tx, document_id).items()
            }

    def forget(self, workspace_id: str, document_id: str) -> None:
        """Take out of vectors and graph what the rows have lost."""
        with self._relational.read(workspace_id) as tx:
            gone = repository.removals(tx, document_id)
        if any(gone.values()):
            self._remove(workspace_id, gone)
            with self._relational.write(workspace_id) as tx:
                forgotten(tx, gone)

    def forget_document(self, workspace_id: str, document_id: str) -> Forgotten:
        """Take all of a document out of vectors and graph, and look whether it is gone from there.

        What was removed is noted as such by ``forgotten``, in the transaction that ends the erasure: until then the
        removal can be repeated, and be looked for again.
        """
        with self._relational.read(workspace_id) as tx:
            gone = repository.removals(tx, document_id)
        self._remove(workspace_id, gone)
        self._graph.delete_documents(workspace_id, [document_id])
        nodes = {"Passage": gone["passage"], "Entity": gone["entity"], "Document": [document_id]}
        return Forgotten(
            gone,
            vectors_left=len(self._vectors.existing(workspace_id, gone["passage"])),
            nodes_left=sum(len(self._graph.existing(workspace_id, label, ids)) for label, ids in nodes.items()),
        )

    def _remove(self, workspace_id: str, gone: Mapping[str, Sequence[str]]) -> None:
        self._vectors.delete(workspace_id, gone["passage"])
        self._graph.delete_passages(workspace_id, gone["passage"])
        self._graph.delete_entities(workspace_id, gone["entity"])


def _save_mentions(tx: Transaction, workspace_id: str, mentions: Mapping[str, Sequence[Mention]]) -> dict[str, Entity]:
    """Rows for the mentions of passages; the entities by their keys."""
    named = {mention.key: (mention.name, mention.kind) for found in mentions.values() for mention in found}
    entities = repository.ensure_entities(tx, workspace_id, named)
    repository.save_mentions(tx, ((id_, entities[m.key].id) for id_, found in mentions.items() for m in found))
    return entities
