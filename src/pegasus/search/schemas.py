"""The forms of searches and passages."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pegasus.domain import Filters, FoundPassage
from pegasus.schemas import Moment, Schema, Sha256, seconds_of
from pegasus.search.service import MAX_LIMIT, MAX_QUERY_CHARACTERS, Mode

Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT)]


class FilteredIn(Schema):
    tags: list[str] = Field(default_factory=list, max_length=50, description="Documents with any of these tags")
    since: Moment | None = Field(default=None, description="Documents created at this time or later")
    until: Moment | None = Field(default=None, description="Documents created before this time")

    def filters(self) -> Filters:
        return Filters(tuple(self.tags), seconds_of(self.since), seconds_of(self.until))


class SearchIn(FilteredIn):
    query: str = Field(min_length=1, max_length=MAX_QUERY_CHARACTERS, examples=["when does the northern route close?"])
    limit: Limit = Field(default=10, description="How many passages to return")
    mode: Mode = Field(default=Mode.HYBRID, description="hybrid is never worse than the better of the others")


class RanksOut(Schema):
    """Where each side had the passage, 1 being the best; null where it did not find it."""

    lexical: int | None = None
    semantic: int | None = None
    graph: int | None = None


class PassageOut(Schema):
    """`text` is the document's text from `start` to `end`, in Unicode code points."""

    passage_id: str
    document_id: str
    version: int
    title: str
    heading: str = Field(description="The headings above it, outermost first")
    text: str
    start: int
    end: int
    sha256: Sha256 = Field(description="SHA-256 of `text`")
    score: float
    ranks: RanksOut
    indexed_by: list[str] = Field(description="What it can be found by at present", examples=[["words", "meaning"]])
    highlights: list[tuple[int, int]] = Field(description="Spans of the query's words, in the document's text")

    @classmethod
    def of(cls, found: FoundPassage) -> PassageOut:
        passage = found.passage
        return cls(
            passage_id=passage.id,
            document_id=passage.document_id,
            version=passage.version,
            title=passage.title,
            heading=passage.heading,
            text=passage.text,
            start=passage.start,
            end=passage.end,
            sha256=passage.sha256,
            score=round(found.score, 6),
            ranks=RanksOut(**found.ranks),
            indexed_by=["words", "meaning"] if passage.embedded else ["words"],
            highlights=list(found.highlights),
        )


class SearchOut(Schema):
    passages: list[PassageOut]
    took_ms: float
