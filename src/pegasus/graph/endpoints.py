"""The graph over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from pegasus.graph.schemas import EntitiesOut, EntityOut, FoundEntity, NeighbourhoodOut
from pegasus.graph.service import MAX_DEPTH
from pegasus.web import App, Reader, Router, checked_id, problems

router = Router(prefix="/v1/graph/entities", tags=["graph"])

Limit = Annotated[int, Query(ge=1, le=200)]


@router.get("", responses=problems(422))
def find_entities(
    app: App, caller: Reader, q: Annotated[str, Query(max_length=200)] = "", limit: Limit = 20
) -> EntitiesOut:
    """Entities whose name has `q` in it, the most mentioned first; without `q`, the most mentioned of all."""
    found = app.graph.entities(caller.workspace_id, q, limit)
    return EntitiesOut(
        items=[FoundEntity(**EntityOut.of(entity).model_dump(), passages=passages) for entity, passages in found]
    )


@router.get("/{entity_id}/neighbours", responses=problems(404, 422))
def neighbours(
    app: App,
    caller: Reader,
    entity_id: str,
    depth: Annotated[int, Query(ge=1, le=MAX_DEPTH)] = 1,
    limit: Limit = 50,
) -> NeighbourhoodOut:
    """What is mentioned together with an entity, and the documents that mention it."""
    entity_id = checked_id(entity_id, "entity")
    return NeighbourhoodOut.of(app.graph.neighbourhood(caller.workspace_id, entity_id, depth, limit))
