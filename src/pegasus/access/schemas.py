"""The forms of API keys."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from pegasus.access.repository import ApiKey
from pegasus.schemas import Schema, moment


class KeyIn(Schema):
    name: str = Field(min_length=1, max_length=100, examples=["phone"])


class KeyOut(Schema):
    id: str
    name: str
    hint: str = Field(description="The first characters of the key")
    created_at: datetime
    last_used_at: datetime | None = Field(description="To the minute")
    revoked_at: datetime | None

    @classmethod
    def of(cls, key: ApiKey) -> KeyOut:
        return cls(
            id=key.id,
            name=key.name,
            hint=key.hint,
            created_at=moment(key.created_at),
            last_used_at=moment(key.last_used_at) if key.last_used_at else None,
            revoked_at=moment(key.revoked_at) if key.revoked_at else None,
        )


class KeyCreated(KeyOut):
    key: str = Field(description="The key itself; this is the only time that it is shown")
