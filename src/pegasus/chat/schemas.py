"""The forms of questions, answers and sessions."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from pegasus.chat.repository import Session
from pegasus.domain import Answer, Citation, Message
from pegasus.schemas import Schema, Sha256, moment
from pegasus.search.schemas import FilteredIn, Limit, PassageOut
from pegasus.search.service import MAX_QUERY_CHARACTERS


class AskIn(FilteredIn):
    question: str = Field(
        min_length=1, max_length=MAX_QUERY_CHARACTERS, examples=["When does the northern route close?"]
    )
    limit: Limit = Field(default=8, description="How many passages the answer may draw on")


class CitationOut(Schema):
    """`quote` stands in the content of that version from `start` to `end`, and `sha256` is the quote's."""

    document_id: str
    version: int
    start: int
    end: int
    sha256: Sha256
    quote: str
    title: str

    @classmethod
    def of(cls, citation: Citation) -> CitationOut:
        return cls(
            document_id=citation.document_id,
            version=citation.version,
            start=citation.start,
            end=citation.end,
            sha256=citation.sha256,
            quote=citation.quote,
            title=citation.title,
        )


class AnswerOut(Schema):
    answer: str
    citations: list[CitationOut]
    model: str
    found: bool = Field(description="false: the documents do not answer this; `nearest` is what comes closest")
    nearest: list[PassageOut]

    @classmethod
    def of(cls, answer: Answer) -> AnswerOut:
        return cls(
            answer=answer.text,
            citations=[CitationOut.of(citation) for citation in answer.citations],
            model=answer.model,
            found=answer.found,
            nearest=[PassageOut.of(passage) for passage in answer.nearest],
        )


class SessionIn(Schema):
    title: str = Field(
        default="", max_length=500, description="Empty: the first question becomes the title", examples=["Roof repairs"]
    )


class SessionOut(Schema):
    id: str
    title: str
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, session: Session) -> SessionOut:
        return cls(
            id=session.id,
            title=session.title,
            created_at=moment(session.created_at),
            updated_at=moment(session.updated_at),
        )


class MessageIn(Schema):
    content: str = Field(min_length=1, max_length=4_000, examples=["Who has the keys to the hut?"])


class MessageOut(Schema):
    id: str
    role: str
    content: str
    citations: list[CitationOut]
    model: str | None
    created_at: datetime

    @classmethod
    def of(cls, message: Message) -> MessageOut:
        return cls(
            id=message.id,
            role=message.role,
            content=message.content,
            citations=[CitationOut.of(citation) for citation in message.citations],
            model=message.model,
            created_at=moment(message.created_at),
        )


class SessionWithMessages(SessionOut):
    messages: list[MessageOut]
