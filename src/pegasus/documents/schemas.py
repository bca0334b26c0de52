"""The forms of documents in requests and responses."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, ValidationError

from pegasus.documents.service import Added
from pegasus.domain import Document, DocumentState, DocumentText
from pegasus.jobs.schemas import JobOut
from pegasus.schemas import Schema, Sha256, moment

Tags = Annotated[list[str], Field(default_factory=list, max_length=50, examples=[["work", "2026"]])]


class DocumentIn(Schema):
    """A text to keep. The same content again is the same document; new content at a known `uri` a new version."""

    title: str | None = Field(
        default=None,
        max_length=500,
        description="Without one: the first heading of the text, else its uri",
        examples=["Notes on the northern route"],
    )
    text: str = Field(min_length=1, examples=["The northern route closes in November. Anna has the keys to the hut."])
    uri: str | None = Field(
        default=None,
        max_length=2_000,
        description="Where it comes from; new content at the same uri is a new version",
        examples=["note://northern-route"],
    )
    tags: Tags
    metadata: dict[str, Any] = Field(default_factory=dict, examples=[{"author": "Anna"}])


class DocumentOfUploadIn(Schema):
    """A file to keep that was sent before: what else is known of it. See `/v1/uploads`."""

    upload_id: str = Field(max_length=100)
    title: str | None = Field(default=None, max_length=500)
    uri: str | None = Field(default=None, max_length=2_000)
    tags: Tags
    metadata: dict[str, Any] = Field(default_factory=dict)


class DocumentOut(Schema):
    id: str
    title: str
    uri: str | None
    media_type: str
    version: int
    sha256: Sha256 = Field(description="SHA-256 of the content as it was handed in")
    size_bytes: int
    state: DocumentState = Field(description="searchable: found by words; ready: by words, meaning and graph")
    tags: list[str]
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    error: dict[str, Any] | None = Field(description="Why it could not be read, as a problem")

    @classmethod
    def of(cls, document: Document) -> DocumentOut:
        return cls(
            id=document.id,
            title=document.title,
            uri=document.uri,
            media_type=document.media_type,
            version=document.version,
            sha256=document.sha256,
            size_bytes=document.size_bytes,
            state=document.state,
            tags=list(document.tags),
            metadata=dict(document.metadata),
            created_at=moment(document.created_at),
            updated_at=moment(document.updated_at),
            error=dict(document.error) if document.error else None,
        )


class DocumentAdded(Schema):
    document: DocumentOut | None = Field(description="null for an archive, whose members are the job's results")
    job: JobOut | None = Field(description="null when the content is known already")

    @classmethod
    def of(cls, added: Added) -> DocumentAdded:
        return cls(document=DocumentOut.of(added.document), job=JobOut.of(added.job) if added.job else None)


class ContentOut(Schema):
    """The text that all offsets count in, in Unicode code points, and its own SHA-256."""

    document_id: str
    version: int
    text: str
    sha256: Sha256

    @classmethod
    def of(cls, text: DocumentText) -> ContentOut:
        return cls(document_id=text.document_id, version=text.version, text=text.text, sha256=text.sha256)


class JobAccepted(Schema):
    job: JobOut


def first_error(error: ValidationError) -> str:
    """The first thing that is wrong with a form, for a person."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else first["msg"]
