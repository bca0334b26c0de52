"""What the graph knows: entities by name, and what lies around one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pegasus.documents import service as documents
from pegasus.domain import Document, Entity
from pegasus.errors import NotFound
from pegasus.graph import repository
from pegasus.ingestion import service as ingestion
from pegasus.ports import GraphStore, RelationalStore
from pegasus.text.lines import printable

MAX_DEPTH = 3
# Entities that a step further starts from: without a cap a hub's neighbourhood is the whole graph.
_FRONTIER = 50


@dataclass(frozen=True, slots=True)
class Neighbour:
    entity: Entity
    depth: int
    passages: int  # How many passages mention it together with an entity one step nearer.


@dataclass(frozen=True, slots=True)
class MentioningDocument:
    document: Document
    passages: int
    links_to: Sequence[str]  # Ids of documents of this list that it links to.


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    entity: Entity
    neighbours: Sequence[Neighbour]
    documents: Sequence[MentioningDocument]


class GraphService:
    def __init__(self, relational: RelationalStore, graph: GraphStore) -> None:
        self._relational, self._graph = relational, graph

    def entities(self, workspace_id: str, query: str, limit: int) -> list[tuple[Entity, int]]:
        """Entities whose name has the query in it, with the number of passages that mention them, most first."""
        printable("q", query, 200)
        with self._relational.read(workspace_id) as tx:
            return repository.find_entities(tx, workspace_id, query, limit)

    def neighbourhood(self, workspace_id: str, entity_id: str, depth: int, limit: int) -> Neighbourhood:
        """Entities up to ``depth`` steps away, where a step is a passage that mentions both; and the documents."""
        with self._relational.read(workspace_id) as tx:
            entity = repository.get_entity(tx, workspace_id, entity_id)
        if entity is None:
            raise NotFound(f"There is no entity {entity_id}.", hint="Find entities with GET /v1/graph/entities?q=")
        neighbours: list[Neighbour] = []
        seen, frontier = {entity_id}, [entity_id]
        for distance in range(1, depth + 1):
            step = self._graph.co_mentioned(workspace_id, frontier, limit + len(seen))
            new = [n for n in step if n.entity.id not in seen][: limit - len(neighbours)]
            neighbours += [Neighbour(n.entity, distance, n.passages) for n in new]
            frontier = [n.entity.id for n in new][:_FRONTIER]
            seen.update(n.entity.id for n in new)
            if not frontier or len(neighbours) >= limit:
                break
        return Neighbourhood(entity, neighbours, self._documents(workspace_id, entity_id, limit))

    def _documents(self, workspace_id: str, entity_id: str, limit: int) -> list[MentioningDocument]:
        passages = [id_ for id_, _ in self._graph.mentioning(workspace_id, [entity_id], limit * 10)]
        with self._relational.read(workspace_id) as tx:
            counts = Counter(p.document_id for p in ingestion.passages(tx, workspace_id, passages).values())
        ids = sorted(counts, key=lambda id_: (-counts[id_], id_))[:limit]
        links = self._graph.linked(workspace_id, ids) if ids else []
        with self._relational.read(workspace_id) as tx:
            found = [(id_, documents.find(tx, workspace_id, id_)) for id_ in ids]
        return [
            MentioningDocument(document, counts[id_], [t for s, t in links if s == id_ and t in counts])
            for id_, document in found
            if document
        ]
