"""Ask a question, get an answer whose every citation was checked; keep the conversation."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import structlog

from pegasus.chat import repository
from pegasus.chat.citations import verifies
from pegasus.chat.repository import Session
from pegasus.documents import service as documents
from pegasus.domain import Answer, Citation, Filters, FoundPassage, Message
from pegasus.errors import Invalid, NotFound
from pegasus.identifiers import new_id
from pegasus.pagination import Page, page_of
from pegasus.ports import Agent, RelationalStore, Transaction
from pegasus.search.service import SearchService
from pegasus.text.lines import printable

log = structlog.get_logger(__name__)

_MAX_TITLE, _QUESTION_AS_TITLE = 500, 80
_MAX_CONTENT = 4_000
QUOTED_ERASED = "This answer quoted a document that was erased since."
NOTHING_FOUND = "I found nothing in the documents that answers this."


@dataclass(frozen=True, slots=True)
class Event:
    """A step of an answer as it comes about; ``data`` is what the name says."""

    name: Literal["passages", "token", "citation", "done"]
    data: Sequence[FoundPassage] | str | Citation | Answer

    @property
    def answer(self) -> Answer:
        """The whole answer, which the last event of a stream has."""
        if not isinstance(self.data, Answer):
            raise TypeError(f"a {self.name!r} event has no answer")
        return self.data


class ChatService:
    def __init__(self, relational: RelationalStore, search: SearchService, agent: Agent) -> None:
        self._relational, self._search, self._agent = relational, search, agent

    def ask(self, workspace_id: str, question: str, *, limit: int = 8, filters: Filters = Filters()) -> Answer:
        """The answer with its checked citations, or one that says that nothing was found, with what is nearest."""
        *_, last = self.stream(workspace_id, question, limit=limit, filters=filters)
        return last.answer

    def stream(
        self, workspace_id: str, question: str, *, limit: int = 8, filters: Filters = Filters()
    ) -> Iterator[Event]:
        """``passages``, then ``token`` and ``citation`` in turn, then ``done`` with the whole answer."""
        passages = self._search.search(workspace_id, question, limit=limit, filters=filters)
        yield Event("passages", passages)
        draft = self._agent.answer(question, passages)
        parts: list[str] = []
        citations: list[Citation] = []
        for text, citation in draft.parts if draft.found else ():
            checked = self._checked(workspace_id, citation) if citation else None
            if citation and not checked:
                continue  # Erased or changed while the answer was being written: it must not be said any more.
            parts.append(text)
            yield Event("token", text if len(parts) == 1 else f" {text}")
            if checked and checked not in citations:
                citations.append(checked)
                yield Event("citation", checked)
        if not parts:
            yield Event("token", NOTHING_FOUND)
        answer = Answer(
            " ".join(parts) or NOTHING_FOUND, citations, self._agent.name, bool(parts), () if parts else passages[:3]
        )
        yield Event("done", answer)

    def _checked(self, workspace_id: str, citation: Citation) -> Citation | None:
        with self._relational.read(workspace_id) as tx:
            if verifies(tx, workspace_id, citation):
                return citation
        log.warning("chat.citation_withheld", document_id=citation.document_id, version=citation.version)
        return None

    def converse(
        self, workspace_id: str, session_id: str, content: str, when_kept: Callable[[Transaction, Answer], None]
    ) -> Iterator[Event]:
        """Answer a message of a session; question and answer are kept when the answer is complete.

        ``when_kept`` is called in the transaction that keeps them, and may undo it by raising.
        """
        content = content.strip()
        if not content or len(content) > _MAX_CONTENT:
            raise Invalid(f"A message has 1 to {_MAX_CONTENT:,} characters.")
        with self._relational.read(workspace_id) as tx:
            session = get_session(tx, workspace_id, session_id)
        asked_at = time.time()
        for event in self.stream(workspace_id, content):
            if isinstance(event.data, Answer):
                self._keep(session, content, asked_at, event.data, when_kept)
            yield event

    def _keep(
        self, session: Session, content: str, asked_at: float, answer: Answer,
        when_kept: Callable[[Transaction, Answer], None],
    ) -> None:  # fmt: skip
        question = Message(new_id(), session.id, "user", content, asked_at)
        reply = Message(new_id(), session.id, "assistant", answer.text, time.time(), answer.citations, answer.model)
        with self._relational.write(session.workspace_id) as tx:
            get_session(tx, session.workspace_id, session.id)
            repository.insert_message(tx, question)
            repository.insert_message(tx, reply)
            title = session.title or " ".join(content.split())[:_QUESTION_AS_TITLE]
            repository.touch(tx, session.id, title, time.time())
            when_kept(tx, answer)


def create_session(tx: Transaction, workspace_id: str, title: str) -> Session:
    now = time.time()
    session = Session(new_id(), workspace_id, printable("title", title, _MAX_TITLE), now, now)
    repository.insert_session(tx, session)
    return session


def get_session(tx: Transaction, workspace_id: str, session_id: str) -> Session:
    session = repository.get_session(tx, workspace_id, session_id)
    if session is None:
        raise NotFound(f"There is no session {session_id}.", hint="Create one with POST /v1/sessions.")
    return session


def list_sessions(tx: Transaction, workspace_id: str, cursor: str | None, limit: int) -> Page[Session]:
    return page_of(repository.list_sessions(tx, workspace_id, cursor, limit + 1), limit)


def messages(tx: Transaction, workspace_id: str, session_id: str) -> list[Message]:
    """The conversation in order. A citation whose document was erased since is left out."""
    get_session(tx, workspace_id, session_id)
    return [
        replace(message, citations=[c for c in message.citations if verifies(tx, workspace_id, c)])
        for message in repository.messages(tx, session_id)
    ]


def delete_session(tx: Transaction, workspace_id: str, session_id: str) -> None:
    get_session(tx, workspace_id, session_id)
    repository.delete_session(tx, session_id)


def citing_gone_documents(tx: Transaction, workspace_id: str) -> dict[str, list[str]]:
    """Documents that are not there any more, with the messages that still cite them."""
    found: dict[str, list[str]] = {}
    gone: dict[str, bool] = {}
    for message in repository.citing(tx, workspace_id):
        for document_id in {citation.document_id for citation in message.citations}:
            if document_id not in gone:
                gone[document_id] = documents.find(tx, workspace_id, document_id) is None
            if gone[document_id]:
                found.setdefault(document_id, []).append(message.id)
    return found


def count_citing(tx: Transaction, workspace_id: str, document_id: str) -> int:
    return len(repository.messages_citing(tx, workspace_id, document_id))


def forget_document(tx: Transaction, workspace_id: str, document_id: str) -> int:
    """Take the words of a document that is erased out of the answers that quoted it; how many these were."""
    quoting = repository.messages_citing(tx, workspace_id, document_id)
    for message in quoting:
        left = [citation for citation in message.citations if citation.document_id != document_id]
        repository.replace_content(tx, message.id, QUOTED_ERASED, left)
    return len(quoting)
