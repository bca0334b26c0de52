"""Who may come in: a key opens one workspace. Keys are shown once and kept as digests."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pegasus.access import repository
from pegasus.access.repository import ApiKey
from pegasus.errors import Conflict, Invalid, NotFound, Unauthorized
from pegasus.identifiers import new_id, sha256_hex
from pegasus.pagination import Page, page_of
from pegasus.ports import RelationalStore, Transaction
from pegasus.text.lines import printable

_PREFIX = "pgs_"
_KEY_BYTES = 32
_MAX_NAME, _MAX_IDEMPOTENCY_KEY = 100, 200
# How exact "last used" is; more would make every read a write.
_LAST_USED_SECONDS = 60.0
_REMEMBER_SECONDS = 24 * 3600.0
_ERASED = 0  # In the place of a reply's status.


@dataclass(frozen=True, slots=True)
class Principal:
    key_id: str
    workspace_id: str


def ensure_workspace(tx: Transaction) -> str:
    """The local workspace, made at the first start."""
    return repository.first_workspace(tx) or create_workspace(tx, "local")


def create_workspace(tx: Transaction, name: str) -> str:
    workspace_id = new_id()
    repository.insert_workspace(tx, workspace_id, name, time.time())
    return workspace_id


def create_key(tx: Transaction, workspace_id: str, name: str) -> tuple[ApiKey, str]:
    """The key's row, and the key itself, which cannot be had again."""
    name = " ".join(name.split())
    if not name or len(name) > _MAX_NAME:
        raise Invalid(f"A key's name has 1 to {_MAX_NAME} characters.", hint="Name the app or person that uses it.")
    printable("name", name, _MAX_NAME)
    secret = _PREFIX + secrets.token_urlsafe(_KEY_BYTES)
    key = ApiKey(new_id(), workspace_id, name, secret[: len(_PREFIX) + 4], time.time(), None, None)
    repository.insert_key(tx, key, sha256_hex(secret))
    return key, secret


def opens(tx: Transaction, secret: str, workspace_id: str) -> bool:
    """Whether a key is known, not revoked, and this workspace's."""
    key = repository.find_key(tx, sha256_hex(secret))
    return key is not None and key.revoked_at is None and key.workspace_id == workspace_id


def list_keys(tx: Transaction, workspace_id: str, cursor: str | None, limit: int) -> Page[ApiKey]:
    return page_of(repository.list_keys(tx, workspace_id, cursor, limit + 1), limit)


def revoke_key(tx: Transaction, workspace_id: str, key_id: str) -> None:
    if not repository.revoke(tx, workspace_id, key_id, time.time()):
        raise NotFound(f"There is no usable key {key_id}.", hint="List the keys with: pegasus keys list")


class Doorkeeper:
    """Turns the key of a request into who is asking."""

    def __init__(self, relational: RelationalStore) -> None:
        self._relational = relational
        self._touched: dict[str, float] = {}

    def admit(self, secret: str | None) -> Principal:
        """Raises ``Unauthorized``; the reason does not tell an unknown key from a revoked one."""
        if not secret:
            raise Unauthorized(
                "No API key was sent.", hint="Send it in X-API-Key; pegasus keys show-local prints the local one."
            )
        with self._relational.read() as tx:
            key = repository.find_key(tx, sha256_hex(secret.encode("utf-8", "surrogateescape")))
        if key is None or key.revoked_at is not None:
            raise Unauthorized("The API key is not valid.", hint="Create one with: pegasus keys create NAME")
        self._note_use(key)
        return Principal(key.id, key.workspace_id)

    def _note_use(self, key: ApiKey) -> None:
        now = time.time()
        if now - self._touched.get(key.id, 0.0) < _LAST_USED_SECONDS:
            return
        self._touched[key.id] = now
        with self._relational.write() as tx:
            repository.touch(tx, key.id, now)


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: Any  # JSON


def once(tx: Transaction, workspace_id: str, key: str | None, request_sha256: str, act: Callable[[], Reply]) -> Reply:
    """Do a request that creates something once for each idempotency key; a repetition gets the first reply again.

    The reply is remembered in the caller's transaction, with what it created, for a day.
    Raises ``Conflict`` when the key was used for another request.
    """
    if key is None:
        return act()
    remembered = recall(tx, workspace_id, key, request_sha256)
    return remembered or remember(tx, workspace_id, key, request_sha256, act())


def recall(tx: Transaction, workspace_id: str, key: str, request_sha256: str) -> Reply | None:
    if not 1 <= len(key) <= _MAX_IDEMPOTENCY_KEY:
        raise Invalid(
            f"An Idempotency-Key has 1 to {_MAX_IDEMPOTENCY_KEY} characters.", hint="A UUID for each request will do."
        )
    row = repository.find_response(tx, workspace_id, key)
    if row is None:
        return None
    if row["request_sha256"] != request_sha256:
        raise Conflict("This Idempotency-Key was used for another request.", hint="Use a fresh key for each request.")
    if row["status"] == _ERASED:
        raise Conflict(
            "What this Idempotency-Key made was erased since.", hint="Use a fresh key to make it again on purpose."
        )
    return Reply(row["status"], json.loads(row["response"]))


def forget_replies(tx: Transaction, workspace_id: str, mentioning: str) -> None:
    """Empty remembered replies that have a text in them, as the id of a document that is erased. Their keys stay
    taken: a repeated request must not make again what was erased."""
    repository.empty_responses_with(tx, workspace_id, mentioning, _ERASED)


def forget_old_replies(tx: Transaction) -> int:
    """Forget the remembered replies of all workspaces that are past their day; how many that was."""
    return repository.delete_all_responses_before(tx, time.time() - _REMEMBER_SECONDS)


def remember(tx: Transaction, workspace_id: str, key: str, request_sha256: str, reply: Reply) -> Reply:
    now = time.time()
    repository.delete_responses_before(tx, workspace_id, now - _REMEMBER_SECONDS)
    repository.insert_response(tx, workspace_id, key, request_sha256, reply.status, json.dumps(reply.body), now)
    return reply
