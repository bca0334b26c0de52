"""The forms of entities and their neighbourhoods."""

from __future__ import annotations

from pydantic import Field

from pegasus.domain import Entity
from pegasus.graph.service import Neighbourhood
from pegasus.schemas import Schema


class EntityOut(Schema):
    id: str
    name: str
    kind: str = Field(examples=["name"])

    @classmethod
    def of(cls, entity: Entity) -> EntityOut:
        return cls(id=entity.id, name=entity.name, kind=entity.kind)


class FoundEntity(EntityOut):
    passages: int = Field(description="How many passages mention it")


class EntitiesOut(Schema):
    items: list[FoundEntity]


class NeighbourOut(EntityOut):
    depth: int = Field(description="Steps away; a step is a passage that mentions both")
    passages: int = Field(description="Passages that it shares with entities one step nearer")


class MentioningDocumentOut(Schema):
    id: str
    title: str
    passages: int
    links_to: list[str] = Field(description="Which others of these documents it links to")


class NeighbourhoodOut(Schema):
    entity: EntityOut
    neighbours: list[NeighbourOut]
    documents: list[MentioningDocumentOut]

    @classmethod
    def of(cls, found: Neighbourhood) -> NeighbourhoodOut:
        return cls(
            entity=EntityOut.of(found.entity),
            neighbours=[
                NeighbourOut(**EntityOut.of(n.entity).model_dump(), depth=n.depth, passages=n.passages)
                for n in found.neighbours
            ],
            documents=[
                MentioningDocumentOut(
                    id=d.document.id, title=d.document.title, passages=d.passages, links_to=list(d.links_to)
                )
                for d in found.documents
            ],
        )
