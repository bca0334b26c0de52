"""Questions, answers and sessions over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Annotated, Any

from fastapi import Depends, Header, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from pegasus.access.service import Reply, note, once, recall, remember
from pegasus.chat import service
from pegasus.chat.schemas import (
    AnswerOut,
    AskIn,
    CitationOut,
    MessageIn,
    MessageOut,
    SessionIn,
    SessionOut,
    SessionWithMessages,
)
from pegasus.chat.service import Event
from pegasus.domain import Answer, Citation
from pegasus.errors import Conflict
from pegasus.identifiers import sha256_hex
from pegasus.pagination import checked_cursor
from pegasus.ports import Transaction
from pegasus.schemas import Cursor, PageOf
from pegasus.search.schemas import PassageOut
from pegasus.web import App, Reader, Router, Writer, checked_id, counted_ask, event, problems, stream, wants_events

router = Router(prefix="/v1", tags=["answers"])

IdempotencyKey = Annotated[
    str | None,
    Header(description="Any string; the same request with the same key is done once", min_length=1, max_length=200),
]
_EVENTS = {
    "text/event-stream": {
        "example": 'event: token\ndata: {"text": "The northern route closes in November."}\n\n',
    }
}


@router.post("/ask", responses=problems(422), response_model=AnswerOut, dependencies=[Depends(counted_ask)])
def ask(request: Request, app: App, caller: Reader, given: AskIn) -> AnswerOut | StreamingResponse:
    """Answer from the documents, each sentence with a citation that was checked just now.

    With `Accept: text/event-stream` the answer comes as events, as for a session's message.
    """
    options: dict[str, Any] = {"limit": given.limit, "filters": given.filters()}
    if wants_events(request):
        return _streamed(app.chat.stream(caller.workspace_id, given.question, **options))
    return AnswerOut.of(app.chat.ask(caller.workspace_id, given.question, **options))


def _encoded(item: Event) -> bytes:
    match item.data:
        case str(text):
            return event(item.name, {"text": text})
        case Citation() as citation:
            return event(item.name, CitationOut.of(citation))
        case Answer() as answer:
            return event(item.name, AnswerOut.of(answer))
        case passages:
            return event(item.name, {"passages": [PassageOut.of(p).model_dump(mode="json") for p in passages]})


@router.post("/sessions", status_code=201, responses=problems(409, 422), response_model=SessionOut)
def create_session(app: App, caller: Writer, given: SessionIn, idempotency_key: IdempotencyKey = None) -> JSONResponse:
    """Begin a conversation; its messages are kept."""

    def act() -> Reply:
        session = service.create_session(tx, caller.workspace_id, given.title)
        note(tx, caller, "session.created", session.id)
        return Reply(201, SessionOut.of(session).model_dump(mode="json"))

    with app.relational.write(caller.workspace_id) as tx:
        fingerprint = sha256_hex("sessions\0" + given.model_dump_json())
        reply = once(tx, caller.workspace_id, idempotency_key, fingerprint, act)
    return JSONResponse(reply.body, reply.status)


@router.get("/sessions", responses=problems(422))
def list_sessions(
    app: App, caller: Reader, cursor: Cursor = None, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> PageOf[SessionOut]:
    """Sessions, newest first."""
    with app.relational.read(caller.workspace_id) as tx:
        page = service.list_sessions(tx, caller.workspace_id, checked_cursor(cursor), limit)
    return PageOf(items=[SessionOut.of(session) for session in page.items], next_cursor=page.next_cursor)


@router.get("/sessions/{session_id}", responses=problems(404, 422))
def read_session(app: App, caller: Reader, session_id: str) -> SessionWithMessages:
    """A session with its messages in order."""
    with app.relational.read(caller.workspace_id) as tx:
        session = service.get_session(tx, caller.workspace_id, checked_id(session_id, "session"))
        messages = service.messages(tx, caller.workspace_id, session_id)
    found = SessionOut.of(session)
    return SessionWithMessages(**found.model_dump(), messages=[MessageOut.of(message) for message in messages])


@router.delete("/sessions/{session_id}", status_code=204, responses=problems(404, 422))
def delete_session(app: App, caller: Writer, session_id: str) -> Response:
    """Delete a session and its messages."""
    with app.relational.write(caller.workspace_id) as tx:
        service.delete_session(tx, caller.workspace_id, checked_id(session_id, "session"))
        note(tx, caller, "session.deleted", session_id)
    return Response(status_code=204)


@router.post(
    "/sessions/{session_id}/messages",
    response_model=AnswerOut,
    dependencies=[Depends(counted_ask)],
    responses={200: {"content": _EVENTS, "description": "The answer, or its events"}, **problems(404, 409, 422)},
)
def post_message(
    request: Request,
    app: App,
    caller: Writer,
    session_id: str,
    given: MessageIn,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Ask within a session.

    With `Accept: text/event-stream`: `passages`, then `token` and `citation` in turn, then `done` with the whole
    answer; `error` with a problem if it cannot be completed. A comment comes at once and every 15 s.
    """
    fingerprint = sha256_hex(f"messages\0{checked_id(session_id, 'session')}\0{given.content}")
    with app.relational.read(caller.workspace_id) as tx:
        service.get_session(tx, caller.workspace_id, session_id)
        known = recall(tx, caller.workspace_id, idempotency_key, fingerprint) if idempotency_key else None
    if known:
        return stream(iter([event("done", known.body)])) if wants_events(request) else JSONResponse(known.body)

    def remember_reply(tx: Transaction, answer: Answer) -> None:
        if idempotency_key is None:
            return
        if recall(tx, caller.workspace_id, idempotency_key, fingerprint):
            raise Conflict(
                "The same request has been answered meanwhile.", hint="Send it once more to get that answer."
            )
        reply = Reply(200, AnswerOut.of(answer).model_dump(mode="json"))
        remember(tx, caller.workspace_id, idempotency_key, fingerprint, reply)

    events = app.chat.converse(caller.workspace_id, session_id, given.content, remember_reply)
    if wants_events(request):
        return _streamed(events)
    *_, last = events
    return Response(AnswerOut.of(last.answer).model_dump_json(), media_type="application/json")


def _streamed(events: Iterator[Event]) -> StreamingResponse:
    """The first event is awaited before the headers go out: what is wrong with a request still has its status."""
    first = next(events)
    return stream(map(_encoded, chain([first], events)))
