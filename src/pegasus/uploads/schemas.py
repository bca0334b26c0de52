"""The forms of uploads in requests and responses."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from pegasus.schemas import Schema, Sha256, moment
from pegasus.uploads.service import Announced


class UploadIn(Schema):
    """A file that is to be sent by itself. Whoever takes it refuses any other bytes than these."""

    filename: str | None = Field(
        default=None, max_length=1_000, description="Its ending tells the format", examples=["report.pdf"]
    )
    content_type: str | None = Field(default=None, max_length=200, examples=["application/pdf"])
    size_bytes: int = Field(ge=0, lt=2**63, examples=[73_400_320])
    sha256: Sha256 = Field(examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"])


class UploadOut(Schema):
    """How to send the file: this method, to this URL, with these headers and its Content-Length, and without a key."""

    id: str
    method: Literal["PUT"] = "PUT"
    url: str
    headers: dict[str, str]
    expires_at: datetime = Field(description="Until then sending may begin; for a day the upload may be handed in")

    @classmethod
    def of(cls, announced: Announced, url: str) -> UploadOut:
        """``url``: the API's own, for where there is no other."""
        direct = announced.direct
        return cls(
            id=announced.upload.id,
            url=direct.url if direct else url,
            headers=dict(direct.headers) if direct else {},
            expires_at=moment(announced.expires_at),
        )
