"""The words of Pegasus: what a document, a passage, a citation, a job are, free of any store or framework.

Offsets are counted in Unicode code points of the stored text, half open: ``text[start:end]``. Times are UTC seconds
since the epoch (``float``) inside, RFC 3339 at the edges.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pegasus.errors import Invalid


class DocumentState(StrEnum):
    """Where a document's current version stands; ``searchable`` means by words, ``ready`` by words and by meaning."""

    RECEIVED = "received"
    SEARCHABLE = "searchable"
    READY = "ready"
    FAILED = "failed"
    ERASING = "erasing"


@dataclass(frozen=True, slots=True)
class Document:
    id: str
    workspace_id: str
    title: str
    uri: str | None
    media_type: str
    version: int
    sha256: str
    size_bytes: int
    state: DocumentState
    tags: tuple[str, ...]
    metadata: Mapping[str, Any]
    created_at: float
    updated_at: float
    error: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class DocumentText:
    """The stored text of one version, in which every offset counts."""

    document_id: str
    version: int
    text: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading that stands in the text as a line of its own, at ``start``; level 1 is the highest."""

    start: int
    level: int
    title: str


@dataclass(frozen=True, slots=True)
class Link:
    """A reference from a document to ``target``: a URL, a relative path, or the name in a ``[[wiki link]]``."""

    target: str
    label: str
    kind: str  # "hyperlink" or "wiki"


@dataclass(frozen=True, slots=True)
class Extraction:
    """What a reader got out of a file: plain text, and where its headings and links are."""

    text: str
    title: str | None = None
    headings: Sequence[Heading] = ()
    links: Sequence[Link] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stretch of a text that is indexed as one: ``text == document_text[start:end]``."""

    start: int
    end: int
    text: str
    heading: str  # the path of headings above it, " > " between them; "" at the top


@dataclass(frozen=True, slots=True)
class Entity:
    id: str
    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk as it is stored and found."""

    id: str
    document_id: str
    version: int
    title: str
    heading: str
    text: str
    start: int
    end: int
    sha256: str
    embedded: bool


@dataclass(frozen=True, slots=True)
class FoundPassage:
    passage: Passage
    score: float
    ranks: Mapping[str, int]  # by "lexical", "semantic", "graph": 1 is the best
    highlights: Sequence[tuple[int, int]] = ()  # spans in the document's text
    similarity: float | None = None  # cosine of query and passage, where the meaning was compared


@dataclass(frozen=True, slots=True)
class Citation:
    """A claim that ``quote`` stands in the document's version at ``start:end``, and its SHA-256."""

    document_id: str
    version: int
    start: int
    end: int
    sha256: str
    quote: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    text: str
    citations: Sequence[Citation]
    model: str
    found: bool
    nearest: Sequence[FoundPassage] = ()


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    DEAD = "dead"
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        return self not in (JobState.QUEUED, JobState.RUNNING)


class Lane(StrEnum):
    """Which workers run a job's next step: reading is quick and makes findable, indexing is slow and embeds, fetching
    waits for other machines."""

    READ = "read"
    INDEX = "index"
    FETCH = "fetch"


@dataclass(frozen=True, slots=True)
class Job:
    id: str
    workspace_id: str
    kind: str
    state: JobState
    lane: Lane
    step: str
    attempts: int
    priority: int
    created_at: float
    updated_at: float
    document_id: str | None = None
    version: int | None = None
    parent_id: str | None = None
    progress: Mapping[str, Any] = field(default_factory=dict)
    payload: Mapping[str, Any] = field(default_factory=dict)
    result: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
    lease_owner: str | None = None
    started_at: float | None = None  # when its present or last attempt began
    traceparent: str | None = None  # of the trace that asked for it, as W3C writes it
    crashes: int = 0  # attempts at the present step whose worker ended without an answer


class Outcome(StrEnum):
    """How an attempt at a job ended that did not do it."""

    FAILED = "failed"  # it said why
    LOST = "lost"  # its worker ended without a word
    STUCK = "stuck"  # it showed no progress for too long and was given up


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt at a job that ended badly; ``number`` counts them over all steps."""

    number: int
    step: str
    worker: str
    started_at: float
    ended_at: float
    outcome: Outcome
    error: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Source:
    """Where documents come from by themselves. ``origin`` says where that is, in the form that its kind has."""

    id: str
    workspace_id: str
    name: str
    kind: str
    origin: Mapping[str, Any]
    tags: tuple[str, ...]
    every_seconds: int | None
    created_at: float
    next_run_at: float | None = None
    removing: bool = False
    job_id: str | None = None  # the newest run, or the removal
    listing_token: str | None = None


@dataclass(frozen=True, slots=True)
class SourceRun:
    """One look at a source, which is a job of the same id; counts are of items."""

    id: str
    source_id: str
    complete: bool  # whether what it did not see is gone at the source
    listing_token: str | None
    created: int
    updated: int
    unchanged: int
    erased: int
    held: int  # documents whose erasure waits for a person's word


@dataclass(frozen=True, slots=True)
class Message:
    id: str
    session_id: str
    role: str  # "user" or "assistant"
    content: str
    created_at: float
    citations: Sequence[Citation] = ()
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Filters:
    """Which documents a search may return: any of the tags, and created in the half-open time range."""

    tags: tuple[str, ...] = ()
    since: float | None = None
    until: float | None = None

    def __bool__(self) -> bool:
        return bool(self.tags) or self.since is not None or self.until is not None


_RATE = re.compile(r"([1-9][0-9]{0,8})/(second|minute|hour|day)")
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
# Sums of thousands of small numbers: a request must not be refused for the last digit.
ROUNDING_SECONDS = 1e-6


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests in so many seconds."""

    amount: int
    unit: str

    @classmethod
    def parse(cls, text: str) -> Rate:
        """From "600/minute". Raises ``Invalid``."""
        found = _RATE.fullmatch(text)
        if not found:
            raise Invalid(f"{text[:40]!r} is not a rate.", hint='Say it as "600/minute"; also second, hour, day.')
        return cls(int(found[1]), found[2])

    @property
    def seconds(self) -> int:
        return _SECONDS[self.unit]

    def within(self, other: Rate) -> bool:
        """Whether whoever keeps to this rate keeps to the other, too."""
        return self.amount <= other.amount and self.amount * other.seconds <= other.amount * self.seconds

    def __str__(self) -> str:
        return f"{self.amount}/{self.unit}"


@dataclass(frozen=True, slots=True)
class Allowance:
    """Where somebody stands with a rate after asking to take one request of it."""

    rate: Rate
    granted: bool
    remaining: int
    reset_seconds: float  # until all of it is there again
    retry_seconds: float  # until the next one; 0 when there is one

    @classmethod
    def of(cls, rate: Rate, owed_seconds: float, *, granted: bool) -> Allowance:
        """Of who has yet to wait ``owed_seconds`` until nothing is counted any more."""
        cost = rate.seconds / rate.amount
        # A bucket that was drained at a higher rate may be fuller than this one is large.
        remaining = max(0, int((rate.seconds - owed_seconds + ROUNDING_SECONDS) / cost))
        retry_seconds = 0.0 if granted else owed_seconds + cost - rate.seconds
        return cls(rate, granted, remaining, owed_seconds, retry_seconds)
