"""The audit log: who did what and when, in rows that are only ever appended and whose digests form a chain.

A row has ids, an action and its outcome; never content, titles or keys. Each workspace has a chain of its own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pegasus.access import repository
from pegasus.access.repository import AuditEvent
from pegasus.access.scopes import Principal
from pegasus.errors import Conflict
from pegasus.identifiers import new_id, sha256_hex
from pegasus.pagination import Page, page_of
from pegasus.ports import Transaction
from pegasus.telemetry import current_request_id

_PAGE = 1_000


def note(
    tx: Transaction,
    principal: Principal | None,
    action: str,
    subject_id: str,
    *,
    outcome: str = "done",
    workspace_id: str | None = None,
) -> None:
    """Append an event, in the transaction of what it tells of: either both are kept or neither.

    ``workspace_id`` is for what no key asked for, as a schedule's work, and for what is done in another workspace
    than the key's own. Raises ``Conflict`` where that workspace is being erased: what changes something is noted, so
    that a request which came in before can change nothing any more.
    """
    workspace_id = workspace_id or (principal.workspace_id if principal else "")
    check_open(tx, workspace_id)
    position, previous_sha256 = repository.next_position(tx, workspace_id)
    event = AuditEvent(
        id=new_id(),
        workspace_id=workspace_id,
        position=position,
        at=round(time.time(), 6),
        key_id=principal.key_id if principal else None,
        action=action,
        subject_id=subject_id,
        outcome=outcome,
        request_id=current_request_id(),
        sha256="",
    )
    repository.append_event(tx, replace(event, sha256=_digest(event, previous_sha256)))


def check_open(tx: Transaction, workspace_id: str) -> None:
    """Raises ``Conflict`` where nothing may be written any more: the workspace is being erased, or gone already."""
    workspace = repository.get_workspace(tx, workspace_id)
    if workspace is None or workspace.erasing_at is not None:
        raise Conflict("The workspace is being erased.", hint="Use a key of another one.")


def _digest(event: AuditEvent, previous_sha256: str) -> str:
    fields = [
        previous_sha256, event.id, event.workspace_id, event.position, event.at, event.key_id, event.action,
        event.subject_id, event.outcome, event.request_id,
    ]  # fmt: skip
    return sha256_hex(json.dumps(fields, separators=(",", ":")))


def list_events(
    tx: Transaction, workspace_id: str, since: float | None, action: str | None, cursor: str | None, limit: int
) -> Page[AuditEvent]:
    return page_of(repository.list_events(tx, workspace_id, since, action, cursor, limit + 1), limit)


@dataclass(frozen=True, slots=True)
class ChainCheck:
    """``head_sha256`` is the digest of the newest event: noted elsewhere, it proves later that nothing before it was
    changed, even by somebody who could write the whole chain anew."""

    events: int
    head_sha256: str
    broken_at: int | None = None  # The first position that is not as it was written
    problem: str | None = None


def verify(tx: Transaction, workspace_id: str, noted_sha256: str | None = None) -> ChainCheck:
    """Compute the chain of a workspace again, in bounded memory; with ``noted_sha256``, look for that digest too."""
    length, head = repository.audit_head(tx, workspace_id)
    position, sha256, noted_found = 0, "", noted_sha256 is None
    for event in _in_order(tx, workspace_id):
        if event.position != position + 1:
            return ChainCheck(length, head, position + 1, "An event is missing.")
        if event.sha256 != _digest(event, sha256):
            return ChainCheck(length, head, event.position, "An event was changed, or put in.")
        position, sha256 = event.position, event.sha256
        noted_found = noted_found or sha256 == noted_sha256
    if (position, sha256) != (length, head):
        return ChainCheck(length, head, position + 1, "The newest events are missing, or the note of the end is wrong.")
    if not noted_found:
        return ChainCheck(length, head, None, "No event has the noted digest: the chain was written anew.")
    return ChainCheck(length, head)


def _in_order(tx: Transaction, workspace_id: str) -> Iterator[AuditEvent]:
    position = 0
    while events := repository.events_after(tx, workspace_id, position, _PAGE):
        yield from events
        position = events[-1].position
