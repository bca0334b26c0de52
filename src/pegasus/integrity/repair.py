"""Brings the stores to agree again: from the rows, and where the rows are wrong, from what proves them."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pegasus.chat import service as chat
from pegasus.documents import service as documents
from pegasus.domain import Document, DocumentState, Job
from pegasus.errors import PegasusError, Unreadable
from pegasus.identifiers import sha256_hex
from pegasus.ingestion import service as ingestion
from pegasus.integrity import erasure, rebuild, repository
from pegasus.integrity.check import Difference, Kind
from pegasus.integrity.text import restored_text
from pegasus.ports import FileStore, GraphStore, RelationalStore, Row, Transaction, VectorStore

_BACKUP = "Restore it from a backup, or add the document again."


@dataclass(frozen=True, slots=True)
class Mended:
    """What was done about a difference; with a job, that job does the rest."""

    done: str
    job: Job | None = None
    error: PegasusError | None = None  # Why it could not be mended.


@dataclass(frozen=True, slots=True)
class Repairer:
    relational: RelationalStore
    vectors: VectorStore
    graph: GraphStore
    files: FileStore
    indexer: ingestion.Indexer
    max_file_bytes: int

    def mend(self, difference: Difference, parent: Job) -> Mended:
        """Mending the same difference twice does no harm; a job that is needed becomes the parent's child."""
        return self._means()[difference.kind](difference, parent)

    def _means(self) -> Mapping[Kind, Callable[[Difference, Job], Mended]]:
        return {
            Kind.DAMAGED: self._cannot,
            Kind.TEXT_CHANGED: self._text,
            Kind.PASSAGE_CHANGED: self._passages,
            Kind.EMBEDDING_STALE: self._embed,
            Kind.NOT_INDEXED: self._index,
            Kind.STUCK: self._resume,
            Kind.ENTITY_UNMENTIONED: self._entities,
            Kind.NOT_FORGOTTEN: self._forget,
            Kind.CITES_GONE: self._answers,
            Kind.FILE_MISSING: self._original,
            Kind.FILE_CHANGED: self._original,
            Kind.FILE_ORPHAN: self._delete_files,
            Kind.WORDS_MISSING: self._words,
            Kind.WORDS_DIFFER: self._words,
            Kind.VECTORS_DAMAGED: self._rebuild,
            Kind.GRAPH_DAMAGED: self._rebuild,
            Kind.VECTOR_MISSING: self._index,
            Kind.VECTOR_STALE: self._embed,
            Kind.VECTOR_ORPHAN: self._delete_vectors,
            Kind.GRAPH_DIFFERS: self._graph,
            Kind.ENTITY_DIFFERS: self._name_entities,
            Kind.NODE_ORPHAN: self._delete_nodes,
        }

    @staticmethod
    def _cannot(difference: Difference, _parent: Job) -> Mended:
        return Mended("nothing", error=Unreadable(difference.detail, hint="Restore the whole store from a backup."))

    # --- Rows

    def _text(self, difference: Difference, parent: Job) -> Mended:
        """A text's SHA-256 tells when it is whole again, be it put together from its passages or read anew."""
        document_id = difference.document_id or ""
        with self.relational.write() as tx:
            document = documents.find(tx, difference.workspace_id, document_id)
            version = repository.version(tx, document_id, difference.version or 0)
            if document is None or version is None or version["text"] is None:
                return Mended("nothing was left to do")
            spans = [
                (row["start_offset"], row["text"])
                for row in repository.passages(tx, document_id)
                if row["version"] == difference.version and sha256_hex(row["text"]) == row["sha256"]
            ]
            text = restored_text(version["text"], spans, version["text_sha256"])
            if text is not None:
                documents.restore_text(tx, document_id, version["version"], text)
                return Mended("the text was put together again from its passages")
            if version["file_key"] and difference.version == document.version:
                return Mended("it is read anew", ingestion.read_later(tx, *_names(document), parent.id))
        what = f"The text of version {difference.version} is not what it was, and nothing is left to make it from."
        return Mended("nothing", error=Unreadable(what, hint=_BACKUP))

    def _passages(self, difference: Difference, parent: Job) -> Mended:
        with self.relational.write() as tx:
            document = documents.find(tx, difference.workspace_id, difference.document_id or "")
            if document is None:
                return Mended("nothing was left to do")
            beyond = [row["id"] for row in self._wanted(tx, difference) if not self._restored(tx, row)]
            job = None
            if beyond:
                version = repository.version(tx, document.id, document.version)
                if version is None or not (version["file_key"] or _is_proved(version)):
                    # To read it again would make the wrong text look right.
                    what = "The passages cannot be made again: the text that they are of is not what it was."
                    return Mended("nothing", error=Unreadable(what, hint=_BACKUP))
                ingestion.drop_passages(tx, document, beyond)
                job = ingestion.read_later(tx, *_names(document), parent.id)
            # The index may have the words of either; it is made of the right ones now.
            tx.rebuild_words(difference.workspace_id)
        return Mended("passages say again what the text says", job)

    @staticmethod
    def _wanted(tx: Transaction, difference: Difference) -> list[Row]:
        wanted = set(difference.ids)
        return [row for row in repository.passages(tx, difference.document_id or "") if row["id"] in wanted]

    @staticmethod
    def _restored(tx: Transaction, passage: Row) -> bool:
        """Whether the text at the passage's place has the passage's digests; then that is what it says again."""
        version = repository.version(tx, passage["document_id"], passage["version"])
        text = ((version and version["text"]) or "")[passage["start_offset"] : passage["end_offset"]]
        digest = ingestion.input_digest(passage["title"], passage["heading"], text)
        if sha256_hex(text) != passage["sha256"] or digest != passage["input_sha256"]:
            return False
        repository.restore_passage(tx, passage["id"], text)
        return True

    def _embed(self, difference: Difference, parent: Job) -> Mended:
        # Of a row and a vector that differ nobody knows which is right: the model does.
        return self._index_again(difference, parent, embed=True)

    def _index(self, difference: Difference, parent: Job) -> Mended:
        return self._index_again(difference, parent, embed=False)

    def _index_again(self, difference: Difference, parent: Job, *, embed: bool) -> Mended:
        with self.relational.write() as tx:
            document = documents.find(tx, difference.workspace_id, difference.document_id or "")
            if document is None or document.state is DocumentState.ERASING:
                return Mended("nothing was left to do")
            repository.index_again(tx, difference.ids, embed=embed)
            job = ingestion.index_later(tx, *_names(document), parent.id)
        return Mended("passages are embedded and indexed anew" if embed else "passages are indexed anew", job)

    def _resume(self, difference: Difference, parent: Job) -> Mended:
        with self.relational.write() as tx:
            document = documents.find(tx, difference.workspace_id, difference.document_id or "")
            if document is None:
                return Mended("nothing was left to do")
            if document.state is DocumentState.ERASING:
                return Mended("the erasure goes on", erasure.resume(tx, document, parent.id))
            later = ingestion.read_later if document.state is DocumentState.RECEIVED else ingestion.index_later
            return Mended("it goes on where it stopped", later(tx, *_names(document), parent.id))

    def _entities(self, difference: Difference, _parent: Job) -> Mended:
        with self.relational.write() as tx:
            left = set(repository.unmentioned_entities(tx, difference.workspace_id))
            repository.delete_entities(tx, [id_ for id_ in difference.ids if id_ in left])
        self.graph.delete_entities(difference.workspace_id, list(difference.ids))
        return Mended("they were deleted")

    def _forget(self, difference: Difference, _parent: Job) -> Mended:
        self.indexer.forget(difference.workspace_id, difference.document_id or "")
        return Mended("the derived stores have forgotten it")

    def _answers(self, difference: Difference, _parent: Job) -> Mended:
        with self.relational.write() as tx:
            chat.forget_document(tx, difference.workspace_id, difference.document_id or "")
        return Mended("the answers do not quote it any more")

    # --- Files and full text

    def _original(self, difference: Difference, _parent: Job) -> Mended:
        """An original can only be made again where it is the very text that was read out of it."""
        document_id, (lost,) = difference.document_id or "", difference.ids
        with self.relational.read() as tx:
            version = repository.version(tx, document_id, difference.version or 0)
        if version is None or version["file_key"] != lost:
            return Mended("nothing was left to do")
        content = (version["text"] or "").encode()
        if sha256_hex(content) == version["sha256"]:
            key, _, _ = self.files.put(difference.workspace_id, io.BytesIO(content), self.max_file_bytes)
            if self._name_file(document_id, version["version"], lost, key):
                self.files.delete(lost)
                return Mended("the file was written again from the stored text")
            self.files.delete(key)
            return Mended("nothing was left to do")
        if version["text"] is None:
            detail = "The original file is lost, and its text was never read."
            return Mended("nothing", error=Unreadable(detail, hint=_BACKUP))
        self._name_file(document_id, version["version"], lost, None)
        self.files.delete(lost)
        return Mended("the original file is lost; the text that was read from it stays and no longer names it")

    def _name_file(self, document_id: str, version: int, lost: str, key: str | None) -> bool:
        with self.relational.write() as tx:
            return documents.replace_file(tx, document_id, version, lost, key)

    def _delete_files(self, difference: Difference, _parent: Job) -> Mended:
        for key in difference.ids:
            self.files.delete(key)
        return Mended("they were deleted")

    def _words(self, difference: Difference, _parent: Job) -> Mended:
        with self.relational.write() as tx:
            if not tx.words_agree(difference.workspace_id):
                tx.rebuild_words(difference.workspace_id)
        return Mended("the full text index was made anew")

    # --- Vectors and graph

    def _rebuild(self, difference: Difference, parent: Job) -> Mended:
        with self.relational.write() as tx:
            job = rebuild.enqueue(tx, parent.workspace_id, [difference.kind.partition(":")[0]], parent.id)
        return Mended("the whole store is made anew", job)

    def _delete_vectors(self, difference: Difference, _parent: Job) -> Mended:
        self.vectors.delete(difference.workspace_id, list(difference.ids))
        return Mended("they were deleted")

    def _delete_nodes(self, difference: Difference, _parent: Job) -> Mended:
        for delete in (self.graph.delete_passages, self.graph.delete_entities, self.graph.delete_documents):
            delete(difference.workspace_id, list(difference.ids))
        return Mended("they were deleted")

    def _graph(self, difference: Difference, parent: Job) -> Mended:
        document_id = difference.document_id or ""
        with self.relational.write() as tx:
            document = documents.find(tx, difference.workspace_id, document_id)
            if document is None or document.state is DocumentState.ERASING:
                return Mended("nothing was left to do")
            job = self._index_document(tx, document, parent)
        self.indexer.relink_document(difference.workspace_id, document_id)
        return Mended("the document is put into the graph anew", job)

    def _name_entities(self, difference: Difference, parent: Job) -> Mended:
        """An entity's node keeps the name that it was made with: it goes, and is made again with its mentions."""
        self.graph.delete_entities(difference.workspace_id, list(difference.ids))
        with self.relational.write() as tx:
            for document_id in repository.documents_mentioning(tx, difference.ids):
                document = documents.find(tx, difference.workspace_id, document_id)
                if document is not None and document.state is not DocumentState.ERASING:
                    self._index_document(tx, document, parent)
        return Mended("they are made anew, with all that mentions them")

    @staticmethod
    def _index_document(tx: Transaction, document: Document, parent: Job) -> Job:
        repository.index_document_again(tx, document.id)
        return ingestion.index_later(tx, *_names(document), parent.id)


def _is_proved(version: Row) -> bool:
    return version["text"] is not None and sha256_hex(version["text"]) == version["text_sha256"]


def _names(document: Document) -> tuple[str, str, int]:
    return document.workspace_id, document.id, document.version
