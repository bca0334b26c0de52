"""The form of a workspace's usage in responses."""

from __future__ import annotations

from pydantic import Field

from pegasus.domain import DocumentState, JobState
from pegasus.schemas import Schema
from pegasus.usage.service import Usage


class QueueOut(Schema):
    waiting: int = Field(description="Jobs that are queued, those that wait for another try included")
    oldest_seconds: float | None = Field(description="The age of the oldest of them")


class UsageOut(Schema):
    documents: dict[DocumentState, int] = Field(description="By state", examples=[{"ready": 120, "failed": 1}])
    original_bytes: int = Field(description="Of the documents' current versions, as they were handed in")
    text_characters: int = Field(description="Of all stored texts, older versions included")
    passages: int
    passages_indexed: int = Field(description="Of these found by meaning and in the graph, too")
    entities: int
    jobs: dict[JobState, int] = Field(description="By state")
    queue: QueueOut

    @classmethod
    def of(cls, usage: Usage) -> UsageOut:
        return cls(
            documents=dict(usage.documents.by_state),
            original_bytes=usage.documents.original_bytes,
            text_characters=usage.documents.text_characters,
            passages=usage.index.passages,
            passages_indexed=usage.index.indexed,
            entities=usage.index.entities,
            jobs=dict(usage.jobs),
            queue=QueueOut(waiting=usage.jobs[JobState.QUEUED], oldest_seconds=usage.oldest_waiting_seconds),
        )
