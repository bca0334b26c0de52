"""Uploads over HTTP: announced with a key, sent to a URL that needs none, handed in at /v1/documents."""

from __future__ import annotations

import tempfile

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from pegasus.access.service import Reply, once
from pegasus.application import Application
from pegasus.documents.endpoints import IdempotencyKey
from pegasus.errors import Invalid
from pegasus.identifiers import sha256_hex
from pegasus.threads import on_thread
from pegasus.uploads import service
from pegasus.uploads.schemas import UploadIn, UploadOut
from pegasus.uploads.service import Upload
from pegasus.web import App, Router, Writer, problem_response, problems

router = Router(tags=["documents"])

_IN_MEMORY_BYTES = 2**20


@router.post("/v1/uploads", status_code=201, response_model=UploadOut, responses=problems(409, 422, 503))
def announce_upload(
    request: Request, app: App, caller: Writer, given: UploadIn, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """Announce a large file; the answer says where to send it: into the bucket, where there is one.

    Then make a document of it, within a day, with `upload_id` in `POST /v1/documents`.
    """
    announced = service.announce(
        app.files, caller, given.filename, given.content_type, given.size_bytes, given.sha256,
        app.settings.max_upload_bytes,
    )  # fmt: skip

    def act() -> Reply:
        service.keep(tx, caller, announced.upload)
        url = str(request.url_for("receive_upload", upload_id=announced.upload.id))
        return Reply(201, UploadOut.of(announced, f"{url}?token={announced.token}").model_dump(mode="json"))

    with app.relational.write(caller.workspace_id) as tx:
        fingerprint = sha256_hex(f"uploads\0{given.model_dump_json()}")
        reply = once(tx, caller.workspace_id, idempotency_key, fingerprint, act)
    return JSONResponse(reply.body, reply.status)


# Where its URL leads is ours to say each time, and with a bucket it is not here.
@router.put("/uploads/{upload_id}", include_in_schema=False)
async def receive_upload(request: Request, app: App, upload_id: str, token: str = "") -> Response:
    """Take the bytes of an upload, in the place of a bucket and with its answers: 200, or 400 for others than were
    announced, or 403."""
    upload = await on_thread(_admit, app, upload_id, token, request.headers.get("content-length"))
    with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as body:
        async for block in request.stream():
            await on_thread(body.write, block)
        body.seek(0)
        try:
            if upload.taken_at is None:
                await on_thread(service.receive, app.files, upload, body)
        except Invalid as error:
            return problem_response(error, 400)
    return Response()


def _admit(app: Application, upload_id: str, token: str, length: str | None) -> Upload:
    with app.relational.read() as tx:
        return service.admit(tx, upload_id, token, length)
