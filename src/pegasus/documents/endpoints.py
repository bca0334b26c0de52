"""Documents over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any

from fastapi import Header, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import TypeAdapter, ValidationError
from starlette.datastructures import FormData, UploadFile

from pegasus.access.service import Principal, Reply, note, once, recall, remember
from pegasus.application import Application
from pegasus.documents import service
from pegasus.documents.schemas import (
    ContentOut,
    DocumentAdded,
    DocumentIn,
    DocumentOfUploadIn,
    DocumentOut,
    JobAccepted,
    first_error,
)
from pegasus.domain import Job
from pegasus.errors import Invalid, Unavailable, UnsupportedFormat
from pegasus.identifiers import sha256_hex
from pegasus.ingestion import intake
from pegasus.ingestion.batch import BatchIntake
from pegasus.integrity import erasure
from pegasus.jobs.schemas import JobOut
from pegasus.pagination import checked_cursor
from pegasus.ports import Transaction
from pegasus.schemas import Cursor, PageOf
from pegasus.sources import service as sources
from pegasus.threads import on_thread
from pegasus.uploads import service as uploads
from pegasus.web import App, Reader, Router, Writer, checked_id, problems

router = Router(prefix="/v1/documents", tags=["documents"])

_METADATA = TypeAdapter(dict[str, Any])

IdempotencyKey = Annotated[
    str | None,
    Header(description="Any string; the same request with the same key is done once", min_length=1, max_length=200),
]

_BATCH_TYPES = ("application/x-ndjson", "application/ndjson", "application/jsonl", "")
# Stands for the request in place of its body's digest, which is only known when the stream has ended.
_BATCH = sha256_hex("batch")

_UPLOAD_SCHEMA = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": {"type": "string", "format": "binary", "description": "A document, or a ZIP of documents"},
        "title": {"type": "string"},
        "uri": {"type": "string"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "metadata": {"type": "string", "description": "A JSON object"},
    },
}
_ADD_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"anyOf": [DocumentIn.model_json_schema(), DocumentOfUploadIn.model_json_schema()]},
                "example": {"title": "Hut", "text": "Anna has the keys to the hut.", "tags": ["trip"]},
            },
            "multipart/form-data": {
                "schema": _UPLOAD_SCHEMA,
                "example": {"file": "report.pdf", "title": "Report", "tags": ["work"], "metadata": '{"year": 2026}'},
            },
        },
    }
}


@router.post(
    "",
    status_code=202,
    response_model=DocumentAdded,
    responses={
        200: {"model": DocumentAdded, "description": "The same content is there already"},
        **problems(404, 409, 413, 415, 422),
    },
    openapi_extra=_ADD_BODY,
)
async def add_document(
    request: Request, app: App, caller: Writer, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """Keep a text or an upload (JSON), or a file (multipart). A text is found by its words as soon as this answers."""
    content_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if content_type == "multipart/form-data":
        async with request.form(max_files=1, max_fields=100) as form:
            reply = await on_thread(_add_upload, app, caller, form, idempotency_key)
    elif content_type in ("application/json", ""):
        body = await request.body()
        reply = await on_thread(_add_json, app, caller, body, idempotency_key)
    else:
        raise UnsupportedFormat(
            f"The request's content type is {content_type[:100]!r}.", hint="Send JSON, or multipart/form-data."
        )
    return JSONResponse(reply.body, reply.status)


def _add_json(app: Application, caller: Principal, body: bytes, key: str | None) -> Reply:
    """A text, which most are, or else what names an upload in its place."""
    try:
        try:
            given = DocumentIn.model_validate_json(body)
        except ValidationError as error:
            if all(part["loc"] != ("upload_id",) for part in error.errors(include_url=False, include_input=False)):
                raise
            return _hand_in(app, caller, body, DocumentOfUploadIn.model_validate_json(body), key)
    except ValidationError as error:
        raise Invalid(first_error(error), hint="See /docs for the form of a document.") from error
    return _add_text(app, caller, body, given, key)


def _add_text(app: Application, caller: Principal, body: bytes, given: DocumentIn, key: str | None) -> Reply:
    new = service.new_text(
        given.text, given.title, given.uri, tuple(given.tags), given.metadata,
        max_characters=app.settings.max_text_characters,
    )  # fmt: skip

    job: Job | None = None

    def act() -> Reply:
        nonlocal job
        added = intake.add_text(tx, caller.workspace_id, new)
        _note_added(tx, caller, added)
        job = added.job
        return _reply(added)

    with app.relational.write(caller.workspace_id) as tx:
        reply = once(tx, caller.workspace_id, key, sha256_hex(b"documents\0" + body), act)
    if job:
        app.signal.notify(job.lane)
    return reply


def _note_added(tx: Transaction, caller: Principal, added: service.Added) -> None:
    note(tx, caller, "document.added", added.document.id, outcome=added.outcome)


def _reply(added: service.Added) -> Reply:
    return Reply(202 if added.job else 200, DocumentAdded.of(added).model_dump(mode="json"))


def _add_upload(app: Application, caller: Principal, form: FormData, key: str | None) -> Reply:
    upload = form.get("file")
    if not isinstance(upload, UploadFile):
        raise Invalid("The form has no file.", hint="Send the file in a field named `file`.")
    about = intake.Upload(
        filename=upload.filename,
        content_type=upload.content_type,
        title=_text_field(form, "title"),
        uri=_text_field(form, "uri"),
        tags=tuple(value for value in form.getlist("tags") if isinstance(value, str)),
        metadata=_metadata(_text_field(form, "metadata")),
    )
    stored = intake.store(app.files, caller.workspace_id, upload.file, about, app.settings.max_upload_bytes)
    return _add_stored(app, caller, stored, sha256_hex(f"upload\0{stored.new.sha256}\0{about!r}"), key)


def _hand_in(app: Application, caller: Principal, body: bytes, given: DocumentOfUploadIn, key: str | None) -> Reply:
    fingerprint = sha256_hex(b"documents\0" + body)
    with app.relational.read(caller.workspace_id) as tx:
        if key and (known := recall(tx, caller.workspace_id, key, fingerprint)):
            return known
        upload = uploads.to_hand_in(tx, caller.workspace_id, given.upload_id)
    about = intake.Upload(
        upload.filename, upload.content_type, given.title, given.uri, tuple(given.tags), given.metadata
    )
    place = uploads.key_of(upload)
    stored = intake.adopt(app.files, caller.workspace_id, place, upload.sha256, about)
    reply = _add_stored(app, caller, stored, fingerprint, key, lambda tx: uploads.take(tx, upload))
    with suppress(Unavailable):  # It goes with what is left over.
        app.files.discard(place)
    return reply


def _add_stored(
    app: Application, caller: Principal, stored: intake.StoredUpload, fingerprint: str, key: str | None,
    first: Callable[[Transaction], None] = lambda _: None,
) -> Reply:  # fmt: skip
    """``first`` is done in the transaction that takes the file in; where it raises the file goes."""
    taken: intake.TakenIn | None = None

    def act() -> Reply:
        nonlocal taken
        first(tx)
        taken = intake.add_file(tx, caller.workspace_id, stored)
        if taken.added:
            _note_added(tx, caller, taken.added)
        elif taken.job:
            note(tx, caller, "documents.imported", taken.job.id, outcome="accepted")
        return _reply_to_upload(taken)

    try:
        with app.relational.write(caller.workspace_id) as tx:
            reply = once(tx, caller.workspace_id, key, fingerprint, act)
            # Known content needs no second copy, nor does a repeated request.
            kept = taken is not None and (taken.added is None or service.is_file_known(tx, stored.file_key))
    except BaseException:
        app.files.delete(stored.file_key)
        raise
    if not kept:
        app.files.delete(stored.file_key)
    if taken and taken.added and taken.added.replaced_file:
        app.files.delete(taken.added.replaced_file)
    if taken and (job := taken.job):
        app.signal.notify(job.lane)
    return reply


def _reply_to_upload(taken: intake.TakenIn) -> Reply:
    if taken.added:
        return _reply(taken.added)
    job = JobOut.of(taken.job) if taken.job else None
    return Reply(202, DocumentAdded(document=None, job=job).model_dump(mode="json"))


def _text_field(form: FormData, name: str) -> str | None:
    value = form.get(name)
    return value if isinstance(value, str) else None


def _metadata(text: str | None) -> dict[str, Any]:
    try:
        return _METADATA.validate_json(text) if text else {}
    except ValidationError as error:
        raise Invalid(
            f"The field metadata is not a JSON object: {first_error(error)}.", hint='Send it as {"name": "value"}.'
        ) from error


@router.post(
    "/batch",
    status_code=202,
    responses=problems(409, 415, 422),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/x-ndjson": {
                    "schema": {"type": "string", "description": "One DocumentIn as JSON a line"},
                    "example": '{"title": "One", "text": "First note."}\n{"title": "Two", "text": "Second note."}\n',
                }
            },
        }
    },
)
async def add_batch(request: Request, app: App, caller: Writer, idempotency_key: IdempotencyKey = None) -> JobAccepted:
    """Keep many texts, streamed. Each line is accepted, or refused with a reason, on its own: see the results."""
    content_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if content_type not in _BATCH_TYPES:
        raise UnsupportedFormat(
            f"The request's content type is {content_type[:100]!r}.", hint="Send application/x-ndjson."
        )
    if idempotency_key and (known := await on_thread(_known_batch, app, caller, idempotency_key)):
        return known
    batch = await on_thread(
        BatchIntake, app.relational, app.signal, caller.workspace_id, app.settings.max_text_characters, caller,
        app.settings.job_lease_seconds,
    )  # fmt: skip
    keeping = asyncio.create_task(_keep_open(batch, app.settings.job_lease_seconds / 3))
    try:
        async for block in request.stream():
            await on_thread(batch.feed, block)
    finally:
        keeping.cancel()
        # Also when the client goes away: what it sent is accepted.
        job = await on_thread(batch.close)
    accepted = JobAccepted(job=JobOut.of(job))
    if idempotency_key:
        await on_thread(_remember_batch, app, caller, idempotency_key, accepted)
    return accepted


async def _keep_open(batch: BatchIntake, period_seconds: float) -> None:
    while True:
        await asyncio.sleep(period_seconds)
        with suppress(Unavailable):  # The lease outlasts one failure; after more of them the batch is closed.
            await on_thread(batch.keep_open)


def _known_batch(app: Application, caller: Principal, key: str) -> JobAccepted | None:
    with app.relational.read(caller.workspace_id) as tx:
        reply = recall(tx, caller.workspace_id, key, _BATCH)
    return JobAccepted.model_validate(reply.body) if reply else None


def _remember_batch(app: Application, caller: Principal, key: str, accepted: JobAccepted) -> None:
    """Only once the whole stream is in: a batch that was cut off is sent again, and what is known stays as it is."""
    with app.relational.write(caller.workspace_id) as tx:
        remember(tx, caller.workspace_id, key, _BATCH, Reply(202, accepted.model_dump(mode="json")))


@router.get("", responses=problems(422))
def list_documents(
    app: App,
    caller: Reader,
    tag: str | None = None,
    uri: str | None = None,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> PageOf[DocumentOut]:
    """Documents, newest first."""
    with app.relational.read(caller.workspace_id) as tx:
        page = service.list_page(tx, caller.workspace_id, tag, uri, checked_cursor(cursor), limit)
    return PageOf(items=[DocumentOut.of(document) for document in page.items], next_cursor=page.next_cursor)


@router.get("/{document_id}", responses=problems(404, 422))
def read_document(app: App, caller: Reader, document_id: str) -> DocumentOut:
    """A document, with its state and tags."""
    with app.relational.read(caller.workspace_id) as tx:
        return DocumentOut.of(service.get(tx, caller.workspace_id, checked_id(document_id, "document")))


@router.get("/{document_id}/content", responses=problems(404, 409, 422))
def read_content(
    app: App, caller: Reader, document_id: str, version: Annotated[int | None, Query(ge=1, le=2**31)] = None
) -> ContentOut:
    """The stored text, of the current version or of an older one that a citation names."""
    with app.relational.read(caller.workspace_id) as tx:
        text = service.read_text(tx, caller.workspace_id, checked_id(document_id, "document"), version)
    return ContentOut.of(text)


@router.delete("/{document_id}", status_code=202, responses=problems(404, 409, 422))
def erase_document(app: App, caller: Writer, document_id: str, response: Response) -> JobAccepted:
    """Erase a document. When this answers nothing finds it any more; the job removes it from every store.

    `GET /v1/erasures/{id}`, with the id of the job or of the document, is the receipt.
    """
    with app.relational.write(caller.workspace_id) as tx:
        job = erasure.accept(tx, caller.workspace_id, checked_id(document_id, "document"))
        sources.forget_document(tx, caller.workspace_id, document_id)
        note(tx, caller, "document.erased", document_id, outcome="accepted")
    app.signal.notify(job.lane)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return JobAccepted(job=JobOut.of(job))
