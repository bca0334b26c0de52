"""API keys over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from pegasus.access import service
from pegasus.access.schemas import KeyCreated, KeyIn, KeyOut
from pegasus.pagination import checked_cursor
from pegasus.schemas import Cursor, PageOf
from pegasus.web import App, Caller, checked_id, problems

router = APIRouter(prefix="/v1/keys", tags=["keys"])


@router.post("", status_code=201, responses=problems(401, 422))
def create_key(app: App, caller: Caller, given: KeyIn) -> KeyCreated:
    """A further key for the caller's workspace. No Idempotency-Key: a remembered reply would keep the key itself."""
    with app.relational.write() as tx:
        key, secret = service.create_key(tx, caller.workspace_id, given.name)
    return KeyCreated(**KeyOut.of(key).model_dump(), key=secret)


@router.get("", responses=problems(401, 422))
def list_keys(
    app: App, caller: Caller, cursor: Cursor = None, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> PageOf[KeyOut]:
    """Keys, newest first, the revoked ones too."""
    with app.relational.read() as tx:
        page = service.list_keys(tx, caller.workspace_id, checked_cursor(cursor), limit)
    return PageOf(items=[KeyOut.of(key) for key in page.items], next_cursor=page.next_cursor)


@router.delete("/{key_id}", status_code=204, responses=problems(401, 404, 422))
def revoke_key(app: App, caller: Caller, key_id: str) -> Response:
    """From now on the key opens nothing."""
    with app.relational.write() as tx:
        service.revoke_key(tx, caller.workspace_id, checked_id(key_id, "key"))
    return Response(status_code=204)
