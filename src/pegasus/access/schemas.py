"""The forms of API keys, workspaces and audit events."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from pegasus.access.audit import ChainCheck
from pegasus.access.repository import ApiKey, AuditEvent, Workspace
from pegasus.access.scopes import Scope
from pegasus.domain import Rate
from pegasus.errors import Invalid
from pegasus.schemas import Schema, moment, seconds_of

_DAY_SECONDS = 86_400.0


def _a_rate(text: str) -> str:
    try:
        return str(Rate.parse(text))
    except Invalid as error:
        raise ValueError(f"{error.detail} {error.hint}") from error


class KeyIn(Schema):
    name: str = Field(min_length=1, max_length=100, examples=["phone"])
    scope: Scope = Field(default=Scope.WRITE, description="What it may do; each may do all that those before it may")
    expires_in_days: int | None = Field(default=None, ge=1, le=3650, description="Or `expires_at`; none of both: never")
    expires_at: datetime | None = Field(default=None, description="A time to come; without a zone it is UTC")
    rate_limit: Annotated[str, AfterValidator(_a_rate)] | None = Field(
        default=None, max_length=40, description='As "60/minute"; none: the installation\'s'
    )
    max_body_bytes: int | None = Field(default=None, ge=1, lt=2**63, description="None: the installation's")

    @model_validator(mode="after")
    def _one_end(self) -> KeyIn:
        if self.expires_in_days is not None and self.expires_at is not None:
            raise ValueError("give expires_in_days or expires_at, not both")
        return self

    def expiry(self) -> float | None:
        if self.expires_in_days is not None:
            return time.time() + self.expires_in_days * _DAY_SECONDS
        return seconds_of(self.expires_at)

    def rate(self) -> Rate | None:
        return Rate.parse(self.rate_limit) if self.rate_limit else None


class KeyOut(Schema):
    id: str
    name: str
    hint: str = Field(description="The first characters of the key")
    scope: Scope
    created_at: datetime
    expires_at: datetime | None
    rate_limit: str | None = Field(description="None: the installation's")
    max_body_bytes: int | None = Field(description="None: the installation's")
    last_used_at: datetime | None = Field(description="To the minute")
    revoked_at: datetime | None

    @classmethod
    def of(cls, key: ApiKey) -> KeyOut:
        return cls(
            id=key.id,
            name=key.name,
            hint=key.hint,
            scope=key.scope,
            created_at=moment(key.created_at),
            expires_at=_moment_or_none(key.expires_at),
            rate_limit=str(key.rate_limit) if key.rate_limit else None,
            max_body_bytes=key.max_body_bytes,
            last_used_at=_moment_or_none(key.last_used_at),
            revoked_at=_moment_or_none(key.revoked_at),
        )


def _moment_or_none(seconds: float | None) -> datetime | None:
    return None if seconds is None else moment(seconds)


class KeyCreated(KeyOut):
    key: str = Field(description="The key itself; this is the only time that it is shown")


class WorkspaceIn(Schema):
    name: str = Field(min_length=1, max_length=100, examples=["family"])


class WorkspaceOut(Schema):
    id: str
    name: str
    created_at: datetime
    erasing_at: datetime | None = Field(description="Since when it is being erased; its keys open nothing from then on")

    @classmethod
    def of(cls, workspace: Workspace) -> WorkspaceOut:
        return cls(
            id=workspace.id,
            name=workspace.name,
            created_at=moment(workspace.created_at),
            erasing_at=_moment_or_none(workspace.erasing_at),
        )


class WorkspaceCreated(Schema):
    workspace: WorkspaceOut
    key: KeyCreated = Field(description="The first key, to all of the new workspace")


class AuditEventOut(Schema):
    id: str
    at: datetime
    key_id: str | None = Field(description="The key that asked for it; null for what Pegasus did by itself")
    action: str = Field(description="As `document.added`")
    subject_id: str = Field(description="What it was done to; of a batch or an archive, its job")
    outcome: str
    request_id: str | None = Field(description="As in the answer's `X-Request-Id` and the log")
    sha256: str = Field(description="Over this event and the `sha256` of the one before it")

    @classmethod
    def of(cls, event: AuditEvent) -> AuditEventOut:
        return cls(
            id=event.id,
            at=moment(event.at),
            key_id=event.key_id,
            action=event.action,
            subject_id=event.subject_id,
            outcome=event.outcome,
            request_id=event.request_id,
            sha256=event.sha256,
        )


class ChainOut(Schema):
    intact: bool
    events: int
    head_sha256: str = Field(description="Of the newest event: note it elsewhere, and pass it as `noted` later")
    broken_at: int | None = Field(description="The first event, counted from 1, that is not as it was written")
    problem: str | None

    @classmethod
    def of(cls, check: ChainCheck) -> ChainOut:
        return cls(
            intact=check.problem is None,
            events=check.events,
            head_sha256=check.head_sha256,
            broken_at=check.broken_at,
            problem=check.problem,
        )
