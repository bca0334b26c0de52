"""Fill empty full text, vectors and graph from the rows, in bulk and without the model: its embeddings are rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from pegasus.ingestion import repository
from pegasus.ingestion.repository import StoredPassage
from pegasus.ports import GraphPassage, GraphStore, RelationalStore, VectorStore

# Passages at a time: what is held in memory, and what goes into one transaction of the graph.
_PAGE = 2_000

Progress = Callable[[int], None]  # how many passages are done


def fill_words(relational: RelationalStore, progress: Progress) -> None:
    """Index the words of all passages."""
    for passages in _pages(relational, progress):
        with relational.write() as tx:
            for workspace_id, some in _by_workspace(passages):
                tx.index_words(workspace_id, [passage.id for passage in some])


def fill_vectors(relational: RelationalStore, vectors: VectorStore, progress: Progress) -> None:
    """Put in the kept embeddings, in the order in which the passages came, as they were put in at first."""
    for passages in _pages(relational, progress):
        for workspace_id, some in _by_workspace([p for p in passages if p.indexed]):
            with relational.read() as tx:
                embeddings = repository.embeddings(tx, [passage.id for passage in some])
            # One that has lost its embedding is for the integrity check to find, not a reason to restore nothing.
            if ids := [passage.id for passage in some if passage.id in embeddings]:
                vectors.upsert(workspace_id, ids, np.stack([embeddings[id_] for id_ in ids]))


def fill_graph(relational: RelationalStore, graph: GraphStore, progress: Progress) -> None:
    """Make the nodes and edges of all indexed passages, then the links between their documents."""
    for passages in _pages(relational, progress):
        for workspace_id, some in _by_workspace([p for p in passages if p.indexed]):
            with relational.read() as tx:
                mentions, entities = repository.mentions(tx, [passage.id for passage in some])
            graph.upsert_documents(workspace_id, {p.document_id: p.title for p in some})
            nodes = [GraphPassage(p.id, p.document_id, mentions.get(p.id, [])) for p in some]
            graph.upsert_passages(workspace_id, entities, nodes)
    with relational.read() as tx:
        links = repository.all_links(tx)
    for workspace_id, targets in links.items():
        graph.set_links(workspace_id, targets)


def differing(relational: RelationalStore, vectors: VectorStore, graph: GraphStore) -> list[str]:
    """For people: of which workspace vectors or graph have more or fewer passages than the rows say."""
    with relational.read() as tx:
        wanted = repository.indexed_counts(tx)
    found = {
        workspace_id: (
            sum(1 for _ in vectors.passage_ids(workspace_id)),
            sum(1 for _ in graph.node_ids(workspace_id, "Passage")),
        )
        for workspace_id in wanted
    }
    return [
        f"workspace {workspace_id} has (vectors, nodes) {found[workspace_id]} and should have {wanted[workspace_id]}"
        for workspace_id in wanted
        if found[workspace_id] != wanted[workspace_id]
    ]


def _pages(relational: RelationalStore, progress: Progress) -> Iterator[Sequence[StoredPassage]]:
    done, after = 0, -1
    while True:
        with relational.read() as tx:
            page = repository.passages_after(tx, after, _PAGE)
        if not page:
            return
        yield page
        done, after = done + len(page), page[-1].seq
        progress(done)


def _by_workspace(passages: Sequence[StoredPassage]) -> Iterator[tuple[str, list[StoredPassage]]]:
    for workspace_id in dict.fromkeys(passage.workspace_id for passage in passages):
        yield workspace_id, [passage for passage in passages if passage.workspace_id == workspace_id]
