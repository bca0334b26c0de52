"""The forms of jobs in responses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Self

from pydantic import Field

from pegasus.domain import Attempt, Job, JobState, Outcome
from pegasus.schemas import Schema, moment


class JobOut(Schema):
    id: str
    kind: str = Field(examples=["ingest"])
    state: JobState
    step: str = Field(description="What it does now, or would do next", examples=["embed"])
    progress: dict[str, Any] = Field(examples=[{"done": 12, "total": 40}])
    attempts: int = Field(
        description="How often the present step has been started, but for those starts that found a store away"
    )
    document_id: str | None
    version: int | None
    parent_id: str | None = Field(description="The batch or archive that it belongs to")
    result: dict[str, Any] | None
    error: dict[str, Any] | None = Field(description="Why the last attempt failed, as a problem")
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, job: Job) -> Self:
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


class AttemptOut(Schema):
    number: int = Field(
        description="Counts the attempts that ended badly over all steps; of many the first and the last are kept"
    )
    step: str
    worker: str = Field(description="Who tried; each life of a worker has a name of its own")
    started_at: datetime
    ended_at: datetime
    outcome: Outcome = Field(
        description="`failed` said why, `lost` ended without a word, `stuck` was given up for want of progress"
    )
    error: dict[str, Any] = Field(description="As a problem")

    @classmethod
    def of(cls, attempt: Attempt) -> AttemptOut:
        return cls(
            number=attempt.number,
            step=attempt.step,
            worker=attempt.worker,
            started_at=moment(attempt.started_at),
            ended_at=moment(attempt.ended_at),
            outcome=attempt.outcome,
            error=dict(attempt.error),
        )


class JobDetail(JobOut):
    history: list[AttemptOut] = Field(default=[], description="The attempts that ended badly, the oldest first")

    @classmethod
    def with_history(cls, job: Job, attempts: Sequence[Attempt]) -> JobDetail:
        return cls.of(job).model_copy(update={"history": [AttemptOut.of(attempt) for attempt in attempts]})


class JobsRetried(Schema):
    retried: int = Field(description="How many dead letters were queued again")
