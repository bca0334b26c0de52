"""The forms of jobs in responses."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from pegasus.domain import Job, JobState
from pegasus.schemas import Schema, moment


class JobOut(Schema):
    id: str
    kind: str = Field(examples=["ingest"])
    state: JobState
    step: str = Field(description="What it does now, or would do next", examples=["embed"])
    progress: dict[str, Any] = Field(examples=[{"done": 12, "total": 40}])
    attempts: int = Field(description="How often the present step has been started")
    document_id: str | None
    version: int | None
    parent_id: str | None = Field(description="The batch or archive that it belongs to")
    result: dict[str, Any] | None
    error: dict[str, Any] | None = Field(description="Why the last attempt failed, as a problem")
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, job: Job) -> JobOut:
        return cls(
            id=job.id,
            kind=job.kind,
            state=job.state,
            step=job.step,
            progress=dict(job.progress),
            attempts=job.attempts,
            document_id=job.document_id,
            version=job.version,
            parent_id=job.parent_id,
            result=dict(job.result) if job.result is not None else None,
            error=dict(job.error) if job.error else None,
            created_at=moment(job.created_at),
            updated_at=moment(job.updated_at),
        )
