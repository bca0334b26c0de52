"""The forms of sources and their runs. A kind says where it is in a form of its own; secrets are only named."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, TypeAdapter, model_validator

from pegasus.documents.schemas import Tags
from pegasus.domain import Job, JobState, Source, SourceRun
from pegasus.jobs.schemas import JobOut
from pegasus.schemas import Schema, moment

MIN_EVERY_SECONDS = 60
# Only these can be named, so that a source cannot send another secret of the server's anywhere.
_NAMED_SO = r"^PEGASUS_SECRET_[A-Z0-9_]{1,80}$"

_SecretName = Annotated[
    str,
    Field(
        pattern=_NAMED_SO,
        description="Name of an environment variable of the server, which starts with PEGASUS_SECRET_",
        examples=["PEGASUS_SECRET_MAIL"],
    ),
]
_Path = Annotated[
    str, Field(max_length=4_000, pattern=r"^[^\x00-\x1f\x7f]+$", description="On the server's disk, absolute")
]


def _web_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        host = parts.hostname
        _ = parts.port
    except ValueError as error:
        raise ValueError(f"this is no URL: {error}") from error
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("a URL starts with http:// or https:// and has a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a URL must not have a user or password in it")
    if any(c.isspace() or not c.isprintable() for c in value):
        raise ValueError("a URL has no spaces or control characters")
    return value.partition("#")[0]


WebUrl = Annotated[
    str, Field(min_length=8, max_length=2_000, examples=["https://example.org/feed.xml"]), AfterValidator(_web_url)
]
Globs = Annotated[list[str], Field(max_length=100)]


class FolderOrigin(Schema):
    """Files below a folder. Patterns are of paths below it: `*.md` in any folder, `work/**` all below work."""

    kind: Literal["folder"]
    path: _Path
    include: Globs = Field(default_factory=list, description="None: every file but hidden ones")
    exclude: Globs = Field(default_factory=list)


class FeedOrigin(Schema):
    """An RSS or Atom feed; each entry is a document, kept when the feed drops it."""

    kind: Literal["feed"]
    url: WebUrl


class PageOrigin(Schema):
    """One web page or file on the web."""

    kind: Literal["page"]
    url: WebUrl


class SitemapOrigin(Schema):
    """The pages of a site that its sitemap names and its robots.txt allows."""

    kind: Literal["sitemap"]
    url: WebUrl
    max_pages: int = Field(default=1_000, ge=1, le=50_000)


class BucketOrigin(Schema):
    """The objects of an S3-compatible bucket; unsigned requests where no secrets are named."""

    kind: Literal["bucket"]
    bucket: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{1,254}$")
    prefix: str = Field(default="", max_length=1_000)
    endpoint: WebUrl | None = Field(default=None, description="Of a service other than AWS")
    region: str = Field(default="us-east-1", pattern=r"^[a-z0-9-]{1,40}$")
    access_key_id_secret: _SecretName | None = None
    secret_access_key_secret: _SecretName | None = None

    @model_validator(mode="after")
    def _both_or_none(self) -> BucketOrigin:
        if (self.access_key_id_secret is None) != (self.secret_access_key_secret is None):
            raise ValueError("name both secrets of the bucket, or none")
        return self


class MailboxOrigin(Schema):
    """The messages of one folder of an IMAP account, over TLS."""

    kind: Literal["mailbox"]
    host: str = Field(pattern=r"^[A-Za-z0-9.:_-]{1,255}$", examples=["imap.example.org"])
    port: int = Field(default=993, ge=1, le=65535)
    user: str = Field(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]*$")
    password_secret: _SecretName
    folder: str = Field(default="INBOX", min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]*$")
    tls: bool = Field(default=True, description="False is only taken for loopback")


class MboxOrigin(Schema):
    """The messages in a file of the mbox format."""

    kind: Literal["mbox"]
    path: _Path


class ChatOrigin(Schema):
    """An export of Slack, ChatGPT, WhatsApp or Telegram, as it was downloaded: ZIP, folder or file."""

    kind: Literal["chat"]
    path: _Path


Origin = Annotated[
    FolderOrigin | FeedOrigin | PageOrigin | SitemapOrigin | BucketOrigin | MailboxOrigin | MboxOrigin | ChatOrigin,
    Field(discriminator="kind"),
]
_ORIGIN: TypeAdapter[Any] = TypeAdapter(Origin)


def origin_of(source: Source) -> Any:
    """The origin in its typed form; what it was stored without has its default."""
    return _ORIGIN.validate_python(source.origin)


class SourceIn(Schema):
    name: str = Field(min_length=1, max_length=100, description="Unique in the workspace", examples=["blog"])
    origin: Origin = Field(
        description="Where it is", examples=[{"kind": "feed", "url": "https://example.org/feed.xml"}]
    )
    tags: Tags
    every_seconds: int | None = Field(
        default=None,
        ge=MIN_EVERY_SECONDS,
        le=366 * 86_400,
        description="How often it runs by itself; null: when it is asked to",
        examples=[3600],
    )


class RunOut(Schema):
    """One look at a source. Its job's results tell of each item that was not simply unchanged."""

    id: str = Field(description="The id of its job, too")
    state: JobState
    step: str
    progress: dict[str, Any]
    started_at: datetime
    finished_at: datetime | None
    created: int
    updated: int
    unchanged: int
    erased: int
    failed: int = Field(description="Items that could not be fetched, stored or read")
    held: int = Field(description="Documents that were not erased because so many at once look like a mistake")
    errors: list[dict[str, Any]] = Field(description="The first of them, by item")
    error: dict[str, Any] | None = Field(description="Why the run itself failed, as a problem")

    @classmethod
    def of(cls, run: SourceRun, job: Job, errors: Sequence[dict[str, Any]]) -> RunOut:
        return cls(
            id=run.id,
            state=job.state,
            step=job.step,
            progress=dict(job.progress),
            started_at=moment(job.created_at),
            finished_at=moment(job.updated_at) if job.state.finished else None,
            created=run.created,
            updated=run.updated,
            unchanged=run.unchanged,
            erased=run.erased,
            failed=job.progress["failed"],
            held=run.held,
            errors=list(errors),
            error=dict(job.error) if job.error else None,
        )


class SourceOut(Schema):
    id: str
    name: str
    kind: str
    origin: dict[str, Any]
    tags: list[str]
    every_seconds: int | None
    created_at: datetime
    next_run_at: datetime | None
    documents: int = Field(description="How many documents it names")
    removing: bool
    job: JobOut | None = Field(description="Its newest run, or its removal")

    @classmethod
    def of(cls, source: Source, documents: int, job: Job | None) -> SourceOut:
        return cls(
            id=source.id,
            name=source.name,
            kind=source.kind,
            origin=dict(source.origin),
            tags=list(source.tags),
            every_seconds=source.every_seconds,
            created_at=moment(source.created_at),
            next_run_at=moment(source.next_run_at) if source.next_run_at else None,
            documents=documents,
            removing=source.removing,
            job=JobOut.of(job) if job else None,
        )


class SourceRemoved(Schema):
    job: JobOut | None = Field(description="The erasure of its documents; null where they are kept")
