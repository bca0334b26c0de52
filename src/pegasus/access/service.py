"""Who may come in, and what for: a key opens one workspace. Keys are shown once and kept as digests."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pegasus.access import repository
from pegasus.access.audit import check_open as check_open
from pegasus.access.audit import note as note  # The audit log's one entry for other features.
from pegasus.access.repository import ApiKey, Workspace
from pegasus.access.scopes import Principal as Principal
from pegasus.access.scopes import Scope
from pegasus.domain import Rate
from pegasus.errors import Conflict, Forbidden, Invalid, NotFound, Unavailable
from pegasus.identifiers import new_id, sha256_hex
from pegasus.pagination import Page, page_of
from pegasus.ports import Transaction
from pegasus.text.lines import printable

_PREFIX = "pgs_"
_KEY_BYTES = 32
_MAX_NAME, _MAX_IDEMPOTENCY_KEY = 100, 200
_REMEMBER_SECONDS = 24 * 3600.0
_ERASED = 0  # In the place of a reply's status.


def ensure_workspace(tx: Transaction) -> str:
    """The local workspace, made at the first start."""
    return repository.first_workspace(tx) or create_workspace(tx, "local")


def check_installed(tx: Transaction) -> None:
    """Raises ``Unavailable`` where there is no workspace at all: every installation has one from its first start on."""
    if repository.first_workspace(tx) is None:
        raise Unavailable(
            "The database has no workspace any more: it was emptied, or is another one.",
            hint="Restore it from its backup, or mend DATABASE_URL; then restart Pegasus.",
        )


def any_workspace(tx: Transaction) -> bool:
    return repository.first_workspace(tx) is not None


def create_workspace(tx: Transaction, name: str) -> str:
    return _new_workspace(tx, name).id


def _new_workspace(tx: Transaction, name: str) -> Workspace:
    workspace = Workspace(new_id(), _checked_name("workspace", name), time.time())
    repository.insert_workspace(tx, workspace.id, workspace.name, workspace.created_at)
    return workspace


def open_workspace(tx: Transaction, operator: Principal, name: str) -> tuple[Workspace, ApiKey, str]:
    """A new workspace with the first key to all of it, which is shown this once."""
    workspace = _new_workspace(tx, name)
    key, secret = create_key(tx, workspace.id, "first", scope=Scope.ADMIN)
    note(tx, operator, "workspace.created", workspace.id)
    note(tx, operator, "key.created", key.id, workspace_id=workspace.id)
    return workspace, key, secret


def list_workspaces(tx: Transaction, cursor: str | None, limit: int) -> Page[Workspace]:
    return page_of(repository.list_workspaces(tx, cursor, limit + 1), limit)


def close_workspace(tx: Transaction, operator: Principal, workspace_id: str) -> None:
    """From this commit on its keys open nothing, and nothing is written to it; its erasure begins so.

    Raises ``Conflict`` for a workspace that is in use by who asks, or by the installation itself.
    """
    workspace = repository.get_workspace(tx, workspace_id)
    if workspace is None:
        raise NotFound(f"There is no workspace {workspace_id}.", hint="List them with: pegasus workspaces list")
    if workspace_id == operator.workspace_id:
        raise Conflict(
            "Your own key is in this workspace, which cannot be erased with it.",
            hint="Use an operator's key of another workspace, or erase its documents with: pegasus erase ID...",
        )
    if workspace_id == repository.first_workspace(tx):
        raise Conflict(
            "This is the installation's own workspace; the local key and what concerns the whole are in it.",
            hint="Erase its documents with: pegasus erase ID...; to erase all there is, remove the data directory.",
        )
    if workspace.erasing_at is not None:
        raise Conflict(
            "The workspace is being erased already, as another workspace's operator asked.",
            hint="That one sees its job and its receipt.",
        )
    repository.set_erasing(tx, workspace_id, time.time())


# For a backup, which takes whole tables: the rows of ``workspaces`` that it may take.
WORKSPACE_NOT_ERASING = "erasing_at IS NULL"


def any_workspace_erasing(tx: Transaction) -> bool:
    return repository.any_erasing(tx)


def note_for_installation(tx: Transaction, action: str, subject_id: str) -> None:
    """Note what was done to the whole installation, on its own machine and with no key, in its first workspace."""
    workspace_id = repository.first_workspace(tx)
    if workspace_id is not None:  # Before the first start there is neither a workspace nor a log.
        note(tx, None, action, subject_id, workspace_id=workspace_id)


def create_key(
    tx: Transaction,
    workspace_id: str,
    name: str,
    *,
    scope: Scope = Scope.WRITE,
    expires_at: float | None = None,
    rate_limit: Rate | None = None,
    max_body_bytes: int | None = None,
    secret: str | None = None,
) -> tuple[ApiKey, str]:
    """The key's row, and the key itself, which cannot be had again; ``secret`` where somebody has chosen it."""
    now = time.time()
    if expires_at is not None and expires_at <= now:
        raise Invalid("The key would have expired already.", hint="Give a time that is still to come.")
    secret = secret or _PREFIX + secrets.token_urlsafe(_KEY_BYTES)
    key = ApiKey(
        id=new_id(),
        workspace_id=workspace_id,
        name=_checked_name("key", name),
        hint=secret[: len(_PREFIX) + 4],
        scope=scope,
        created_at=now,
        expires_at=expires_at,
        rate_limit=rate_limit,
        max_body_bytes=max_body_bytes,
    )
    repository.insert_key(tx, key, sha256_hex(secret))
    return key, secret


def _checked_name(of: str, name: str) -> str:
    name = " ".join(name.split())
    if not name or len(name) > _MAX_NAME:
        raise Invalid(f"A {of}'s name has 1 to {_MAX_NAME} characters.", hint=f"Say what or who the {of} is for.")
    return printable("name", name, _MAX_NAME)


def grant_key(
    tx: Transaction,
    giver: Principal,
    name: str,
    scope: Scope,
    expires_at: float | None,
    rate_limit: Rate | None,
    max_body_bytes: int | None,
) -> tuple[ApiKey, str]:
    """A further key to the giver's workspace. Nobody gives more than they have: neither scope nor time nor, unless
    they run the installation, wider limits; limits that are not said are the giver's."""
    giver.require(scope)
    if giver.expires_at is not None and (expires_at is None or expires_at > giver.expires_at):
        raise Forbidden("The key would outlive yours.", hint="Let it expire when your own does, or before.")
    if not giver.scope.covers(Scope.OPERATOR):
        rate_limit = _narrowed_rate(giver.rate_limit, rate_limit)
        max_body_bytes = min(filter(None, (giver.max_body_bytes, max_body_bytes)), default=None)
    key, secret = create_key(
        tx, giver.workspace_id, name,
        scope=scope, expires_at=expires_at, rate_limit=rate_limit, max_body_bytes=max_body_bytes,
    )  # fmt: skip
    note(tx, giver, "key.created", key.id)
    return key, secret


def _narrowed_rate(own: Rate | None, wanted: Rate | None) -> Rate | None:
    if own and wanted and not wanted.within(own):
        raise Forbidden(f"Your own key may send {own}.", hint="Give the new one that or less.")
    return wanted or own


def opens(tx: Transaction, secret: str, workspace_id: str) -> bool:
    """Whether a key can be used, and is this workspace's."""
    key = repository.find_key(tx, sha256_hex(secret))
    return key is not None and key.is_usable(time.time()) and key.workspace_id == workspace_id


def ensure_operator_key(tx: Transaction, secret: str) -> None:
    """The key that the installation's settings name, made where it is new; once revoked it stays so."""
    workspace_id = ensure_workspace(tx)
    if repository.find_key(tx, sha256_hex(secret)) is None:
        key, _ = create_key(tx, workspace_id, "operator", scope=Scope.OPERATOR, secret=secret)
        note(tx, None, "key.created", key.id, workspace_id=workspace_id)


def make_operator(tx: Transaction, secret: str) -> None:
    """Let a key run the installation, as the local one does that was made before there were scopes."""
    key = repository.find_key(tx, sha256_hex(secret))
    if key and key.scope is not Scope.OPERATOR:
        repository.set_scope(tx, key.id, Scope.OPERATOR)
        note(tx, None, "key.made_operator", key.id, workspace_id=key.workspace_id)


def list_keys(tx: Transaction, workspace_id: str, cursor: str | None, limit: int) -> Page[ApiKey]:
    return page_of(repository.list_keys(tx, workspace_id, cursor, limit + 1), limit)


def revoke_key(tx: Transaction, revoker: Principal, key_id: str) -> None:
    key = repository.get_key(tx, revoker.workspace_id, key_id)
    if key is None or key.revoked_at is not None:
        raise NotFound(f"There is no usable key {key_id}.", hint="List the keys with: pegasus keys list")
    revoker.require(key.scope)
    repository.revoke(tx, revoker.workspace_id, key_id, time.time())
    note(tx, revoker, "key.revoked", key_id)


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


def forget_replies(tx: Transaction, workspace_id: str, mentioning: str) -> int:
    """Empty remembered replies that have a text in them, as the id of a document that is erased. Their keys stay
    taken: a repeated request must not make again what was erased."""
    return repository.empty_responses_with(tx, workspace_id, mentioning, _ERASED)


def count_replies(tx: Transaction, workspace_id: str, mentioning: str) -> int:
    """How many remembered replies have a text in them."""
    return repository.count_responses_with(tx, workspace_id, mentioning)


def forget_old_replies(tx: Transaction) -> int:
    """Forget the remembered replies of all workspaces that are past their day; how many that was."""
    return repository.delete_all_responses_before(tx, time.time() - _REMEMBER_SECONDS)


def remember(tx: Transaction, workspace_id: str, key: str, request_sha256: str, reply: Reply) -> Reply:
    check_open(tx, workspace_id)
    now = time.time()
    repository.delete_responses_before(tx, workspace_id, now - _REMEMBER_SECONDS)
    repository.insert_response(tx, workspace_id, key, request_sha256, reply.status, json.dumps(reply.body), now)
    return reply
